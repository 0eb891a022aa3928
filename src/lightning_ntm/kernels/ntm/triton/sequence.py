"""A whole sequence of an NTM, or of many networks side by side, in one launch of a Triton program each way.

Outside of the programs stand large matrix products, as ordinary operations of PyTorch: before them the share of the
inputs in the first layer of the controller, after them the gradients of all weights, and the output layer.

Where all tensors have a leading axis of networks, `(networks, batch, time, inputs)` and so on, many networks run side
by side. Triton is imported when a sequence is first run.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.call import DeclaredNetwork, declared
from lightning_ntm.kernels.derivatives import first_only
from lightning_ntm.kernels.loss import (
    Criterion,
    Gradients,
    Loss,
    Results,
    of_output_layer,
    output_layer,
    run as run_loss,
)
from lightning_ntm.kernels.loss_graphs import replayed
from lightning_ntm.kernels.ntm.triton.sizes import Options, Sizes, sizes_of
from lightning_ntm.states import unflatten


def run(networks: DeclaredNetwork, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence of one network, or of an NTM that holds the parameters of many."""
    call = declared(networks, state)
    options = Options.of(call.numbers, inputs.device.type)
    output, *end = recurrence(inputs, call.state, call.weights, call.biases, options)
    weight, bias = call.output.weight, call.output.bias
    return output_layer(output, weight, bias), unflatten(state, end)


def recurrence(
    inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor], options: Options
) -> tuple[Tensor, ...]:
    """Return the outputs of controller and reads, `([networks,] batch, time, hidden + read)`, and the last state.

    Args:
        inputs: `([networks,] batch, time, inputs)`.
        state: Memory, weights, reads, hidden, cell; each `([networks,] batch, ...)`.
        weights: Of each layer of the controller, then of the heads; each `([networks,] rows, columns)`.
        biases: Likewise, each `([networks,] rows)`.
        options: All else.
    """
    return _Recurrence.apply(options, torch.is_grad_enabled(), inputs, *state, *weights, *biases)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: Options, keep: bool, inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state, weights, biases = _parts(tensors)
        keep = keep and any(ctx.needs_input_grad)
        output, end, saved = _forward(inputs, state, weights, biases, options, keep)
        ctx.options, ctx.memory = options, state[0].shape[-2:]
        if keep:
            ctx.save_for_backward(inputs, output, saved, *weights)
        ctx.set_materialize_grads(False)
        return (output, *end)

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, output, saved, *weights = ctx.saved_tensors
        sizes = sizes_of(inputs, ctx.memory, weights, ctx.options)
        needed = ctx.needs_input_grad[2:]
        with torch.autocast(inputs.device.type, enabled=False):
            found = _backward(inputs, output, saved, weights, sizes, gradients, needed)
        return (None, None, *found)


