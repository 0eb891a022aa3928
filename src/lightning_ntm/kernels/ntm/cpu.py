"""A whole sequence of an NTM in one native call, forward and backward.

Outside of the native call stands the output layer, as an ordinary operation of PyTorch.

For the backward, each step of each sequence saves, in numbers of the dtype:
`slots * ((width + 1) / 4 + 3 * heads) + 2 * parameters_of_heads + layers * (inner + gates + hidden)`, where for
an LSTM `gates` is `4 * hidden`, and `inner` is the size of all that a layer is given.

There are two ways to the same computation. Where something looks at the operations of PyTorch, as
`torch.compile` does, it is an operator of its own; elsewhere a function of autograd calls it directly,
for an operator written in Python costs half as much as a short sequence.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.autocast import refused_dtypes
from lightning_ntm.kernels.cpu.library import entry_points, opened
from lightning_ntm.kernels.derivatives import beyond_first, by_loop, is_plain, refuse_beyond_first, with_tensors
from lightning_ntm.kernels.loss import Criterion, Gradients, Loss, Results, of_output_layer, run as run_loss
from lightning_ntm.kernels.ntm import native
from lightning_ntm.kernels.ntm.call import DeclaredNTM, declared
from lightning_ntm.kernels.ntm.layout import Layout, layout_of
from lightning_ntm.kernels.ntm.operator import SEQUENCE
from lightning_ntm.kernels.plain import changed, is_unreadable, transformed
from lightning_ntm.kernels.torch_internals import has_dispatch_modes
from lightning_ntm.states import flatten, structure, unflatten

_compiled = not isinstance(opened(), str)  # a constant to torch.compile


def refusal(model: DeclaredNTM, inputs: Tensor, state: Any) -> str | None:
    """Return why the kernel cannot run the call, or `None`.

    Raises:
        ImportError: It was not compiled.
    """
    if torch.compiler.is_compiling():
        if not _compiled:
            return "it was not compiled, or from other sources."
    else:
        entry_points()
        if reason := transformed():
            return reason
    if inputs.shape[0] == 0:
        return "the batch is empty."
    if inputs.device.type != "cpu":
        return f"it needs tensors on the CPU, the inputs are on {inputs.device}."
    if (dtype := flatten(state)[0].dtype) not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, the state is {dtype}."
    return changed(model, inputs, state) or refused_dtypes(model, inputs, state)


def run(model: DeclaredNTM, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    call = declared(model, state)
    tensors, weights, biases, numbers = call.state, call.weights, call.biases, call.numbers
    inputs = inputs.to(tensors[0].dtype)  # under autocast they may have fewer bits
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (inputs, *tensors, *weights, *biases))
    *counts, limit = numbers
    options = [*map(int, counts), int(keep)], limit
    if torch.compiler.is_compiling() or has_dispatch_modes() or torch.jit.is_tracing():
        output, *end, _ = SEQUENCE(inputs, *tensors, weights, biases, *options)
    elif keep:
        loop = partial(_loop, model, list(call.layers), structure(state))
        layout = layout_of(inputs, tensors, weights, options)
        output, *end = _Recurrence.apply(loop, layout, inputs, *tensors, *weights, *biases)
    else:
        output, *end, _ = native.forward(layout_of(inputs, tensors, weights, options), inputs, tensors, weights, biases)
    return call.output(output).transpose(0, 1), unflatten(state, end)


def loss(model: DeclaredNTM, episodes: Sequence[Tensor], state: Any, criterion: Criterion, *, scaled: bool) -> Loss:
    """Return the loss of a whole sequence, with all gradients."""
    inputs = episodes[0]
    call = declared(model, state)
    *counts, limit = call.numbers
    layout = layout_of(inputs, call.state, call.weights, ([*map(int, counts), 1], limit))
    tensors = *call.state, *call.weights, *call.biases, call.output.weight, call.output.bias
    return run_loss(partial(_loss, layout), criterion, episodes, tensors, linear=not (limit and scaled))


def _loss(layout: Layout, criterion: Criterion, episodes: Sequence[Tensor], tensors: Sequence[Tensor]) -> Results:
    inputs = episodes[0]
    *recurrent, weight, bias = tensors
    state, weights, biases = _parts(recurrent)
    output, *end, buffer = native.forward(layout, inputs, state, weights, biases)
    evaluated, logits, (doutput, *of_output) = of_output_layer(
        output, weight, bias, criterion, episodes, time_first=True
    )
    gradients = doutput, *(None for _ in end)
    _, *found = native.backward(layout, inputs, state, weights, (output, buffer), gradients, of_inputs=False)
    return Results(evaluated, logits, Gradients([*(tensor for part in found for tensor in part), *of_output]))


def _loop(network: Any, names: Sequence[str], state: Any, inputs: Tensor, *tensors: Tensor) -> Sequence[Tensor]:
    """Return the outputs of controller and reads, and the last state, from operations of PyTorch.

    Args:
        network: Its `recur` is one step without the output layer.
        names: Of the layers whose weights and biases are among the tensors.
        state: Of the types of the network's.
        inputs: `(batch, time, inputs)`.
        tensors: State, weights and biases.
    """
    parts, weights, biases = _parts(tensors)
    named = {f"{name}.weight": weight for name, weight in zip(names, weights, strict=True)}
    named |= {f"{name}.bias": bias for name, bias in zip(names, biases, strict=True)}
    twin, now, outputs = with_tensors(network, named), unflatten(state, parts), []
    for x in inputs.unbind(dim=1):
        output, now = twin.recur(x, now)
        outputs.append(output)
    end = flatten(now)
    return [torch.stack(outputs), *end, *parts[len(end) :]]


class _Recurrence(torch.autograd.Function):
    """The recurrence of tensors that need gradients."""

    @staticmethod
    def forward(
        ctx: Any, loop: Callable[..., Sequence[Tensor]], layout: Layout, inputs: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        state, weights, biases = _parts(tensors)
        output, *end, buffer = native.forward(layout, inputs, state, weights, biases)
        ctx.loop, ctx.layout = loop, layout
        ctx.save_for_backward(inputs, output, buffer, *tensors)
        ctx.set_materialize_grads(False)
        return (output, *end)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, output, buffer, *tensors = ctx.saved_tensors
        needed = ctx.needs_input_grad[2:]
        if beyond_first(gradients) or not all(map(is_plain, gradients)):
            if torch.is_grad_enabled() and ctx.layout.sizes.limit:
                refuse_beyond_first(gradients)  # the limit of a sum is not the sum of limits
            return None, None, *by_loop(ctx.loop, (inputs, *tensors), needed, gradients)
        state, weights, _ = _parts(tensors)
        if any(map(is_unreadable, (inputs, *weights))):
            raise RuntimeError("inputs or weights were resized between the forward and the backward.")
        dinputs, *others = native.backward(
            ctx.layout, inputs, state, weights, (output, buffer), gradients, of_inputs=needed[0]
        )
        return (None, None, dinputs, *(tensor for part in others for tensor in part))


def _parts(tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, weights and biases."""
    layers = (len(tensors) - 5) // 2
    return tensors[:5], tensors[5 : 5 + layers], tensors[5 + layers :]
