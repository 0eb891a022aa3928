"""Which episodes a run sees.

Batch number `k` of a run is a function of (task, seed, split, k) and of nothing else. So it is the
same with any number of loader workers, every rank of a distributed run takes numbers of its own,
validation sees the same episodes every time, and resuming needs only the number to go on from.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from lightning_ntm.tasks.base import Batch, Task

Split = Literal["train", "validation", "evaluation"]
_SPLIT_NUMBERS: dict[Split, int] = {"train": 0, "validation": 1, "evaluation": 2}

#: Most episodes that are validated or evaluated at once.
CHUNK = 100


def batch_generator(seed: int, split: Split, number: int) -> np.random.Generator:
    """Return the source of randomness of one batch; different arguments give unrelated ones.

    Counter-based (Philox), on a hash of the arguments: `torch.Generator.manual_seed` would keep
    only the lower 32 bits of a seed.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, _SPLIT_NUMBERS[split], number))))


def chunks(
    task: Task, seed: int, split: Split, sequences: int, difficulty: dict[str, int], chunk: int = CHUNK
) -> Iterator[Batch]:
    """Draw a fixed set of episodes in batches of at most `chunk`."""
    for number, start in enumerate(range(0, sequences, chunk)):
        size = min(chunk, sequences - start)
        yield task.sample(batch_generator(seed, split, number), size, **difficulty)
