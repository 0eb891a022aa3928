"""The arguments of the native program for NTMs, as in arrays.hpp; `kernels/cpu/layout.py` has what all networks share.

For the backward, each step of each sequence saves, in numbers of the dtype:
`slots * ((width + 1) / 4 + 3 * heads) + 2 * parameters_of_heads + layers * (inner + gates + hidden)`, where for
an LSTM `gates` is `4 * hidden`, and `inner` is the size of all that a layer is given.
"""

import ctypes
from collections.abc import Sequence

from lightning_ntm.kernels.cpu.layout import SIZES, Options, Shapes, arrays, with_layers

#: Version of the structs; `layout` in arrays.hpp.
LAYOUT = 5

#: Steps from one saved memory to the next.
EVERY = 4

#: Pointers in `State` in arrays.hpp.
STATE = ("memory", "weights", "reads", "hidden", "cell")

#: Pointers in `Arrays` in arrays.hpp that are saved for the backward.
SAVED = ("emitted", "activated", "memory", "weights", "cosine", "content")

#: Pointers in `Arrays` in arrays.hpp.
ARRAYS = arrays(SAVED, STATE)


class Sizes(ctypes.Structure):
    """As `Sizes` in arrays.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in (*SIZES, "writes", "max_shift")),
        *((name, ctypes.c_double) for name in ("limit", "least_sharpening")),
    ]


def sizes_of(inputs: tuple[int, ...], memory: tuple[int, ...], weights: Shapes, options: Options) -> Sizes:
    """Return the struct of all sizes."""
    (recurrent, reads, writes, max_shift, keep), numbers = options
    _, hidden = weights[-1]
    layers = len(weights) - 1
    return Sizes(*inputs, hidden, layers, *memory[1:], reads, recurrent, keep, EVERY, writes, max_shift, *numbers)


def saved_counts(
    inputs: tuple[int, ...], memory: tuple[int, ...], weights: Shapes, counts: Sequence[int]
) -> dict[str, int]:
    """Return the size of each saved array; without gradients it is that of one step."""
    recurrent, reads, writes, _, keep = counts
    slots, width = memory[1:]
    weights_size = (reads + writes) * slots
    now, after = inputs[0] * (inputs[1] if keep else 1), inputs[0] * (inputs[1] + 1 if keep else 1)
    of_memory = {
        "memory": inputs[0] * -(-inputs[1] // EVERY) * slots * (width + 1) if keep else 0,
        "weights": after * weights_size,
        "cosine": now * weights_size,
        "content": now * weights_size,
    }
    return with_layers(of_memory, inputs, weights, recurrent=recurrent, keep=keep)


def limited(options: Options) -> bool:
    """Return whether gradients are limited."""
    return bool(options[1][0])
