"""Which episodes a run sees.

Batch number `k` of a run is a function of (task, seed, split, k) and of nothing else. So it is the
same with any number of loader workers, every rank of a distributed run takes numbers of its own,
validation sees the same episodes every time, and resuming needs only the number to go on from.
Episodes of an evaluation depend on their difficulty, too, so that rows of a table are independent.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Literal

import numpy as np

from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

Split = Literal["train", "validation", "evaluation", "memory", "noise"]

#: Raised when the same arguments would give an evaluation other episodes than before.
EVALUATION_VERSION = 2

#: Most episodes that are validated or evaluated at once.
CHUNK = 100


def batch_generator(
    seed: int, split: Split, number: int, difficulty: dict[str, int] | None = None
) -> np.random.Generator:
    """Return the source of randomness of one batch; different arguments give unrelated ones.

    A counter-based generator (Philox), keyed by a hash of the arguments. Seeding from the numbers
    themselves is not enough: `torch.Generator` keeps only the lower 32 bits of a seed, and NumPy's
    `SeedSequence` takes (2**32 + 1, 0) for (1, 1).
    """
    name = f"{seed}/{split}/{number}" + "".join(
        f"/{what}={value}" for what, value in sorted((difficulty or {}).items())
    )
    key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def chunks(
    task: Task, seed: int, split: Split, sequences: int, difficulty: dict[str, int], chunk: int = CHUNK
) -> Iterator[Batch]:
    """Draw a fixed set of episodes in batches of at most `chunk`."""
    keyed = difficulty if split == "evaluation" else None
    for number, start in enumerate(range(0, sequences, chunk)):
        size = min(chunk, sequences - start)
        yield task.sample(batch_generator(seed, split, number, keyed), size, **difficulty)
