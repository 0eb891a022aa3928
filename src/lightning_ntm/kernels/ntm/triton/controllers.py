"""The controller in one step of a sequence: an LSTM or a feed-forward network, and its backward."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.basics import load_rows, product, sigmoid, tanh, total


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
def lstm_unit(input_gate, forget_gate, cell_gate, output_gate, cell):
    """Return the activated gates, the next cell state and the output of LSTM units."""
    input_gate, forget_gate, output_gate = sigmoid(input_gate), sigmoid(forget_gate), sigmoid(output_gate)
    cell_gate = tanh(cell_gate)
    cell = forget_gate * cell + input_gate * cell_gate
    return input_gate, forget_gate, cell_gate, output_gate, cell, output_gate * tanh(cell)


@triton.jit
def lstm_unit_backward(input_gate, forget_gate, cell_gate, output_gate, cell_before, cell, dhidden, dcell):
    """Return the gradients of the four sums before activation, and of the previous cell state."""
    squashed = tanh(cell)
    dcell += dhidden * output_gate * (1 - squashed * squashed)
    dinput_gate = dcell * cell_gate * input_gate * (1 - input_gate)
    dforget_gate = dcell * cell_before * forget_gate * (1 - forget_gate)
    dcell_gate = dcell * input_gate * (1 - cell_gate * cell_gate)
    doutput_gate = dhidden * squashed * output_gate * (1 - output_gate)
    return dinput_gate, dforget_gate, dcell_gate, doutput_gate, dcell * forget_gate
