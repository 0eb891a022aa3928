"""The arguments of the native programs: what they have in common, and the offsets of arrays in a buffer.

A network has a file with its structs in C++, and a `Program`. When a field is added, removed or moved, or its meaning
changes, raise the layout in both; `library.opened` compares it and the sizes of the structs with those of the compiled
library. Pointers in the struct of arrays are in this order: `BEFORE`, what is saved, the tensors of the state before
and after, `BETWEEN`, and the gradients of those tensors.
"""

import ctypes
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

#: Numbers in a cache line, as in sequences.hpp: a vector that crosses two lines needs two loads.
LINE = 16

#: Pointers in `Layer` in controllers.hpp.
LAYER = ("weight", "bias", "arranged", "input", "gates", "cell", "dgates", "dweight", "dbias")

#: Of `LAYER`, what is saved for the backward.
SAVED_OF_LAYERS = ("input", "gates", "cell")

#: Of every network's arrays, the first and those between its states.
BEFORE = ("input", "heads_weight", "heads_bias", "heads_turned", "noise", "output")
BETWEEN = ("doutput", "demitted", "dheads_weight", "dheads_bias", "dinput")

#: Fields of `ControlledSizes` in sequences.hpp.
SIZES = ("batch", "time", "inputs", "hidden", "layers", "slots", "width", "reads", "recurrent", "keep", "every")

#: Pointers in `Places` in objectives.hpp.
PLACES = (
    *("weight", "bias", "targets", "mask", "logits", "dlogits", "doutput", "dweight", "dbias", "costs", "errors"),
    "loss",
)


class Judged(ctypes.Structure):
    """As `Judged` in objectives.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("kind", "outputs", "mean", "last")),
        ("tolerance", ctypes.c_double),
    ]


#: Networks that have a native program, each with its folder beside this one.
NETWORKS = ("ntm", "dnc")


def arrays(saved: Sequence[str], state: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the pointers in a network's struct of arrays."""
    first, last, dfirst, dlast = ([f"{when}.{part}" for part in state] for when in ("first", "last", "dfirst", "dlast"))
    return (*BEFORE, *saved, *first, *last, *BETWEEN, *dfirst, *dlast)


#: Integers of a call (those of the network's numbers, then whether steps are saved), and the network's other numbers.
Options = tuple[list[int], list[float]]

#: Shapes of the weights of the layers, that of the heads last.
Shapes = tuple[tuple[int, ...], ...]


@runtime_checkable
class Program(Protocol):
    """What a network's layout.py defines."""

    LAYOUT: int
    STATE: tuple[str, ...]
    SAVED: tuple[str, ...]
    ARRAYS: tuple[str, ...]
    Sizes: type[ctypes.Structure]

    @staticmethod
    def sizes_of(inputs: tuple[int, ...], memory: tuple[int, ...], weights: Shapes, options: Options) -> Any:
        """Return the struct of all sizes."""
        ...

    @staticmethod
    def saved_counts(
        inputs: tuple[int, ...], memory: tuple[int, ...], weights: Shapes, counts: Sequence[int]
    ) -> dict[str, int]:
        """Return the size of each saved array; without gradients it is that of one step."""
        ...

    @staticmethod
    def limited(options: Options) -> bool:
        """Return whether gradients are limited, so that those of a sum are not the sum of gradients."""
        ...


def program_of(network: str) -> Program:
    """Return the program of one of `NETWORKS`."""
    found: Any = import_module(f"lightning_ntm.kernels.{network}.layout")
    return found


def structs(program: Program) -> tuple[int, ...]:
    """Return the version of a layout and the sizes of the structs that the library must have.

    They are `Sizes`, `Layer`, `Arrays`, `Judged` and `Places`.
    """
    pointer, sizes = ctypes.sizeof(ctypes.c_void_p), (ctypes.sizeof(program.Sizes), ctypes.sizeof(Judged))
    return (
        program.LAYOUT, sizes[0], pointer * len(LAYER), pointer * len(program.ARRAYS), sizes[1], pointer * len(PLACES)
    )  # fmt: skip


