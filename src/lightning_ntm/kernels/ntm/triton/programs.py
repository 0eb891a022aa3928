"""A whole sequence of an NTM in one launch: the stages over time, forward and backward.

One program runs one sequence. Program `p` is of network `p // batch`, so a stack of networks only needs more programs.
Arrays that a program saves for the backward, or needs in the next step, are in global memory and stay in the caches:
row `t` is the state before step `t`, or a result of it. Without gradients two rows are used in turn.

`given` holds the recurrent input of each layer of the controller: for the first layer the reads, for others the output
of the layer below; then, for an LSTM, the layer's own last output.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

from typing import NamedTuple

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.stages import (
    Constants,
    Matrix,
    clamped,
    content_weights,
    copy,
    cosines,
    fill,
    held_within,
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

#: Strides of each part of the first state; they are 0 for an initial state that all sequences share.
_STRIDES = [
    f"{part}_{axis}" for axis in ("networks", "batch") for part in ("memory", "weights", "reads", "hidden", "cell")
]


class Places(NamedTuple):
    """Offsets of the parameters of all heads in a row of `emitted`; keys come first."""

    adds: tl.constexpr
    gates: tl.constexpr
    erases: tl.constexpr
    strengths: tl.constexpr
    sharpenings: tl.constexpr
    moves: tl.constexpr


@triton.jit
def start_of(LAYER: tl.constexpr, s: tl.constexpr):
    """Return the offset of the input of a layer in a row of `given`."""
    if LAYER == 0:
        return 0
    else:
        return s.reads * s.width + s.recurrent * s.hidden + (LAYER - 1) * (1 + s.recurrent) * s.hidden


@triton.jit
def own_of(LAYER: tl.constexpr, s: tl.constexpr):
    """Return the offset of the last output of an LSTM layer in a row of `given`."""
    return s.reads * s.width + LAYER * 2 * s.hidden


@triton.jit
def load_gates(at, stride: tl.constexpr, s: tl.constexpr):
    """Load four numbers of each LSTM unit, `stride` apart, or one of each feed-forward unit."""
    j = tl.arange(0, s.hidden_block)
    inside = j < s.hidden
    first = tl.load(at + j, mask=inside, other=0.0)
    if s.recurrent:
        second = tl.load(at + stride + j, mask=inside, other=0.0)
        third = tl.load(at + 2 * stride + j, mask=inside, other=0.0)
        return first, second, third, tl.load(at + 3 * stride + j, mask=inside, other=0.0)
    else:
        return first, first, first, first


@triton.jit
def sums_of_gates(inputs, biases, parts, matrix: tl.constexpr, s: tl.constexpr):
    """Return the sums of each unit before activation, four for LSTM units: of inputs, biases and recurrent inputs."""
    j = tl.arange(0, s.hidden_block)
    inside = j < s.hidden
    first = inputs[0] + biases[0] + total(parts, j, inside, matrix.split, matrix.columns)
    if s.recurrent:
        second = inputs[1] + biases[1] + total(parts, s.columns + j, inside, matrix.split, matrix.columns)
        third = inputs[2] + biases[2] + total(parts, 2 * s.columns + j, inside, matrix.split, matrix.columns)
        fourth = inputs[3] + biases[3] + total(parts, 3 * s.columns + j, inside, matrix.split, matrix.columns)
        return first, second, third, fourth
    else:
        return first, first, first, first


@triton.jit
def controller_layer(sums, given, given_next, gates, cell, cell_next, output, LAYER: tl.constexpr, s: tl.constexpr):
    """Run one step of a layer, from the sums before activation."""
    j = tl.arange(0, s.hidden_block)
    inside = j < s.hidden
    gates += LAYER * (4 if s.recurrent else 1) * s.columns
    if s.recurrent:
        input_gate, forget_gate, cell_gate, output_gate, c, hidden = lstm_unit(
            sums[0], sums[1], sums[2], sums[3], tl.load(cell + LAYER * s.hidden + j, mask=inside, other=0.0)
        )
        tl.store(gates + j, input_gate, mask=inside)
        tl.store(gates + s.columns + j, forget_gate, mask=inside)
        tl.store(gates + 2 * s.columns + j, cell_gate, mask=inside)
        tl.store(gates + 3 * s.columns + j, output_gate, mask=inside)
        tl.store(cell_next + LAYER * s.hidden + j, c, mask=inside)
        tl.store(given_next + own_of(LAYER, s) + j, hidden, mask=inside)
    else:
        hidden = tanh(sums[0])
        tl.store(gates + j, hidden, mask=inside)
    if s.layers - 1 == LAYER:
        tl.store(output + j, hidden, mask=inside)
    else:
        tl.store(given + start_of(LAYER + 1, s) + j, hidden, mask=inside)


@triton.jit
def controller_layer_backward(
    gates, cells, dhidden, dgiven, dgates, dcell, dcell_before, LAYER: tl.constexpr, s: tl.constexpr
):
    """Store the gradients of a layer's sums before activation, from that of its output without the next step's part."""
    j = tl.arange(0, s.hidden_block)
    inside = j < s.hidden
    dgates += LAYER * (4 if s.recurrent else 1) * s.columns
    if s.recurrent:
        dinput_gate, dforget_gate, dcell_gate, doutput_gate, dc = lstm_unit_backward(
            gates[0],
            gates[1],
            gates[2],
            gates[3],
            cells[0],
            cells[1],
            dhidden + tl.load(dgiven + own_of(LAYER, s) + j, mask=inside, other=0.0),
            tl.load(dcell + LAYER * s.hidden + j, mask=inside, other=0.0),
        )
        tl.store(dgates + j, dinput_gate, mask=j < s.columns)
        tl.store(dgates + s.columns + j, dforget_gate, mask=j < s.columns)
        tl.store(dgates + 2 * s.columns + j, dcell_gate, mask=j < s.columns)
        tl.store(dgates + 3 * s.columns + j, doutput_gate, mask=j < s.columns)
        tl.store(dcell_before + LAYER * s.hidden + j, dc, mask=inside)
    else:
        tl.store(dgates + j, dhidden * (1 - gates[0] * gates[0]), mask=j < s.columns)


@triton.jit
def load_cells(cell, cell_next, LAYER: tl.constexpr, s: tl.constexpr):
    """Load the cell states of a layer before and after a step; zeros for a feed-forward controller."""
    at = LAYER * s.hidden + tl.arange(0, s.hidden_block)
    inside = tl.arange(0, s.hidden_block) < s.hidden * s.recurrent
    return tl.load(cell + at, mask=inside, other=0.0), tl.load(cell_next + at, mask=inside, other=0.0)


@triton.jit
def start_forward(memory, weights, reads, hidden, cell, to, slots, s: tl.constexpr):
    """Copy the parts of the first state of a sequence to row 0."""
    copy(memory, to[0], slots * s.width, _COPY)
    copy(weights, to[1], s.heads * slots, _COPY)
    copy(reads, to[2], s.reads * s.width, _COPY)
    if s.recurrent:
        copy(cell, to[3], s.layers * s.hidden, _COPY)
        for layer in tl.static_range(s.layers):
            copy(hidden + layer * s.hidden, to[2] + own_of(layer, s), s.hidden, _COPY)


@triton.jit
def store_state(memory, weights, given, cell, p, to, slots, s: tl.constexpr):
    """Copy a state of a sequence, or its gradient, part by part into the arrays of all sequences."""
    programs = tl.num_programs(0).to(tl.int64)
    copy(memory, to + p * slots * s.width, slots * s.width, _COPY)
    to += programs * slots * s.width
    copy(weights, to + p * s.heads * slots, s.heads * slots, _COPY)
    to += programs * s.heads * slots
    copy(given, to + p * s.reads * s.width, s.reads * s.width, _COPY)
    if s.recurrent:
        to += programs * s.reads * s.width
        for layer in tl.static_range(s.layers):
            copy(given + own_of(layer, s), to + (p * s.layers + layer) * s.hidden, s.hidden, _COPY)
        to += programs * s.layers * s.hidden
        copy(cell, to + p * s.layers * s.hidden, s.layers * s.hidden, _COPY)


@triton.jit
def control(
    chunk,
    inputs,
    first_weights,
    other_weights,
    head_weights,
    biases,
    head_biases,
    given,
    given_next,
    gates,
    cell,
    cell_next,
    output,
    emitted,
    parts,
    FIRST: tl.constexpr,
    OTHER: tl.constexpr,
    HEADS: tl.constexpr,
    EMITTED: tl.constexpr,
    s: tl.constexpr,
):
    """Run all layers of the controller and the linear layer of the heads; `chunk` holds first rows of the weights.

    `inputs` is the share of the input in the sums of the first layer.
    """
    INPUTS: tl.constexpr = (4 if s.recurrent else 1) * s.hidden
    for layer in tl.static_range(s.layers):
        bias = load_gates(biases + layer * INPUTS, s.hidden, s)
        of_inputs = (0.0, 0.0, 0.0, 0.0)
        if layer == 0:
            of_inputs = load_gates(inputs, s.hidden, s)
        matrix = first_weights if layer == 0 else other_weights + (layer - 1) * OTHER.rows * OTHER.columns
        product(chunk, matrix, given + start_of(layer, s), parts, FIRST if layer == 0 else OTHER)
        tl.debug_barrier()
        sums = sums_of_gates(of_inputs, bias, parts, FIRST if layer == 0 else OTHER, s)
        # Loaded while units are computed. Loads return in order, so this one comes after those that are needed now.
        if layer == s.layers - 1:
            chunk = load_rows(head_weights, 0, HEADS)
        else:
            chunk = load_rows(other_weights + layer * OTHER.rows * OTHER.columns, 0, OTHER)
        controller_layer(sums, given, given_next, gates, cell, cell_next, output, layer, s)
        tl.debug_barrier()
    product(chunk, head_weights, output, parts, HEADS)
    tl.debug_barrier()
    e = tl.arange(0, HEADS.block)
    bias = tl.load(head_biases + e, mask=e < EMITTED, other=0.0).to(output.dtype.element_ty)
    sums = total(parts, e, e < EMITTED, HEADS.split, HEADS.columns)
    tl.store(emitted + e, sums + bias, mask=e < EMITTED)
    tl.debug_barrier()


@triton.jit
def address(
    memory,
    emitted,
    cosine,
    content,
    weights,
    weights_after,
    next_weights,
    slots,
    NEXT: tl.constexpr,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the weightings of all heads; return the first rows of `next_weights`, which are loaded meanwhile."""
    h = tl.arange(0, s.head_block)
    is_head = h < s.heads
    cosines(memory, emitted, cosine, slots, s)
    tl.debug_barrier()
    strength = softplus(clamped(emitted + at.strengths + h, is_head))
    by_key = content_weights(load_weightings(cosine, slots, s), strength, slots, s)
    store_weightings(content, by_key, slots, s)
    tl.debug_barrier()
    gate = sigmoid(clamped(emitted + at.gates + h, is_head))
    shifted = shift(content, weights, gate, emitted + at.moves, slots, s)
    sharpening = 1 + softplus(clamped(emitted + at.sharpenings + h, is_head))
    chunk = load_rows(next_weights, 0, NEXT)
    store_weightings(weights_after, sharpen(shifted, sharpening, slots, s), slots, s)
    tl.debug_barrier()
    return chunk


