"""A whole sequence of an NTM in one launch: the stages over time, forward. `backward.py` is its backward.

One program runs one sequence. Program `p` is of network `p // batch`, so a stack of networks only needs more programs.
Arrays that a program saves for the backward, or needs in the next step, are in global memory and stay in the caches:
row `t` is the state before step `t`, or a result of it. Without gradients two rows are used in turn.

`given` holds the recurrent input of each layer of the controller: for the first layer the reads, for others the output
of the layer below; then, for an LSTM, the layer's own last output.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.basics import COPY, STRIDES, Constants, Matrix, Places, copy, load_rows
from lightning_ntm.kernels.ntm.triton.controllers import control, own_of
from lightning_ntm.kernels.ntm.triton.heads import address, read_and_write


@triton.jit
def start_forward(memory, weights, reads, hidden, cell, to, slots, s: tl.constexpr):
    """Copy the parts of the first state of a sequence to row 0."""
    copy(memory, to[0], slots * s.width, COPY)
    copy(weights, to[1], s.heads * slots, COPY)
    copy(reads, to[2], s.reads * s.width, COPY)
    if s.recurrent:
        copy(cell, to[3], s.layers * s.hidden, COPY)
        for layer in tl.static_range(s.layers):
            copy(hidden + layer * s.hidden, to[2] + own_of(layer, s), s.hidden, COPY)


@triton.jit
def store_state(memory, weights, given, cell, p, to, slots, s: tl.constexpr):
    """Copy a state of a sequence, or its gradient, part by part into the arrays of all sequences."""
    programs = tl.num_programs(0).to(tl.int64)
    copy(memory, to + p * slots * s.width, slots * s.width, COPY)
    to += programs * slots * s.width
    copy(weights, to + p * s.heads * slots, s.heads * slots, COPY)
    to += programs * s.heads * slots
    copy(given, to + p * s.reads * s.width, s.reads * s.width, COPY)
    if s.recurrent:
        to += programs * s.reads * s.width
        for layer in tl.static_range(s.layers):
            copy(given + own_of(layer, s), to + (p * s.layers + layer) * s.hidden, s.hidden, COPY)
        to += programs * s.layers * s.hidden
        copy(cell, to + p * s.layers * s.hidden, s.layers * s.hidden, COPY)


@triton.jit(do_not_specialize=["steps", "batch", "slots", *STRIDES])
def forward(
    inputs,
    first_weights,
    other_weights,
    head_weights,
    biases,
    head_biases,
    memory_start,
    weights_start,
    reads_start,
    hidden_start,
    cell_start,
    memory_networks,
    weights_networks,
    reads_networks,
    hidden_networks,
    cell_networks,
    memory_batch,
    weights_batch,
    reads_batch,
    hidden_batch,
    cell_batch,
    end,
    output,
    saved,
    saved_size,
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
    EMITTED: tl.constexpr,
    EMITTED_COLUMNS: tl.constexpr,
    GIVEN: tl.constexpr,
    PARTS: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    HIDDEN_BLOCK: tl.constexpr,
    GATES_BLOCK: tl.constexpr,
    EMITTED_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    SHIFT_BLOCK: tl.constexpr,
    MIN_SHARPENING: tl.constexpr,
    GATES_SPLIT: tl.constexpr,
    EMITTED_SPLIT: tl.constexpr,
    SLOT_SPLIT: tl.constexpr,
    GATES_CHUNK: tl.constexpr,
    EMITTED_CHUNK: tl.constexpr,
    KEEP: tl.constexpr,
):
    """Run one sequence; outputs are those of the controller and the reads, the inputs of the output layer."""
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
    INPUTS: tl.constexpr = (4 if RECURRENT else 1) * HIDDEN
    FIRST: tl.constexpr = Matrix(READ + RECURRENT * HIDDEN, WIDE, GATES_BLOCK, GATES_SPLIT, GATES_CHUNK)
    OTHER: tl.constexpr = Matrix((1 + RECURRENT) * HIDDEN, WIDE, GATES_BLOCK, GATES_SPLIT, GATES_CHUNK)
    OF_HEADS: tl.constexpr = Matrix(HIDDEN, EMITTED_COLUMNS, EMITTED_BLOCK, EMITTED_SPLIT, EMITTED_CHUNK)

    p = tl.program_id(0).to(tl.int64)
    network, sequence = p // batch, p % batch
    first_weights += network * FIRST.rows * WIDE
    other_weights += network * (LAYERS - 1) * OTHER.rows * WIDE
    head_weights += network * HIDDEN * EMITTED_COLUMNS
    biases += network * LAYERS * INPUTS
    head_biases += network * EMITTED
    rows = steps + 1 if KEEP else 2
    inputs += p * steps * INPUTS
    output += p * steps * (HIDDEN + READ)
    gates = saved + p * saved_size
    memory = gates + rows * LAYERS * WIDE
    given = memory + rows * slots * WIDTH
    emitted = given + rows * GIVEN
    parts = emitted + rows * EMITTED_COLUMNS
    cell = parts + PARTS
    cosine = cell + rows * LAYERS * HIDDEN
    content = cosine + rows * s.heads * slots
    weightings = content + rows * s.heads * slots
    start_forward(
        memory_start + network * memory_networks + sequence * memory_batch,
        weights_start + network * weights_networks + sequence * weights_batch,
        reads_start + network * reads_networks + sequence * reads_batch,
        hidden_start + network * hidden_networks + sequence * hidden_batch,
        cell_start + network * cell_networks + sequence * cell_batch,
        (memory, weightings, given, cell),
        slots,
        s,
    )
    tl.debug_barrier()

    chunk = load_rows(first_weights, 0, FIRST)
    for step in range(steps):
        t = tl.cast(step, tl.int64)
        row = t if KEEP else t & 1
        after = row + 1 if KEEP else 1 - row
        output_t, emitted_t = output + t * (HIDDEN + READ), emitted + row * EMITTED_COLUMNS
        memory_t, given_after = memory + row * slots * WIDTH, given + after * GIVEN
        weights_after = weightings + after * s.heads * slots
        control(
            chunk,
            inputs + t * INPUTS,
            first_weights,
            other_weights,
            head_weights,
            biases,
            head_biases,
            given + row * GIVEN,
            given_after,
            gates + row * LAYERS * WIDE,
            cell + row * LAYERS * HIDDEN,
            cell + after * LAYERS * HIDDEN,
            output_t,
            emitted_t,
            parts,
            FIRST,
            OTHER,
            OF_HEADS,
            EMITTED,
            s,
        )
        chunk = address(
            memory_t,
            emitted_t,
            cosine + row * s.heads * slots,
            content + row * s.heads * slots,
            weightings + row * s.heads * slots,
            weights_after,
            first_weights,
            slots,
            FIRST,
            at,
            s,
        )
        memory_after = memory + after * slots * WIDTH
        read_and_write(memory_t, memory_after, weights_after, emitted_t, output_t, given_after, parts, slots, at, s)

    last = tl.cast(steps if KEEP else steps & 1, tl.int64)
    store_state(
        memory + last * slots * WIDTH,
        weightings + last * s.heads * slots,
        given + last * GIVEN,
        cell + last * LAYERS * HIDDEN,
        p,
        end,
        slots,
        s,
    )
