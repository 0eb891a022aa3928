"""A whole sequence of an NTM in one native call, forward and backward.

Outside of the native call stand the products that need no recurrence, as ordinary PyTorch
operations: the input's share of the first layer, the output layer, and the gradients of the weights.

For the backward, each step of each sequence saves, in numbers of the dtype:
`slots * (width + 4 * heads + 1) + parameters_of_heads + layers * (inner + gates + hidden)`, where for
an LSTM `gates` is `4 * hidden`, and `inner` is the size of a layer's input without the network's own.
"""

import ctypes
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.cpu.blocks import empty
from lightning_ntm.kernels.cpu.library import LIBRARY, entry_points

_compiled = LIBRARY.is_file()  # a constant to torch.compile


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why the kernel cannot run the call, or `None`.

    Raises:
        ImportError: It was not compiled.
    """
    if torch.compiler.is_compiling():
        if not _compiled:
            return "it was not compiled."
    else:
        entry_points()
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return "it cannot be transformed by torch.func."
    if inputs.device.type != "cpu":
        return f"it needs tensors on the CPU, the inputs are on {inputs.device}."
    if inputs.dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, the inputs are {inputs.dtype}."
    if any(part.dtype != inputs.dtype for part in (*state, model.output.weight)):
        return f"the inputs are {inputs.dtype}, the state or the parameters are not."
    if torch.is_autocast_enabled("cpu"):
        return "it does not follow autocast."
    return None


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    layers = list(model.controller.layers)
    inputs_size = inputs.shape[-1]
    first = F.linear(inputs.transpose(0, 1), layers[0].weight[:, :inputs_size], layers[0].bias)
    matrices = [layers[0].weight[:, inputs_size:], *(layer.weight for layer in layers[1:])]
    biases = [layer.bias for layer in layers[1:]]
    parameters = [*matrices, *biases, model.heads.weight, model.heads.bias]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (first, *parameters, *state))
    recurrent = int(model.controller.num_layers > 0)
    counts = [recurrent, model.num_read_heads, model.num_write_heads, model.max_shift, int(keep)]
    output, *end, _ = torch.ops.lightning_ntm.sequence(
        first.contiguous(), matrices, biases, model.heads.weight, model.heads.bias, *state, counts
    )
    return model.output(output).transpose(0, 1), type(state)(*end)


class _Sizes(ctypes.Structure):
    """As `Sizes` in sequence.cpp."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "batch", "time", "hidden", "layers", "slots", "width", "reads", "writes", "reach", "recurrent", "keep",
            "threads",
        )
    ]  # fmt: skip


