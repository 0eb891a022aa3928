"""The arguments of the native program for NTMs: their order, and the offsets of arrays in a buffer.

`arrays.hpp` has the same structs. When a field is added, removed or moved, or its meaning changes, raise `LAYOUT` in
both; `library.opened` compares it and the sizes of the structs with those of the compiled library.
"""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor

#: Version of the structs; `layout` in arrays.hpp.
LAYOUT = 1

#: Numbers in a cache line, as in arrays.hpp: a vector that crosses two lines needs two loads.
LINE = 16

#: Steps from one saved memory to the next.
EVERY = 4

#: Pointers in `Layer` in controllers.hpp.
LAYER = ("weight", "bias", "arranged", "input", "gates", "cell", "dgates", "dweight", "dbias")

#: Pointers in `State` in arrays.hpp.
STATE = ("memory", "weights", "reads", "hidden", "cell")

#: Pointers in `Arrays` in arrays.hpp that are saved for the backward, in this order; then those of each layer.
SAVED = ("emitted", "activated", "memory", "weights", "cosine", "content")
SAVED_OF_LAYERS = ("input", "gates", "cell")

#: Pointers in `Arrays` in arrays.hpp.
ARRAYS = (
    *("input", "heads_weight", "heads_bias", "heads_turned", "output", *SAVED),
    *(f"{when}.{part}" for when in ("first", "last") for part in STATE),
    *("doutput", "demitted", "dheads_weight", "dheads_bias", "dinput"),
    *(f"{when}.{part}" for when in ("dfirst", "dlast") for part in STATE),
)


class Sizes(ctypes.Structure):
    """As `Sizes` in arrays.hpp."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in (
                "batch", "time", "inputs", "hidden", "layers", "slots", "width", "reads", "writes", "max_shift",
                "recurrent", "keep", "every",
            )
        ),
        ("limit", ctypes.c_double),
    ]  # fmt: skip


def structs() -> tuple[int, ...]:
    """Return the version of the layout and the sizes of `Sizes`, `Layer` and `Arrays` that the library must have."""
    pointer = ctypes.sizeof(ctypes.c_void_p)
    return LAYOUT, ctypes.sizeof(Sizes), pointer * len(LAYER), pointer * len(ARRAYS)


#: Counts of a call (those of `Numbers`, then whether steps are saved), and the limit of gradients.
Options = tuple[list[int], float]


class Layout(NamedTuple):
    """All sizes of a call, and the offsets of the saved arrays in one buffer."""

    sizes: Sizes
    gates: int
    emitted: int
    output: int
    starts: tuple[int, ...]  # in the order of SAVED
    starts_of_layers: list[tuple[int | None, ...]]  # of SAVED_OF_LAYERS
    total: int
    arranged: tuple[int, ...]  # size of each weight as the kernel arranges it, that of the heads last


def layout_of(inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], options: Options) -> Layout:
    """Return the layout of a call; calls of equal shapes share one object."""
    counts, limit = options
    shapes = tuple(tuple(weight.shape) for weight in weights)
    return _made(tuple(inputs.shape), tuple(state[0].shape), shapes, tuple(counts), limit)


@lru_cache(1024)
def _made(
    inputs: tuple[int, ...],
    memory: tuple[int, ...],
    weights: tuple[tuple[int, ...], ...],
    counts: tuple[int, ...],
    limit: float,
) -> Layout:
    recurrent, reads, writes, max_shift, keep = counts
    slots, width = memory[1:]
    emitted, hidden = weights[-1]
    starts, total = {}, 0
    for name, count in saved_counts(inputs, memory, weights, counts).items():
        starts[name], total = total, total + count
    layers = len(weights) - 1
    sizes = Sizes(*inputs, hidden, layers, slots, width, reads, writes, max_shift, recurrent, keep, EVERY, limit)
    arranged = tuple(padded(rows * padded(columns)) for rows, columns in weights)
    whole = tuple(starts[name] for name in SAVED)
    of_layers = [tuple(starts.get(f"{name}{i}") for name in SAVED_OF_LAYERS) for i in range(layers)]
    return Layout(sizes, weights[0][0], emitted, hidden + reads * width, whole, of_layers, total, arranged)


def padded(count: int) -> int:
    """Return the size of an array that is padded to whole cache lines."""
    return -(-count // LINE) * LINE


def saved_counts(
    inputs: tuple[int, ...], memory: tuple[int, ...], weights: tuple[tuple[int, ...], ...], counts: tuple[int, ...]
) -> dict[str, int]:
    """Return the size of each saved array; without gradients it is that of one step."""
    recurrent, reads, writes, _, keep = counts
    slots, width = memory[1:]
    emitted, hidden = weights[-1]
    layers, weights_size = len(weights) - 1, (reads + writes) * slots
    now, after = inputs[0] * (inputs[1] if keep else 1), inputs[0] * (inputs[1] + 1 if keep else 1)
    # Arrays of odd sizes come last, so that most others begin at a cache line.
    return {
        "memory": inputs[0] * -(-inputs[1] // EVERY) * slots * (width + 1) if keep else 0,
        "weights": after * weights_size,
        "cosine": now * weights_size,
        "content": now * weights_size,
        **{f"gates{i}": now * weights[i][0] for i in range(layers)},
        **{f"cell{i}": after * hidden for i in range(layers if recurrent else 0)},
        "emitted": now * emitted,
        "activated": now * emitted,
        **{f"input{i}": after * weights[i][1] for i in range(layers)},
    }


def pointers_into(buffer: Tensor, layout: Layout) -> tuple[list[int], list[list[int]]]:
    """Return the pointers to the arrays of `SAVED`, and to those of each layer."""
    base, size = buffer.data_ptr(), buffer.element_size()
    of_layers = [[0 if s is None else base + size * s for s in starts] for starts in layout.starts_of_layers]
    return [base + size * start for start in layout.starts], of_layers


def starts_of(buffer: Tensor, counts: Sequence[int]) -> list[int]:
    """Return pointers to consecutive arrays."""
    starts = [buffer.data_ptr()]
    for count in counts:
        starts.append(starts[-1] + count * buffer.element_size())
    return starts[:-1]
