"""Binary Multiplication (Delétang et al. 2023, appendix A.3), a context-sensitive language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.binary import END, ended, pairs
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class BinaryMultiplication(StringTask):
    """See two binary numbers with a separator between them; answer with their product.

    All numbers are little-endian; the examples of the paper are big-endian. Neither number is zero. Either may end with
    zeros, its leading zeros.

    Input: one symbol in each step, then `length` empty steps (channel 3), which ask for the answer. Channels 0 and 1
    are the bits, 2 is the separator.

    The answer is the product without leading zeros, then the end symbol 2, then zeros. The loss counts all `length`
    positions. Measures count only those up to the end symbol, which is among them.

    Args:
        min_length: Shortest string in training, at least 3: both numbers and the separator.
        max_length: Longest string in training.

    Example (`_` is the empty symbol; 3 * 2 = 6):
        inputs   1 1 2 0 1 0 _ _ _ _ _ _
        targets  - - - - - - 0 1 1 2 0 0
    """

    min_length: int = 3

    symbols, answer, shortest = 3, Symbols(3, end=END), 3

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return pairs of numbers, and their products."""
        strings, first, second = pairs(generator, batch_size, length)
        return strings, ended([a * b for a, b in zip(first, second, strict=True)], length)
