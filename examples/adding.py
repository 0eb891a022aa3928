"""A task with numbers for answers: one class in one file, then `ntm train --task adding.Adding`."""

from dataclasses import dataclass

import numpy as np
import torch

from lightning_ntm import Batch, Task
from lightning_ntm.tasks.answers import Numbers


@dataclass(frozen=True)
class Adding(Task):
    """See numbers from 0 to 1, two of which are marked; give the sum of these two after the last.

    The adding problem of Hochreiter and Schmidhuber (1997). Guessing the mean, 1, has a squared error of 1/6.

    Args:
        length: Numbers shown, at least 2.

    Example:
        numbers  0.3 0.5 0.1 0.9
        marks      0   1   0   1
        targets    -   -   - 1.4
    """

    length: int = 50

    input_size, answer = 2, Numbers(1)

    @property
    def difficulty(self) -> dict[str, int]:
        """Numbers shown."""
        return {"length": self.length}

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` fixes how many numbers are shown."""
        length, _ = self.fixed(difficulty, "length", self.length, self.length, minimum=2)
        numbers = generator.random((batch_size, length))
        marks = generator.permuted(np.tile(np.arange(length) < 2, (batch_size, 1)), axis=1)
        inputs = np.stack([numbers, marks], axis=-1).astype(np.float32)
        targets = np.zeros((batch_size, length, 1), np.float32)
        targets[:, -1, 0] = (numbers * marks).sum(axis=1)
        mask = torch.zeros(batch_size, length, dtype=torch.bool)
        mask[:, -1] = True
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), mask)
