"""Missing Duplicate (Delétang et al. 2023, appendix A.3), a context-sensitive language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.strings import StringTask

#: The symbol in place of the bit that is asked for, and the one that fills a string of odd length.
HOLE, FILLER = 2, 3


@dataclass(frozen=True)
class MissingDuplicate(StringTask):
    """See a binary string twice, with a hole in place of one bit of either copy; answer with that bit.

    Both copies have `length // 2` bits. Where the length is odd, the last symbol is a filler.

    Input: one symbol in each step, then one empty step (channel 4), which asks for the answer. Channels 0 and 1 are the
    bits, 2 is the hole and 3 the filler.

    Args:
        min_length: Shortest input in training, at least 2: both copies, and the filler if there is one.
        max_length: Longest input in training.

    Example (`_` is the empty symbol; 101 twice):
        inputs   1 0 1 1 2 1 3 _
        targets  - - - - - - - 0
    """

    min_length: int = 2

    symbols, answer, shortest = 4, Symbols(2), 2
    signs = "0", "1", "hidden", "fill"

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return copies with a hole, and the bits that were there."""
        strings = np.full((batch_size, length), FILLER)
        strings[:, : length // 2 * 2] = np.tile(generator.integers(2, size=(batch_size, length // 2)), 2)
        holes = generator.integers(length // 2 * 2, size=(batch_size, 1))
        missing = np.take_along_axis(strings, holes, axis=1)
        np.put_along_axis(strings, holes, HOLE, axis=1)
        return strings, missing
