"""A whole sequence of an NTM in one launch: the stages over time, forward and backward.

One program runs one sequence. Program `p` is of network `p // batch`, so that networks side by side are nothing
but more programs. What a program saves for the backward, or needs in the next step, are rows of arrays in global
memory, which stay in the caches of the chip: row `t` is what step `t` starts from or computes. Without gradients
two rows are used in turn.

Of each layer of the controller, `given` holds the input that recurs: for the first what was read, for others the
output of the layer below; then, for an LSTM, the layer's own last output.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.triton.stages import (
    clamped,
    content_weights,
    copy,
    cosines,
    fill,
    interpolate_and_content_backward,
    key_backward,
    load_rows,
    load_vector,
    load_weightings,
    lstm_unit,
    lstm_unit_backward,
    memory_backward,
    moves_backward,
    product,
    read,
    read_backward,
    sharpen,
    sharpen_backward,
    shift,
    shift_backward,
    sigmoid,
    softplus,
    store_clamped_gradient,
    store_weightings,
    tanh,
    total,
    unit_key_backward,
    write,
    write_backward,
    written_backward,
)

_COPY = tl.constexpr(1024)  # numbers that are copied at once

#: Of each part of the first state: an initial state has one for all sequences, with a stride of 0.
_STRIDES = [
    f"{part}_{axis}" for axis in ("networks", "batch") for part in ("memory", "weights", "reads", "hidden", "cell")
]


@triton.jit
def start_of(LAYER: tl.constexpr, READ: tl.constexpr, HIDDEN: tl.constexpr, RECURRENT: tl.constexpr):
    """Where in a row of `given` the input of a layer begins."""
    if LAYER == 0:
        return 0
    else:
        return READ + RECURRENT * HIDDEN + (LAYER - 1) * (1 + RECURRENT) * HIDDEN


@triton.jit
def own_of(LAYER: tl.constexpr, READ: tl.constexpr, HIDDEN: tl.constexpr):
    """Where in a row of `given` the last output of an LSTM layer begins."""
    return READ + LAYER * 2 * HIDDEN


@triton.jit
def controller_layer(
    sums,
    given,
    given_next,
    gates,
    cell,
    cell_next,
    output,
    LAYER: tl.constexpr,
    READ: tl.constexpr,
    HIDDEN: tl.constexpr,
    COLUMNS: tl.constexpr,
    HIDDEN_BLOCK: tl.constexpr,
    LAYERS: tl.constexpr,
    RECURRENT: tl.constexpr,
):
    """One step of a layer, from the sums before activation."""
    j = tl.arange(0, HIDDEN_BLOCK)
    inside = j < HIDDEN
    gates += LAYER * (4 if RECURRENT else 1) * COLUMNS
    if RECURRENT:
        enter, keep, candidate, leave, c, hidden = lstm_unit(
            sums[0], sums[1], sums[2], sums[3], tl.load(cell + LAYER * HIDDEN + j, mask=inside, other=0.0)
        )
        tl.store(gates + j, enter, mask=inside)
        tl.store(gates + COLUMNS + j, keep, mask=inside)
        tl.store(gates + 2 * COLUMNS + j, candidate, mask=inside)
        tl.store(gates + 3 * COLUMNS + j, leave, mask=inside)
        tl.store(cell_next + LAYER * HIDDEN + j, c, mask=inside)
        tl.store(given_next + own_of(LAYER, READ, HIDDEN) + j, hidden, mask=inside)
    else:
        hidden = tanh(sums[0])
        tl.store(gates + j, hidden, mask=inside)
    if LAYER == LAYERS - 1:
        tl.store(output + j, hidden, mask=inside)
    else:
        tl.store(given + start_of(LAYER + 1, READ, HIDDEN, RECURRENT) + j, hidden, mask=inside)


@triton.jit
def load_gates(at, STRIDE: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr, RECURRENT: tl.constexpr):
    """Load four numbers of each LSTM unit that stand STRIDE apart, or the one of a feed-forward unit."""
    j = tl.arange(0, BLOCK)
    inside = j < HIDDEN
    first = tl.load(at + j, mask=inside, other=0.0)
    if RECURRENT:
        second = tl.load(at + STRIDE + j, mask=inside, other=0.0)
        third = tl.load(at + 2 * STRIDE + j, mask=inside, other=0.0)
        return first, second, third, tl.load(at + 3 * STRIDE + j, mask=inside, other=0.0)
    else:
        return first, first, first, first


@triton.jit
def sums_of_gates(
    inputs,
    biases,
    parts,
    HIDDEN: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
    RECURRENT: tl.constexpr,
    SPLIT: tl.constexpr,
):
    """Return the sums of each unit before activation, four for LSTM units: of inputs, biases and all that recurs."""
    WIDE: tl.constexpr = (4 if RECURRENT else 1) * COLUMNS
    j = tl.arange(0, BLOCK)
    inside = j < HIDDEN
    first = inputs[0] + biases[0] + total(parts, j, inside, SPLIT, WIDE)
    if RECURRENT:
        second = inputs[1] + biases[1] + total(parts, COLUMNS + j, inside, SPLIT, WIDE)
        third = inputs[2] + biases[2] + total(parts, 2 * COLUMNS + j, inside, SPLIT, WIDE)
        return first, second, third, inputs[3] + biases[3] + total(parts, 3 * COLUMNS + j, inside, SPLIT, WIDE)
    else:
        return first, first, first, first


@triton.jit
def controller_layer_backward(
    gates,
    cells,
    dhidden,
    dgiven,
    dgates,
    dcell,
    dcell_before,
    LAYER: tl.constexpr,
    READ: tl.constexpr,
    HIDDEN: tl.constexpr,
    COLUMNS: tl.constexpr,
    HIDDEN_BLOCK: tl.constexpr,
    RECURRENT: tl.constexpr,
):
    """Store the gradients of a layer's sums before activation, from that of its output by all but the next step."""
    j = tl.arange(0, HIDDEN_BLOCK)
    inside = j < HIDDEN
    dgates += LAYER * (4 if RECURRENT else 1) * COLUMNS
    if RECURRENT:
        denter, dkeep, dcandidate, dleave, dc = lstm_unit_backward(
            gates[0],
            gates[1],
            gates[2],
            gates[3],
            cells[0],
            cells[1],
            dhidden + tl.load(dgiven + own_of(LAYER, READ, HIDDEN) + j, mask=inside, other=0.0),
            tl.load(dcell + LAYER * HIDDEN + j, mask=inside, other=0.0),
        )
        tl.store(dgates + j, denter, mask=j < COLUMNS)
        tl.store(dgates + COLUMNS + j, dkeep, mask=j < COLUMNS)
        tl.store(dgates + 2 * COLUMNS + j, dcandidate, mask=j < COLUMNS)
        tl.store(dgates + 3 * COLUMNS + j, dleave, mask=j < COLUMNS)
        tl.store(dcell_before + LAYER * HIDDEN + j, dc, mask=inside)
    else:
        tl.store(dgates + j, dhidden * (1 - gates[0] * gates[0]), mask=j < COLUMNS)


