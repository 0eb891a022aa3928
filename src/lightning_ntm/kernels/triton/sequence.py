"""A whole sequence of an NTM, or of many networks side by side, in one launch of a Triton program each way.

Outside of the programs stand large matrix products, as ordinary operations of PyTorch: before them the share of the
inputs in the first layer of the controller, after them the gradients of all weights, and the output layer.

All tensors here have a leading axis of networks: inputs `(networks, batch, time, inputs)`, each part of a state
`(networks, batch, ...)`, weights `(networks, rows, columns)`. Triton is imported when a sequence is first run.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Largest sizes that were tried: beyond them a program would compile for minutes, or not fit a multiprocessor.
_MOST = {"hidden_size": 1024, "memory_width": 256, "memory_slots": 16_384}
_HALF = (torch.float16, torch.bfloat16)


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why the kernel cannot run the call, or `None`.

    Raises:
        ImportError: Triton is not installed.
    """
    if inputs.device.type != "cuda" and not _interpreted(inputs):
        return f"it needs tensors on a CUDA device, the inputs are on {inputs.device}."
    if torch.compiler.is_compiling():
        return "torch.compile cannot trace it."
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "it cannot be transformed by torch.func."
    if inputs.shape[0] == 0:
        return "the batch is empty."
    try:
        import triton  # noqa: F401
    except ImportError:
        raise ImportError("Triton is not installed; it comes with PyTorch for CUDA") from None
    return _refused_types(model, inputs, state) or _refused_sizes(model, state)


def _interpreted(inputs: Tensor) -> bool:
    """Whether Triton's interpreter runs programs on the CPU, as tests ask for."""
    return inputs.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"


def _refused_types(model: Any, inputs: Tensor, state: Any) -> str | None:
    weights = model.heads.weight.dtype
    if any(part.dtype not in (torch.float32, torch.float64) for part in state):
        return f"it keeps a state in float32 or float64, this one is {state[0].dtype}."
    if any(part.dtype != state[0].dtype for part in state):
        return "the parts of the state differ in their dtype."
    if weights != state[0].dtype and weights not in _HALF:
        return f"the state is {state[0].dtype}, the parameters are {weights}."
    if inputs.dtype != weights and not torch.is_autocast_enabled(inputs.device.type):
        return f"the inputs are {inputs.dtype}, the parameters are {weights}."
    return None


def _refused_sizes(model: Any, state: Any) -> str | None:
    sizes = {
        "hidden_size": model.controller.hidden_size,
        "memory_width": state[0].shape[-1],
        "memory_slots": state[0].shape[-2],
    }
    for name, most in _MOST.items():
        if sizes[name] > most:
            return f"{name} (={sizes[name]}) must be at most {most}."
    return None


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    layers = [*model.controller.layers, model.heads]
    weights, biases = [layer.weight.unsqueeze(0) for layer in layers], [layer.bias.unsqueeze(0) for layer in layers]
    output, *end = recurrence(
        inputs.unsqueeze(0),
        [part.unsqueeze(0) for part in state],
        weights,
        biases,
        Options.of(model, inputs.device.type),
    )
    logits = model.output(output[0].to(model.output.weight.dtype))
    return logits, type(state)(*(part[0] for part in end))


class Options(NamedTuple):
    """What the shapes of tensors do not tell."""

    recurrent: bool
    reads: int
    writes: int
    shifts: int
    limit: float
    weights_dtype: torch.dtype | None  # where it is not that of the weights

    @classmethod
    def of(cls, model: Any, device: str) -> "Options":
        """Return those of an NTM, under the autocast that is on now."""
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        recurrent = model.controller.num_layers > 0
        shifts = 2 * model.max_shift + 1
        return cls(recurrent, model.num_read_heads, model.num_write_heads, shifts, model.gradient_limit, dtype)


def recurrence(
    inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor], options: Options
) -> tuple[Tensor, ...]:
    """Return the outputs of controller and reads, `(networks, batch, time, hidden + reads * width)`, and the last state.

    Args:
        inputs: `(networks, batch, time, inputs)`.
        state: Memory, weights, reads, hidden, cell; each `(networks, batch, ...)`.
        weights: Of each layer of the controller, then of the heads; each `(networks, rows, columns)`.
        biases: Likewise, each `(networks, rows)`.
        options: All else.
    """
    return _Recurrence.apply(options, torch.is_grad_enabled(), inputs, *state, *weights, *biases)  # type: ignore[no-any-return]


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: Options, keep: bool, inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state, weights, biases = _parts(tensors)
        keep = keep and any(ctx.needs_input_grad)
        output, end, saved = _forward(inputs, state, weights, biases, options, keep)
        ctx.options = options
        if keep:
            ctx.save_for_backward(inputs, output, *saved, *weights)
        ctx.set_materialize_grads(False)
        return (output, *end)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, output, *saved = ctx.saved_tensors
        saved, weights = saved[: len(_SAVED)], saved[len(_SAVED) :]
        with torch.autocast(inputs.device.type, enabled=False):
            found = _backward(inputs, output, saved, weights, ctx.options, gradients, ctx.needs_input_grad[2])
        return (None, None, *found)


