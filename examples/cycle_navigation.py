"""A task with symbols for answers: one class in one file, then `ntm train --task cycle_navigation.CycleNavigation`."""

from dataclasses import dataclass

import numpy as np
import torch

from lightning_ntm import Batch, Task
from lightning_ntm.tasks.answers import Symbols


@dataclass(frozen=True)
class CycleNavigation(Task):
    """Walk on a cycle of five places, from place 0; say after each move where you are. A regular language.

    Args:
        max_length: Most moves in training.

    Example (moves are shown one-hot: stay, forward, back):
        moves    forward forward stay back back back
        targets        1       2    2    1    0    4
    """

    max_length: int = 20

    input_size, answer = 3, Symbols(5)

    @property
    def difficulty(self) -> dict[str, int]:
        """Number of moves."""
        return {"length": self.max_length}

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` fixes the number of moves."""
        low, high = self.fixed(difficulty, "length", 1, self.max_length)
        moves = generator.integers(3, size=(batch_size, generator.integers(low, high + 1)))
        inputs = np.eye(3, dtype=np.float32)[moves]
        places = np.cumsum(np.array([0, 1, -1])[moves], axis=1) % 5
        return Batch(torch.from_numpy(inputs), torch.from_numpy(places), torch.ones(moves.shape, dtype=torch.bool))