def _parts(tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, weights and biases."""
    layers = (len(tensors) - 5) // 2
    return tensors[:5], tensors[5 : 5 + layers], tensors[5 + layers :]


def _forward(
    inputs: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    options: Options,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Run the recurrence; return outputs, the last state, and what is saved."""
    from lightning_ntm.kernels.ntm.triton import programs

    sizes = sizes_of(inputs, state[0].shape[-2:], weights, options)
    *sequences, time, _ = inputs.shape
    count, like = math.prod(sequences), state[0]
    state = [_dense(part) for part in state]
    saved = like.new_empty(count, sizes.saved(time + 1 if keep else 2))
    output = like.new_empty(*sequences, time, sizes.hidden + sizes.read)
    end = like.new_empty(count * sum(map(math.prod, sizes.state)))
    with _on_device_of(inputs):
        programs.forward[(count,)](
            _sums_of_inputs(inputs, weights[0], sizes).to(like.dtype),
            *_matrices_forward(weights, sizes),
            biases[0] if sizes.layers == 1 else torch.cat(list(biases[:-1]), -1),
            biases[-1],
            *state,
            *(part.stride(0) if len(sequences) == 2 else 0 for part in state),
            *(part.stride(len(sequences) - 1) for part in state),
            *(end, output, saved, saved.shape[1], time, sequences[-1], like.shape[-2]),
            **sizes.forward,
            KEEP=keep,
        )
    return output, _parts_of_state(end, sequences, sizes), saved


def _dense(part: Tensor) -> Tensor:
    """Return a part of a state whose numbers of one sequence stand side by side; sequences may share them."""
    rows, columns = part.shape[-2:]
    return part if part.stride()[-2:] == (columns, 1) or rows * columns == 0 else part.contiguous()


def _sums_of_inputs(inputs: Tensor, weight: Tensor, sizes: Sizes) -> Tensor:
    """Return the share of the inputs in the sums of the first layer."""
    return inputs.reshape(*weight.shape[:-2], -1, sizes.inputs) @ weight[..., : sizes.inputs].mT


def _parts_of_state(flat: Tensor, sequences: Sequence[int], sizes: Sizes) -> list[Tensor]:
    """Return the parts of a state that stand one after the other."""
    count = math.prod(sequences)
    parts = flat.split([count * rows * columns for rows, columns in sizes.state])
    return [part.view(*sequences, *shape) for part, shape in zip(parts, sizes.state, strict=True)]


def _matrices_forward(weights: Sequence[Tensor], sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights as the forward program takes them, those of an input side by side: `_matrices`."""

    def of_layer(weight: Tensor, rows: int) -> Tensor:
        recurring = weight[..., weight.shape[-1] - rows :]
        if sizes.columns == sizes.hidden:
            return recurring.mT
        by_gate = recurring.mT.unflatten(-1, (sizes.gates, sizes.hidden))
        return F.pad(by_gate, (0, sizes.columns - sizes.hidden)).flatten(-2)

    wide = sizes.gates * sizes.columns
    return _matrices(weights, sizes, of_layer, (wide, wide, sizes.emitted_columns), weights[-1].mT)


def _matrices_backward(weights: Sequence[Tensor], sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights as the backward program takes them, those of an output side by side: `_matrices`."""

    def of_layer(weight: Tensor, rows: int) -> Tensor:
        recurring = weight[..., weight.shape[-1] - rows :]
        if sizes.columns == sizes.hidden:
            return recurring
        by_gate = recurring.unflatten(-2, (sizes.gates, sizes.hidden))
        return F.pad(by_gate, (0, 0, 0, sizes.columns - sizes.hidden)).flatten(-3, -2)

    columns = sizes.products["FIRST"].columns, sizes.products["OTHER"].columns, sizes.columns
    return _matrices(weights, sizes, of_layer, columns, weights[-1])


def _matrices(
    weights: Sequence[Tensor],
    sizes: Sizes,
    of_layer: Callable[[Tensor, int], Tensor],
    columns: tuple[int, int, int],
    heads: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the recurrent weights of the first layer, of all others, and of the heads, with padded columns."""

    def padded(matrix: Tensor, columns: int) -> Tensor:
        matrix = matrix if sizes.options.weights_dtype is None else matrix.to(sizes.options.weights_dtype)
        missing = columns - matrix.shape[-1]
        return F.pad(matrix, (0, missing)) if missing else matrix.contiguous()

    first = padded(of_layer(weights[0], sizes.first), columns[0])
    others = [padded(of_layer(weight, sizes.other), columns[1]) for weight in weights[1:-1]]
    return first, torch.stack(others, -3) if others else first, padded(heads, columns[2])


def _backward(
    inputs: Tensor,
    output: Tensor,
    saved: Tensor,
    weights: Sequence[Tensor],
    sizes: Sizes,
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Return gradients of inputs, state, weights and biases; `None` among what is given stands for zeros."""
    from lightning_ntm.kernels.ntm.triton import programs

    *sequences, time, _ = inputs.shape
    count = math.prod(sequences)
    doutput, *dend = gradients
    doutput = torch.zeros_like(output) if doutput is None else doutput.contiguous()
    start = output.new_empty(count * sum(map(math.prod, sizes.state)))
    dstart = _parts_of_state(start, sequences, sizes)
    of_end = any(gradient is not None for gradient in dend)
    dgates = output.new_empty(*sequences, time, sizes.layers, sizes.gates, sizes.columns)
    demitted = output.new_empty(*sequences, time, sizes.emitted)
    with _on_device_of(inputs):
        programs.backward[(count,)](
            *_matrices_backward(weights, sizes),
            *(saved, saved.shape[1], doutput),
            *(_filled(dend, dstart) if of_end else dstart),
            *(start, dgates, demitted, output.new_empty(count, sizes.scratch), sizes.scratch),
            *(time, sequences[-1], sizes.memory[0]),
            **sizes.backward,
            OF_END=of_end,
        )
    dgates = dgates[..., : sizes.hidden] if sizes.columns != sizes.hidden else dgates
    of_state = [part if need else None for part, need in zip(dstart, needed[1:6], strict=True)]
    dweights, dbiases = _gradients_of_layers(inputs, output, saved, weights, sizes, dgates, demitted)
    dinputs = _gradient_of_inputs(inputs, weights[0], dgates) if needed[0] else None
    return [dinputs, *of_state, *dweights, *dbiases]


def _filled(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [
        torch.zeros_like(part) if gradient is None else gradient.contiguous()
        for gradient, part in zip(gradients, like, strict=True)
    ]


def _gradients_of_layers(
    inputs: Tensor,
    output: Tensor,
    saved: Tensor,
    weights: Sequence[Tensor],
    sizes: Sizes,
    dgates: Tensor,
    demitted: Tensor,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of weights and of biases, from those of the sums of units and of what heads emitted."""
    *networks, batch, time, _ = inputs.shape
    steps = *networks, batch * time
    given = saved.as_strided(
        (math.prod(networks) * batch, time, sizes.given),
        (saved.shape[1], sizes.given, 1),
        saved.storage_offset() + (time + 1) * sizes.before_given,
    ).view(*networks, batch, time, sizes.given)
    dweights, dbiases = [], []
    for layer in range(sizes.layers):
        of_layer = dgates[..., layer, :, :].reshape(*steps, -1)
        if layer == 0:
            whole = torch.cat([inputs.to(given.dtype), given[..., : sizes.first]], -1)
        else:
            start = sizes.first + (layer - 1) * sizes.other
            whole = given[..., start : start + sizes.other]
        dweights.append(of_layer.mT @ whole.reshape(*steps, -1))
        dbiases.append(of_layer.sum(-2))
    demitted = demitted.view(*steps, -1)
    dweights.append(demitted.mT @ output.view(*steps, -1)[..., : sizes.hidden])
    dbiases.append(demitted.sum(-2))
    dtype = weights[0].dtype
    return [gradient.to(dtype) for gradient in dweights], [gradient.to(dtype) for gradient in dbiases]


def _gradient_of_inputs(inputs: Tensor, weight: Tensor, dgates: Tensor) -> Tensor:
    *networks, batch, time, size = inputs.shape
    of_first = dgates[..., 0, :, :].reshape(*networks, batch * time, -1)
    return (of_first @ weight[..., :size].to(of_first.dtype)).view(inputs.shape).to(inputs.dtype)


def _on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    elsewhere = tensor.is_cuda and tensor.device.index != torch.cuda.current_device()
    return torch.cuda.device_of(tensor) if elsewhere else nullcontext()


def loss(
    networks: DeclaredNetwork, episodes: Sequence[Tensor], state: Any, criterion: Criterion, *, scaled: bool
) -> Loss:
    """Return the loss of a whole sequence of one network, or of an NTM that holds the parameters of many."""
    call = declared(networks, state)
    options = Options.of(call.numbers, episodes[0].device.type)
    weights = *call.weights, *call.biases, call.output.weight, call.output.bias
    program = replayed(networks, partial(_loss, options), criterion, episodes, call.state, weights)
    linear = not (call.numbers.gradient_limit and scaled)
    return run_loss(program, criterion, episodes, (*call.state, *weights), linear=linear)


def _loss(options: Options, criterion: Criterion, episodes: Sequence[Tensor], tensors: Sequence[Tensor]) -> Results:
    inputs = episodes[0]
    *recurrent, weight, bias = tensors
    state, weights, biases = _parts(recurrent)
    output, end, saved = _forward(inputs, state, weights, biases, options, keep=True)
    evaluated, logits, (doutput, *of_output) = of_output_layer(output, weight, bias, criterion, episodes)
    sizes = sizes_of(inputs, state[0].shape[-2:], weights, options)
    gradients, needed = (doutput, *(None for _ in end)), (False, *(True for _ in recurrent))
    _, *found = _backward(inputs, output, saved, weights, sizes, gradients, needed)
    return Results(evaluated.loss, evaluated.costs, logits, Gradients([*found, *of_output]))
