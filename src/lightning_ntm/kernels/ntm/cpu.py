"""A whole sequence of an NTM in one native call, forward and backward.

Outside of the native call stands the output layer, as an ordinary operation of PyTorch.

For the backward, each step of each sequence saves, in numbers of the dtype:
`slots * ((width + 1) / 4 + 3 * heads) + 2 * parameters_of_heads + layers * (inner + gates + hidden)`, where for
an LSTM `gates` is `4 * hidden`, and `inner` is the size of all that a layer is given.

There are two ways to the same computation. Where something looks at the operations of PyTorch, as
`torch.compile` does, it is an operator of its own; elsewhere a function of autograd calls it directly,
for an operator written in Python costs half as much as a short sequence.
"""

import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.autocast import refused_dtypes
from lightning_ntm.kernels.cpu.blocks import empty
from lightning_ntm.kernels.cpu.library import entry_points, opened
from lightning_ntm.kernels.derivatives import beyond_first, by_loop, is_plain, refuse_beyond_first, with_tensors
from lightning_ntm.kernels.ntm.call import DeclaredNTM, declared
from lightning_ntm.kernels.ntm.layout import Layout, Sizes, layout_of, padded, pointers_into, saved_counts, starts_of
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
        output, *end, _ = torch.ops.lightning_ntm.sequence(inputs, *tensors, weights, biases, *options)
    elif keep:
        loop = partial(_loop, model, list(call.layers), structure(state))
        layout = layout_of(inputs, tensors, weights, options)
        output, *end = _Recurrence.apply(loop, layout, inputs, *tensors, *weights, *biases)
    else:
        output, *end, _ = _forward(layout_of(inputs, tensors, weights, options), inputs, tensors, weights, biases)
    return call.output(output).transpose(0, 1), unflatten(state, end)


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


