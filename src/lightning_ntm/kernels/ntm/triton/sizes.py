"""Sizes of a call, constants of the programs that run it, and the division of work among their threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch

from lightning_ntm.kernels.ntm.numbers import Numbers

#: 16-byte loads in flight for each thread, numbers of the memory in its registers, threads in a warp.
AHEAD, HELD, WARP = 8, 16, 32


class Options(NamedTuple):
    """Options of a call that do not follow from the shapes of its tensors."""

    recurrent: bool
    reads: int
    writes: int
    shifts: int
    limit: float
    min_sharpening: float
    weights_dtype: torch.dtype | None  # under autocast, else `None`

    @classmethod
    def of(cls, numbers: Numbers, device: str) -> "Options":
        """Return the options of an NTM under the current autocast."""
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        recurrent, reads, writes, max_shift, limit, min_sharpening = numbers
        return cls(recurrent, reads, writes, 2 * max_shift + 1, limit, min_sharpening, dtype)


class Product(NamedTuple):
    """The division of the product of a vector and a matrix among the threads of a program."""

    columns: int
    block: int  # power of two that holds the columns
    split: int  # parts of the sum over rows
    chunk: int  # rows that are loaded at once

    @classmethod
    def of(cls, rows: int, columns: int, at_once: int) -> "Product":
        """Return a split of the rows such that all threads together load `at_once` numbers, if there are that many."""
        wide = block(columns)
        split = max(1, min(at_once // wide, block(rows)))
        each = max(1, split * wide // at_once)
        return cls(columns, wide, split, split * max(1, min(AHEAD // each, block(-(-rows // split)))))

    def constants(self, name: str) -> dict[str, int]:
        """Return the constants of a program, prefixed by the name of the product."""
        return {f"{name}_BLOCK": self.block, f"{name}_SPLIT": self.split, f"{name}_CHUNK": self.chunk}


@dataclass(frozen=True)
class Sizes:
    """Sizes of a call.

    Args:
        inputs: Numbers per step of the input.
        hidden: Units of each layer of the controller.
        layers: Layers of the controller.
        memory: Slots and width.
        emitted: Size of the interface vector of all heads.
        options: Everything else.
        warps: Warps of a program.
        at_once: Numbers in one 16-byte load of a matrix; rows of matrices are padded to a multiple of it.
    """

    inputs: int
    hidden: int
    layers: int
    memory: tuple[int, int]
    emitted: int
    options: Options
    warps: int
    at_once: int

    @property
    def gates(self) -> int:
        """Gates of a unit of the controller."""
        return 4 if self.options.recurrent else 1

    @property
    def read(self) -> int:
        """Numbers that all heads read."""
        return self.options.reads * self.memory[1]

    @property
    def first(self) -> int:
        """Size of the recurrent input of the first layer: the reads and, for an LSTM, its own last output."""
        return self.read + self.options.recurrent * self.hidden

    @property
    def other(self) -> int:
        """Size of the input of each other layer."""
        return (1 + self.options.recurrent) * self.hidden

    @cached_property
    def columns(self) -> int:
        """Units of a layer, padded."""
        return padded(self.hidden, self.at_once)

    @cached_property
    def emitted_columns(self) -> int:
        """Size of the interface vector, padded."""
        return padded(self.emitted, self.at_once)

    @cached_property
    def state(self) -> tuple[tuple[int, int], ...]:
        """Shapes of the parts of the state of one sequence."""
        heads = self.options.reads + self.options.writes
        recurrent = (self.layers if self.options.recurrent else 0, self.hidden)
        return self.memory, (heads, self.memory[0]), (self.options.reads, self.memory[1]), recurrent, recurrent

    @cached_property
    def given(self) -> int:
        """Size of `given` in one step, see `forward.py`."""
        return padded(self.first + (self.layers - 1) * self.other)

    @cached_property
    def before_given(self) -> int:
        """Numbers that are saved before `given` in one step: gates and memory."""
        return self.layers * self.gates * self.columns + self.memory[0] * self.memory[1]

    @cached_property
    def products(self) -> dict[str, Product]:
        """The products of each step: two in the forward program, three in the backward program."""
        wide, at_once = self.gates * self.columns, self.warps * WARP * self.at_once
        return {
            "GATES": Product.of(max(self.first, self.other), wide, at_once),
            "EMITTED": Product.of(self.hidden, self.emitted_columns, at_once),
            "HIDDEN": Product.of(self.emitted, self.columns, at_once),
            "FIRST": Product.of(wide, padded(self.first, self.at_once), at_once),
            "OTHER": Product.of(wide, padded(self.other, self.at_once), at_once),
        }

    @cached_property
    def parts(self) -> int:
        """Size of the largest sums that threads exchange in parts."""
        of_slots = 2 * self.state[1][0] * self.constants["SLOT_SPLIT"] * self.memory[1]
        return padded(max(of_slots, *(product.split * product.columns for product in self.products.values())))

    @cached_property
    def _of_slots(self) -> int:
        return self.state[1][0] * self.memory[0]

    def saved(self, rows: int) -> int:
        """Return the size of the arrays of one sequence that the forward program saves or exchanges."""
        of_step = self.before_given + self.given + self.emitted_columns + self.layers * self.hidden + 3 * self._of_slots
        return padded(rows * of_step + self.parts, 16)

    @cached_property
    def scratch(self) -> int:
        """Size of the arrays of one sequence that the backward program exchanges."""
        of_steps = 2 * (self.memory[0] * self.memory[1] + self.layers * self.hidden)
        return padded(of_steps + self.given + self.parts + 4 * self._of_slots, 16)

    @cached_property
    def constants(self) -> dict[str, int]:
        """Constants of both programs."""
        (slots, width), options = self.memory, self.options
        slot_block = min(block(slots), max(1, HELD * self.warps * WARP // block(width)))
        return {
            "READS": options.reads,
            "WRITES": options.writes,
            "WIDTH": width,
            "SHIFTS": options.shifts,
            "HIDDEN": self.hidden,
            "LAYERS": self.layers,
            "RECURRENT": int(options.recurrent),
            "COLUMNS": self.columns,
            "EMITTED": self.emitted,
            "EMITTED_COLUMNS": self.emitted_columns,
            "GIVEN": self.given,
            "HEAD_BLOCK": block(self.state[1][0]),
            "HIDDEN_BLOCK": block(self.columns),
            "WIDTH_BLOCK": block(width),
            "SLOTS_BLOCK": block(slots),
            "SLOT_BLOCK": slot_block,
            "SLOT_SPLIT": min(self.warps, slot_block),
            "SHIFT_BLOCK": block(options.shifts),
            "num_warps": self.warps,
            "num_stages": 1,
        }

    @cached_property
    def forward(self) -> dict[str, int | float]:
        """Constants of the forward program."""
        products = self.products["GATES"].constants("GATES") | self.products["EMITTED"].constants("EMITTED")
        return self.constants | products | {"PARTS": self.parts, "MIN_SHARPENING": self.options.min_sharpening}

    @cached_property
    def backward(self) -> dict[str, int | float]:
        """Constants of the backward program, and the limit of gradients."""
        of_products: dict[str, int] = {}
        for name in ("HIDDEN", "FIRST", "OTHER"):
            of_products |= self.products[name].constants(name)
        columns = {f"{name}_COLUMNS": self.products[name].columns for name in ("FIRST", "OTHER")}
        limits = {"LIMIT": self.options.limit, "MIN_SHARPENING": self.options.min_sharpening}
        return self.constants | of_products | columns | {"PARTS": self.parts} | limits


def padded(count: int, multiple: int = 4) -> int:
    """Return the next multiple."""
    return -(-count // multiple) * multiple


def block(count: int) -> int:
    """Return the next power of two: all tensors of Triton have such sizes."""
    return 1 << max(0, count - 1).bit_length()


#: Equal calls share one object, so that its sizes are computed once.
_sizes = lru_cache(1024)(Sizes)


def sizes_of(inputs: torch.Tensor, memory: Sequence[int], weights: Sequence[torch.Tensor], options: Options) -> Sizes:
    """Return the sizes of a call.

    Args:
        inputs: `([networks,] batch, time, inputs)`.
        memory: Slots and width.
        weights: Weights of each layer of the controller, then of the heads.
        options: Everything else.
    """
    emitted, hidden = weights[-1].shape[-2:]
    slots, width = memory
    at_once = 16 // (options.weights_dtype or weights[0].dtype).itemsize
    sequences = inputs.shape[:-2].numel()
    warps = _warps(hidden, slots * width, sequences, _multiprocessors(inputs.device))
    return _sizes(inputs.shape[-1], hidden, len(weights) - 1, (slots, width), emitted, options, warps, at_once)


def _warps(hidden: int, memory: int, sequences: int, multiprocessors: int) -> int:
    """Return the warps of a program: more speed up one sequence; with fewer a multiprocessor holds two programs."""
    return 8 if max(32 * hidden, memory) > 1024 and sequences <= multiprocessors else 4


@lru_cache(16)
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
