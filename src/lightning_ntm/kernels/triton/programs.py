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
    four_products,
    interpolate,
    key_backward,
    load_vector,
    load_weighting,
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
    sigmoid,
    softplus,
    store_emitted_gradient,
    tanh,
    write,
    write_backward,
)

_COPY = tl.constexpr(1024)  # numbers that are copied at once


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
    inputs,
    weights,
    biases,
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
    TILE: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """One step of a layer; `inputs` holds the share of the input in the sums of the first, bias included."""
    GATES: tl.constexpr = 4 if RECURRENT else 1
    ROWS: tl.constexpr = (READ if LAYER == 0 else HIDDEN) + RECURRENT * HIDDEN
    ROW_BLOCK: tl.constexpr = TILE // (GATES * HIDDEN_BLOCK)
    j = tl.arange(0, HIDDEN_BLOCK)
    inside = j < HIDDEN
    first = start_of(LAYER, READ, HIDDEN, RECURRENT)
    sums = inputs if LAYER == 0 else biases + (LAYER - 1) * GATES * HIDDEN
    gates += LAYER * GATES * COLUMNS
    weights += first * GATES * COLUMNS
    if RECURRENT:
        enter, keep, candidate, leave = four_products(
            weights, given + first, ROWS, COLUMNS, ROW_BLOCK, HIDDEN_BLOCK, UNROLL
        )
        enter, keep, candidate, leave, c, hidden = lstm_unit(
            enter + tl.load(sums + j, mask=inside, other=0.0),
            keep + tl.load(sums + HIDDEN + j, mask=inside, other=0.0),
            candidate + tl.load(sums + 2 * HIDDEN + j, mask=inside, other=0.0),
            leave + tl.load(sums + 3 * HIDDEN + j, mask=inside, other=0.0),
            tl.load(cell + LAYER * HIDDEN + j, mask=inside, other=0.0),
        )
        tl.store(gates + j, enter, mask=inside)
        tl.store(gates + COLUMNS + j, keep, mask=inside)
        tl.store(gates + 2 * COLUMNS + j, candidate, mask=inside)
        tl.store(gates + 3 * COLUMNS + j, leave, mask=inside)
        tl.store(cell_next + LAYER * HIDDEN + j, c, mask=inside)
        tl.store(given_next + own_of(LAYER, READ, HIDDEN) + j, hidden, mask=inside)
    else:
        hidden = product(weights, given + first, ROWS, COLUMNS, ROW_BLOCK, HIDDEN_BLOCK, UNROLL)
        hidden = tanh(hidden + tl.load(sums + j, mask=inside, other=0.0))
        tl.store(gates + j, hidden, mask=inside)
    if LAYER == LAYERS - 1:
        tl.store(output + j, hidden, mask=inside)
    else:
        tl.store(given + start_of(LAYER + 1, READ, HIDDEN, RECURRENT) + j, hidden, mask=inside)


