"""Reverse String (Delétang et al. 2023, appendix A.3), a deterministic context-free language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class ReverseString(StringTask):
    """See a binary string; give it back in reverse.

    Input: one bit in each step, in channels 0 and 1, then `length` empty steps (channel 2), which ask for the answer.

    Args:
        min_length: Shortest string in training.
        max_length: Longest string in training.

    Example (`_` is the empty symbol):
        inputs   0 1 1 _ _ _
        targets  - - - 1 1 0
    """

    symbols, answer = 2, Symbols(2)
    kept = ("length",)

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random bits, and the same in reverse."""
        strings = generator.integers(2, size=(batch_size, length))
        return strings, strings[:, ::-1]
