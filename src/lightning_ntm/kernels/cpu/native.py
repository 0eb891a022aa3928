"""The native call of a whole sequence, forward and backward."""

import ctypes
from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_ntm.kernels.cpu.blocks import empty
from lightning_ntm.kernels.cpu.layout import Judged, Layout, padded, pointers_into, starts_of
from lightning_ntm.kernels.cpu.library import entry_points
from lightning_ntm.kernels.cpu.thread_counts import with_threads

#: `exhausted` in entry_points.hpp.
_EXHAUSTED = 1
_NO_MEMORY = "can't allocate memory: there is not enough for the CPU kernel."


def forward(
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
        inputs.data_ptr(), weights[-1].data_ptr(), biases[-1].data_ptr(), arranged[-1], 0, output.data_ptr(),
        *saved, *map(Tensor.data_ptr, state), *map(Tensor.data_ptr, end), *(0,) * (5 + 2 * len(state)),
    )  # fmt: skip
    _call(inputs, layout, layers, arrays, backward=False)
    return (output, *end, buffer)


def backward(
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
        0, weights[-1].data_ptr(), 0, 0, 0, output.data_ptr(), *saved_arrays, *(0,) * (2 * len(state)),
        _pointer(doutput), demitted,
        *map(_pointer, (dweights[-1], dbiases[-1], dinputs, *dstate, *dend)),
    )  # fmt: skip
    _call(inputs, layout, layers, arrays, backward=True)
    return dinputs, dstate, dweights, dbiases


def _call(
    like: Tensor,
    layout: Layout,
    layers: Sequence[Sequence[int]],
    arrays: Sequence[int],
    *,
    backward: bool,
) -> None:
    """Call the kernel; the pointers are in the order of `LAYER` and of the network's `ARRAYS`, 0 for no array."""
    # ctypes would take four times as long to make arrays of its own.
    of_layers = array("Q", [pointer for layer in layers for pointer in layer])
    others = array("Q", arrays)
    program = entry_points()[layout.network, like.element_size()]
    pointers = ctypes.byref(layout.sizes), of_layers.buffer_info()[0], others.buffer_info()[0]
    if with_threads((layout.network, backward), layout.sizes, lambda threads: program(*pointers, threads, backward)):
        raise RuntimeError(_NO_MEMORY)


def call_loss(
    like: Tensor,
    layout: Layout,
    judged: Judged,
    pointers: tuple[Sequence[Sequence[int]], Sequence[int], Sequence[int]],
) -> bool:
    """Call the kernel for a loss with all gradients; return whether all targets are among the symbols.

    The pointers are in the order of `LAYER`, for each layer, of the network's `ARRAYS`, and of `PLACES`.
    """
    layers, arrays, places = pointers
    of_layers = array("Q", [pointer for layer in layers for pointer in layer])
    others, of_loss = array("Q", arrays), array("Q", places)
    name = f"{layout.network}_loss"
    program = entry_points()[name, like.element_size()]
    given = (
        *(ctypes.byref(layout.sizes), of_layers.buffer_info()[0], others.buffer_info()[0]),
        *(ctypes.byref(judged), of_loss.buffer_info()[0]),
    )
    result = with_threads(name, layout.sizes, lambda threads: program(*given, threads))
    if result == _EXHAUSTED:
        raise RuntimeError(_NO_MEMORY)
    return bool(result == 0)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
