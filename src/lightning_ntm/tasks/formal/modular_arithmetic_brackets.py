"""Modular Arithmetic with brackets (Delétang et al. 2023, appendix A.3), a deterministic context-free language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.expressions import MODULUS, expressions
from lightning_ntm.tasks.formal.strings import StringTask


@dataclass(frozen=True)
class ModularArithmeticBrackets(StringTask):
    """See an expression with brackets, of the digits 0 to 4; answer with its value modulo 5.

    A digit may have a minus before it. Each addition, subtraction and multiplication has brackets of its own.

    Input: one symbol in each step, then one empty step (channel 11), which asks for the answer. Channels 0 to 4 are the
    digits, 5 is `+`, 6 is `-`, 7 is `*`, 8 is `(`, 9 is `)`. Channel 10 is never used; the paper's code has it, too.

    Args:
        min_length: Shortest expression in training.
        max_length: Longest expression in training.

    Example (`_` is the empty symbol):
        inputs   ( 2 * ( - 3 ) ) _
        targets  - - - - - - - - 4
    """

    symbols, answer = MODULUS + 6, Symbols(MODULUS)
    signs = "01234+-*()"

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random expressions, and the value of each."""
        strings, values = expressions(generator, batch_size, length, num_operators=3)
        return strings, values[:, None]
