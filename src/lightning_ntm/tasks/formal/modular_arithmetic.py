"""Modular Arithmetic, the simple kind without brackets (Delétang et al. 2023, appendix A.3), a regular language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.expressions import MINUS, MODULUS, PLUS, TIMES
from lightning_ntm.tasks.formal.strings import StringTask

#: 2 generates the residues but 0: a product of these is a sum of logarithms, which does not overflow.
LOGARITHMS, POWERS = np.array([0, 0, 1, 3, 2]), np.array([1, 2, 4, 3])


@dataclass(frozen=True)
class ModularArithmetic(StringTask):
    """See digits from 0 to 4 with an operator between each two; answer with the value modulo 5.

    Multiplication comes before addition and subtraction, which go from left to right. All lengths are odd.

    Input: one symbol in each step, then one empty step (channel 9), which asks for the answer. Channels 0 to 4 are the
    digits, 5 is `+`, 6 is `-`, 7 is `*`. Channel 8 is never used; the paper's code keeps it for a blank.

    Args:
        min_length: Shortest expression in training, an odd number.
        max_length: Longest expression in training, an odd number.

    Example (`_` is the empty symbol):
        inputs   1 + 2 * 3 _
        targets  - - - - - 2
    """

    max_length: int = 39

    symbols, answer, odd = MODULUS + 4, Symbols(MODULUS), True
    signs = "01234+-*"

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random digits and operators, and the value of each expression."""
        expressions = np.empty((batch_size, length), np.int64)
        expressions[:, ::2] = digits = generator.integers(MODULUS, size=(batch_size, length // 2 + 1))
        operators = generator.integers(3, size=(batch_size, length // 2))
        expressions[:, 1::2] = MODULUS + operators
        return expressions, _value(digits, operators)[:, None]


def _value(
    digits: Int64[ndarray, "batch digits"], operators: Int64[ndarray, "batch operators"]
) -> Int64[ndarray, " batch"]:
    """Return the value of each expression, by the terms that are added or subtracted."""
    before = np.insert(operators, 0, PLUS, axis=1)  # the operator before each digit
    begins = np.flatnonzero(before != TIMES)  # where a term begins, among the digits of all expressions
    logarithms = np.add.reduceat(LOGARITHMS[digits].ravel(), begins)
    nonzero = np.logical_and.reduceat(digits.ravel() != 0, begins)
    signs = np.where(before.ravel()[begins] == MINUS, -1, 1)
    terms = signs * nonzero * POWERS[logarithms % len(POWERS)]
    return np.asarray(np.add.reduceat(terms, np.flatnonzero(begins % digits.shape[1] == 0)) % MODULUS)