class Layout(NamedTuple):
    """All sizes of a call, and the offsets of the saved arrays in one buffer."""

    network: str
    sizes: Any
    gates: int
    emitted: int
    output: int
    starts: tuple[int, ...]  # in the order of SAVED
    starts_of_layers: list[tuple[int | None, ...]]  # of SAVED_OF_LAYERS
    total: int
    order: tuple[int, int, int] | None  # of saved numbers of slots: the first, rows, slots in each
    arranged: tuple[int, ...]  # size of each weight as the kernel arranges it, that of the heads last
    num_states: int
    limited: bool
    plans: dict[Any, Any]  # of calls that compute a loss, by what else they depend on


def options_of(numbers: Sequence[float], *, keep: bool) -> Options:
    """Return the options of a call.

    Args:
        numbers: What a network declares (`Numbers`): integers and truth values, then floats.
        keep: Whether steps are saved for the backward.
    """
    counts = [int(number) for number in numbers if not isinstance(number, float)]
    return [*counts, int(keep)], [number for number in numbers if isinstance(number, float)]


def layout_of(
    network: str, inputs: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], options: Options
) -> Layout:
    """Return the layout of a call; calls of equal shapes share one object."""
    counts, numbers = options
    shapes = tuple(tuple(weight.shape) for weight in weights)
    return _made(network, tuple(inputs.shape), tuple(state[0].shape), shapes, tuple(counts), tuple(numbers))


@lru_cache(1024)
def _made(
    network: str,
    inputs: tuple[int, ...],
    memory: tuple[int, ...],
    weights: Shapes,
    counts: tuple[int, ...],
    numbers: tuple[float, ...],
) -> Layout:
    program, options = program_of(network), (list(counts), list(numbers))
    starts, total = {}, 0
    for name, count in program.saved_counts(inputs, memory, weights, counts).items():
        starts[name], total = total, total + count
    sizes = program.sizes_of(inputs, memory, weights, options)
    emitted, hidden = weights[-1]
    return Layout(
        network,
        sizes,
        weights[0][0],
        emitted,
        hidden + sizes.reads * sizes.width,
        tuple(starts[name] for name in program.SAVED),
        [tuple(starts.get(f"{name}{i}") for name in SAVED_OF_LAYERS) for i in range(sizes.layers)],
        total,
        (starts["order"], inputs[0] * inputs[1], sizes.slots) if sizes.keep and "order" in starts else None,
        tuple(padded(rows * padded(columns)) for rows, columns in weights),
        len(program.STATE),
        program.limited(options),
        {},
    )


def padded(count: int) -> int:
    """Return the size of an array that is padded to whole cache lines."""
    return -(-count // LINE) * LINE


def with_layers(
    of_memory: Mapping[str, int], inputs: tuple[int, ...], weights: Shapes, *, recurrent: int, keep: int
) -> dict[str, int]:
    """Return the sizes of the saved arrays of a memory, with those of interface vectors and layers.

    Arrays of odd sizes come last, so that most others begin at a cache line.
    """
    emitted, hidden = weights[-1]
    layers = weights[:-1]
    now, after = inputs[0] * (inputs[1] if keep else 1), inputs[0] * (inputs[1] + 1 if keep else 1)
    return {
        **of_memory,
        **{f"gates{i}": now * rows for i, (rows, _) in enumerate(layers)},
        **{f"cell{i}": after * hidden for i in range(len(layers) if recurrent else 0)},
        "emitted": now * emitted,
        "activated": now * emitted,
        **{f"input{i}": after * columns for i, (_, columns) in enumerate(layers)},
    }


def pointers_into(buffer: Tensor, layout: Layout) -> tuple[list[int], list[list[int]]]:
    """Return the pointers to the saved arrays, and to those of each layer."""
    base, size = buffer.data_ptr(), buffer.element_size()
    of_layers = [[0 if s is None else base + size * s for s in starts] for starts in layout.starts_of_layers]
    return [base + size * start for start in layout.starts], of_layers


def starts_of(buffer: Tensor, counts: Sequence[int]) -> list[int]:
    """Return pointers to consecutive arrays."""
    starts = [buffer.data_ptr()]
    for count in counts:
        starts.append(starts[-1] + count * buffer.element_size())
    return starts[:-1]
