"""Bucket Sort (Delétang et al. 2023, appendix A.3), a context-sensitive language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class BucketSort(StringTask):
    """See a string of the symbols 0 to 4; give them back in ascending order.

    Input: one symbol in each step, in channels 0 to 4, then `length` empty steps (channel 5), which ask for the answer.

    Args:
        min_length: Shortest string in training.
        max_length: Longest string in training.

    Example (`_` is the empty symbol):
        inputs   4 2 0 2 _ _ _ _
        targets  - - - - 0 2 2 4
    """

    symbols, answer = 5, Symbols(5)

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random symbols, and the same sorted."""
        strings = generator.integers(5, size=(batch_size, length))
        return strings, np.sort(strings, axis=1)
