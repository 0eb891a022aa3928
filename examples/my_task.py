"""A task of your own: one class in one file, then `ntm train --task my_task.Reverse`."""

from dataclasses import dataclass, field

import numpy as np

from lightning_ntm import Batch, Copy, Task
from lightning_ntm.tasks.answers import Bits


@dataclass(frozen=True)
class Reverse(Task):
    """See a list of random bit vectors, then a delimiter; give the list back, last vector first.

    Args:
        bits: Width of a vector.
        max_length: Longest list in training.
    """

    bits: int = 8
    max_length: int = 20
    copy: Copy = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "copy", Copy(self.bits, max_length=self.max_length))

    @property
    def input_size(self) -> int:
        """As copy."""
        return self.copy.input_size

    @property
    def answer(self) -> Bits:
        """As copy."""
        return self.copy.answer

    @property
    def difficulty(self) -> dict[str, int]:
        """As copy."""
        return self.copy.difficulty

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a copy and turn its answer around."""
        batch = self.copy.sample(generator, batch_size, **difficulty)
        length = batch.inputs.shape[1] // 2
        targets = batch.targets.clone()
        targets[:, length + 1 :] = targets[:, length + 1 :].flip(1)
        return batch._replace(targets=targets)
