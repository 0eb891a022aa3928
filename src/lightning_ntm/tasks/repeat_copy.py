"""Repeat copy (Graves et al. 2014, section 4.2)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lightning_ntm.checks import at_least, one_of, ordered
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class RepeatCopy(Task):
    """See a list and a number; give the list back that many times, then an end marker.

    The number comes on a channel of its own, in one of two ways. As in the paper it is one value, scaled so that the
    numbers drawn in training have mean 0 and variance 1; the scale belongs to the training range, and stays the same
    when other numbers are asked for in an evaluation. In unary it is a sequence of that many steps with a 1. A network
    that gets a value has not learned values above the training range. A network that counts one step for each repeat
    can also count further.

    Args:
        bits: Width of a vector.
        min_length: Shortest list in training.
        max_length: Longest list in training.
        min_repeats: Fewest repeats in training.
        max_repeats: Most repeats in training.
        same_length: Episodes of one batch share one length and one number of repeats, drawn anew
            for each batch; otherwise each has its own, and shorter episodes are padded.
        number: How the number of repeats is shown: `scalar` or `unary`.

    Example (2 bits, length 1, 2 repeats; input channels: bits, delimiter, scaled number r;
    the last target channel is the end marker):
        inputs   0100 0010 000r 0000 0000 0000
        targets   ---  ---  ---  010  010  001

    The same in unary:
        inputs   0100 0010 0001 0001 0000 0000 0000
        targets   ---  ---  ---  ---  010  010  001
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 10
    min_repeats: int = 1
    max_repeats: int = 10
    same_length: bool = True
    number: Literal["scalar", "unary"] = "scalar"

    def __post_init__(self) -> None:
        at_least(1, bits=self.bits, min_length=self.min_length, min_repeats=self.min_repeats)
        ordered(min_length=self.min_length, max_length=self.max_length)
        ordered(min_repeats=self.min_repeats, max_repeats=self.max_repeats)
        one_of(("scalar", "unary"), number=self.number)

    @property
    def input_size(self) -> int:
        """Bits, the delimiter and the number of repeats."""
        return self.bits + 2

    @property
    def answer(self) -> Bits:
        """Bits and the end marker."""
        return Bits(self.bits + 1)

    @property
    def difficulty(self) -> dict[str, int]:
        """Length of the list and number of repeats."""
        return {"length": self.max_length, "repeats": self.max_repeats}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """The hardest of training, then twice the length, then twice the repeats, as in the paper."""
        length, repeats = self.max_length, self.max_repeats
        pairs = ((length, repeats), (2 * length, repeats), (length, 2 * repeats))
        return [{"length": length, "repeats": repeats} for length, repeats in pairs]

    def scaled(self, repeats: np.ndarray) -> np.ndarray:
        """Return the numbers as the network sees them: (r - mean) / standard deviation of training."""
        choices = self.max_repeats - self.min_repeats + 1
        deviation = ((choices**2 - 1) / 12) ** 0.5 or 1.0  # of a uniform draw; one choice has none
        return (repeats - (self.min_repeats + self.max_repeats) / 2) / deviation

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` and `repeats=R` fix what they name for every episode."""
        drawn = 1 if self.same_length else batch_size
        low, high = self.fixed(difficulty, "length", self.min_length, self.max_length)
        lengths = np.broadcast_to(generator.integers(low, high + 1, size=drawn), batch_size)[:, None]
        low, high = self.fixed(difficulty, "repeats", self.min_repeats, self.max_repeats)
        repeats = np.broadcast_to(generator.integers(low, high + 1, size=drawn), batch_size)[:, None]
        items = generator.integers(2, size=(batch_size, lengths.max(), self.bits)).astype(np.float32)

        answers = lengths * repeats  # the end marker comes after them
        begins = lengths + 1 + (repeats if self.number == "unary" else 1)  # the answer, after the number
        time = np.arange((begins + answers + 1).max())[None]
        inputs = np.zeros((batch_size, time.size, self.input_size), np.float32)
        inputs[:, : items.shape[1], : self.bits] = items * (time[:, : items.shape[1]] < lengths)[..., None]
        inputs[:, :, self.bits] = time == lengths
        shown = 1 if self.number == "unary" else self.scaled(repeats)
        inputs[:, :, self.bits + 1] = ((time > lengths) & (time < begins)) * shown

        answered = time - begins  # batch time: place in the answer
        copied = (answered >= 0) & (answered < answers)
        targets = np.zeros((batch_size, time.size, self.output_size), np.float32)
        targets[:, :, : self.bits] = (
            np.take_along_axis(items, (answered * copied % lengths)[..., None], axis=1) * copied[..., None]
        )
        targets[:, :, self.bits] = answered == answers
        mask = (answered >= 0) & (answered <= answers)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(mask))

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the steps in which a repeat begins, and that of the end marker."""
        lengths = (batch.inputs[..., self.bits] > 0).int().argmax(1, keepdim=True)
        answered = batch.mask.cumsum(1) - 1  # batch time: place in the answer
        end = batch.mask & (batch.mask.cumsum(1) == batch.mask.sum(1, keepdim=True))
        return {"a repeat begins": batch.mask & ~end & (answered % lengths == 0), "the end marker": end}
