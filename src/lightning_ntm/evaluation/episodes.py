"""The episodes of a run.

Batch number `k` of a run is a function of (task, seed, split, k) alone. It does not depend on the number of loader
workers. Each rank of a distributed run takes its own numbers. Every validation uses the same episodes. Resuming needs
only the number of the next batch. Episodes of an evaluation also depend on their difficulty, so that the rows of a
table are independent.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Literal

import numpy as np

from lightning_ntm.tasks.base import Batch, Task

Split = Literal["train", "validation", "evaluation", "memory", "noise"]

#: Increased when the same arguments give an evaluation other episodes than before.
EVALUATION_VERSION = 2

#: Largest batch of a validation or evaluation.
CHUNK = 100


def batch_generator(
    seed: int, split: Split, number: int, difficulty: dict[str, int] | None = None
) -> np.random.Generator:
    """Return the random generator of one batch. Different arguments give independent generators.

    It is a counter-based generator (Philox), keyed by a hash of the arguments. The numbers themselves are not suitable
    as seeds: `torch.Generator` keeps only the lower 32 bits of a seed, and NumPy's `SeedSequence` gives the same
    generator for (2**32 + 1, 0) and (1, 1).
    """
    name = f"{seed}/{split}/{number}" + "".join(
        f"/{what}={value}" for what, value in sorted((difficulty or {}).items())
    )
    key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def chunks(
    task: Task, seed: int, split: Split, sequences: int, difficulty: dict[str, int], chunk: int = CHUNK
) -> Iterator[Batch]:
    """Yield a fixed set of episodes in batches of at most `chunk`."""
    keyed = difficulty if split == "evaluation" else None
    for number, start in enumerate(range(0, sequences, chunk)):
        size = min(chunk, sequences - start)
        yield task.sample(batch_generator(seed, split, number, keyed), size, **difficulty)
