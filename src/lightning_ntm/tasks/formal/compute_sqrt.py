"""Compute Sqrt (Delétang et al. 2023, appendix A.3), a context-sensitive language."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.binary import bits_of, integers, positive
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class ComputeSqrt(StringTask):
    """See a binary number; answer with its square root, rounded down.

    Both are big-endian, as in the paper's code, and may begin with zeros. The number is not zero. The answer has half
    as many bits, rounded up.

    Input: one bit in each step, in channels 0 and 1, then an empty step (channel 2) for each bit of the answer.

    Args:
        min_length: Bits of the shortest number in training.
        max_length: Bits of the longest number in training.

    Example (`_` is the empty symbol; the square root of 17 is 4):
        inputs   1 0 0 0 1 _ _ _
        targets  - - - - - 1 0 0
    """

    symbols, answer = 2, Symbols(2)

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return the bits of random numbers, and those of their roots."""
        numbers = positive(generator, np.full(batch_size, length), length)
        roots = bits_of([math.isqrt(number) for number in integers(numbers)], (length + 1) // 2)
        return numbers[:, ::-1], roots[:, ::-1]
