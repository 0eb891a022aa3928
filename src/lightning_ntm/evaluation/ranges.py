"""How a trained network does at every length of a range, and the mean over the lengths beyond those of training."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from lightning_ntm.checks import check_kind
from lightning_ntm.evaluation.episodes import chunks, sequences_of
from lightning_ntm.evaluation.evaluate import measured_rows
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

#: Most lengths of a range: so many places has a figure.
MOST_LENGTHS = 2000
#: Most steps of sequences in one call of the network, unless a single batch has more. Longer calls need more memory.
_STEPS = 2**17


def lengths_of(
    task: Task, lengths: range, *, include_training: bool = False
) -> tuple[tuple[dict[str, int], ...], dict[int, str]]:
    """Return the difficulties of a range, and the lengths that the task does not have with the reason for each.

    Args:
        task: The task.
        lengths: The lengths that are asked for, ascending. Other difficulties are those of training.
        include_training: Whether the range may have lengths of training.

    Raises:
        TypeError: An argument is of another type.
        ValueError: The task has no length, the range is empty or has too many lengths, it begins among the lengths of
            training without `include_training`, it ends among them, or the task has none of its lengths.
    """
    _check(task, lengths, include_training)
    kept, skipped = list[dict[str, int]](), dict[int, str]()
    for length in lengths:
        difficulty = {**task.difficulty, "length": length}
        try:
            task.sample(np.random.default_rng(0), 1, **difficulty)
        except ValueError as error:
            skipped[length] = str(error)
        else:
            kept.append(difficulty)
    trained = task.difficulty["length"]
    if not any(difficulty["length"] > trained for difficulty in kept):
        beyond = next(reason for length, reason in skipped.items() if length > trained)
        raise ValueError(
            f"range (={named(lengths)}) has no length that {type(task).__name__} has beyond training: {beyond}"
        )
    return tuple(kept), skipped


def _check(task: Task, lengths: range, include_training: bool) -> None:
    check_kind(Task, "a task, as Copy()", task=task)
    check_kind(range, "a range, as range(41, 501)", lengths=lengths)
    if "length" not in task.difficulty:
        known = ", ".join(task.difficulty) or "none"
        raise ValueError(f"range: {type(task).__name__} has no difficulty 'length'; it has {known}.")
    if not lengths or lengths.step < 1 or lengths[0] < 1:
        raise ValueError(f"range (={lengths}) must have at least one length, ascend, and begin at 1 or above.")
    if len(lengths) > MOST_LENGTHS:
        raise ValueError(
            f"range (={named(lengths)}) has {len(lengths):,} lengths, more than {MOST_LENGTHS:,}; "
            f"give a step, as {lengths[0]}-{lengths.stop - 1}:{-(-len(lengths) // MOST_LENGTHS) * lengths.step}."
        )
    trained = task.difficulty["length"]
    if lengths[-1] <= trained:
        raise ValueError(f"range (={named(lengths)}) must end beyond {trained}, the longest length of training.")
    if lengths[0] <= trained and not include_training:
        raise ValueError(
            f"range (={named(lengths)}) begins among the lengths of training, which end at {trained}; "
            f"begin at {trained + 1}, or set include_training."
        )


def named(lengths: range) -> str:
    """Return a range as the option `--range` takes it: `41-500`, or `41-500:20` with a step."""
    return f"{lengths.start}-{lengths.stop - 1}" + (f":{lengths.step}" if lengths.step > 1 else "")


@torch.inference_mode()
def evaluate_range(
    model: MemoryModel[Any],
    task: Task,
    lengths: range,
    *,
    sequences: int | None = None,
    seed: int = 1,
    memory_slots: int | None = None,
    include_training: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a network at every length of a range, as the score of Delétang et al. 2023 (appendix A.4) is defined.

    Args:
        model, task, seed, memory_slots: As for `evaluate`.
        lengths: As `range(41, 501)`. Lengths that the task does not have are left out.
        sequences: Episodes of each length, those of `evaluate`; by default 100. The paper has 512.
        include_training: Whether the range may have lengths of training. They do not count in the means.
        progress: Called after each length with how many are measured, and how many there are.

    Returns:
        `range` as text, `training_length` (the longest), the number of lengths that are `skipped`, `sequences`, and
        `memory_slots` if given. `mean_` and a measure's name: its mean over the lengths beyond training, each of which
        counts alike. `results` has what `evaluate` returns for each length.

    Raises:
        TypeError, ValueError: As for `lengths_of` and `evaluate`.
    """
    difficulties, skipped = lengths_of(task, lengths, include_training=include_training)
    sequences, total = sequences_of(task, "evaluation", sequences=sequences), len(difficulties)
    rows = list[dict[str, Any]]()
    for difficulty in difficulties:
        batches = _joined(chunks(task, seed, "evaluation", sequences, difficulty))
        rows += measured_rows(model, task, difficulty, batches, memory_slots=memory_slots)
        progress(len(rows), total)
    asked = {} if memory_slots is None else {"memory_slots": memory_slots}
    about = {**asked, "range": named(lengths), "skipped": len(skipped), "sequences": sequences, **_means(task, rows)}
    return {**about, "results": [{**asked, **row} for row in rows]}


def _means(task: Task, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the longest length of training, and means over the longer ones: of measures, and of `perfect`."""
    trained, names = task.difficulty["length"], (*task.answer.measures.names, "perfect")
    unseen = [row for row in rows if row["length"] > trained]
    return {
        "training_length": trained,
        **{f"mean_{name}": sum(row[name] for row in unseen) / len(unseen) for name in names},
    }


def _joined(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Put batches whose sequences have one number of steps together: a network runs a larger batch in less time."""
    waiting = list[Batch]()
    for batch in batches:
        steps = sum(one.mask.numel() for one in waiting) + batch.mask.numel()
        if waiting and (steps > _STEPS or batch.inputs.shape[1:] != waiting[0].inputs.shape[1:]):
            yield _together(waiting)
            waiting = []
        waiting.append(batch)
    yield _together(waiting)


def _together(batches: list[Batch]) -> Batch:
    return batches[0] if len(batches) == 1 else Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
