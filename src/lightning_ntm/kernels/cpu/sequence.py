"""A whole sequence of a controller and a memory in one native call, forward and backward.

Outside of the native call stands the output layer, as an ordinary operation of PyTorch; but a loss that is known to the
program is computed with it and all gradients in one call (`whole.py`).

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
from lightning_ntm.kernels.call import DeclaredNetwork, declared
from lightning_ntm.kernels.cpu import native, whole
from lightning_ntm.kernels.cpu.layout import Layout, layout_of, options_of
from lightning_ntm.kernels.cpu.library import entry_points, opened
from lightning_ntm.kernels.cpu.operator import SEQUENCE
from lightning_ntm.kernels.cpu.saved import check_order, order_in, with_order
from lightning_ntm.kernels.derivatives import beyond_first, by_loop, is_plain, refuse_beyond_first, with_tensors
from lightning_ntm.kernels.loss import (
    Criterion,
    Gradients,
    KnownLoss,
    Loss,
    Results,
    known_loss,
    of_output_layer,
    run as run_loss,
)
from lightning_ntm.kernels.plain import changed, is_unreadable, transformed
from lightning_ntm.kernels.torch_internals import has_dispatch_modes, has_saved_tensor_hooks
from lightning_ntm.states import flatten, structure, unflatten

_compiled = not isinstance(opened(), str)  # a constant to torch.compile


def refusal(model: DeclaredNetwork, inputs: Tensor, state: Any) -> str | None:
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


def run(network: str, model: DeclaredNetwork, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence; `network` is one of `layout.NETWORKS`."""
    call = declared(model, state)
    tensors, weights, biases, numbers = call.state, call.weights, call.biases, call.numbers
    inputs = inputs.to(tensors[0].dtype)  # under autocast they may have fewer bits
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (inputs, *tensors, *weights, *biases))
    options = options_of(numbers, keep=keep)
    if torch.compiler.is_compiling() or has_dispatch_modes() or torch.jit.is_tracing():
        output, *end, _ = SEQUENCE(network, inputs, tensors, weights, biases, *options)
    elif keep:
        layout = layout_of(network, inputs, tensors, weights, options)
        loop = partial(_loop, model, list(call.layers), layout, structure(state))
        output, *end = _Recurrence.apply(loop, layout, inputs, *tensors, *weights, *biases)
    else:
        output, *end, _ = native.forward(
            layout_of(network, inputs, tensors, weights, options), inputs, tensors, weights, biases
        )
    return call.output(output).transpose(0, 1), unflatten(state, end)


def loss(
    network: str, model: DeclaredNetwork, episodes: Sequence[Tensor], state: Any, criterion: Criterion, *, scaled: bool
) -> Loss:
    """Return the loss of a whole sequence, with all gradients."""
    inputs = episodes[0]
    call = declared(model, state)
    layout = layout_of(network, inputs, call.state, call.weights, options_of(call.numbers, keep=True))
    tensors = *call.state, *call.weights, *call.biases, call.output.weight, call.output.bias
    program = partial(_loss, layout, [part.requires_grad for part in call.state])
    return run_loss(program, criterion, episodes, tensors, linear=not (layout.limited and scaled))


def _loss(
    layout: Layout, needed: Sequence[bool], criterion: Criterion, episodes: Sequence[Tensor], tensors: Sequence[Tensor]
) -> Results:
    known = known_loss(criterion)
    found = _known_loss(layout, known, episodes, tensors, needed) if known else None
    return found or _loss_of_criterion(layout, criterion, episodes, tensors)


def _known_loss(
    layout: Layout, known: KnownLoss, episodes: Sequence[Tensor], tensors: Sequence[Tensor], needed: Sequence[bool]
) -> Results | None:
    """Return the loss from one native call, or `None` if it cannot be computed so."""
    *recurrent, weight, bias = tensors
    state, weights, biases = _parts(layout, recurrent)
    asked = whole.targets_of(known, episodes, weight)
    if asked is None:
        return None
    of_call = whole.Tensors(state, [*weights, weight], [*biases, bias])
    return whole.loss(layout, known, episodes[0], asked, of_call, needed)


def _loss_of_criterion(
    layout: Layout, criterion: Criterion, episodes: Sequence[Tensor], tensors: Sequence[Tensor]
) -> Results:
    inputs = episodes[0]
    *recurrent, weight, bias = tensors
    state, weights, biases = _parts(layout, recurrent)
    output, *end, buffer = native.forward(layout, inputs, state, weights, biases)
    evaluated, logits, (doutput, *of_output) = of_output_layer(
        output, weight, bias, criterion, episodes, time_first=True
    )
    gradients = doutput, *(None for _ in end)
    _, *found = native.backward(layout, inputs, state, weights, (output, buffer), gradients, of_inputs=False)
    every = Gradients([*(tensor for part in found for tensor in part), *of_output])
    return Results(evaluated.loss, evaluated.costs, logits, every)


def _loop(
    network: Any, names: Sequence[str], layout: Layout, state: Any, inputs: Tensor, *tensors: Tensor
) -> Sequence[Tensor]:
    """Return the outputs of controller and reads, and the last state, from operations of PyTorch.

    Args:
        network: Its `recur` is one step without the output layer.
        names: Of the layers whose weights and biases are among the tensors.
        layout: Of the call.
        state: Of the types of the network's.
        inputs: `(batch, time, inputs)`.
        tensors: State, weights and biases.
    """
    parts, weights, biases = _parts(layout, tensors)
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
        state, weights, biases = _parts(layout, tensors)
        output, *end, buffer = native.forward(layout, inputs, state, weights, biases)
        ctx.loop, ctx.layout = loop, layout
        order = order_in(buffer, layout) if has_saved_tensor_hooks() else None
        ctx.with_order = order is not None
        ctx.save_for_backward(inputs, output, buffer, *tensors, *([] if order is None else [order]))
        ctx.set_materialize_grads(False)
        return (output, *end)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, output, buffer, *tensors = ctx.saved_tensors
        order = tensors.pop() if ctx.with_order else None
        needed = ctx.needs_input_grad[2:]
        if beyond_first(gradients) or not all(map(is_plain, gradients)):
            if torch.is_grad_enabled() and ctx.layout.limited:
                refuse_beyond_first(gradients)  # the limit of a sum is not the sum of limits
            return None, None, *by_loop(ctx.loop, (inputs, *tensors), needed, gradients)
        state, weights, _ = _parts(ctx.layout, tensors)
        if any(map(is_unreadable, (inputs, *weights))):
            raise RuntimeError("inputs or weights were resized between the forward and the backward.")
        if order is not None:
            buffer = with_order(buffer, ctx.layout, order)
            check_order(buffer, ctx.layout)
        dinputs, *others = native.backward(
            ctx.layout, inputs, state, weights, (output, buffer), gradients, of_inputs=needed[0]
        )
        return (None, None, dinputs, *(tensor for part in others for tensor in part))


def _parts(layout: Layout, tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, weights and biases."""
    states = layout.num_states
    layers = (len(tensors) - states) // 2
    return tensors[:states], tensors[states : states + layers], tensors[states + layers :]
