"""Whole sequences of stacks or tapes with one layer of Elman units, forward and backward, in one native call each.

Autograd records one operation for a sequence. The products with the inputs, and those that give the gradients of the
weights, are operations of PyTorch, one each for the whole sequence.
"""

import ctypes
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.autocast import full_precision, refused_dtypes
from lightning_ntm.kernels.cells.layout import ACTIONS, ACTIONS_WITH_JUMPS, HIDDEN, WRITERS, Sizes
from lightning_ntm.kernels.cpu.blocks import empty
from lightning_ntm.kernels.cpu.layout import padded
from lightning_ntm.kernels.cpu.library import entry_points
from lightning_ntm.kernels.cpu.thread_counts import with_threads
from lightning_ntm.kernels.derivatives import beyond_first, by_loop, is_plain, with_tensors
from lightning_ntm.kernels.plain import changed, linear_layers, transformed, unlike
from lightning_ntm.kernels.torch_internals import has_dispatch_modes


class _Cells(NamedTuple):
    """The state of a memory but for what is no number of a cell."""

    cells: Tensor


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why this program cannot run the call, or `None`.

    Raises:
        ImportError: It was not compiled, or from other sources.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or has_dispatch_modes():
        return "it cannot be traced."
    entry_points()
    if inputs.device.type != "cpu":
        return f"it needs tensors on the CPU, the inputs are on {inputs.device}."
    if inputs.shape[0] == 0:
        return "the batch is empty."
    if (dtype := state.memory[0].dtype) not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, the state is {dtype}."
    cells = state._replace(memory=_Cells(state.memory[0]))
    if reason := transformed() or changed(model, inputs, cells) or refused_dtypes(model, inputs, cells):
        return reason
    if reason := _refused_memory(model.memory, inputs, state.memory):
        return reason
    layers = sum(name.startswith("controller.") for name in linear_layers(model))
    return None if layers == 1 else f"the controller has {layers} layers, not 1."


def _refused_memory(memory: Any, inputs: Tensor, state: Any) -> str | None:
    """Return which number of actions or lengths of a memory rules out the program, or `None`."""
    (_, memories, _, width), jumps = state[0].shape, getattr(memory, "length_oracle", False)
    expected = memories * ((ACTIONS_WITH_JUMPS if jumps else ACTIONS) + width)
    if memory.interface_size != expected:
        return f"the interface vector of the memory has {memory.interface_size} numbers, not {expected}."
    if not jumps:
        return None
    if state.length.dtype != torch.int64:
        return f"state.memory.length is {state.length.dtype}, not torch.int64."
    return unlike(lambda: ["state.memory.length"], [state.length], [tuple(inputs.shape[:1])], inputs)


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    cells, hidden, jumps, begun = state.memory[0], state.controller.hidden, None, state
    named = linear_layers(model)
    output, layers = named.pop("output"), named.values()
    slots, tape = cells.shape[-2] or model.memory.memory_slots, hasattr(model.memory, "num_tapes")
    if not cells.shape[-2]:  # no slot was reached
        cells = cells.new_zeros(*cells.shape[:-2], slots, cells.shape[-1])
    if getattr(model.memory, "length_oracle", False):
        state = model.with_length(inputs, state)
        jumps = state.memory.length % slots
        begun = state._replace(memory=state.memory._replace(length=jumps))  # the user may change the tensor of lengths
    with full_precision(inputs.device):
        parameters = [part for layer in layers for part in (layer.weight, layer.bias)]
        loop = partial(_loop, model, list(named), begun)
        call = _Call(loop, tape, jumps, torch.is_grad_enabled())
        controlled, cells, hidden = _Sequence.apply(call, inputs.to(cells.dtype), cells, hidden[:, 0], *parameters)
    memory, controller = state.memory._replace(**{state.memory._fields[0]: cells}), hidden.unsqueeze(1)
    return output(controlled), type(state)(memory, type(state.controller)(controller))


