"""Tasks in the encodings of public NTM implementations, on which their networks were trained."""

import abc
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.copy import Copy
from lightning_ntm.tasks.priority_sort import PrioritySort
from lightning_ntm.tasks.repeat_copy import RepeatCopy


@dataclass(frozen=True)
class _Encoded(Task):
    """A task of the package in another encoding: with its difficulties, and refusing what it refuses."""

    def __post_init__(self) -> None:
        self._plain()

    @abc.abstractmethod
    def _plain(self) -> Task:
        """Return the task of the package."""

    @property
    def difficulty(self) -> dict[str, int]:
        """That of the task of the package."""
        return self._plain().difficulty

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """Those of the task of the package."""
        return self._plain().evaluations


@dataclass(frozen=True)
class FlaggedCopy(_Encoded):
    """Copy with a flag before the list and another after it, as in vlgiitr/ntm-pytorch.

    Args:
        bits: Width of a vector.
        min_length: Shortest list in training.
        max_length: Longest list in training.

    Example (2 bits, length 2; the last two input channels are the flags):
        inputs   0010 0100 1000 0001 0000 0000
        targets   --   --   --   --   01   10
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 20

    def _plain(self) -> Copy:
        return Copy(self.bits, self.min_length, self.max_length)

    @property
    def input_size(self) -> int:
        """Bits and both flags."""
        return self.bits + 2

    @property
    def answer(self) -> Bits:
        """Bits."""
        return Bits(self.bits)

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` fixes the length of every list."""
        self.fixed(difficulty, "length", self.min_length, self.max_length)
        drawn, pad = self._plain().sample(generator, batch_size, **difficulty), torch.nn.functional.pad
        bits, end = drawn.inputs.split([self.bits, 1], dim=-1)
        inputs = pad(torch.cat([bits, torch.zeros_like(end), end], dim=-1), (0, 0, 1, 0))
        inputs[:, 0, self.bits] = 1
        return Batch(inputs, pad(drawn.targets, (0, 0, 1, 0)), pad(drawn.mask, (1, 0)))


@dataclass(frozen=True)
class ScaledRepeatCopy(_Encoded):
    """Repeat copy with another scale of the number of repeats, as in clemkoa/ntm and vlgiitr/ntm-pytorch.

    Args:
        bits: Width of a vector.
        min_length: Shortest list in training.
        max_length: Longest list in training.
        min_repeats: Fewest repeats in training.
        max_repeats: Most repeats in training.
        offset: Subtracted from the number of repeats.
        scale: By which the difference is divided, above 0.
        flag_first: The flag comes before the list, and the number directly after it; otherwise the flag comes after the
            list, and then the number.

    Example (2 bits, length 1, 2 repeats; r is (2 - offset) / scale; first without `flag_first`, then with it):
        inputs   0100 0010 000r 0000 0000 0000
        inputs   0010 0100 000r 0000 0000 0000
        targets   ---  ---  ---  010  010  001
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 10
    min_repeats: int = 1
    max_repeats: int = 10
    offset: float = 0.0
    scale: float = 10.0
    flag_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scale > 0:
            raise ValueError(f"scale (={self.scale}) must be above 0.")

    def _plain(self) -> RepeatCopy:
        return RepeatCopy(self.bits, self.min_length, self.max_length, self.min_repeats, self.max_repeats)

    @property
    def input_size(self) -> int:
        """Bits, the flag and the number of repeats."""
        return self.bits + 2

    @property
    def answer(self) -> Bits:
        """Bits and the end marker."""
        return Bits(self.bits + 1)

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` and `repeats=R` fix what they name for every episode."""
        self.fixed(difficulty, "length", self.min_length, self.max_length)
        drawn = self._plain().sample(generator, batch_size, **difficulty)
        flagged = drawn.inputs[..., self.bits] > 0  # batch time: the step after the list
        numbered, inputs = flagged.roll(1, dims=1), drawn.inputs.clone()
        repeats = (drawn.mask.sum(1) - 1) / flagged.int().argmax(1)  # vectors of the answer by those of the list
        number = ((repeats - self.offset) / self.scale).unsqueeze(1)
        inputs[..., self.bits + 1] = torch.where(numbered, number, torch.zeros_like(number))
        if self.flag_first:
            inputs = self._with_flag_first(inputs, flagged)
        return Batch(inputs, drawn.targets, drawn.mask)

    def _with_flag_first(self, inputs: Tensor, flagged: Bool[Tensor, "batch time"]) -> Tensor:
        until = (flagged.cumsum(1) == 0) | flagged  # batch time: the list and the flag after it
        moved = inputs.roll(1, dims=1)
        moved[:, 0] = 0
        moved[:, 0, self.bits] = 1
        return torch.where(until.unsqueeze(-1), moved, inputs)


@dataclass(frozen=True)
class ColumnSort(_Encoded):
    """The sort of vlgiitr/ntm-pytorch: each bit of the vectors is sorted by itself; priorities have no effect.

    Args:
        bits: Width of a vector.
        items: Vectors shown in training.
        highest: Vectors to give back, at most `items`.

    Example (2 bits, 3 items, the highest 2; the last input channel is the priority):
        bits      01   11   00   00 00
        priority -0.4  0.9  0.1  0  0
        targets   --   --   --   11 01
    """

    bits: int = 8
    items: int = 20
    highest: int = 16

    def _plain(self) -> PrioritySort:
        return PrioritySort(self.bits, self.items, self.highest)

    @property
    def input_size(self) -> int:
        """Bits and the priority."""
        return self.bits + 1

    @property
    def answer(self) -> Bits:
        """Bits."""
        return Bits(self.bits)

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `items=N` fixes the number of vectors shown in every episode."""
        self.fixed(difficulty, "items", self.items, self.items, minimum=self.highest)
        drawn = self._plain().sample(generator, batch_size, **difficulty)
        shown = drawn.inputs.shape[1] - self.highest
        targets = drawn.targets.clone()
        targets[:, shown:] = drawn.inputs[:, :shown, : self.bits].sort(1, descending=True).values[:, : self.highest]
        return Batch(drawn.inputs, targets, drawn.mask)
