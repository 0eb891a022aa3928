"""The arguments of the native program for NTMs: their order, and where arrays begin in a buffer.

`arrays.hpp` has the same structs. `LAYOUT` is raised in both where a field is added, removed or moved, or changes its
meaning; `library.opened` compares it and the sizes of the structs with those of the compiled library.
"""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor

#: Of the structs; `layout` in arrays.hpp.
LAYOUT = 1

#: Numbers in a line of the cache, as in arrays.hpp: a vector that lies across two lines loads twice.
LINE = 16

#: Steps from one memory that is kept to the next.
EVERY = 4

#: Pointers in `Layer` in controllers.hpp.
LAYER = ("weight", "bias", "arranged", "given", "gates", "cell", "dgates", "dweight", "dbias")

#: Pointers in `State` in arrays.hpp.
STATE = ("memory", "weights", "reads", "hidden", "cell")

#: Pointers in `Arrays` in arrays.hpp that are saved for the backward, in this order; those of each layer.
SAVED = ("emitted", "told", "memory", "weights", "cosine", "content")
SAVED_OF_LAYERS = ("given", "gates", "cell")

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
                "batch", "time", "inputs", "hidden", "layers", "slots", "width", "reads", "writes", "reach",
                "recurrent", "keep", "every",
            )
        ),
        ("limit", ctypes.c_double),
    ]  # fmt: skip


def structs() -> tuple[int, ...]:
    """Return the layout and the bytes of `Sizes`, `Layer` and `Arrays`, as the library must have them."""
    pointer = ctypes.sizeof(ctypes.c_void_p)
    return LAYOUT, ctypes.sizeof(Sizes), pointer * len(LAYER), pointer * len(ARRAYS)


#: Counts of a call, as `Numbers` and whether steps are kept has them, and the limit of gradients.
Options = tuple[list[int], float]


class Layout(NamedTuple):
    """All sizes of a call, and where the arrays that are saved begin in one buffer."""

    sizes: Sizes
    gates: int
    emitted: int
    output: int
    starts: tuple[int, ...]  # in the order of SAVED
    starts_of_layers: list[tuple[int | None, ...]]  # of SAVED_OF_LAYERS
    total: int
    arranged: tuple[int, ...]  # numbers of each weight in the order the kernel takes it, the heads' last


def layout_of(inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], options: Options) -> Layout:
    """Return the layout of a call; those of equal shapes are one object."""
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
    recurrent, reads, writes, reach, keep = counts
    slots, width = memory[1:]
    emitted, hidden = weights[-1]
    starts, total = {}, 0
    for name, count in saved_counts(inputs, memory, weights, counts).items():
        starts[name], total = total, total + count
    layers = len(weights) - 1
    sizes = Sizes(*inputs, hidden, layers, slots, width, reads, writes, reach, recurrent, keep, EVERY, limit)
    arranged = tuple(padded(rows * padded(columns)) for rows, columns in weights)
    whole = tuple(starts[name] for name in SAVED)
    of_layers = [tuple(starts.get(f"{name}{i}") for name in SAVED_OF_LAYERS) for i in range(layers)]
    return Layout(sizes, weights[0][0], emitted, hidden + reads * width, whole, of_layers, total, arranged)


def padded(count: int) -> int:
    """Return the numbers of an array that ends where a line of the cache does."""
    return -(-count // LINE) * LINE


def saved_counts(
    inputs: tuple[int, ...], memory: tuple[int, ...], weights: tuple[tuple[int, ...], ...], counts: tuple[int, ...]
) -> dict[str, int]:
    """How many numbers of everything are saved; without gradients the present step alone is."""
    recurrent, reads, writes, _, keep = counts
    slots, width = memory[1:]
    emitted, hidden = weights[-1]
    layers, looks = len(weights) - 1, (reads + writes) * slots
    now, after = inputs[0] * (inputs[1] if keep else 1), inputs[0] * (inputs[1] + 1 if keep else 1)
    # What has the oddest size comes last: before it everything begins where a line of the cache does, mostly.
    return {
        "memory": inputs[0] * -(-inputs[1] // EVERY) * slots * (width + 1) if keep else 0,
        "weights": after * looks,
        "cosine": now * looks,
        "content": now * looks,
        **{f"gates{i}": now * weights[i][0] for i in range(layers)},
        **{f"cell{i}": after * hidden for i in range(layers if recurrent else 0)},
        "emitted": now * emitted,
        "told": now * emitted,
        **{f"given{i}": after * weights[i][1] for i in range(layers)},
    }


def pointers_into(buffer: Tensor, layout: Layout) -> tuple[list[int], list[list[int]]]:
    """Return the arrays of `SAVED`, and those of each layer."""
    base, size = buffer.data_ptr(), buffer.element_size()
    of_layers = [[0 if s is None else base + size * s for s in starts] for starts in layout.starts_of_layers]
    return [base + size * start for start in layout.starts], of_layers


def starts_of(buffer: Tensor, counts: Sequence[int]) -> list[int]:
    """Pointers to arrays that stand one after the other."""
    starts = [buffer.data_ptr()]
    for count in counts:
        starts.append(starts[-1] + count * buffer.element_size())
    return starts[:-1]
