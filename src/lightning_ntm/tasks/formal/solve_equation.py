"""Solve Equation (Delétang et al. 2023, appendix A.3), a deterministic context-free language."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.formal.expressions import MODULUS, expressions
from lightning_ntm.tasks.formal.strings import StringTask

#: After the digits, two operators and two brackets.
UNKNOWN, EQUALS = MODULUS + 4, MODULUS + 5


@dataclass(frozen=True)
class SolveEquation(StringTask):
    """See an equation modulo 5 with the unknown `x`, of the digits 0 to 4; answer with `x`.

    The left side is an expression with brackets, in which `x` stands for one digit. The right side is its value. There
    is no multiplication, so there is exactly one solution.

    Input: one symbol in each step, then one empty step (channel 11), which asks for the answer. Channels 0 to 4 are the
    digits, 5 is `+`, 6 is `-`, 7 is `(`, 8 is `)`, 9 is `x`, 10 is `=`.

    As in the paper's code, `x` is at a random place of the left side, or at the next digit if there is none (after the
    last place comes the first).

    Args:
        min_length: Shortest equation in training, at least 3: `x`, `=` and a digit.
        max_length: Longest equation in training.

    Example (`_` is the empty symbol):
        inputs   ( x - 4 ) = 3 _
        targets  - - - - - - - 2
    """

    min_length: int = 3

    symbols, answer, shortest = MODULUS + 6, Symbols(MODULUS), 3
    signs = "01234+-()x="

    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return random equations, and the solution of each."""
        equations = np.full((batch_size, length), EQUALS)
        left, equations[:, -1] = expressions(generator, batch_size, length - 2, num_operators=2)
        from_place = generator.integers(length - 2, size=(batch_size, 1))
        distance = (np.arange(length - 2) - from_place) % (length - 2)
        unknown = np.where(left < MODULUS, distance, length).argmin(axis=1)[:, None]
        solutions = np.take_along_axis(left, unknown, axis=1)
        np.put_along_axis(left, unknown, UNKNOWN, axis=1)
        equations[:, :-2] = left
        return equations, solutions
