"""The episodes of a run.

Batch number `k` of a run is a function of (task, seed, split, k) alone. It does not depend on the number of loader
workers. Each rank of a distributed run takes its own numbers. Every validation uses the same episodes. Resuming needs
only the number of the next batch. Episodes of an evaluation also depend on their difficulty, so that the rows of a
table are independent.
"""

from collections.abc import Iterator, Mapping

from lightning_ntm.checks import at_least, check_kind, check_whole
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.faults import check_batch
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
    """Yield a fixed set of episodes in batches of at most `chunk`.

    Raises:
        TypeError: Seed or difficulty are of another type.
        ValueError: The task does not have this difficulty, or a batch is not what a task promises.
    """
    check_asked(seed, difficulty)
    for number in range(-(-sequences // chunk)):
        batch = task.batch(seed, split, number, chunk, sequences, **difficulty)
        size = min(chunk, sequences - number * chunk)
        check_batch(task.answer, batch, type(task).__name__, sequences=size, each=True)
        yield batch


def episode_of(task: Task, seed: int, number: int, difficulty: Mapping[str, int]) -> Batch:
    """Return an episode of an evaluation by its number, from 0, as a batch of one.

    Raises:
        TypeError: An argument is of another type.
        ValueError: The number is below 0 or there is no such episode, the task does not have this difficulty, or the
            batch is not what a task promises.
    """
    check_asked(seed, difficulty)
    check_whole(sequence=number)
    at_least(0, sequence=number)
    batch = task.batch(seed, "evaluation", number, 1, **difficulty)
    check_batch(task.answer, batch, type(task).__name__, sequences=1, each=True)
    return batch


def check_asked(seed: int, difficulty: Mapping[str, int]) -> None:
    """Raise `TypeError` unless the seed is a whole number, and the difficulty a mapping of such numbers."""
    check_whole(seed=seed)
    check_kind(Mapping, 'a mapping, as {"length": 40}', difficulty=difficulty)
    check_whole(**difficulty)


def sequences_of(task: Task, split: Split, **asked: int | None) -> int:
    """Return how many sequences of a split are seen: as many as are asked for, by default all that a task has.

    Args:
        task: One that draws its episodes has no end of them; of these the default is 100.
        split: Which sequences.
        asked: The number, under the name that its user knows.

    Raises:
        TypeError: The task is none, or the number is not a whole one.
        ValueError: The number is below 1, or there are fewer.
    """
    check_kind(Task, "a task, as Copy()", task=task)
    ((name, number),) = asked.items()
    stored = task.stored(split)
    if number is None:
        return SEQUENCES if stored is None else stored
    check_whole(**{name: number})
    at_least(1, **{name: number})
    if stored is not None and number > stored:
        raise ValueError(f"{name} (={number}) must be at most {stored}, the sequences there are.")
    return number