@triton.jit
def read_and_write(
    memory, memory_after, weights, emitted, output, given_next, parts, slots, at: tl.constexpr, s: tl.constexpr
):
    """Store the reads, as output and as recurrent input, and the memory after the step."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    m = tl.arange(0, s.width_block)
    for head in tl.static_range(s.reads):
        read(memory, weights + head * slots, parts + head * OF_HEAD, slots, s)
    write(memory, weights + s.reads * slots, emitted + at.erases, emitted + at.adds, memory_after, slots, s)
    tl.debug_barrier()
    for head in tl.static_range(s.reads):
        found = total(parts + head * OF_HEAD, m, m < s.width, s.slot_split, s.width)
        tl.store(output + s.hidden + head * s.width + m, found, mask=m < s.width)
        tl.store(given_next + head * s.width + m, found, mask=m < s.width)
    tl.debug_barrier()


@triton.jit
def read_and_write_backward(
    memory,
    weights,
    emitted,
    doutput,
    dgiven,
    dmemory,
    dweights,
    parts,
    slots,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the weightings and, in parts, of the written vectors."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    for head in tl.static_range(s.reads):
        dread = load_vector(doutput + s.hidden + head * s.width, s) + load_vector(dgiven + head * s.width, s)
        read_backward(memory, dread, dweights + head * slots, slots, s)
    for head in tl.static_range(s.writes):
        write_backward(
            memory,
            weights + s.reads * slots,
            emitted + at.erases,
            emitted + at.adds,
            dmemory,
            dweights + s.reads * slots,
            parts + 2 * head * OF_HEAD,
            parts + (2 * head + 1) * OF_HEAD,
            slots,
            head,
            s,
        )


@triton.jit
def sharpen_and_shift_backward(
    emitted,
    demitted,
    content,
    weights,
    weights_after,
    dweights,
    dprevious,
    dshifted,
    parts,
    slots,
    LIMIT: tl.constexpr,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the shifted weightings, and of `emitted` for writing, sharpening and shifting."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    h = tl.arange(0, s.head_block)
    is_head = h < s.heads
    # Before the barrier: saved arrays are loaded from distant caches.
    gate = sigmoid(clamped(emitted + at.gates + h, is_head))
    shifted = shift(content, weights, gate, emitted + at.moves, slots, s)
    raw = clamped(emitted + at.sharpenings + h, is_head)
    weighting = load_weightings(weights_after, slots, s)
    tl.debug_barrier()
    for head in tl.static_range(s.writes):
        written_backward(
            parts + 2 * head * OF_HEAD,
            parts + (2 * head + 1) * OF_HEAD,
            emitted + at.erases + head * s.width,
            emitted + at.adds + head * s.width,
            demitted + at.erases + head * s.width,
            demitted + at.adds + head * s.width,
            s,
        )
    dweighting = load_weightings(dweights, slots, s) + load_weightings(dprevious, slots, s)
    if LIMIT > 0:
        # As an argument, or without a dtype, it would be rounded to float32.
        dweighting = held_within(dweighting, tl.full((), LIMIT, dweighting.dtype))
    dmoved, dsharpening = sharpen_backward(shifted, 1 + softplus(raw), weighting, dweighting)
    store_weightings(dshifted, dmoved, slots, s)
    places = at.sharpenings + h
    store_clamped_gradient(emitted + places, demitted + places, dsharpening * sigmoid(raw), is_head)
    moves_backward(content, weights, gate, dmoved, emitted + at.moves, demitted + at.moves, slots, s)


@triton.jit
def content_backward(
    emitted,
    demitted,
    cosine,
    content,
    weights,
    dprevious,
    dshifted,
    dcosine,
    next_weights,
    slots,
    NEXT: tl.constexpr,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the cosines, of the weightings before the step, of gates and of key strengths.

    Return the first rows of `next_weights`, which are loaded meanwhile.
    """
    h = tl.arange(0, s.head_block)
    is_head = h < s.heads
    cosines_t = load_weightings(cosine, slots, s)
    tl.debug_barrier()
    gate = sigmoid(clamped(emitted + at.gates + h, is_head))
    raw = clamped(emitted + at.strengths + h, is_head)
    previous, by_key = load_weightings(weights, slots, s), load_weightings(content, slots, s)
    dgated = shift_backward(dshifted, emitted + at.moves, slots, s)
    chunk = load_rows(next_weights, 0, NEXT)
    dbefore, dcosines, dgate, dstrength = interpolate_and_content_backward(
        previous, by_key, cosines_t, gate, softplus(raw), dgated
    )
    store_weightings(dprevious, dbefore, slots, s)
    store_weightings(dcosine, dcosines, slots, s)
    places = at.gates + h
    store_clamped_gradient(emitted + places, demitted + places, dgate * gate * (1 - gate), is_head)
    places = at.strengths + h
    store_clamped_gradient(emitted + places, demitted + places, dstrength * sigmoid(raw), is_head)
    tl.debug_barrier()
    return chunk


