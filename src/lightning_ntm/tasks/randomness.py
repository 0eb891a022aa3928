"""The source of randomness of each batch."""

from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from lightning_ntm.checks import check_whole

Split = Literal["train", "validation", "evaluation", "memory", "noise", "heads", "order", "curriculum"]


def batch_generator(
    seed: int, split: Split, number: int, difficulty: dict[str, int] | None = None
) -> np.random.Generator:
    """Return the source of randomness of one batch; different arguments give unrelated ones.

    A counter-based generator (Philox), keyed by a hash of the arguments. Seeding from the numbers
    themselves is not enough: `torch.Generator` keeps only the lower 32 bits of a seed, and NumPy's
    `SeedSequence` takes (2**32 + 1, 0) for (1, 1).

    Raises:
        TypeError: The seed is not a whole number.
    """
    check_whole(seed=seed)
    name = f"{seed}/{split}/{number}" + "".join(
        f"/{what}={value}" for what, value in sorted((difficulty or {}).items())
    )
    key: Any = _Key(blake2b(name.encode(), digest_size=16).digest())
    return np.random.Generator(np.random.Philox(key))


class _Key(ISeedSequence):
    """A key of Philox. `Philox(key=...)` has the same numbers, but also asks the system for random ones: 40 us."""

    def __init__(self, key: bytes):
        self.words = np.frombuffer(key, "<u8").astype(np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """Return the two words that Philox asks for."""
        return self.words
