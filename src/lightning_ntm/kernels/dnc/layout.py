"""The arguments of the native program for DNCs, as in arrays.hpp; `kernels/cpu/layout.py` has what all networks share.

For the backward, each step of each sequence saves, in numbers of the dtype:
`slots * (3 + reads) + 2 * parameters_of_heads + layers * (inner + gates + hidden)`, where for an LSTM `gates` is
`4 * hidden`, and `inner` is the size of all that a layer is given. Each sequence of T steps saves sqrt(T) memories and
link matrices; the backward computes the others again, sqrt(T) at a time.
"""

import ctypes
import math
from collections.abc import Sequence

from lightning_ntm.kernels.cpu.layout import SIZES, Options, Shapes, arrays, with_layers

#: Version of the structs; `layout` in arrays.hpp.
LAYOUT = 3

#: Pointers in `State` in arrays.hpp.
STATE = (
    *("memory", "usage", "precedence", "link", "write_weights", "read_weights", "reads"),
    *("hidden", "cell"),
)

#: Pointers in `Arrays` in arrays.hpp that are saved for the backward.
SAVED = ("emitted", "activated", "memory", "link", "precedence", "usage", "write_weights", "read_weights", "order")

#: Pointers in `Arrays` in arrays.hpp.
ARRAYS = arrays(SAVED, STATE)


class Sizes(ctypes.Structure):
    """As `Sizes` in arrays.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in (*SIZES, "masking", "deallocation", "sharpening")),
        ("mask_floor", ctypes.c_double),
    ]


def every_of(time: int) -> int:
    """Return the steps from one saved link matrix to the next: the square root of all steps, rounded up."""
    return math.isqrt(time - 1) + 1


def sizes_of(inputs: tuple[int, ...], memory: tuple[int, ...], weights: Shapes, options: Options) -> Sizes:
    """Return the struct of all sizes."""
    (recurrent, reads, *switches, keep), (mask_floor,) = options
    _, hidden = weights[-1]
    layers, every = len(weights) - 1, every_of(inputs[1])
    return Sizes(*inputs, hidden, layers, *memory[1:], reads, recurrent, keep, every, *switches, mask_floor)


def saved_counts(
    inputs: tuple[int, ...], memory: tuple[int, ...], weights: Shapes, counts: Sequence[int]
) -> dict[str, int]:
    """Return the size of each saved array; without gradients it is that of one step."""
    recurrent, reads, *_, keep = counts
    batch, time, _ = inputs
    slots, width = memory[1:]
    now, after = (batch * time, batch * (time + 1)) if keep else (batch, batch)
    some = batch * -(-time // every_of(time)) if keep else 0
    of_memory = {
        "memory": some * slots * (width + 1),
        "link": some * slots * slots,
        "precedence": some * slots,
        "usage": after * slots,
        "write_weights": after * slots,
        "read_weights": after * reads * slots,
        "order": now * slots if keep else 0,
    }
    return with_layers(of_memory, inputs, weights, recurrent=recurrent, keep=keep)


def limited(options: Options) -> bool:
    """Return whether gradients are limited."""
    return False
