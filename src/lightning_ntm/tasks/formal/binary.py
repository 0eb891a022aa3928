"""Numbers as rows of bits, and pairs of them in one string. Python's integers do the arithmetic: they do not overflow.

Little-endian: the first bit counts 1, the next 2, then 4.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64
from numpy import ndarray

#: The symbol between two numbers of a string, and the one after the last bit of an answer.
SEPARATOR, END = 2, 2


def positive(
    generator: np.random.Generator, lengths: Int64[ndarray, " numbers"], width: int
) -> Int64[ndarray, "numbers {width}"]:
    """Return the bits of random numbers, each uniform from 1 to `2 ** length - 1`, little-endian.

    Args:
        generator: The source of randomness.
        lengths: Bits of each number, from 1 to `width`.
        width: Bits of the widest number; the others are followed by zeros.
    """
    bits = np.zeros((len(lengths), width), np.int64)
    while (zero := np.flatnonzero(~bits.any(axis=1))).size:
        drawn = generator.integers(2, size=(zero.size, width))
        bits[zero] = drawn * (np.arange(width) < lengths[zero, None])
    return bits


def integers(bits: Int[ndarray, "numbers width"]) -> list[int]:
    """Return the integers that rows of bits stand for, little-endian."""
    return [
        int.from_bytes(row.tobytes(), "little") for row in np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
    ]


def bits_of(numbers: Sequence[int], width: int) -> Int64[ndarray, "numbers {width}"]:
    """Return the lowest `width` bits of integers, little-endian.

    Args:
        numbers: At least 0, and below `2 ** width`.
        width: Bits of each number.
    """
    size = -(-width // 8)
    packed = np.frombuffer(b"".join(number.to_bytes(size, "little") for number in numbers), np.uint8)
    return np.unpackbits(packed.reshape(-1, size), axis=1, count=width, bitorder="little").astype(np.int64)


def pairs(
    generator: np.random.Generator, batch_size: int, length: int
) -> tuple[Int64[ndarray, "batch length"], list[int], list[int]]:
    """Return strings of two numbers with a separator between them, then the first and the second number of each.

    The first has 1 to `length - 2` bits, the second all other bits but the separator. Neither is zero.

    Args:
        generator: The source of randomness.
        batch_size: Number of strings.
        length: Symbols of a string, at least 3.
    """
    first_lengths = generator.integers(1, length - 1, size=batch_size)
    first = positive(generator, first_lengths, length - 2)
    second = positive(generator, length - 1 - first_lengths, length - 2)
    place, split = np.arange(length), first_lengths[:, None]
    strings = np.full((batch_size, length), SEPARATOR)
    before, after = np.nonzero(place < split), np.nonzero(place > split)
    strings[before] = first[before]
    strings[after] = second[after[0], after[1] - first_lengths[after[0]] - 1]
    return strings, integers(first), integers(second)


def ended(numbers: Sequence[int], width: int) -> Int64[ndarray, "numbers {width}"]:
    """Return the bits of integers up to the highest one, then the end symbol, then zeros.

    Args:
        numbers: At least 1, and below `2 ** (width - 1)`.
        width: Symbols of an answer.
    """
    answers = bits_of(numbers, width)
    answers[np.arange(len(numbers)), [number.bit_length() for number in numbers]] = END
    return answers