class _Shape:
    """All sizes of a call, and where its saved arrays stand in one buffer."""

    def __init__(self, first: Tensor, matrices: list[Tensor], memory: Tensor, hidden: Tensor, counts: list[int]):
        self.recurrent, self.reads, self.writes, self.reach, self.keep = counts
        self.time, self.batch, self.gates = first.shape
        self.slots, self.width = memory.shape[1:]
        self.hidden = self.gates // 4 if self.recurrent else self.gates
        self.heads, self.layers = self.reads + self.writes, len(matrices)
        self.inner = [matrix.shape[1] for matrix in matrices]
        self.emitted = self.heads * (self.width + 4 + 2 * self.reach) + 2 * self.writes * self.width
        self.output = self.hidden + self.reads * self.width

    def struct(self) -> _Sizes:
        values = {name: getattr(self, name) for name, *_ in _Sizes._fields_ if name != "threads"}
        return _Sizes(**values, threads=torch.get_num_threads())

    def saved(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what is saved, time-major; without gradients only the present step is."""
        now = (self.time if self.keep else 1, self.batch)
        after = (self.time + 1 if self.keep else 1, self.batch)
        looks = (self.heads, self.slots)
        return {
            **{f"given{i}": (*after, inner) for i, inner in enumerate(self.inner)},
            **{f"gates{i}": (*now, self.gates) for i in range(self.layers)},
            **{f"cell{i}": (*after, self.hidden) for i in range(self.layers if self.recurrent else 0)},
            "emitted": (*now, self.emitted),
            "memory": (*after, self.width, self.slots),
            "weights": (*after, *looks),
            "cosine": (*now, *looks),
            "norms": (*now, self.slots),
            "content": (*now, *looks),
            "shifted": (*now, *looks),
        }

    def size(self) -> int:
        return sum(math.prod(shape) for shape in self.saved().values())

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        shapes = self.saved()
        ends = list(accumulate(math.prod(shape) for shape in shapes.values()))
        return {
            name: buffer[end - math.prod(shape) : end].view(shape)
            for (name, shape), end in zip(shapes.items(), ends, strict=True)
        }


@torch.library.custom_op("lightning_ntm::sequence", mutates_args=())
def _sequence(
    first: Tensor,
    matrices: list[Tensor],
    biases: list[Tensor],
    heads_weight: Tensor,
    heads_bias: Tensor,
    memory: Tensor,
    weights: Tensor,
    reads: Tensor,
    hidden: Tensor,
    cell: Tensor,
    counts: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run the recurrence; returns the outputs of controller and reads, the last state, and what was saved."""
    shape = _Shape(first, matrices, memory, hidden, counts)
    buffer = empty(first, shape.size())
    saved = shape.views(buffer)
    saved["memory"][0] = memory.mT
    saved["weights"][0] = weights
    read_size = shape.reads * shape.width
    saved["given0"][0, :, :read_size] = reads.flatten(1)
    for layer in range(shape.layers if shape.recurrent else 0):
        saved[f"given{layer}"][0, :, -shape.hidden :] = hidden[:, layer]
        saved[f"cell{layer}"][0] = cell[:, layer]
    for layer in range(1, shape.layers):
        saved[f"given{layer}"][-1, :, : shape.hidden] = 0  # below the step after the last, which nobody reads
    output = empty(first, shape.time, shape.batch, shape.output)
    last_hidden = torch.empty_like(hidden, memory_format=torch.contiguous_format)
    last_reads = first.new_empty(shape.batch, shape.reads, shape.width)
    held = [matrix.t().contiguous() for matrix in matrices]  # a pointer does not keep its tensor
    per_layer = [
        {"forward": held[i], "bias": biases[i - 1] if i else None, **_of_layer(saved, i)} for i in range(shape.layers)
    ]
    arrays = {
        "input": first,
        "heads_forward": heads_weight.t().contiguous(),
        "heads_bias": heads_bias,
        "output": output,
        "last_hidden": last_hidden,
        "last_reads": last_reads,
        **saved,
    }
    _call(shape, per_layer, arrays, backward=False)
    last_cell = (
        torch.stack([saved[f"cell{i}"][-1] for i in range(shape.layers)], dim=1) if shape.recurrent else cell.clone()
    )
    last_memory = saved["memory"][-1].mT.clone(memory_format=torch.contiguous_format)
    return (
        output,
        last_memory,
        saved["weights"][-1].clone(memory_format=torch.contiguous_format),
        last_reads,
        last_hidden,
        last_cell,
        buffer,
    )


@_sequence.register_fake
def _(first, matrices, biases, heads_weight, heads_bias, memory, weights, reads, hidden, cell, counts):  # type: ignore[no-untyped-def]
    shape = _Shape(first, matrices, memory, hidden, counts)
    output = first.new_empty(shape.time, shape.batch, shape.output)
    end = [
        torch.empty_like(part, memory_format=torch.contiguous_format) for part in (memory, weights, reads, hidden, cell)
    ]
    return output, *end, first.new_empty(shape.size())


@torch.library.custom_op("lightning_ntm::sequence_backward", mutates_args=())
def _sequence_backward(
    first: Tensor,
    matrices: list[Tensor],
    heads_weight: Tensor,
    buffer: Tensor,
    memory: Tensor,
    hidden: Tensor,
    counts: list[int],
    doutput: Tensor,
    dmemory: Tensor,
    dweights: Tensor,
    dreads: Tensor,
    dhidden: Tensor,
    dcell: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of every layer's gates, of what the heads were told, and of the first state."""
    shape = _Shape(first, matrices, memory, hidden, counts)
    saved = shape.views(buffer)
    dgates = empty(first, shape.layers, shape.time, shape.batch, shape.gates)
    demitted = empty(first, shape.time, shape.batch, shape.emitted)
    # The native call turns gradients of the last state into those of the first, in place.
    carried = {"dmemory": dmemory.mT, "dweights": dweights, "dreads": dreads}
    carried = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in carried.items()}
    by_layer = [tensor.transpose(0, 1).clone(memory_format=torch.contiguous_format) for tensor in (dhidden, dcell)]
    held = [matrix.contiguous() for matrix in matrices]  # a pointer does not keep its tensor
    per_layer = [
        {
            "backward": held[i],
            "dgates": dgates[i],
            **({"dhidden": by_layer[0][i], "dcell": by_layer[1][i]} if shape.recurrent else {}),
            **_of_layer(saved, i),
        }
        for i in range(shape.layers)
    ]
    arrays = {
        "heads_backward": heads_weight.contiguous(),
        "doutput": doutput.contiguous(),
        "demitted": demitted,
        **carried,
        **saved,
    }
    _call(shape, per_layer, arrays, backward=True)
    dhidden, dcell = (tensor.transpose(0, 1).contiguous() for tensor in by_layer)
    return dgates, demitted, carried["dmemory"].mT.contiguous(), carried["dweights"], carried["dreads"], dhidden, dcell


@_sequence_backward.register_fake
def _(first, matrices, heads_weight, buffer, memory, hidden, counts, doutput, *state):  # type: ignore[no-untyped-def]
    shape = _Shape(first, matrices, memory, hidden, counts)
    dgates = first.new_empty(shape.layers, shape.time, shape.batch, shape.gates)
    demitted = first.new_empty(shape.time, shape.batch, shape.emitted)
    return dgates, demitted, *(torch.empty_like(part, memory_format=torch.contiguous_format) for part in state)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    first, matrices, _, heads_weight, _, *state, counts = inputs
    out, buffer = output[0], output[-1]
    ctx.counts, ctx.layers = counts, len(matrices)
    ctx.save_for_backward(first, *matrices, heads_weight, out, buffer, *state)
    ctx.mark_non_differentiable(buffer)
    ctx.set_materialize_grads(False)  # zeros as large as the buffer would cost more than the rest


def _backward(ctx: Any, *given: Tensor | None) -> Any:
    first, *matrices, heads_weight, output, buffer, memory, weights, reads, hidden, cell = ctx.saved_tensors
    results = (output, memory, weights, reads, hidden, cell)
    doutput, *dend = (
        torch.zeros_like(result) if gradient is None else gradient
        for gradient, result in zip(given[:6], results, strict=True)
    )
    dgates, demitted, *dstate = torch.ops.lightning_ntm.sequence_backward(
        first, matrices, heads_weight, buffer, memory, hidden, ctx.counts, doutput, *dend
    )
    shape = _Shape(first, matrices, memory, hidden, ctx.counts)
    saved = shape.views(buffer)
    rows = dgates.flatten(1, 2)
    dmatrices = [rows[i].t() @ saved[f"given{i}"][: shape.time].flatten(0, 1) for i in range(shape.layers)]
    dbiases = [rows[i].sum(0) for i in range(1, shape.layers)]
    told = demitted.flatten(0, 1)
    dheads_weight = told.t() @ output[..., : shape.hidden].flatten(0, 1)
    return dgates[0], dmatrices, dbiases, dheads_weight, told.sum(0), *dstate, None


_sequence.register_autograd(_backward, setup_context=_setup)


def _of_layer(saved: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    return {name: saved[f"{name}{layer}"] for name in ("given", "gates", "cell") if f"{name}{layer}" in saved}


#: In the order of `Layer` and `Arrays` in sequence.cpp.
_LAYER = ("forward", "backward", "bias", "given", "gates", "cell", "dgates", "dhidden", "dcell")
_ARRAYS = (
    "input", "heads_forward", "heads_backward", "heads_bias", "output", "emitted", "memory", "weights", "cosine",
    "norms", "content", "shifted", "last_hidden", "last_reads", "doutput", "demitted", "dmemory", "dweights", "dreads",
)  # fmt: skip


def _call(
    shape: _Shape, per_layer: Sequence[Mapping[str, Tensor | None]], arrays: dict[str, Tensor], *, backward: bool
) -> None:
    sizes = shape.struct()
    layers = _pointers([layer.get(name) for layer in per_layer for name in _LAYER])
    pointers = _pointers([arrays.get(name) for name in _ARRAYS])
    entry_points()[next(iter(arrays.values())).element_size()](ctypes.byref(sizes), layers, pointers, backward)


def _pointers(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(None if t is None else t.data_ptr() for t in tensors))
