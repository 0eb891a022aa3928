"""Copy (Graves et al. 2014, section 4.1)."""

from dataclasses import dataclass

import numpy as np
import torch

from lightning_ntm.checks import at_least, ordered
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class Copy(Task):
    """See a list of random bit vectors, then a delimiter; give the list back.

    Args:
        bits: Width of a vector.
        min_length: Shortest list in training.
        max_length: Longest list in training.
        same_length: Lists of one batch share one length, drawn anew for each batch; otherwise each
            list has its own, and shorter episodes are padded.

    Example (2 bits, length 2; the last input channel is the delimiter):
        inputs   010 100 001 000 000
        targets   --  --  --  01  10
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 20
    same_length: bool = True

    def __post_init__(self) -> None:
        at_least(1, bits=self.bits, min_length=self.min_length)
        ordered(min_length=self.min_length, max_length=self.max_length)

    @property
    def input_size(self) -> int:
        """Bits and the delimiter."""
        return self.bits + 1

    @property
    def answer(self) -> Bits:
        """Bits."""
        return Bits(self.bits)

    @property
    def difficulty(self) -> dict[str, int]:
        """Length of the list."""
        return {"length": self.max_length}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """Half, one, two, four and six times the training length: the paper's 10 to 120."""
        lengths = {max(1, self.max_length * times // 2) for times in (1, 2, 4, 8, 12)}
        return [{"length": length} for length in sorted(lengths)]

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` fixes the length of every list."""
        low, high = self.fixed(difficulty, "length", self.min_length, self.max_length)
        lengths = generator.integers(low, high + 1, size=1 if self.same_length else batch_size)
        lengths = np.broadcast_to(lengths, batch_size)[:, None]
        items = generator.integers(2, size=(batch_size, lengths.max(), self.bits)).astype(np.float32)

        time = np.arange(2 * items.shape[1] + 1)[None]
        inputs = np.zeros((batch_size, time.size, self.input_size), np.float32)
        shown = time[:, : items.shape[1]] < lengths  # batch time
        inputs[:, : items.shape[1], : self.bits] = items * shown[..., None]
        inputs[:, :, self.bits] = time == lengths

        mask = (time > lengths) & (time <= 2 * lengths)
        targets = np.zeros((batch_size, time.size, self.bits), np.float32)
        targets[mask] = items[shown]  # as many in each row, in the same order
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(mask))
