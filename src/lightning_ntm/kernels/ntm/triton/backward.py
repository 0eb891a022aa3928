"""A whole sequence of an NTM in one launch: the stages over time, backward. `forward.py` describes the arrays."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.basics import COPY, Constants, Matrix, Places, copy, fill
from lightning_ntm.kernels.ntm.triton.controllers import control_backward, own_of
from lightning_ntm.kernels.ntm.triton.forward import store_state
from lightning_ntm.kernels.ntm.triton.heads import (
    content_backward,
    memory_and_keys_backward,
    read_and_write_backward,
    sharpen_and_shift_backward,
)


@triton.jit
def start_backward(dmemory, dweights, dreads, dhidden, dcell, to, slots, OF_END: tl.constexpr, s: tl.constexpr):
    """Set the gradients of the state to those of the last state, or to zero without OF_END."""
    fill(to[2], s.given, COPY)
    tl.debug_barrier()
    if OF_END:
        copy(dmemory, to[0], slots * s.width, COPY)
        copy(dweights, to[1], s.heads * slots, COPY)
        copy(dreads, to[2], s.reads * s.width, COPY)
        if s.recurrent:
            copy(dcell, to[3], s.layers * s.hidden, COPY)
            for layer in tl.static_range(s.layers):
                copy(dhidden + layer * s.hidden, to[2] + own_of(layer, s), s.hidden, COPY)
    else:
        fill(to[0], slots * s.width, COPY)
        fill(to[1], s.heads * slots, COPY)
        if s.recurrent:
            fill(to[3], s.layers * s.hidden, COPY)
    tl.debug_barrier()


@triton.jit(do_not_specialize=["steps", "batch", "slots"])
def backward(
    first_weights,
    other_weights,
    head_weights,
    saved,
    saved_size,
    doutput,
    dmemory_end,
    dweights_end,
    dreads_end,
    dhidden_end,
    dcell_end,
    dstart,
    dgates,
    demitted,
    scratch,
    scratch_size,
    steps,
    batch,
    slots,
    READS: tl.constexpr,
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SHIFTS: tl.constexpr,
    HIDDEN: tl.constexpr,
    LAYERS: tl.constexpr,
    RECURRENT: tl.constexpr,
    COLUMNS: tl.constexpr,
    FIRST_COLUMNS: tl.constexpr,
    OTHER_COLUMNS: tl.constexpr,
    EMITTED: tl.constexpr,
    EMITTED_COLUMNS: tl.constexpr,
    GIVEN: tl.constexpr,
    PARTS: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    SHIFT_BLOCK: tl.constexpr,
    HIDDEN_BLOCK: tl.constexpr,
    FIRST_BLOCK: tl.constexpr,
    OTHER_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    HIDDEN_SPLIT: tl.constexpr,
    FIRST_SPLIT: tl.constexpr,
    OTHER_SPLIT: tl.constexpr,
    SLOT_SPLIT: tl.constexpr,
    HIDDEN_CHUNK: tl.constexpr,
    FIRST_CHUNK: tl.constexpr,
    OTHER_CHUNK: tl.constexpr,
    MIN_SHARPENING: tl.constexpr,
    LIMIT: tl.constexpr,
    OF_END: tl.constexpr,
):
    """Run one sequence backward, from the gradients of its outputs and, with OF_END, of its last state."""
    s: tl.constexpr = Constants(
        reads=READS,
        writes=WRITES,
        heads=READS + WRITES,
        width=WIDTH,
        shifts=SHIFTS,
        hidden=HIDDEN,
        layers=LAYERS,
        recurrent=RECURRENT,
        columns=COLUMNS,
        given=GIVEN,
        head_block=HEAD_BLOCK,
        hidden_block=HIDDEN_BLOCK,
        width_block=WIDTH_BLOCK,
        slots_block=SLOTS_BLOCK,
        slot_block=SLOT_BLOCK,
        slot_split=SLOT_SPLIT,
        shift_block=SHIFT_BLOCK,
        min_sharpening=MIN_SHARPENING,
    )
    ADDS: tl.constexpr = s.heads * WIDTH
    GATE: tl.constexpr = ADDS + WRITES * WIDTH
    ERASES: tl.constexpr = GATE + s.heads
    STRENGTHS: tl.constexpr = ERASES + WRITES * WIDTH
    SHARPENINGS: tl.constexpr = STRENGTHS + s.heads
    at: tl.constexpr = Places(ADDS, GATE, ERASES, STRENGTHS, SHARPENINGS, SHARPENINGS + s.heads)
    READ: tl.constexpr = READS * WIDTH
    WIDE: tl.constexpr = (4 if RECURRENT else 1) * COLUMNS
    FIRST: tl.constexpr = Matrix(WIDE, FIRST_COLUMNS, FIRST_BLOCK, FIRST_SPLIT, FIRST_CHUNK)
    OTHER: tl.constexpr = Matrix(WIDE, OTHER_COLUMNS, OTHER_BLOCK, OTHER_SPLIT, OTHER_CHUNK)
    OF_HEADS: tl.constexpr = Matrix(EMITTED, COLUMNS, HIDDEN_BLOCK, HIDDEN_SPLIT, HIDDEN_CHUNK)

    p = tl.program_id(0).to(tl.int64)
    network = p // batch
    first_weights += network * WIDE * FIRST_COLUMNS
    other_weights += network * (LAYERS - 1) * WIDE * OTHER_COLUMNS
    head_weights += network * EMITTED * COLUMNS
    rows = steps + 1
    gates = saved + p * saved_size
    memory = gates + rows * LAYERS * WIDE
    emitted = memory + rows * slots * WIDTH + rows * GIVEN
    cell = emitted + rows * EMITTED_COLUMNS + PARTS
    cosine = cell + rows * LAYERS * HIDDEN
    content = cosine + rows * s.heads * slots
    weightings = content + rows * s.heads * slots
    doutput += p * steps * (HIDDEN + READ)
    dgates += p * steps * LAYERS * WIDE
    demitted += p * steps * EMITTED
    dmemory = scratch + p * scratch_size
    dgiven = dmemory + 2 * slots * WIDTH
    parts = dgiven + GIVEN
    dcell = parts + PARTS
    dprevious = dcell + 2 * LAYERS * HIDDEN
    dweights = dprevious + s.heads * slots
    dshifted = dweights + s.heads * slots
    dcosine = dshifted + s.heads * slots
    # Two rows of the memory and of the cells are used in turn; the first that is read is row `steps & 1`.
    last = steps & 1
    start_backward(
        dmemory_end + p * slots * WIDTH,
        dweights_end + p * s.heads * slots,
        dreads_end + p * READ,
        dhidden_end + p * LAYERS * HIDDEN,
        dcell_end + p * LAYERS * HIDDEN,
        (dmemory + last * slots * WIDTH, dprevious, dgiven, dcell + last * LAYERS * HIDDEN),
        slots,
        OF_END,
        s,
    )

    for reverse in range(steps):
        step = steps - 1 - reverse
        t = tl.cast(step, tl.int64)
        doutput_t = doutput + t * (HIDDEN + READ)
        emitted_t, demitted_t = emitted + t * EMITTED_COLUMNS, demitted + t * EMITTED
        cosine_t, content_t = cosine + t * s.heads * slots, content + t * s.heads * slots
        weights_t, weights_after = weightings + t * s.heads * slots, weightings + (t + 1) * s.heads * slots
        memory_t, dafter = memory + t * slots * WIDTH, dmemory + (step + 1 & 1) * slots * WIDTH
        read_and_write_backward(
            memory_t, weights_after, emitted_t, doutput_t, dgiven, dafter, dweights, parts, slots, at, s
        )
        sharpen_and_shift_backward(
            emitted_t,
            demitted_t,
            content_t,
            weights_t,
            weights_after,
            dweights,
            dprevious,
            dshifted,
            parts,
            slots,
            LIMIT,
            at,
            s,
        )
        chunk = content_backward(
            emitted_t,
            demitted_t,
            cosine_t,
            content_t,
            weights_t,
            dprevious,
            dshifted,
            dcosine,
            head_weights,
            slots,
            OF_HEADS,
            at,
            s,
        )
        memory_and_keys_backward(
            memory_t,
            weights_after,
            emitted_t,
            demitted_t,
            cosine_t,
            dcosine,
            doutput_t,
            dgiven,
            dafter,
            dmemory + (step & 1) * slots * WIDTH,
            parts,
            slots,
            at,
            s,
        )
        control_backward(
            chunk,
            first_weights,
            other_weights,
            head_weights,
            gates + t * LAYERS * WIDE,
            cell + t * LAYERS * HIDDEN,
            cell + (t + 1) * LAYERS * HIDDEN,
            doutput_t,
            demitted_t,
            dgates + t * LAYERS * WIDE,
            dgiven,
            dcell + (step + 1 & 1) * LAYERS * HIDDEN,
            dcell + (step & 1) * LAYERS * HIDDEN,
            parts,
            FIRST,
            OTHER,
            OF_HEADS,
            s,
        )

    store_state(dmemory, dprevious, dgiven, dcell, p, dstart, slots, s)
