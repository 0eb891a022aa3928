"""The episodes of a run.

Batch number `k` of a run is a function of (task, seed, split, k) alone. It does not depend on the number of loader
workers. Each rank of a distributed run takes its own numbers. Every validation uses the same episodes. Resuming needs
only the number of the next batch. Episodes of an evaluation also depend on their difficulty, so that the rows of a
table are independent.
"""

from collections.abc import Iterator

from lightning_ntm.checks import at_least
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.randomness import Split

#: Increased when the same arguments give an evaluation other episodes than before.
EVALUATION_VERSION = 2

#: Largest batch of a validation or evaluation.
CHUNK = 100

#: Episodes that are validated or evaluated where a task draws as many as are asked for.
SEQUENCES = 100


def chunks(
    task: Task, seed: int, split: Split, sequences: int, difficulty: dict[str, int], chunk: int = CHUNK
) -> Iterator[Batch]:
    """Yield a fixed set of episodes in batches of at most `chunk`."""
    for number in range(-(-sequences // chunk)):
        yield task.batch(seed, split, number, chunk, sequences, **difficulty)


def sequences_of(task: Task, split: Split, **asked: int | None) -> int:
    """Return how many sequences of a split are seen: as many as are asked for, by default all that a task has.

    Args:
        task: One that draws its episodes has no end of them; of these the default is 100.
        split: Which sequences.
        asked: The number, under the name that its user knows.

    Raises:
        ValueError: The number is below 1, or there are fewer.
    """
    ((name, number),) = asked.items()
    stored = task.stored(split)
    if number is None:
        return SEQUENCES if stored is None else stored
    at_least(1, **{name: number})
    if stored is not None and number > stored:
        raise ValueError(f"{name} (={number}) must be at most {stored}, the sequences there are.")
    return number