@triton.jit
def memory_and_keys_backward(
    memory,
    weights,
    emitted,
    demitted,
    cosine,
    dcosine,
    doutput,
    dgiven,
    dafter,
    dbefore,
    parts,
    slots,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the memory before the step and of the keys before activation."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    for head in tl.static_range(s.heads):
        unit_key_backward(memory, dcosine + head * slots, parts + head * OF_HEAD, slots, s)
    dreads = doutput + s.hidden
    memory_backward(
        memory, weights, emitted, emitted + at.erases, dreads, dgiven, cosine, dcosine, dafter, dbefore, slots, s
    )
    tl.debug_barrier()
    for head in tl.static_range(s.heads):
        key_backward(parts + head * OF_HEAD, emitted + head * s.width, demitted + head * s.width, s)


@triton.jit
def control_backward(
    chunk,
    first_weights,
    other_weights,
    head_weights,
    gates,
    cell,
    cell_next,
    doutput,
    demitted,
    dgates,
    dgiven,
    dcell,
    dcell_before,
    parts,
    FIRST: tl.constexpr,
    OTHER: tl.constexpr,
    HEADS: tl.constexpr,
    s: tl.constexpr,
):
    """Run the linear layer of the heads and all layers of the controller backward."""
    WIDE: tl.constexpr = (4 if s.recurrent else 1) * s.columns
    j = tl.arange(0, s.hidden_block)
    units = load_gates(gates + (s.layers - 1) * WIDE, s.columns, s)
    cells = load_cells(cell, cell_next, s.layers - 1, s)
    doutput_units = tl.load(doutput + j, mask=j < s.hidden, other=0.0)
    tl.debug_barrier()
    product(chunk, head_weights, demitted, parts, HEADS)
    tl.debug_barrier()
    dhidden = total(parts, j, j < s.hidden, HEADS.split, HEADS.columns) + doutput_units
    if s.layers > 1:
        chunk = load_rows(other_weights + (s.layers - 2) * OTHER.rows * OTHER.columns, 0, OTHER)
    else:
        chunk = load_rows(first_weights, 0, FIRST)
    for layer in tl.static_range(s.layers - 1, -1, -1):
        if layer < s.layers - 1:
            dhidden = tl.load(dgiven + start_of(layer + 1, s) + j, mask=j < s.hidden, other=0.0)
        controller_layer_backward(units, cells, dhidden, dgiven, dgates, dcell, dcell_before, layer, s)
        if layer > 0:
            units = load_gates(gates + (layer - 1) * WIDE, s.columns, s)
            cells = load_cells(cell, cell_next, layer - 1, s)
        tl.debug_barrier()
        matrix = first_weights if layer == 0 else other_weights + (layer - 1) * OTHER.rows * OTHER.columns
        product(chunk, matrix, dgates + layer * WIDE, parts, FIRST if layer == 0 else OTHER)
        if layer > 1:
            chunk = load_rows(other_weights + (layer - 2) * OTHER.rows * OTHER.columns, 0, OTHER)
        elif layer == 1:
            chunk = load_rows(first_weights, 0, FIRST)
        tl.debug_barrier()
        store_dgiven(parts, dgiven + start_of(layer, s), layer, FIRST if layer == 0 else OTHER, s)
        tl.debug_barrier()


@triton.jit
def store_dgiven(parts, dgiven, LAYER: tl.constexpr, matrix: tl.constexpr, s: tl.constexpr):
    """Store the gradient of the input of a layer."""
    i = tl.arange(0, matrix.block)
    inside = i < (s.reads * s.width if LAYER == 0 else s.hidden) + s.recurrent * s.hidden
    tl.store(dgiven + i, total(parts, i, inside, matrix.split, matrix.columns), mask=inside)


@triton.jit
def start_backward(dmemory, dweights, dreads, dhidden, dcell, to, slots, OF_END: tl.constexpr, s: tl.constexpr):
    """Set the gradients of the state to those of the last state, or to zero without OF_END."""
    fill(to[2], s.given, _COPY)
    tl.debug_barrier()
    if OF_END:
        copy(dmemory, to[0], slots * s.width, _COPY)
        copy(dweights, to[1], s.heads * slots, _COPY)
        copy(dreads, to[2], s.reads * s.width, _COPY)
        if s.recurrent:
            copy(dcell, to[3], s.layers * s.hidden, _COPY)
            for layer in tl.static_range(s.layers):
                copy(dhidden + layer * s.hidden, to[2] + own_of(layer, s), s.hidden, _COPY)
    else:
        fill(to[0], slots * s.width, _COPY)
        fill(to[1], s.heads * slots, _COPY)
        if s.recurrent:
            fill(to[3], s.layers * s.hidden, _COPY)
    tl.debug_barrier()


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
    SHIFT_BLOCK: tl.constexpr,
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
