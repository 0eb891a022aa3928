"""A whole sequence of an NTM, or of many networks side by side, in one launch of a Triton program each way.

Outside of the programs stand large matrix products, as ordinary operations of PyTorch: before them the share of the
inputs in the first layer of the controller, after them the gradients of all weights, and the output layer.

Where all tensors have a leading axis of networks, `(networks, batch, time, inputs)` and so on, many networks run side
by side. Triton is imported when a sequence is first run.
"""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.derivatives import first_only
from lightning_ntm.kernels.plain import changed, transformed

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
    if reason := transformed():
        return reason
    if inputs.shape[0] == 0:
        return "the batch is empty."
    try:
        import triton  # noqa: F401
    except ImportError:
        raise ImportError("Triton is not installed; it comes with PyTorch for CUDA") from None
    return changed(model, inputs, state) or _refused_types(model, inputs, state) or _refused_sizes(model, state)


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
    options = Options.of(model, inputs.device.type)
    output, *end = recurrence(
        inputs, state, [layer.weight for layer in layers], [layer.bias for layer in layers], options
    )
    return model.output(output.to(model.output.weight.dtype)), type(state)(*end)


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
    """Return the outputs of controller and reads, `([networks,] batch, time, hidden + reads * width)`, and the last state.

    Args:
        inputs: `([networks,] batch, time, inputs)`.
        state: Memory, weights, reads, hidden, cell; each `([networks,] batch, ...)`.
        weights: Of each layer of the controller, then of the heads; each `([networks,] rows, columns)`.
        biases: Likewise, each `([networks,] rows)`.
        options: All else.
    """
    return _Recurrence.apply(options, torch.is_grad_enabled(), inputs, *state, *weights, *biases)  # type: ignore[no-any-return]


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
        sizes = _sizes_of(inputs, ctx.memory, weights, ctx.options)
        needed = ctx.needs_input_grad[2:]
        with torch.autocast(inputs.device.type, enabled=False):
            found = _backward(inputs, output, saved, weights, sizes, gradients, needed)
        return (None, None, *found)


