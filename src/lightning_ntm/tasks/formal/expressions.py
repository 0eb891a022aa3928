"""Random arithmetic expressions with brackets, modulo 5, all of one length.

An expression of 1 to 4 symbols is `d`, `-d`, `(d)` or `(-d)`, where `d` is a random digit. A longer one is two
expressions with an operator between them, in brackets: how many symbols the left one has is uniform from 1 to all but
four, and the operator is uniform, too. All expressions grow together, one level of brackets at a time.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64
from numpy import ndarray

#: Digits are 0 to 4, and values are taken modulo 5. The symbols after the digits are operators, then both brackets.
MODULUS = 5
#: Order of the operators.
PLUS, MINUS, TIMES = range(3)
#: Symbols of the longest expression with a single digit.
LONGEST_LEAF = 4


class _Level(NamedTuple):
    """The expressions of one depth: which are two smaller ones, the operators of those, and the values of the others.

    Those smaller ones are on the next level: first all on the left, then all on the right.
    """

    splits: Bool[ndarray, " parts"]
    operators: Int64[ndarray, " splits"]
    digits: Int64[ndarray, " leaves"]


def expressions(
    generator: np.random.Generator, batch_size: int, length: int, num_operators: int
) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, " batch"]]:
    """Return random expressions, and the value of each.

    Args:
        generator: The source of randomness.
        batch_size: Number of expressions.
        length: Symbols of each, at least 1.
        num_operators: 2 for plus and minus, 3 for multiplication, too.
    """
    strings = np.empty((batch_size, length), np.int64)
    rows, starts, lengths = np.arange(batch_size), np.zeros(batch_size, np.int64), np.full(batch_size, length)
    levels = list[_Level]()
    while rows.size:
        splits = lengths > LONGEST_LEAF
        digits = _fill(generator, strings, rows[~splits], starts[~splits], lengths[~splits], num_operators)
        rows, starts, lengths = rows[splits], starts[splits], lengths[splits]
        left, operators = generator.integers(1, lengths - 3), generator.integers(num_operators, size=rows.size)
        strings[rows, starts] = MODULUS + num_operators
        strings[rows, starts + 1 + left] = MODULUS + operators
        strings[rows, starts + lengths - 1] = MODULUS + num_operators + 1
        levels.append(_Level(splits, operators, digits))
        rows, starts = np.tile(rows, 2), np.concatenate([starts + 1, starts + left + 2])
        lengths = np.concatenate([left, lengths - left - 3])
    return strings, _values(levels)


def _fill(
    generator: np.random.Generator,
    strings: Int64[ndarray, "batch length"],
    rows: Int64[ndarray, " leaves"],
    starts: Int64[ndarray, " leaves"],
    lengths: Int64[ndarray, " leaves"],
    num_operators: int,
) -> Int64[ndarray, " leaves"]:
    """Write expressions of one digit into strings, and return the value of each."""
    digits = generator.integers(MODULUS, size=rows.size)
    bracketed, negative = lengths >= 3, lengths % 2 == 0
    strings[rows[bracketed], starts[bracketed]] = MODULUS + num_operators
    strings[rows[negative], (starts + bracketed)[negative]] = MODULUS + MINUS
    strings[rows, starts + bracketed + negative] = digits
    strings[rows[bracketed], (starts + lengths - 1)[bracketed]] = MODULUS + num_operators + 1
    return np.where(negative, -digits, digits) % MODULUS


def _values(levels: list[_Level]) -> Int64[ndarray, " batch"]:
    """Return the values of the expressions of the first level, from the last level up."""
    below = np.empty(0, np.int64)
    for splits, operators, digits in reversed(levels):
        left, right = np.split(below, 2)
        values = np.empty(splits.size, np.int64)
        values[~splits] = digits
        values[splits] = np.choose(operators, [left + right, left - right, left * right]) % MODULUS
        below = values
    return below
