"""Even Pairs (Delétang et al. 2023, appendix A.3), a regular language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class EvenPairs(StringTask):
    """See a binary string; answer 0 if the number of neighbours 01 and 10 in it is even, else 1.

    Input: one bit in each step, in channels 0 and 1, then one empty step (channel 2), which asks for the answer.

    Args:
        min_length: Shortest string in training.
        max_length: Longest string in training.

    Example (`_` is the empty symbol; there is one 01 and one 10):
        inputs   0 1 1 0 _
        targets  - - - - 0
    """

    symbols, answer = 2, Symbols(2)

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random bits, and whether the number of unequal neighbours is odd."""
        strings = generator.integers(2, size=(batch_size, length))
        unequal = strings[:, 1:] != strings[:, :-1]
        return strings, unequal.sum(axis=1, keepdims=True) % 2
