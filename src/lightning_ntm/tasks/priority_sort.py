"""Priority sort (Graves et al. 2014, section 4.5)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lightning_ntm.checks import at_least, at_most, ordered
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class PrioritySort(Task):
    """See random bit vectors, each with a priority; give back those with the highest, highest first.

    The paper states neither the width of a vector nor a delimiter. Here the width is 8 bits as in its other tasks, and
    there is no delimiter: the answer begins at the first step without an input. Of vectors with equal priorities, which
    are rare, the one seen first comes first.

    Args:
        bits: Width of a vector.
        items: Vectors shown in training.
        highest: Vectors to give back, at most `items`.
        min_priority: Lowest priority, in [-1, 1].
        max_priority: Highest priority, in [-1, 1], above `min_priority`.

    Example (2 bits, 3 items, the highest 2; the last input channel is the priority):
        bits      01   11   10   00 00
        priority -0.4  0.9  0.1  0  0
        targets   --   --   --   11 10
    """

    bits: int = 8
    items: int = 20
    highest: int = 16
    min_priority: float = -1.0
    max_priority: float = 1.0

    def __post_init__(self) -> None:
        at_least(1, bits=self.bits, highest=self.highest)
        ordered(highest=self.highest, items=self.items)
        at_least(-1, min_priority=self.min_priority, max_priority=self.max_priority)
        at_most(1, min_priority=self.min_priority, max_priority=self.max_priority)
        if self.min_priority >= self.max_priority:
            raise ValueError(f"min_priority (={self.min_priority}) must be below max_priority (={self.max_priority}).")

    @property
    def input_size(self) -> int:
        """Bits and the priority."""
        return self.bits + 1

    @property
    def answer(self) -> Bits:
        """Bits."""
        return Bits(self.bits)

    @property
    def difficulty(self) -> dict[str, int]:
        """Number of vectors shown; `highest` of them are given back, however many there are."""
        return {"items": self.items}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """As many vectors as in training, half as many again, and twice as many."""
        return [{"items": items} for items in sorted({self.items * halves // 2 for halves in (2, 3, 4)})]

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `items=N` fixes the number of vectors shown in every episode."""
        shown, _ = self.fixed(difficulty, "items", self.items, self.items, minimum=self.highest)
        items = generator.integers(2, size=(batch_size, shown, self.bits)).astype(np.float32)
        # Compared as the network sees them.
        priorities = generator.uniform(self.min_priority, self.max_priority, (batch_size, shown)).astype(np.float32)
        order = np.argsort(-priorities, axis=1, kind="stable")[:, : self.highest]

        inputs = np.zeros((batch_size, shown + self.highest, self.input_size), np.float32)
        inputs[:, :shown, : self.bits] = items
        inputs[:, :shown, self.bits] = priorities
        targets = np.zeros((batch_size, shown + self.highest, self.bits), np.float32)
        targets[:, shown:] = np.take_along_axis(items, order[..., None], axis=1)
        mask = np.zeros((batch_size, shown + self.highest), bool)
        mask[:, shown:] = True
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(mask))

    def placed_by(self, batch: Batch) -> Float[Tensor, "batch time"]:
        """Return the priorities: in the paper the slot of a vector depends on its priority (figure 17)."""
        return batch.inputs[..., self.bits].masked_fill(batch.mask, math.nan)