def _parts(tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """State, weights and biases."""
    layers = (len(tensors) - 5) // 2
    return tensors[:5], tensors[5 : 5 + layers], tensors[5 + layers :]


#: Loads of 16 bytes that each thread has in flight, numbers of the memory that it holds, threads in a warp, and
#: sequences that multiprocessors hold at once when each has many warps.
_AHEAD, _HELD, _WARP, _FEW = 16, 16, 32, 256


class _Sizes(NamedTuple):
    """Sizes of a call, and the constants of its programs."""

    inputs: int
    hidden: int
    layers: int
    gates: int
    read: int
    emitted: int
    first: int  # numbers that recur to the first layer
    other: int  # numbers that the others are given
    columns: int  # of a gate, padded so that four numbers are loaded at once; likewise below
    emitted_columns: int
    first_columns: int
    other_columns: int
    state: tuple[tuple[int, int], ...]  # shapes of the parts of a state, of one sequence
    before_given: int  # numbers of a step that are saved before `given`
    given: int
    saved: int  # numbers of each step, and below of each sequence, that are saved
    saved_once: int
    scratch: int
    dtype: torch.dtype | None  # of the weights, where it is not that of the parameters
    forward: dict[str, Any]
    backward: dict[str, Any]


@lru_cache(1024)
def _sizes(
    inputs: int, hidden: int, layers: int, memory: tuple[int, int], emitted: int, options: Options, warps: int, at_once: int
) -> _Sizes:
    (slots, width), (gates, own) = memory, (4, hidden) if options.recurrent else (1, 0)
    heads, read = options.reads + options.writes, options.reads * width
    first, other = read + own, hidden + own
    columns, emitted_columns, first_columns, other_columns = (_padded(n, at_once) for n in (hidden, emitted, first, other))
    wide, given = gates * columns, _padded(first + (layers - 1) * other)
    slot_block = min(_block(slots), max(1, _HELD * warps * _WARP // _block(width)))
    slot_split = min(warps, slot_block)
    of_forward = {
        "GATES": _Product.of(max(first, other), wide, warps * _WARP * at_once),
        "EMITTED": _Product.of(hidden, emitted_columns, warps * _WARP * at_once),
    }
    of_backward = {
        "HIDDEN": _Product.of(emitted, columns, warps * _WARP * at_once),
        "FIRST": _Product.of(wide, first_columns, warps * _WARP * at_once),
        "OTHER": _Product.of(wide, other_columns, warps * _WARP * at_once),
    }
    most = max(product.split * columns_ for product, columns_ in zip(
        (*of_forward.values(), *of_backward.values()), (wide, emitted_columns, columns, first_columns, other_columns),
        strict=True,
    ))  # fmt: skip
    parts = _padded(max(2 * heads * slot_split * width, most))
    constants = {
        "READS": options.reads, "WRITES": options.writes, "WIDTH": width, "SHIFTS": options.shifts, "HIDDEN": hidden,
        "LAYERS": layers, "RECURRENT": int(options.recurrent), "COLUMNS": columns, "EMITTED": emitted,
        "EMITTED_COLUMNS": emitted_columns, "GIVEN": given, "PARTS": parts,
        "HEAD_BLOCK": _block(heads), "HIDDEN_BLOCK": _block(columns), "WIDTH_BLOCK": _block(width),
        "SLOTS_BLOCK": _block(slots), "SLOT_BLOCK": slot_block, "SLOT_SPLIT": slot_split,
        "num_warps": warps, "num_stages": 1,
    }  # fmt: skip
    forward = constants | _constants_of(of_forward)
    backward = constants | _constants_of(of_backward) | {
        "FIRST_COLUMNS": first_columns, "OTHER_COLUMNS": other_columns, "SHIFT_BLOCK": _block(options.shifts),
        "LIMITED": options.limit > 0, "limit": options.limit,
    }  # fmt: skip
    kept = layers if options.recurrent else 0
    before_given = layers * wide + slots * width
    return _Sizes(
        inputs, hidden, layers, gates, read, emitted, first, other, columns, emitted_columns, first_columns,
        other_columns, ((slots, width), (heads, slots), (options.reads, width), (kept, hidden), (kept, hidden)),
        before_given, given, before_given + given + emitted_columns + layers * hidden + 3 * heads * slots, parts,
        _padded(2 * slots * width + given + parts + 2 * layers * hidden + 4 * heads * slots, 16),
        options.weights_dtype, forward, backward,
    )  # fmt: skip


class _Product(NamedTuple):
    """How the threads of a program share a product of a vector and a matrix."""

    block: int  # of the columns
    split: int  # parts in which the sum over rows is made
    chunk: int  # rows that are loaded at once

    @classmethod
    def of(cls, rows: int, columns: int, at_once: int) -> "_Product":
        """Return a split of the rows in which all threads load at once as many numbers as they can."""
        block = _block(columns)
        split = max(1, min(at_once // block, _block(rows)))
        each = max(1, split * block // at_once)
        return cls(block, split, split * max(1, min(_AHEAD // each, _block(-(-rows // split)))))


def _constants_of(products: dict[str, _Product]) -> dict[str, int]:
    return {
        f"{name}_{field.upper()}": value
        for name, product in products.items()
        for field, value in product._asdict().items()
    }


def _padded(count: int, multiple: int = 4) -> int:
    return -(-count // multiple) * multiple


def _block(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _sizes_of(inputs: Tensor, memory: Sequence[int], weights: Sequence[Tensor], options: Options) -> _Sizes:
    emitted, hidden = weights[-1].shape[-2:]
    slots, width = memory
    at_once = 16 // (options.weights_dtype or weights[0].dtype).itemsize
    warps = _warps(hidden, slots * width, math.prod(inputs.shape[:-2]))
    return _sizes(inputs.shape[-1], hidden, len(weights) - 1, (slots, width), emitted, options, warps, at_once)


def _warps(hidden: int, memory: int, sequences: int) -> int:
    """Return the warps of a program: many make one sequence fast, few let a multiprocessor hold more sequences."""
    return 8 if max(32 * hidden, memory) > 1024 and sequences <= _FEW else 4


def _forward(
    inputs: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    options: Options,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Run the recurrence; return outputs, the last state, and what is saved."""
    from lightning_ntm.kernels.triton import programs

    sizes = _sizes_of(inputs, state[0].shape[-2:], weights, options)
    *sequences, time, _ = inputs.shape
    count, rows, like = math.prod(sequences), time + 1 if keep else 2, state[0]
    state = [_dense(part) for part in state]
    saved_size = _padded(rows * sizes.saved + sizes.saved_once, 16)
    saved = like.new_empty(count, saved_size)
    output = like.new_empty(*sequences, time, sizes.hidden + sizes.read)
    end = like.new_empty(count * sum(map(math.prod, sizes.state)))
    with _on_device_of(inputs):
        programs.forward[(count,)](
            _sums_of_inputs(inputs, weights[0], sizes).to(like.dtype), *_matrices_forward(weights, sizes),
            biases[0] if sizes.layers == 1 else torch.cat(list(biases[:-1]), -1), biases[-1], *state,
            *(part.stride(0) if len(sequences) == 2 else 0 for part in state),
            *(part.stride(len(sequences) - 1) for part in state),
            end, output, saved, saved_size, time, sequences[-1], like.shape[-2], **sizes.forward, KEEP=keep,
        )  # fmt: skip
    return output, _parts_of_state(end, sequences, sizes), saved


def _dense(part: Tensor) -> Tensor:
    """Return a part of a state whose numbers of one sequence stand side by side; sequences may share them."""
    rows, columns = part.shape[-2:]
    return part if part.stride()[-2:] == (columns, 1) or rows * columns == 0 else part.contiguous()


def _sums_of_inputs(inputs: Tensor, weight: Tensor, sizes: _Sizes) -> Tensor:
    """Return the share of the inputs in the sums of the first layer."""
    return inputs.reshape(*weight.shape[:-2], -1, sizes.inputs) @ weight[..., : sizes.inputs].mT


def _parts_of_state(flat: Tensor, sequences: Sequence[int], sizes: _Sizes) -> list[Tensor]:
    """Return the parts of a state that stand one after the other."""
    count = math.prod(sequences)
    parts = flat.split([count * rows * columns for rows, columns in sizes.state])
    return [part.view(*sequences, *shape) for part, shape in zip(parts, sizes.state, strict=True)]


def _matrices_forward(weights: Sequence[Tensor], sizes: _Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights as the forward program takes them, those of an input side by side: `_matrices`."""

    def of_layer(weight: Tensor, rows: int) -> Tensor:
        recurring = weight[..., weight.shape[-1] - rows :]
        if sizes.columns == sizes.hidden:
            return recurring.mT
        by_gate = recurring.mT.unflatten(-1, (sizes.gates, sizes.hidden))
        return F.pad(by_gate, (0, sizes.columns - sizes.hidden)).flatten(-2)

    wide = sizes.gates * sizes.columns
    return _matrices(weights, sizes, of_layer, (wide, wide, sizes.emitted_columns), weights[-1].mT)


def _matrices_backward(weights: Sequence[Tensor], sizes: _Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights as the backward program takes them, those of an output side by side: `_matrices`."""

    def of_layer(weight: Tensor, rows: int) -> Tensor:
        recurring = weight[..., weight.shape[-1] - rows :]
        if sizes.columns == sizes.hidden:
            return recurring
        by_gate = recurring.unflatten(-2, (sizes.gates, sizes.hidden))
        return F.pad(by_gate, (0, 0, 0, sizes.columns - sizes.hidden)).flatten(-3, -2)

    columns = sizes.first_columns, sizes.other_columns, sizes.columns
    return _matrices(weights, sizes, of_layer, columns, weights[-1])


def _matrices(
    weights: Sequence[Tensor],
    sizes: _Sizes,
    of_layer: Callable[[Tensor, int], Tensor],
    columns: tuple[int, int, int],
    heads: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the recurrent weights of the first layer, of all others, and of the heads, with padded columns."""

    def padded(matrix: Tensor, columns: int) -> Tensor:
        matrix = matrix if sizes.dtype is None else matrix.to(sizes.dtype)
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
    sizes: _Sizes,
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Return gradients of inputs, state, weights and biases; `None` among what is given stands for zeros."""
    from lightning_ntm.kernels.triton import programs

    *sequences, time, _ = inputs.shape
    count = math.prod(sequences)
    doutput, *dend = gradients
    doutput = torch.zeros_like(output) if doutput is None else doutput.contiguous()
    of_end = any(gradient is not None for gradient in dend)
    start = output.new_empty(count * sum(map(math.prod, sizes.state)))
    dstart = _parts_of_state(start, sequences, sizes) if of_end or any(needed[1:6]) else [start] * 5
    if of_end:
        dend = [
            torch.zeros_like(like) if gradient is None else gradient.contiguous()
            for gradient, like in zip(dend, dstart, strict=True)
        ]
    dgates = output.new_empty(*sequences, time, sizes.layers, sizes.gates, sizes.columns)
    demitted = output.new_empty(*sequences, time, sizes.emitted)
    with _on_device_of(inputs):
        programs.backward[(count,)](
            *_matrices_backward(weights, sizes), saved, saved.shape[1], doutput, *(dend if of_end else dstart), start,
            dgates, demitted, output.new_empty(count, sizes.scratch), sizes.scratch, time, sequences[-1],
            sizes.state[0][0], **sizes.backward, OF_END=of_end,
        )  # fmt: skip
    of_state = [part if need else None for part, need in zip(dstart, needed[1:6], strict=True)]
    return [*_weight_gradients(inputs, output, saved, weights, sizes, (dgates, demitted), of_state, needed[0])]


def _weight_gradients(
    inputs: Tensor,
    output: Tensor,
    saved: Tensor,
    weights: Sequence[Tensor],
    sizes: _Sizes,
    of_sums: tuple[Tensor, Tensor],
    of_state: list[Tensor | None],
    of_inputs: bool,
) -> list[Tensor | None]:
    """Return all gradients, from those of the sums before activation and of what heads emitted, step by step."""
    dgates, demitted = of_sums
    *networks, batch, time, _ = inputs.shape
    steps = *networks, batch * time
    rows = time + 1
    given = saved.as_strided(
        (math.prod(inputs.shape[:-2]), time, sizes.given),
        (saved.shape[1], sizes.given, 1),
        saved.storage_offset() + rows * sizes.before_given,
    ).view(*networks, batch, time, sizes.given) if len(inputs) else saved
    dgates = dgates[..., : sizes.hidden] if sizes.columns != sizes.hidden else dgates
    dweights, dbiases = [], []
    for layer, weight in enumerate(weights[:-1]):
        of_layer = dgates[..., layer, :, :].reshape(*steps, -1)
        if layer == 0:
            of_first = of_layer
            whole = torch.cat([inputs.to(given.dtype), given[..., : sizes.first]], -1)
        else:
            at = sizes.first + (layer - 1) * sizes.other
            whole = given[..., at : at + sizes.other]
        dweights.append((of_layer.mT @ whole.reshape(*steps, -1)).to(weight.dtype))
        dbiases.append(of_layer.sum(-2).to(weight.dtype))
    demitted = demitted.view(*steps, -1)
    dweights.append((demitted.mT @ output.view(*steps, -1)[..., : sizes.hidden]).to(weights[-1].dtype))
    dbiases.append(demitted.sum(-2).to(weights[-1].dtype))
    dinputs = None
    if of_inputs:
        of_input = weights[0][..., : sizes.inputs].to(of_first.dtype)
        dinputs = (of_first @ of_input).view(inputs.shape).to(inputs.dtype)
    return [dinputs, *of_state, *dweights, *dbiases]


def _on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    elsewhere = tensor.is_cuda and tensor.device.index != torch.cuda.current_device()
    return torch.cuda.device_of(tensor) if elsewhere else nullcontext()