def _parts(tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, weights and biases."""
    layers = (len(tensors) - 5) // 2
    return tensors[:5], tensors[5 : 5 + layers], tensors[5 + layers :]


#: Arrays that the forward program fills and the backward program reads, in the order of its arguments; the last is
#: for the gradients of the weights alone.
_SAVED = ("gates", "cell", "emitted", "cosine", "content", "weightings", "memory", "given")

#: Numbers of the memory that each thread holds at most, times four numbers of a matrix that it loads ahead, threads in
#: a warp.
_HELD, _AHEAD, _WARP = 16, 8, 32


class _Sizes(NamedTuple):
    """Sizes of a call, and the constants of its programs."""

    inputs: int
    hidden: int
    layers: int
    gates: int
    slots: int
    width: int
    emitted: int
    read: int
    first: int  # numbers that recur to the first layer
    other: int  # numbers that the others are given
    columns: int  # of a gate, padded so that four numbers are loaded at once; likewise below
    emitted_columns: int
    first_columns: int
    other_columns: int
    saved: dict[str, int]  # numbers of each step, in the order of _SAVED
    forward: dict[str, Any]
    backward: dict[str, Any]


@lru_cache(1024)
def _sizes(
    inputs: int, hidden: int, layers: int, slots: int, width: int, emitted: int, options: Options, warps: int
) -> _Sizes:
    gates, own = (4, hidden) if options.recurrent else (1, 0)
    heads, read = options.reads + options.writes, options.reads * width
    first, other = read + own, hidden + own
    columns, emitted_columns, first_columns, other_columns = map(_padded, (hidden, emitted, first, other))
    wide, given = gates * columns, _padded(first + (layers - 1) * other)
    slot_block = min(_block(slots), max(1, _HELD * warps * _WARP // _block(width)))
    slot_split = min(warps, slot_block)
    products = {
        "GATES": _Product.of(max(first, other), wide, warps),
        "EMITTED": _Product.of(hidden, emitted_columns, warps),
        "HIDDEN": _Product.of(emitted, columns, warps),
        "FIRST": _Product.of(wide, first_columns, warps),
        "OTHER": _Product.of(wide, other_columns, warps),
    }
    constants = {
        "READS": options.reads, "WRITES": options.writes, "WIDTH": width, "SHIFTS": options.shifts, "HIDDEN": hidden,
        "LAYERS": layers, "RECURRENT": int(options.recurrent), "COLUMNS": columns, "EMITTED": emitted, "GIVEN": given,
        "PARTS": _padded(max(2 * heads * slot_split * width, *(product.parts for product in products.values()))),
        "HEAD_BLOCK": _block(heads), "HIDDEN_BLOCK": _block(columns), "WIDTH_BLOCK": _block(width),
        "SLOTS_BLOCK": _block(slots), "SLOT_BLOCK": slot_block, "SLOT_SPLIT": slot_split,
        "num_warps": warps, "num_stages": 1,
    }  # fmt: skip
    forward = {
        "EMITTED_COLUMNS": emitted_columns, "GATES_BLOCK": products["GATES"].block,
        "EMITTED_BLOCK": products["EMITTED"].block, "GATES_SPLIT": products["GATES"].split,
        "EMITTED_SPLIT": products["EMITTED"].split, "GATES_CHUNK": products["GATES"].chunk,
        "EMITTED_CHUNK": products["EMITTED"].chunk,
        "WEIGHTS": _padded((first + (layers - 1) * other) * wide + hidden * emitted_columns, 16),
    }  # fmt: skip
    backward = {
        "FIRST_COLUMNS": first_columns, "OTHER_COLUMNS": other_columns, "SHIFT_BLOCK": _block(options.shifts),
        "FIRST_BLOCK": products["FIRST"].block, "OTHER_BLOCK": products["OTHER"].block,
        "HIDDEN_SPLIT": products["HIDDEN"].split, "FIRST_SPLIT": products["FIRST"].split,
        "OTHER_SPLIT": products["OTHER"].split, "HIDDEN_CHUNK": products["HIDDEN"].chunk,
        "FIRST_CHUNK": products["FIRST"].chunk, "OTHER_CHUNK": products["OTHER"].chunk, "LIMITED": options.limit > 0,
        "WEIGHTS": _padded(wide * (first_columns + (layers - 1) * other_columns) + emitted * columns, 16),
    }  # fmt: skip
    cells = layers * hidden if options.recurrent else 0
    saved = (layers * wide, cells, emitted, *[heads * slots] * 3, slots * width, given)
    return _Sizes(
        inputs, hidden, layers, gates, slots, width, emitted, read, first, other, columns, emitted_columns,
        first_columns, other_columns, dict(zip(_SAVED, saved, strict=True)), constants | forward, constants | backward,
    )  # fmt: skip


class _Product(NamedTuple):
    """How the threads of a program share a product of a vector and a matrix."""

    block: int  # of the columns
    split: int  # parts in which the sum over rows is made
    chunk: int  # rows that are loaded at once
    parts: int

    @classmethod
    def of(cls, rows: int, columns: int, warps: int) -> "_Product":
        """Return a split of the rows in which each thread loads four numbers of a row at once, if there are so many."""
        at_once, block = 4 * warps * _WARP, _block(columns)
        split = max(1, min(at_once // block, _block(rows)))
        each = max(1, split * block // at_once)
        rows_ahead = max(1, min(_AHEAD // each, _block(-(-rows // split))))
        return cls(block, split, split * rows_ahead, split * columns)


def _padded(count: int, multiple: int = 4) -> int:
    return -(-count // multiple) * multiple


def _block(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _sizes_of(inputs: Tensor, slots: int, width: int, weights: Sequence[Tensor], options: Options) -> _Sizes:
    emitted, hidden = weights[-1].shape[1:]
    warps = _warps(hidden, slots * width)
    return _sizes(inputs.shape[-1], hidden, len(weights) - 1, slots, width, emitted, options, warps)


def _warps(hidden: int, memory: int) -> int:
    return 8 if max(32 * hidden, memory) > 1024 else 4


def _forward(
    inputs: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    options: Options,
    keep: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run the recurrence; return outputs, the last state, and what is saved."""
    from lightning_ntm.kernels.triton import programs

    networks, batch, time = inputs.shape[:3]
    state = [part.contiguous() for part in state]
    like = state[0]
    sizes = _sizes_of(inputs, like.shape[-2], like.shape[-1], weights, options)
    sums = torch.baddbmm(
        biases[0].unsqueeze(1), inputs.reshape(networks, batch * time, -1), weights[0][..., : sizes.inputs].mT
    ).to(like.dtype)
    other_biases = torch.cat(list(biases[1:]), 1).to(like.dtype)
    rows = time + 1 if keep else 2
    saved = [like.new_empty(networks * batch * rows, count) for count in sizes.saved.values()]
    output = like.new_empty(networks, batch, time, sizes.hidden + sizes.read)
    end = [torch.empty_like(part) for part in state]
    parts = like.new_empty(networks * batch, sizes.forward["PARTS"])
    with _device(inputs):
        programs.forward[(networks * batch,)](
            sums, _packed_forward(weights, sizes, options), other_biases, *state, *end, output,
            saved[-1], *saved[:-1], parts, time, batch, sizes.slots, **sizes.forward, KEEP=keep,
        )  # fmt: skip
    return output, end, saved


def _packed_forward(weights: Sequence[Tensor], sizes: _Sizes, options: Options) -> Tensor:
    """Return the weights as the forward program takes them: those of an input side by side."""
    networks = weights[0].shape[0]
    dtype = options.weights_dtype or weights[0].dtype
    padded = sizes.columns != sizes.hidden or sizes.emitted_columns != sizes.emitted
    make = weights[0].new_zeros if padded else weights[0].new_empty
    packed = make(networks, sizes.forward["WEIGHTS"], dtype=dtype)
    start = 0
    for layer, weight in enumerate(weights[:-1]):
        rows = sizes.other if layer else sizes.first
        end = start + rows * sizes.gates * sizes.columns
        place = packed[:, start:end].view(networks, rows, sizes.gates, sizes.columns)[..., : sizes.hidden]
        of_gates = weight[..., weight.shape[-1] - rows :].unflatten(1, (sizes.gates, sizes.hidden))
        place.copy_(of_gates.permute(0, 3, 1, 2))
        start = end
    end = start + sizes.hidden * sizes.emitted_columns
    place = packed[:, start:end].view(networks, sizes.hidden, sizes.emitted_columns)[..., : sizes.emitted]
    place.copy_(weights[-1].mT)
    return packed


def _packed_backward(weights: Sequence[Tensor], sizes: _Sizes, options: Options) -> Tensor:
    """Return the weights as the backward program takes them: those of an output side by side."""
    networks = weights[0].shape[0]
    dtype = options.weights_dtype or weights[0].dtype
    packed = weights[0].new_zeros(networks, sizes.backward["WEIGHTS"], dtype=dtype)
    start = 0
    for layer, weight in enumerate(weights[:-1]):
        rows, columns = (sizes.other, sizes.other_columns) if layer else (sizes.first, sizes.first_columns)
        end = start + sizes.gates * sizes.columns * columns
        place = packed[:, start:end].view(networks, sizes.gates, sizes.columns, columns)
        of_gates = weight[..., weight.shape[-1] - rows :].unflatten(1, (sizes.gates, sizes.hidden))
        place[:, :, : sizes.hidden, :rows].copy_(of_gates)
        start = end
    end = start + sizes.emitted * sizes.columns
    packed[:, start:end].view(networks, sizes.emitted, sizes.columns)[..., : sizes.hidden].copy_(weights[-1])
    return packed


def _backward(
    inputs: Tensor,
    output: Tensor,
    saved: Sequence[Tensor],
    weights: Sequence[Tensor],
    options: Options,
    gradients: Sequence[Tensor | None],
    of_inputs: bool,
) -> list[Tensor | None]:
    """Return gradients of inputs, state, weights and biases; `None` among what is given stands for zeros."""
    from lightning_ntm.kernels.triton import programs

    networks, batch, time = inputs.shape[:3]
    heads = options.reads + options.writes
    slots = saved[3].shape[1] // heads
    sizes = _sizes_of(inputs, slots, saved[6].shape[1] // slots, weights, options)
    doutput, *dend = gradients
    doutput = torch.zeros_like(output) if doutput is None else doutput.contiguous()
    layers = sizes.layers if options.recurrent else 0
    shapes = [(slots, sizes.width), (heads, slots), (options.reads, sizes.width), *[(layers, sizes.hidden)] * 2]
    start = [output.new_empty(networks, batch, *shape) for shape in shapes]
    of_end = any(gradient is not None for gradient in dend)
    given_end = [
        like if not of_end else torch.zeros_like(like) if gradient is None else gradient.contiguous()
        for gradient, like in zip(dend, start, strict=True)
    ]
    dgates = output.new_empty(networks, batch, time, sizes.layers, sizes.gates, sizes.columns)
    demitted = output.new_empty(networks, batch, time, sizes.emitted)
    of_memory, of_heads = 2 * slots * sizes.width, [heads * slots] * 4
    counts = (saved[-1].shape[1], 2 * layers * sizes.hidden, of_memory, *of_heads, sizes.backward["PARTS"])
    scratch = [output.new_empty(networks * batch, count) for count in counts]
    with _device(inputs):
        programs.backward[(networks * batch,)](
            _packed_backward(weights, sizes, options), *saved[:-1], doutput, *given_end, *start, dgates, demitted,
            *scratch, time, batch, slots, options.limit, **sizes.backward, OF_END=of_end,
        )  # fmt: skip
    steps = networks, batch * time
    given = saved[-1].view(networks, batch, time + 1, -1)[:, :, :time]
    dweights, dbiases = [], []
    for layer, weight in enumerate(weights[:-1]):
        of_layer = dgates[:, :, :, layer, :, : sizes.hidden].reshape(*steps, -1)
        at = sizes.first + (layer - 1) * sizes.other if layer else 0
        columns_given = given[..., at : at + (sizes.other if layer else sizes.first)]
        whole = columns_given if layer else torch.cat([inputs.to(given.dtype), columns_given], -1)
        dweights.append((of_layer.mT @ whole.reshape(*steps, -1)).to(weight.dtype))
        dbiases.append(of_layer.sum(1).to(weight.dtype))
    demitted = demitted.view(*steps, -1)
    dweights.append((demitted.mT @ output.view(*steps, -1)[..., : sizes.hidden]).to(weights[-1].dtype))
    dbiases.append(demitted.sum(1).to(weights[-1].dtype))
    dinputs = None
    if of_inputs:
        of_first = dgates[:, :, :, 0, :, : sizes.hidden].reshape(*steps, -1)
        of_input = weights[0][..., : sizes.inputs].to(of_first.dtype)
        dinputs = (of_first @ of_input).view(inputs.shape).to(inputs.dtype)
    return [dinputs, *start, *dweights, *dbiases]


def _device(tensor: Tensor) -> Any:
    """Triton launches on the current device."""
    return torch.cuda.device_of(tensor)


def run_stack(networks: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` of networks side by side; `networks` is an NTM that holds the parameters of all."""
    layers = [*networks.controller.layers, networks.heads]
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    output, *end = recurrence(inputs, state, weights, biases, Options.of(networks, inputs.device.type))
    weight, bias = networks.output.weight, networks.output.bias
    logits = torch.baddbmm(bias.unsqueeze(1), output.to(weight.dtype).flatten(1, 2), weight.mT)
    return logits.unflatten(1, inputs.shape[1:3]), type(state)(*end)
