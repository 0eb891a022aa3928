"""Odds First (Delétang et al. 2023, appendix A.3), a context-sensitive language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class OddsFirst(StringTask):
    """See a binary string; give back the bits with odd indices, then those with even indices, counted from 0.

    This is the order of the paper's code. The paper itself counts from 1.

    Input: one bit in each step, in channels 0 and 1, then `length` empty steps (channel 2), which ask for the answer.

    Args:
        min_length: Shortest string in training.
        max_length: Longest string in training.

    Example (`_` is the empty symbol):
        inputs   0 0 1 0 1 _ _ _ _ _
        targets  - - - - - 0 0 0 1 1
    """

    symbols, answer = 2, Symbols(2)
    kept = ("length",)

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random bits, and the same in the other order."""
        strings = generator.integers(2, size=(batch_size, length))
        return strings, np.concatenate([strings[:, 1::2], strings[:, ::2]], axis=1)