def _loop(network: Any, names: Sequence[str], state: Any, inputs: Tensor, *tensors: Tensor) -> Sequence[Tensor]:
    """Return what `_Sequence` returns, from operations of PyTorch, for derivatives beyond the first."""
    cells, hidden, *parameters = tensors
    places = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    twin = with_tensors(network, dict(zip(places, parameters, strict=True)))
    memory = state.memory._replace(**{state.memory._fields[0]: cells})
    now, outputs = type(state)(memory, type(state.controller)(hidden.unsqueeze(1))), []
    for x in inputs.unbind(dim=1):
        controlled, now = twin.recur(x, now)
        outputs.append(controlled)
    return torch.stack(outputs, dim=1), now.memory[0], now.controller.hidden[:, 0]


class _Call(NamedTuple):
    """What a sequence is computed by, besides tensors.

    Args:
        loop: The same computation in operations of PyTorch.
        tape: Whether the memories are tapes, not stacks.
        jumps: By how many cells heads jump to the right in each sequence, modulo the slots; `None` if they do not.
        keep: Whether the backward will need what is computed.
    """

    loop: Callable[..., Sequence[Tensor]]
    tape: bool
    jumps: Tensor | None
    keep: bool


class _Layer(NamedTuple):
    """A linear layer after the controller, with the transpose of its weight."""

    weight: Tensor
    bias: Tensor
    turned: Tensor

    @property
    def pointers(self) -> list[int]:
        return [self.weight.data_ptr(), self.turned.data_ptr(), self.bias.data_ptr()]


class _Kept(NamedTuple):
    """What a sequence fills, time first; `hidden` are the hidden units of the writer of a tape."""

    recurrent: Tensor
    interface: Tensor
    hidden: list[Tensor]
    memory: Tensor


