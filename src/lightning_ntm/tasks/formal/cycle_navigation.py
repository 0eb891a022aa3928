"""Cycle Navigation (Delétang et al. 2023, appendix A.3), a regular language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask

#: Places on the cycle.
PLACES = 5


@dataclass(frozen=True)
class CycleNavigation(StringTask):
    """Walk on a cycle of five places, from place 0; answer with the place after the last move.

    Input: one move in each step, in channels 0 to 2, then one empty step (channel 3), which asks for the answer. As in
    the paper's code, symbol 0 is one place back, 1 is to stay and 2 is one place forward.

    Args:
        min_length: Fewest moves in training.
        max_length: Most moves in training.

    Example (`_` is the empty symbol; back, stay, back):
        inputs   0 1 0 _
        targets  - - - 3
    """

    symbols, answer = 3, Symbols(PLACES)
    signs = "back", "stay", "forward"

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random moves, and the place that they lead to."""
        moves = generator.integers(3, size=(batch_size, length))
        return moves, (moves - 1).sum(axis=1, keepdims=True) % PLACES