@triton.jit
def load_cells(cell, cell_next, LAYER: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    """Load the cell states of a layer before and after a step."""
    at, inside = LAYER * HIDDEN + tl.arange(0, BLOCK), tl.arange(0, BLOCK) < HIDDEN
    return tl.load(cell + at, mask=inside, other=0.0), tl.load(cell_next + at, mask=inside, other=0.0)


@triton.jit(do_not_specialize=["steps", "batch", "slots", *_STRIDES])
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
    GATES_SPLIT: tl.constexpr,
    EMITTED_SPLIT: tl.constexpr,
    SLOT_SPLIT: tl.constexpr,
    GATES_CHUNK: tl.constexpr,
    EMITTED_CHUNK: tl.constexpr,
    KEEP: tl.constexpr,
):
    """Run one sequence; outputs are those of controller and reads, which the output layer is given."""
    HEADS: tl.constexpr = READS + WRITES
    READ: tl.constexpr = READS * WIDTH
    WIDE: tl.constexpr = (4 if RECURRENT else 1) * COLUMNS
    INPUTS: tl.constexpr = (4 if RECURRENT else 1) * HIDDEN
    ADDS: tl.constexpr = HEADS * WIDTH
    GATE: tl.constexpr = ADDS + WRITES * WIDTH
    ERASES: tl.constexpr = GATE + HEADS
    STRENGTHS: tl.constexpr = ERASES + WRITES * WIDTH
    SHARPENINGS: tl.constexpr = STRENGTHS + HEADS
    MOVES: tl.constexpr = SHARPENINGS + HEADS
    FIRST: tl.constexpr = READ + RECURRENT * HIDDEN
    OTHER: tl.constexpr = HIDDEN + RECURRENT * HIDDEN

    p = tl.program_id(0).to(tl.int64)
    network, sequence = p // batch, p % batch
    first_weights += network * FIRST * WIDE
    other_weights += network * (LAYERS - 1) * OTHER * WIDE
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
    content = cosine + rows * HEADS * slots
    weightings = content + rows * HEADS * slots

    copy(memory_start + network * memory_networks + sequence * memory_batch, memory, slots * WIDTH, _COPY)
    copy(weights_start + network * weights_networks + sequence * weights_batch, weightings, HEADS * slots, _COPY)
    copy(reads_start + network * reads_networks + sequence * reads_batch, given, READ, _COPY)
    if RECURRENT:
        cell_start += network * cell_networks + sequence * cell_batch
        hidden_start += network * hidden_networks + sequence * hidden_batch
        copy(cell_start, cell, LAYERS * HIDDEN, _COPY)
        for layer in tl.static_range(LAYERS):
            copy(hidden_start + layer * HIDDEN, given + own_of(layer, READ, HIDDEN), HIDDEN, _COPY)
    tl.debug_barrier()

    h, e, m = tl.arange(0, HEAD_BLOCK), tl.arange(0, EMITTED_BLOCK), tl.arange(0, WIDTH_BLOCK)
    chunk = load_rows(first_weights, 0, FIRST, WIDE, GATES_CHUNK, GATES_BLOCK)
    for step in range(steps):
        t = tl.cast(step, tl.int64)
        row = t if KEEP else t & 1
        after = row + 1 if KEEP else 1 - row
        output_t, given_after = output + t * (HIDDEN + READ), given + after * GIVEN
        emitted_t = emitted + row * EMITTED_COLUMNS
        cosine_t, content_t = cosine + row * HEADS * slots, content + row * HEADS * slots
        weights_t, weights_after = weightings + row * HEADS * slots, weightings + after * HEADS * slots
        memory_t, memory_after = memory + row * slots * WIDTH, memory + after * slots * WIDTH
        for layer in tl.static_range(LAYERS):
            bias = load_gates(biases + layer * INPUTS, HIDDEN, HIDDEN, HIDDEN_BLOCK, RECURRENT)
            if layer == 0:
                of_inputs = load_gates(inputs + t * INPUTS, HIDDEN, HIDDEN, HIDDEN_BLOCK, RECURRENT)
            else:
                of_inputs = (0.0, 0.0, 0.0, 0.0)
            product(
                chunk,
                first_weights if layer == 0 else other_weights + (layer - 1) * OTHER * WIDE,
                given + row * GIVEN + start_of(layer, READ, HIDDEN, RECURRENT),
                parts,
                FIRST if layer == 0 else OTHER,
                WIDE,
                GATES_CHUNK,
                GATES_SPLIT,
                GATES_BLOCK,
            )
            tl.debug_barrier()
            sums = sums_of_gates(of_inputs, bias, parts, HIDDEN, COLUMNS, HIDDEN_BLOCK, RECURRENT, GATES_SPLIT)
            # Loaded while units are computed: loads return in their order, so after those that are needed at once.
            if layer == LAYERS - 1:
                chunk = load_rows(head_weights, 0, HIDDEN, EMITTED_COLUMNS, EMITTED_CHUNK, EMITTED_BLOCK)
            else:
                chunk = load_rows(other_weights + layer * OTHER * WIDE, 0, OTHER, WIDE, GATES_CHUNK, GATES_BLOCK)
            controller_layer(
                sums,
                given + row * GIVEN,
                given_after,
                gates + row * LAYERS * WIDE,
                cell + row * LAYERS * HIDDEN,
                cell + after * LAYERS * HIDDEN,
                output_t,
                layer,
                READ,
                HIDDEN,
                COLUMNS,
                HIDDEN_BLOCK,
                LAYERS,
                RECURRENT,
            )
            tl.debug_barrier()
        product(
            chunk,
            head_weights,
            output_t,
            parts,
            HIDDEN,
            EMITTED_COLUMNS,
            EMITTED_CHUNK,
            EMITTED_SPLIT,
            EMITTED_BLOCK,
        )
        tl.debug_barrier()
        bias = tl.load(head_biases + e, mask=e < EMITTED, other=0.0).to(output.dtype.element_ty)
        sums = total(parts, e, e < EMITTED, EMITTED_SPLIT, EMITTED_COLUMNS)
        tl.store(emitted_t + e, sums + bias, mask=e < EMITTED)
        tl.debug_barrier()
        cosines(memory_t, emitted_t, cosine_t, slots, HEADS, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        tl.debug_barrier()
        by_key = content_weights(
            load_weightings(cosine_t, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK),
            softplus(clamped(emitted_t + STRENGTHS + h, h < HEADS)),
            slots,
            SLOTS_BLOCK,
        )
        store_weightings(content_t, by_key, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        tl.debug_barrier()
        gate = sigmoid(clamped(emitted_t + GATE + h, h < HEADS))
        moves = emitted_t + MOVES
        shifted = shift(content_t, weights_t, gate, moves, slots, HEADS, SHIFTS, HEAD_BLOCK, SLOTS_BLOCK)
        sharpening = 1 + softplus(clamped(emitted_t + SHARPENINGS + h, h < HEADS))
        chunk = load_rows(first_weights, 0, FIRST, WIDE, GATES_CHUNK, GATES_BLOCK)
        weighting = sharpen(shifted, sharpening, slots, SLOTS_BLOCK)
        store_weightings(weights_after, weighting, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        tl.debug_barrier()
        for head in tl.static_range(READS):
            of_head = parts + head * SLOT_SPLIT * WIDTH
            read(memory_t, weights_after + head * slots, of_head, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK, SLOT_SPLIT)
        write(
            memory_t,
            weights_after + READS * slots,
            emitted_t + ERASES,
            emitted_t + ADDS,
            memory_after,
            slots,
            WRITES,
            WIDTH,
            SLOT_BLOCK,
            WIDTH_BLOCK,
        )
        tl.debug_barrier()
        for head in tl.static_range(READS):
            found = total(parts + head * SLOT_SPLIT * WIDTH, m, m < WIDTH, SLOT_SPLIT, WIDTH)
            tl.store(output_t + HIDDEN + head * WIDTH + m, found, mask=m < WIDTH)
            tl.store(given_after + head * WIDTH + m, found, mask=m < WIDTH)
        tl.debug_barrier()

    last = tl.cast(steps if KEEP else steps & 1, tl.int64)
    programs = tl.num_programs(0).to(tl.int64)
    copy(memory + last * slots * WIDTH, end + p * slots * WIDTH, slots * WIDTH, _COPY)
    end += programs * slots * WIDTH
    copy(weightings + last * HEADS * slots, end + p * HEADS * slots, HEADS * slots, _COPY)
    end += programs * HEADS * slots
    copy(given + last * GIVEN, end + p * READ, READ, _COPY)
    if RECURRENT:
        end += programs * READ
        for layer in tl.static_range(LAYERS):
            own = given + last * GIVEN + own_of(layer, READ, HIDDEN)
            copy(own, end + (p * LAYERS + layer) * HIDDEN, HIDDEN, _COPY)
        end += programs * LAYERS * HIDDEN
        copy(cell + last * LAYERS * HIDDEN, end + p * LAYERS * HIDDEN, LAYERS * HIDDEN, _COPY)


@triton.jit(do_not_specialize=["steps", "batch", "slots", "limit"])
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
    limit,
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
    LIMITED: tl.constexpr,
    OF_END: tl.constexpr,
):
    """Run one sequence backward, from the gradients of its outputs and, with OF_END, of its last state."""
    HEADS: tl.constexpr = READS + WRITES
    READ: tl.constexpr = READS * WIDTH
    WIDE: tl.constexpr = (4 if RECURRENT else 1) * COLUMNS
    ADDS: tl.constexpr = HEADS * WIDTH
    GATE: tl.constexpr = ADDS + WRITES * WIDTH
    ERASES: tl.constexpr = GATE + HEADS
    STRENGTHS: tl.constexpr = ERASES + WRITES * WIDTH
    SHARPENINGS: tl.constexpr = STRENGTHS + HEADS
    MOVES: tl.constexpr = SHARPENINGS + HEADS
    OTHER: tl.constexpr = WIDE * OTHER_COLUMNS
    OF_HEAD: tl.constexpr = SLOT_SPLIT * WIDTH

    p = tl.program_id(0).to(tl.int64)
    network = p // batch
    first_weights += network * WIDE * FIRST_COLUMNS
    other_weights += network * (LAYERS - 1) * OTHER
    head_weights += network * EMITTED * COLUMNS
    rows = steps + 1
    gates = saved + p * saved_size
    memory = gates + rows * LAYERS * WIDE
    emitted = memory + rows * slots * WIDTH + rows * GIVEN
    cell = emitted + rows * EMITTED_COLUMNS + PARTS
    cosine = cell + rows * LAYERS * HIDDEN
    content = cosine + rows * HEADS * slots
    weightings = content + rows * HEADS * slots
    doutput += p * steps * (HIDDEN + READ)
    dgates += p * steps * LAYERS * WIDE
    demitted += p * steps * EMITTED
    dmemory = scratch + p * scratch_size
    dgiven = dmemory + 2 * slots * WIDTH
    parts = dgiven + GIVEN
    dcell = parts + PARTS
    dprevious = dcell + 2 * LAYERS * HIDDEN
    dweights = dprevious + HEADS * slots
    dshifted = dweights + HEADS * slots
    dcosine = dshifted + HEADS * slots

    # Gradients that pass from step to step in two rows are read from row `steps & 1` first.
    last = steps & 1
    fill(dgiven, GIVEN, _COPY)
    tl.debug_barrier()
    if OF_END:
        copy(dmemory_end + p * slots * WIDTH, dmemory + last * slots * WIDTH, slots * WIDTH, _COPY)
        copy(dweights_end + p * HEADS * slots, dprevious, HEADS * slots, _COPY)
        copy(dreads_end + p * READ, dgiven, READ, _COPY)
        if RECURRENT:
            copy(dcell_end + p * LAYERS * HIDDEN, dcell + last * LAYERS * HIDDEN, LAYERS * HIDDEN, _COPY)
            for layer in tl.static_range(LAYERS):
                of_layer = (p * LAYERS + layer) * HIDDEN
                copy(dhidden_end + of_layer, dgiven + own_of(layer, READ, HIDDEN), HIDDEN, _COPY)
    else:
        fill(dmemory + last * slots * WIDTH, slots * WIDTH, _COPY)
        fill(dprevious, HEADS * slots, _COPY)
        if RECURRENT:
            fill(dcell + last * LAYERS * HIDDEN, LAYERS * HIDDEN, _COPY)
    tl.debug_barrier()

    h, j = tl.arange(0, HEAD_BLOCK), tl.arange(0, HIDDEN_BLOCK)
    for reverse in range(steps):
        step = steps - 1 - reverse
        t = tl.cast(step, tl.int64)
        doutput_t = doutput + t * (HIDDEN + READ)
        emitted_t, demitted_t = emitted + t * EMITTED_COLUMNS, demitted + t * EMITTED
        cosine_t, content_t = cosine + t * HEADS * slots, content + t * HEADS * slots
        weights_t, weights_after = weightings + t * HEADS * slots, weightings + (t + 1) * HEADS * slots
        memory_t = memory + t * slots * WIDTH
        dafter = dmemory + (step + 1 & 1) * slots * WIDTH
        dbefore = dmemory + (step & 1) * slots * WIDTH

        for head in tl.static_range(READS):
            dread = load_vector(doutput_t + HIDDEN + head * WIDTH, WIDTH, WIDTH_BLOCK)
            dread += load_vector(dgiven + head * WIDTH, WIDTH, WIDTH_BLOCK)
            read_backward(memory_t, dread, dweights + head * slots, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        for head in tl.static_range(WRITES):
            write_backward(
                memory_t,
                weights_after + READS * slots,
                emitted_t + ERASES,
                emitted_t + ADDS,
                dafter,
                dweights + READS * slots,
                parts + 2 * head * OF_HEAD,
                parts + (2 * head + 1) * OF_HEAD,
                slots,
                head,
                WRITES,
                WIDTH,
                SLOT_BLOCK,
                WIDTH_BLOCK,
                SLOT_SPLIT,
            )
        gate, moves = sigmoid(clamped(emitted_t + GATE + h, h < HEADS)), emitted_t + MOVES
        shifted = shift(content_t, weights_t, gate, moves, slots, HEADS, SHIFTS, HEAD_BLOCK, SLOTS_BLOCK)
        raw = clamped(emitted_t + SHARPENINGS + h, h < HEADS)
        weighting = load_weightings(weights_after, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        cosines = load_weightings(cosine_t, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        tl.debug_barrier()
        for head in tl.static_range(WRITES):
            written_backward(
                parts + 2 * head * OF_HEAD,
                parts + (2 * head + 1) * OF_HEAD,
                emitted_t + ERASES + head * WIDTH,
                emitted_t + ADDS + head * WIDTH,
                demitted_t + ERASES + head * WIDTH,
                demitted_t + ADDS + head * WIDTH,
                WIDTH,
                WIDTH_BLOCK,
                SLOT_SPLIT,
            )
        dweighting = load_weightings(dweights, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        dweighting += load_weightings(dprevious, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        if LIMITED:
            dweighting = tl.minimum(tl.maximum(dweighting, -limit), limit)
        dmoved, dsharpening = sharpen_backward(shifted, 1 + softplus(raw), weighting, dweighting)
        store_weightings(dshifted, dmoved, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        store_clamped_gradient(
            emitted_t + SHARPENINGS + h, demitted_t + SHARPENINGS + h, dsharpening * sigmoid(raw), h < HEADS
        )
        dmoves = demitted_t + MOVES
        moves_backward(
            content_t,
            weights_t,
            gate,
            dmoved,
            moves,
            dmoves,
            slots,
            HEADS,
            SHIFTS,
            HEAD_BLOCK,
            SHIFT_BLOCK,
            SLOTS_BLOCK,
        )
        tl.debug_barrier()
        raw = clamped(emitted_t + STRENGTHS + h, h < HEADS)
        previous = load_weightings(weights_t, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        by_key = load_weightings(content_t, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        dgated = shift_backward(dshifted, moves, slots, HEADS, SHIFTS, HEAD_BLOCK, SLOTS_BLOCK)
        chunk = load_rows(head_weights, 0, EMITTED, COLUMNS, HIDDEN_CHUNK, HIDDEN_BLOCK)
        dbefore_step, dcosines, dgate, dstrength = interpolate_and_content_backward(
            previous, by_key, cosines, gate, softplus(raw), dgated
        )
        store_weightings(dprevious, dbefore_step, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        store_weightings(dcosine, dcosines, slots, HEADS, HEAD_BLOCK, SLOTS_BLOCK)
        store_clamped_gradient(emitted_t + GATE + h, demitted_t + GATE + h, dgate * gate * (1 - gate), h < HEADS)
        store_clamped_gradient(
            emitted_t + STRENGTHS + h, demitted_t + STRENGTHS + h, dstrength * sigmoid(raw), h < HEADS
        )
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            of_head = parts + head * OF_HEAD
            of_cosines = dcosine + head * slots
            unit_key_backward(memory_t, of_cosines, of_head, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK, SLOT_SPLIT)
        memory_backward(
            memory_t,
            weights_after,
            emitted_t,
            emitted_t + ERASES,
            doutput_t + HIDDEN,
            dgiven,
            cosine_t,
            dcosine,
            dafter,
            dbefore,
            slots,
            READS,
            WRITES,
            WIDTH,
            SLOT_BLOCK,
            WIDTH_BLOCK,
        )
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            key = head * WIDTH
            key_backward(parts + head * OF_HEAD, emitted_t + key, demitted_t + key, WIDTH, WIDTH_BLOCK, SLOT_SPLIT)
        gates_t, cell_t, cell_after = (
            gates + t * LAYERS * WIDE,
            cell + t * LAYERS * HIDDEN,
            cell + (t + 1) * LAYERS * HIDDEN,
        )
        units = load_gates(gates_t + (LAYERS - 1) * WIDE, COLUMNS, HIDDEN, HIDDEN_BLOCK, RECURRENT)
        cells = load_cells(cell_t, cell_after, LAYERS - 1, HIDDEN if RECURRENT else 0, HIDDEN_BLOCK)
        doutput_units = tl.load(doutput_t + j, mask=j < HIDDEN, other=0.0)
        tl.debug_barrier()
        product(
            chunk,
            head_weights,
            demitted_t,
            parts,
            EMITTED,
            COLUMNS,
            HIDDEN_CHUNK,
            HIDDEN_SPLIT,
            HIDDEN_BLOCK,
        )
        tl.debug_barrier()
        dhidden = total(parts, j, j < HIDDEN, HIDDEN_SPLIT, COLUMNS) + doutput_units
        chunk = load_rows(
            other_weights + (LAYERS - 2) * OTHER if LAYERS > 1 else first_weights,
            0,
            WIDE,
            OTHER_COLUMNS if LAYERS > 1 else FIRST_COLUMNS,
            OTHER_CHUNK if LAYERS > 1 else FIRST_CHUNK,
            OTHER_BLOCK if LAYERS > 1 else FIRST_BLOCK,
        )
        for layer in tl.static_range(LAYERS - 1, -1, -1):
            if layer < LAYERS - 1:
                above = start_of(layer + 1, READ, HIDDEN, RECURRENT)
                dhidden = tl.load(dgiven + above + j, mask=j < HIDDEN, other=0.0)
            controller_layer_backward(
                units,
                cells,
                dhidden,
                dgiven,
                dgates + t * LAYERS * WIDE,
                dcell + (step + 1 & 1) * LAYERS * HIDDEN,
                dcell + (step & 1) * LAYERS * HIDDEN,
                layer,
                READ,
                HIDDEN,
                COLUMNS,
                HIDDEN_BLOCK,
                RECURRENT,
            )
            if layer > 0:
                units = load_gates(gates_t + (layer - 1) * WIDE, COLUMNS, HIDDEN, HIDDEN_BLOCK, RECURRENT)
                cells = load_cells(cell_t, cell_after, layer - 1, HIDDEN if RECURRENT else 0, HIDDEN_BLOCK)
            tl.debug_barrier()
            product(
                chunk,
                other_weights + (layer - 1) * OTHER if layer > 0 else first_weights,
                dgates + (t * LAYERS + layer) * WIDE,
                parts,
                WIDE,
                FIRST_COLUMNS if layer == 0 else OTHER_COLUMNS,
                FIRST_CHUNK if layer == 0 else OTHER_CHUNK,
                FIRST_SPLIT if layer == 0 else OTHER_SPLIT,
                FIRST_BLOCK if layer == 0 else OTHER_BLOCK,
            )
            if layer > 0:
                chunk = load_rows(
                    other_weights + (layer - 2) * OTHER if layer > 1 else first_weights,
                    0,
                    WIDE,
                    FIRST_COLUMNS if layer == 1 else OTHER_COLUMNS,
                    FIRST_CHUNK if layer == 1 else OTHER_CHUNK,
                    FIRST_BLOCK if layer == 1 else OTHER_BLOCK,
                )
            tl.debug_barrier()
            i = tl.arange(0, FIRST_BLOCK if layer == 0 else OTHER_BLOCK)
            here = i < (READ if layer == 0 else HIDDEN) + RECURRENT * HIDDEN
            dinputs = total(
                parts,
                i,
                here,
                FIRST_SPLIT if layer == 0 else OTHER_SPLIT,
                FIRST_COLUMNS if layer == 0 else OTHER_COLUMNS,
            )
            tl.store(dgiven + start_of(layer, READ, HIDDEN, RECURRENT) + i, dinputs, mask=here)
            tl.debug_barrier()

    programs = tl.num_programs(0).to(tl.int64)
    copy(dmemory, dstart + p * slots * WIDTH, slots * WIDTH, _COPY)
    dstart += programs * slots * WIDTH
    copy(dprevious, dstart + p * HEADS * slots, HEADS * slots, _COPY)
    dstart += programs * HEADS * slots
    copy(dgiven, dstart + p * READ, READ, _COPY)
    if RECURRENT:
        dstart += programs * READ
        for layer in tl.static_range(LAYERS):
            own = dgiven + own_of(layer, READ, HIDDEN)
            copy(own, dstart + (p * LAYERS + layer) * HIDDEN, HIDDEN, _COPY)
        dstart += programs * LAYERS * HIDDEN
        copy(dcell, dstart + p * LAYERS * HIDDEN, LAYERS * HIDDEN, _COPY)