def _forward(
    layout: Layout, inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Run the recurrence; return the outputs of controller and reads, the last state, and what is saved."""
    # Names hold what a pointer does not.
    inputs, *state = (tensor.contiguous() for tensor in (inputs, *state))
    weights, biases = [weight.contiguous() for weight in weights], [bias.contiguous() for bias in biases]
    output = empty(inputs, layout.sizes.time, layout.sizes.batch, layout.output)
    end = [torch.empty_like(part) for part in state]
    buffer, scratch = empty(inputs, layout.total), empty(inputs, sum(layout.arranged))
    saved, saved_of_layers = pointers_into(buffer, layout)
    arranged = starts_of(scratch, layout.arranged)
    layers = [
        (weight.data_ptr(), bias.data_ptr(), place, *of_layer, 0, 0, 0)
        for weight, bias, place, of_layer in zip(weights, biases, arranged, saved_of_layers, strict=False)
    ]
    arrays = (
        inputs.data_ptr(), weights[-1].data_ptr(), biases[-1].data_ptr(), arranged[-1], output.data_ptr(),
        *saved, *map(Tensor.data_ptr, state), *map(Tensor.data_ptr, end), *(0,) * 15,
    )  # fmt: skip
    _call(inputs, layout.sizes, layers, arrays, backward=False)
    return (output, *end, buffer)


def _backward(
    layout: Layout,
    inputs: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    saved: tuple[Tensor, Tensor],
    gradients: Sequence[Tensor | None],
    *,
    of_inputs: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor], list[Tensor]]:
    """Return gradients of inputs, state, weights and biases; `None` among what is given stands for zeros."""
    sizes, (output, buffer) = layout.sizes, saved
    weights = [weight.contiguous() for weight in weights]
    doutput, *dend = (None if gradient is None else gradient.contiguous() for gradient in gradients)
    steps = sizes.time * sizes.batch
    counts = [padded(steps * layout.gates)] * sizes.layers + [padded(steps * layout.emitted), *layout.arranged]
    scratch = empty(inputs, sum(counts))
    starts = starts_of(scratch, counts)
    of_layer, demitted, arranged = starts[: sizes.layers], starts[sizes.layers], starts[sizes.layers + 1 :]
    dinputs = torch.empty_like(inputs, memory_format=torch.contiguous_format) if of_inputs else None
    dstate = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in state]
    dweights = [torch.empty_like(weight) for weight in weights]
    dbiases = [weight.new_empty(weight.shape[0]) for weight in weights]
    saved_arrays, saved_of_layers = pointers_into(buffer, layout)
    layers = [
        (
            weights[i].data_ptr(), 0, arranged[i], *saved_of_layers[i], of_layer[i], dweights[i].data_ptr(),
            dbiases[i].data_ptr(),
        )
        for i in range(sizes.layers)
    ]  # fmt: skip
    arrays = (
        0, weights[-1].data_ptr(), 0, 0, output.data_ptr(), *saved_arrays, *(0,) * 10, _pointer(doutput), demitted,
        *map(_pointer, (dweights[-1], dbiases[-1], dinputs, *dstate, *dend)),
    )  # fmt: skip
    _call(inputs, sizes, layers, arrays, backward=True)
    return dinputs, dstate, dweights, dbiases


class _Recurrence(torch.autograd.Function):
    """The recurrence of tensors that need gradients."""

    @staticmethod
    def forward(
        ctx: Any, loop: Callable[..., Sequence[Tensor]], layout: Layout, inputs: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        state, weights, biases = _parts(tensors)
        output, *end, buffer = _forward(layout, inputs, state, weights, biases)
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
        dinputs, *others = _backward(
            ctx.layout, inputs, state, weights, (output, buffer), gradients, of_inputs=needed[0]
        )
        return (None, None, dinputs, *(tensor for part in others for tensor in part))


def _parts(tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, weights and biases."""
    layers = (len(tensors) - 5) // 2
    return tensors[:5], tensors[5 : 5 + layers], tensors[5 + layers :]


@torch.library.custom_op("lightning_ntm::sequence", mutates_args=())
def _sequence(
    inputs: Tensor,
    memory: Tensor,
    looks: Tensor,
    reads: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    counts: list[int],
    limit: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    state = memory, looks, reads, hidden, cell
    layout = layout_of(inputs, state, weights, (counts, limit))
    output, *end, buffer = _forward(layout, inputs, state, weights, biases)
    last_memory, last_looks, last_reads, last_hidden, last_cell = end
    return output, last_memory, last_looks, last_reads, last_hidden, last_cell, buffer


@_sequence.register_fake
def _(inputs, memory, looks, reads, hidden, cell, weights, biases, counts, limit):  # type: ignore[no-untyped-def]
    output = inputs.new_empty(inputs.shape[1], inputs.shape[0], weights[-1].shape[1] + reads.shape[1] * reads.shape[2])
    state = (memory, looks, reads, hidden, cell)
    end = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in state]
    saved = saved_counts(inputs.shape, memory.shape, tuple(weight.shape for weight in weights), counts)
    return output, *end, inputs.new_empty(sum(saved.values()))


@torch.library.custom_op("lightning_ntm::sequence_backward", mutates_args=())
def _sequence_backward(
    inputs: Tensor,
    state: list[Tensor],
    weights: list[Tensor],
    output: Tensor,
    buffer: Tensor,
    counts: list[int],
    limit: float,
    gradients: list[Tensor | None],
) -> list[Tensor]:
    """Return the gradients of inputs, state, weights and biases, one after the other."""
    layout = layout_of(inputs, state, weights, (counts, limit))
    dinputs, *others = _backward(layout, inputs, state, weights, (output, buffer), gradients, of_inputs=True)
    assert dinputs is not None
    return [dinputs, *(tensor for part in others for tensor in part)]


@_sequence_backward.register_fake
def _(inputs, state, weights, output, buffer, counts, limit, gradients):  # type: ignore[no-untyped-def]
    alike = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (inputs, *state, *weights)]
    return [*alike, *(weight.new_empty(weight.shape[0]) for weight in weights)]


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    given, *state, weights, _, counts, limit = inputs
    ctx.options = counts, limit
    ctx.save_for_backward(given, output[0], output[-1], *state, *weights)
    ctx.mark_non_differentiable(output[-1])
    ctx.set_materialize_grads(False)


def _backward_of_operator(ctx: Any, *gradients: Tensor | None) -> Any:
    refuse_beyond_first(gradients)
    inputs, output, buffer, *tensors = ctx.saved_tensors
    state, weights = tensors[:5], tensors[5:]
    dinputs, *others = torch.ops.lightning_ntm.sequence_backward(
        inputs, state, weights, output, buffer, *ctx.options, list(gradients[:6])
    )
    end = 5 + len(weights)
    return dinputs, *others[:5], others[5:end], others[end:], None, None


_sequence.register_autograd(_backward_of_operator, setup_context=_save)


def _call(
    like: Tensor,
    sizes: Sizes,
    layers: Sequence[Sequence[int]],
    arrays: Sequence[int],
    *,
    backward: bool,
) -> None:
    """Call the kernel; the pointers are in the order of `Layer` and `Arrays` in arrays.hpp, 0 for no array."""
    # ctypes would take four times as long to make arrays of its own.
    of_layers = array("Q", [pointer for layer in layers for pointer in layer])
    others = array("Q", arrays)
    failed = entry_points()[like.element_size()](
        ctypes.byref(sizes),
        of_layers.buffer_info()[0],
        others.buffer_info()[0],
        torch.get_num_threads(),
        backward,
    )
    if failed:
        raise RuntimeError("can't allocate memory: there is not enough for the CPU kernel.")


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