class _Sequence(torch.autograd.Function):
    """Outputs of the controller, last cells and last hidden units."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, inputs: Tensor, cells: Tensor, hidden: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all steps."""
        weight, bias, *others = (part.contiguous() for part in parameters)
        size = inputs.shape[-1]
        recurrent = weight[:, size:].contiguous()
        layers = _layers(others)
        sizes = _sizes(inputs, cells, hidden, layers, call)
        kept = _buffers(sizes, cells, hidden)
        driven = F.linear(inputs.transpose(0, 1), weight[:, :size], bias).contiguous()
        turned = recurrent.t().contiguous()
        first = [driven.data_ptr(), recurrent.data_ptr(), turned.data_ptr()]
        _call(sizes, cells, [*first, *_pointers(layers, call, kept), *(0,) * (5 + HIDDEN)], backward=False)
        ctx.save_for_backward(inputs, cells, hidden, *parameters)
        ctx.call, ctx.recurrent, ctx.layers, ctx.sizes, ctx.kept = call, recurrent, layers, sizes, kept
        units = kept.recurrent[1:, :, sizes.reads :]
        controlled = empty(cells, sizes.batch, sizes.time, sizes.hidden).copy_(units.transpose(0, 1))
        end = kept.memory[sizes.time if call.keep else sizes.time % 2].clone()
        return controlled, end, units[-1].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all tensors."""
        inputs, _, _, weight, *_ = tensors = ctx.saved_tensors
        if beyond_first(gradients) or not all(map(is_plain, gradients)):
            return None, *by_loop(ctx.call.loop, tensors, ctx.needs_input_grad[1:], gradients)
        sizes, kept, layers = ctx.sizes, ctx.kept, ctx.layers
        of_controlled, of_cells, of_hidden = gradients
        assert of_controlled is not None
        assert of_cells is not None
        assert of_hidden is not None
        size, reads = inputs.shape[-1], sizes.reads
        of_controlled, of_cells = of_controlled.contiguous(), of_cells.clone(memory_format=torch.contiguous_format)
        of_recurrent = F.pad(of_hidden, (reads, 0))
        of_sums, of_interface = (
            empty(inputs, sizes.time, sizes.batch, sizes.hidden),
            empty(inputs, *kept.interface.shape),
        )
        of_writer = [empty(inputs, *units.shape) for units in kept.hidden]
        results = of_controlled, of_sums, of_interface, *of_writer, *[None] * (HIDDEN - len(of_writer)), of_recurrent
        pointers = [0, ctx.recurrent.data_ptr(), 0, *_pointers(layers, ctx.call, kept)]
        pointers += [0 if tensor is None else tensor.data_ptr() for tensor in (*results, of_cells)]
        _call(sizes, of_cells, pointers, backward=True)
        seen = empty(inputs, sizes.time, sizes.batch, weight.shape[-1])
        torch.cat([inputs.transpose(0, 1), kept.recurrent[:-1]], dim=-1, out=seen)
        of_layers = [*_of_layer(of_sums, seen)]
        units, vectors = kept.recurrent[1:, :, reads:], sizes.vectors
        of_layers += _of_layer(of_interface[..., : sizes.of_heads], units)
        of_outputs = [*of_writer, of_interface[..., vectors : vectors + reads]] if of_writer else []
        for outputs, below in zip(of_outputs, [units, *kept.hidden], strict=False):
            of_layers += _of_layer(outputs, below)
        of_inputs = (of_sums @ weight[:, :size]).transpose(0, 1) if ctx.needs_input_grad[1] else None
        return None, of_inputs, of_cells, of_recurrent[:, reads:], *of_layers


def _layers(parameters: Sequence[Tensor]) -> list[_Layer]:
    """Return the layers of weights and biases, the first and the last of them padded as the program reads them."""
    pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
    layers = []
    for number, (weight, bias) in enumerate(pairs):
        more = padded(len(bias)) - len(bias) if number in (0, len(pairs) - 1) else 0
        layers.append(_Layer(weight, F.pad(bias, (0, more)), F.pad(weight.t(), (0, more)).contiguous()))
    return layers


def _sizes(inputs: Tensor, cells: Tensor, hidden: Tensor, layers: Sequence[_Layer], call: _Call) -> Sizes:
    (batch, memories, slots, width), time = cells.shape, inputs.shape[1]
    writer = layers[1].weight.shape[0] if len(layers) > 1 else 0
    actions = ACTIONS if call.jumps is None else ACTIONS_WITH_JUMPS
    return Sizes(batch, time, hidden.shape[-1], memories, slots, width, call.tape, actions, writer, call.keep)


def _buffers(sizes: Sizes, cells: Tensor, hidden: Tensor) -> _Kept:
    """Return what a sequence fills, with the state before it."""
    batch, time, reads = sizes.batch, sizes.time, sizes.reads
    recurrent = empty(cells, time + 1, batch, reads + sizes.hidden)
    torch.cat([cells[:, :, 0].flatten(1), hidden], dim=-1, out=recurrent[0])
    memory = empty(cells, time + 1 if sizes.keep else 2, *cells.shape)
    memory[0] = cells
    units = [empty(cells, time, batch, sizes.writer) for _ in range(HIDDEN if sizes.writer else 0)]
    return _Kept(recurrent, empty(cells, time, batch, sizes.interface), units, memory)


def _pointers(layers: Sequence[_Layer], call: _Call, kept: _Kept) -> Iterator[int]:
    """Yield the pointers of `Arrays` from the layers to the memory."""
    for layer in layers:
        yield from layer.pointers
    yield from (0,) * 3 * (1 + WRITERS - len(layers))
    yield 0 if call.jumps is None else call.jumps.data_ptr()
    yield from (kept.recurrent.data_ptr(), kept.interface.data_ptr())
    yield from (units.data_ptr() for units in kept.hidden)
    yield from (0,) * (HIDDEN - len(kept.hidden))
    yield kept.memory.data_ptr()


def _of_layer(of_outputs: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the weight and the bias of a layer, from those of its outputs and from its inputs."""
    flat = of_outputs.flatten(0, 1)
    return flat.t() @ seen.flatten(0, 1), flat.sum(dim=0)


def _call(sizes: Sizes, like: Tensor, pointers: Sequence[int], *, backward: bool) -> None:
    arrays = array("Q", pointers)
    function = entry_points()["cells", like.element_size()]
    given = ctypes.byref(sizes), arrays.buffer_info()[0]
    if with_threads(("cells", backward), sizes, lambda threads: function(*given, threads, backward)):
        raise RuntimeError("can't allocate memory: there is not enough for the CPU kernel.")