@triton.jit
def controller_layer_backward(
    weights,
    gates,
    cell,
    cell_next,
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
    FIRST_COLUMNS: tl.constexpr,
    OTHER_COLUMNS: tl.constexpr,
    FIRST_BLOCK: tl.constexpr,
    OTHER_BLOCK: tl.constexpr,
    RECURRENT: tl.constexpr,
    TILE: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Store the gradients of a layer's sums before activation, then return that of what the layer is given.

    `dhidden` is the gradient of the layer's output by all but the next step.
    """
    GATES: tl.constexpr = 4 if RECURRENT else 1
    FIRST: tl.constexpr = GATES * COLUMNS * FIRST_COLUMNS
    GIVEN_COLUMNS: tl.constexpr = FIRST_COLUMNS if LAYER == 0 else OTHER_COLUMNS
    BLOCK: tl.constexpr = FIRST_BLOCK if LAYER == 0 else OTHER_BLOCK
    j = tl.arange(0, HIDDEN_BLOCK)
    inside = j < HIDDEN
    gates += LAYER * GATES * COLUMNS
    dgates += LAYER * GATES * COLUMNS
    if LAYER > 0:
        weights += FIRST + (LAYER - 1) * GATES * COLUMNS * OTHER_COLUMNS
    if RECURRENT:
        denter, dkeep, dcandidate, dleave, dc = lstm_unit_backward(
            tl.load(gates + j, mask=inside, other=0.0),
            tl.load(gates + COLUMNS + j, mask=inside, other=0.0),
            tl.load(gates + 2 * COLUMNS + j, mask=inside, other=0.0),
            tl.load(gates + 3 * COLUMNS + j, mask=inside, other=0.0),
            tl.load(cell + LAYER * HIDDEN + j, mask=inside, other=0.0),
            tl.load(cell_next + LAYER * HIDDEN + j, mask=inside, other=0.0),
            dhidden + tl.load(dgiven + own_of(LAYER, READ, HIDDEN) + j, mask=inside, other=0.0),
            tl.load(dcell + LAYER * HIDDEN + j, mask=inside, other=0.0),
        )
        tl.store(dgates + j, denter, mask=j < COLUMNS)
        tl.store(dgates + COLUMNS + j, dkeep, mask=j < COLUMNS)
        tl.store(dgates + 2 * COLUMNS + j, dcandidate, mask=j < COLUMNS)
        tl.store(dgates + 3 * COLUMNS + j, dleave, mask=j < COLUMNS)
        tl.store(dcell_before + LAYER * HIDDEN + j, dc, mask=inside)
    else:
        hidden = tl.load(gates + j, mask=inside, other=0.0)
        tl.store(dgates + j, dhidden * (1 - hidden * hidden), mask=j < COLUMNS)
    tl.debug_barrier()
    dinputs = product(weights, dgates, GATES * COLUMNS, GIVEN_COLUMNS, TILE // BLOCK, BLOCK, UNROLL)
    i = tl.arange(0, BLOCK)
    count = (READ if LAYER == 0 else HIDDEN) + RECURRENT * HIDDEN
    tl.store(dgiven + start_of(LAYER, READ, HIDDEN, RECURRENT) + i, dinputs, mask=i < count)


@triton.jit(do_not_specialize=["steps", "batch", "slots"])
def forward(
    inputs,
    weights,
    biases,
    memory_start,
    weights_start,
    reads_start,
    hidden_start,
    cell_start,
    memory_end,
    weights_end,
    reads_end,
    hidden_end,
    cell_end,
    output,
    given,
    gates,
    cell,
    emitted,
    cosine,
    gated,
    weightings,
    memory,
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
    WEIGHTS: tl.constexpr,
    HIDDEN_BLOCK: tl.constexpr,
    EMITTED_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    UNROLL: tl.constexpr,
    KEEP: tl.constexpr,
):
    """Run one sequence; outputs are those of controller and reads, which the output layer is given."""
    HEADS: tl.constexpr = READS + WRITES
    READ: tl.constexpr = READS * WIDTH
    GATES: tl.constexpr = 4 if RECURRENT else 1
    ADDS: tl.constexpr = HEADS * WIDTH
    GATE: tl.constexpr = ADDS + WRITES * WIDTH
    ERASES: tl.constexpr = GATE + HEADS
    STRENGTHS: tl.constexpr = ERASES + WRITES * WIDTH
    SHARPENINGS: tl.constexpr = STRENGTHS + HEADS
    MOVES: tl.constexpr = SHARPENINGS + HEADS
    MATRICES: tl.constexpr = (READ + RECURRENT * HIDDEN + (LAYERS - 1) * (1 + RECURRENT) * HIDDEN) * GATES * COLUMNS

    p = tl.program_id(0).to(tl.int64)
    network = p // batch
    weights += network * WEIGHTS
    biases += network * ((LAYERS - 1) * GATES * HIDDEN + EMITTED)
    rows = steps + 1 if KEEP else 2
    inputs += p * steps * GATES * HIDDEN
    output += p * steps * (HIDDEN + READ)
    given += p * rows * GIVEN
    gates += p * rows * LAYERS * GATES * COLUMNS
    cell += p * rows * LAYERS * HIDDEN
    emitted += p * rows * EMITTED
    cosine += p * rows * HEADS * slots
    gated += p * rows * HEADS * slots
    weightings += p * rows * HEADS * slots
    memory += p * rows * slots * WIDTH

    copy(memory_start + p * slots * WIDTH, memory, slots * WIDTH, _COPY)
    copy(weights_start + p * HEADS * slots, weightings, HEADS * slots, _COPY)
    copy(reads_start + p * READ, given, READ, _COPY)
    if RECURRENT:
        copy(cell_start + p * LAYERS * HIDDEN, cell, LAYERS * HIDDEN, _COPY)
        for layer in tl.static_range(LAYERS):
            of_layer = (p * LAYERS + layer) * HIDDEN
            copy(hidden_start + of_layer, given + own_of(layer, READ, HIDDEN), HIDDEN, _COPY)
    tl.debug_barrier()

    n = tl.arange(0, SLOTS_BLOCK)
    e = tl.arange(0, EMITTED_BLOCK)
    m = tl.arange(0, WIDTH_BLOCK)
    for t in range(steps):
        row = tl.cast(t if KEEP else t & 1, tl.int64)
        after = row + 1 if KEEP else 1 - row
        output_t = output + tl.cast(t, tl.int64) * (HIDDEN + READ)
        emitted_t = emitted + row * EMITTED
        cosine_t = cosine + row * HEADS * slots
        gated_t = gated + row * HEADS * slots
        weights_t, weights_after = weightings + row * HEADS * slots, weightings + after * HEADS * slots
        memory_t, memory_after = memory + row * slots * WIDTH, memory + after * slots * WIDTH
        for layer in tl.static_range(LAYERS):
            controller_layer(
                inputs + tl.cast(t, tl.int64) * GATES * HIDDEN,
                weights,
                biases,
                given + row * GIVEN,
                given + after * GIVEN,
                gates + row * LAYERS * GATES * COLUMNS,
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
                TILE,
                UNROLL,
            )
            tl.debug_barrier()
        sums = product(
            weights + MATRICES, output_t, HIDDEN, EMITTED_COLUMNS, TILE // EMITTED_BLOCK, EMITTED_BLOCK, UNROLL
        )
        bias = tl.load(biases + (LAYERS - 1) * GATES * HIDDEN + e, mask=e < EMITTED, other=0.0)
        tl.store(emitted_t + e, sums + bias, mask=e < EMITTED)
        tl.debug_barrier()
        cosines(memory_t, emitted_t, cosine_t, slots, HEADS, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            strength = softplus(clamped(emitted_t + STRENGTHS + head))
            gate = sigmoid(clamped(emitted_t + GATE + head))
            content = content_weights(
                load_weighting(cosine_t + head * slots, 0, slots, SLOTS_BLOCK), strength, slots, SLOTS_BLOCK
            )
            previous = load_weighting(weights_t + head * slots, 0, slots, SLOTS_BLOCK)
            tl.store(gated_t + head * slots + n, interpolate(previous, content, gate), mask=n < slots)
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            shifted = shift(
                gated_t + head * slots, emitted_t + MOVES + head * SHIFTS, slots, 1, SHIFTS, SLOTS_BLOCK
            )
            sharpening = 1 + softplus(clamped(emitted_t + SHARPENINGS + head))
            weight = sharpen(shifted, sharpening, slots, SLOTS_BLOCK)
            tl.store(weights_after + head * slots + n, weight, mask=n < slots)
        tl.debug_barrier()
        for head in tl.static_range(READS):
            found = read(memory_t, weights_after + head * slots, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
            tl.store(output_t + HIDDEN + head * WIDTH + m, found, mask=m < WIDTH)
            tl.store(given + after * GIVEN + head * WIDTH + m, found, mask=m < WIDTH)
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

    last = tl.cast(steps if KEEP else steps & 1, tl.int64)
    copy(memory + last * slots * WIDTH, memory_end + p * slots * WIDTH, slots * WIDTH, _COPY)
    copy(weightings + last * HEADS * slots, weights_end + p * HEADS * slots, HEADS * slots, _COPY)
    copy(given + last * GIVEN, reads_end + p * READ, READ, _COPY)
    if RECURRENT:
        copy(cell + last * LAYERS * HIDDEN, cell_end + p * LAYERS * HIDDEN, LAYERS * HIDDEN, _COPY)
        for layer in tl.static_range(LAYERS):
            own = given + last * GIVEN + own_of(layer, READ, HIDDEN)
            copy(own, hidden_end + (p * LAYERS + layer) * HIDDEN, HIDDEN, _COPY)


@triton.jit(do_not_specialize=["steps", "batch", "slots", "limit"])
def backward(
    weights,
    gates,
    cell,
    emitted,
    cosine,
    gated,
    weightings,
    memory,
    doutput,
    dmemory_end,
    dweights_end,
    dreads_end,
    dhidden_end,
    dcell_end,
    dmemory_start,
    dweights_start,
    dreads_start,
    dhidden_start,
    dcell_start,
    dgates,
    demitted,
    dgiven,
    dcell,
    dmemory,
    dprevious,
    dweights,
    dshifted,
    dcosine,
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
    GIVEN: tl.constexpr,
    WEIGHTS: tl.constexpr,
    HIDDEN_BLOCK: tl.constexpr,
    FIRST_BLOCK: tl.constexpr,
    OTHER_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    UNROLL: tl.constexpr,
    LIMITED: tl.constexpr,
    OF_END: tl.constexpr,
):
    """Run one sequence backward, from the gradients of its outputs and, with OF_END, of its last state."""
    HEADS: tl.constexpr = READS + WRITES
    READ: tl.constexpr = READS * WIDTH
    GATES: tl.constexpr = 4 if RECURRENT else 1
    ADDS: tl.constexpr = HEADS * WIDTH
    GATE: tl.constexpr = ADDS + WRITES * WIDTH
    ERASES: tl.constexpr = GATE + HEADS
    STRENGTHS: tl.constexpr = ERASES + WRITES * WIDTH
    SHARPENINGS: tl.constexpr = STRENGTHS + HEADS
    MOVES: tl.constexpr = SHARPENINGS + HEADS
    MATRICES: tl.constexpr = GATES * COLUMNS * (FIRST_COLUMNS + (LAYERS - 1) * OTHER_COLUMNS)

    p = tl.program_id(0).to(tl.int64)
    weights += p // batch * WEIGHTS
    rows = steps + 1
    gates += p * rows * LAYERS * GATES * COLUMNS
    cell += p * rows * LAYERS * HIDDEN
    emitted += p * rows * EMITTED
    cosine += p * rows * HEADS * slots
    gated += p * rows * HEADS * slots
    weightings += p * rows * HEADS * slots
    memory += p * rows * slots * WIDTH
    doutput += p * steps * (HIDDEN + READ)
    dgates += p * steps * LAYERS * GATES * COLUMNS
    demitted += p * steps * EMITTED
    dgiven += p * GIVEN
    dcell += p * 2 * LAYERS * HIDDEN
    dmemory += p * 2 * slots * WIDTH
    dprevious += p * HEADS * slots
    dweights += p * HEADS * slots
    dshifted += p * HEADS * slots
    dcosine += p * HEADS * slots

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

    n = tl.arange(0, SLOTS_BLOCK)
    j = tl.arange(0, HIDDEN_BLOCK)
    for reverse in range(steps):
        step = steps - 1 - reverse
        t = tl.cast(step, tl.int64)
        doutput_t = doutput + t * (HIDDEN + READ)
        emitted_t, demitted_t = emitted + t * EMITTED, demitted + t * EMITTED
        cosine_t, gated_t = cosine + t * HEADS * slots, gated + t * HEADS * slots
        weights_t, weights_after = weightings + t * HEADS * slots, weightings + (t + 1) * HEADS * slots
        memory_t = memory + t * slots * WIDTH
        dafter = dmemory + (step + 1 & 1) * slots * WIDTH
        dbefore = dmemory + (step & 1) * slots * WIDTH

        for head in tl.static_range(READS):
            at = head * WIDTH
            dread = load_vector(doutput_t + HIDDEN + at, WIDTH, WIDTH_BLOCK)
            dread += load_vector(dgiven + at, WIDTH, WIDTH_BLOCK)
            read_backward(memory_t, dread, dweights + head * slots, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        for head in tl.static_range(WRITES):
            write_backward(
                memory_t,
                weights_after + READS * slots,
                emitted_t + ERASES,
                emitted_t + ADDS,
                dafter,
                dweights + READS * slots,
                demitted_t + ERASES,
                demitted_t + ADDS,
                slots,
                head,
                WRITES,
                WIDTH,
                SLOT_BLOCK,
                WIDTH_BLOCK,
            )
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            dweight = load_weighting(dweights + head * slots, 0, slots, SLOTS_BLOCK)
            dweight += load_weighting(dprevious + head * slots, 0, slots, SLOTS_BLOCK)
            if LIMITED:
                dweight = tl.minimum(tl.maximum(dweight, -limit), limit)
            moves = emitted_t + MOVES + head * SHIFTS
            shifted = shift(gated_t + head * slots, moves, slots, 1, SHIFTS, SLOTS_BLOCK)
            raw = clamped(emitted_t + SHARPENINGS + head)
            weight = load_weighting(weights_after + head * slots, 0, slots, SLOTS_BLOCK)
            dmoved, dsharpening = sharpen_backward(shifted, 1 + softplus(raw), weight, dweight)
            tl.store(dshifted + head * slots + n, dmoved, mask=n < slots)
            store_emitted_gradient(
                emitted_t + SHARPENINGS + head, demitted_t + SHARPENINGS + head, dsharpening * sigmoid(raw)
            )
            along = tl.sum(dmoved * shifted, 0)
            dmoves = demitted_t + MOVES + head * SHIFTS
            moves_backward(gated_t + head * slots, dmoved, along, moves, dmoves, slots, SHIFTS, SLOTS_BLOCK)
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            moves = emitted_t + MOVES + head * SHIFTS
            dgated = shift(dshifted + head * slots, moves, slots, -1, SHIFTS, SLOTS_BLOCK)
            cosine_h = load_weighting(cosine_t + head * slots, 0, slots, SLOTS_BLOCK)
            raw_strength, raw_gate = clamped(emitted_t + STRENGTHS + head), clamped(emitted_t + GATE + head)
            strength, gate = softplus(raw_strength), sigmoid(raw_gate)
            content = content_weights(cosine_h, strength, slots, SLOTS_BLOCK)
            previous = load_weighting(weights_t + head * slots, 0, slots, SLOTS_BLOCK)
            dgate = tl.sum(dgated * (content - previous), 0)
            store_emitted_gradient(emitted_t + GATE + head, demitted_t + GATE + head, dgate * gate * (1 - gate))
            tl.store(dprevious + head * slots + n, (1 - gate) * dgated, mask=n < slots)
            dcontent = gate * dgated
            dscaled = content * (dcontent - tl.sum(content * dcontent, 0))
            dstrength = tl.sum(dscaled * cosine_h, 0) * sigmoid(raw_strength)
            store_emitted_gradient(emitted_t + STRENGTHS + head, demitted_t + STRENGTHS + head, dstrength)
            tl.store(dcosine + head * slots + n, strength * dscaled, mask=n < slots)
        tl.debug_barrier()
        for head in tl.static_range(HEADS):
            key = head * WIDTH
            key_backward(
                memory_t,
                dcosine + head * slots,
                emitted_t + key,
                demitted_t + key,
                slots,
                WIDTH,
                SLOT_BLOCK,
                WIDTH_BLOCK,
            )
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
        dhidden = product(
            weights + MATRICES, demitted_t, EMITTED, COLUMNS, TILE // HIDDEN_BLOCK, HIDDEN_BLOCK, UNROLL
        )
        dhidden += tl.load(doutput_t + j, mask=j < HIDDEN, other=0.0)
        for layer in tl.static_range(LAYERS - 1, -1, -1):
            if layer < LAYERS - 1:
                above = start_of(layer + 1, READ, HIDDEN, RECURRENT)
                dhidden = tl.load(dgiven + above + j, mask=j < HIDDEN, other=0.0)
            controller_layer_backward(
                weights,
                gates + t * LAYERS * GATES * COLUMNS,
                cell + t * LAYERS * HIDDEN,
                cell + (t + 1) * LAYERS * HIDDEN,
                dhidden,
                dgiven,
                dgates + t * LAYERS * GATES * COLUMNS,
                dcell + (step + 1 & 1) * LAYERS * HIDDEN,
                dcell + (step & 1) * LAYERS * HIDDEN,
                layer,
                READ,
                HIDDEN,
                COLUMNS,
                HIDDEN_BLOCK,
                FIRST_COLUMNS,
                OTHER_COLUMNS,
                FIRST_BLOCK,
                OTHER_BLOCK,
                RECURRENT,
                TILE,
                UNROLL,
            )
            tl.debug_barrier()

    copy(dmemory, dmemory_start + p * slots * WIDTH, slots * WIDTH, _COPY)
    copy(dprevious, dweights_start + p * HEADS * slots, HEADS * slots, _COPY)
    copy(dgiven, dreads_start + p * READ, READ, _COPY)
    if RECURRENT:
        copy(dcell, dcell_start + p * LAYERS * HIDDEN, LAYERS * HIDDEN, _COPY)
        for layer in tl.static_range(LAYERS):
            own = dgiven + own_of(layer, READ, HIDDEN)
            copy(own, dhidden_start + (p * LAYERS + layer) * HIDDEN, HIDDEN, _COPY)
