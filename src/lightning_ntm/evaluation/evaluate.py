"""How a trained network does at chosen difficulties, and what its memory does meanwhile.

A network runs on the device it is on. Episodes are drawn, and answers are measured, on the CPU.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.checks import at_least
from lightning_ntm.evaluation.calls import for_network, logits_of
from lightning_ntm.evaluation.episodes import chunks, sequences_of
from lightning_ntm.evaluation.modes import undisturbed
from lightning_ntm.evaluation.slots import start_of
from lightning_ntm.intervals import FEWEST, none_of, wilson
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.answer import Answer, mean
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

#: Half the width of an interval that holds the mean in 95 of 100 evaluations, in standard errors.
CONFIDENCE = 1.96


def evaluate(
    model: MemoryModel[Any],
    task: Task,
    difficulty: dict[str, int],
    *,
    sequences: int | None = None,
    seed: int = 1,
    memory_slots: int | None = None,
) -> dict[str, Any]:
    """Measure a network on episodes of one difficulty that it never saw.

    Args:
        model: The network.
        task: The task it was trained on.
        difficulty: As `{"length": 120}`.
        sequences: Number of episodes; by default 100, of a task of files all.
        seed: Of the episodes.
        memory_slots: Memory slots of each sequence, by default those of the network.

    Returns:
        The difficulty, the mean of each measure of the task's answer by its name, and the number of `sequences`; the
        share of episodes that are `perfect` (without an error) with its two-sided 95 % confidence interval from
        `perfect_low` to `perfect_high` (Wilson). Each measure has a `_margin`, half the width of its 95 % confidence
        interval (NaN for fewer than 10 episodes, and if all episodes have the same value: a width of zero would be
        misleading). Where there was no error, `share_wrong_at_most` is the largest share of episodes with an error that
        is consistent with this (95 % confidence, one-sided; about 3 in 100 for 100 episodes). If the task knows the
        best possible answers, also the mean of the optimum and of the distance to it on the same episodes.

    Raises:
        TypeError: An argument is of another type.
        ValueError: `sequences` is below 1, the task does not have this difficulty, the network's output does not fit
            its answer, or a batch of the task is not what a task promises (`lightning_ntm.testing.check_task`).
    """
    options: dict[str, Any] = {"sequences": sequences, "seed": seed, "memory_slots": memory_slots}
    return evaluate_pieces(model, task, difficulty, pieces=1, **options)[0]


@torch.inference_mode()
def evaluate_pieces(
    model: MemoryModel[Any],
    task: Task,
    difficulty: dict[str, int],
    *,
    pieces: int,
    sequences: int | None = None,
    seed: int = 1,
    memory_slots: int | None = None,
) -> list[dict[str, Any]]:
    """Measure whole answers and, when `pieces` is above 1, each of so many equal parts of them.

    Args:
        model, task, difficulty, sequences, seed, memory_slots: As for `evaluate`.
        pieces: Parts of an answer, by its steps.

    Returns:
        What `evaluate` returns, for the whole and then for each part. With parts each also has an
        `answer`: which steps of it, as `21-40` (of the longest, should they differ), or `whole`.

    Raises:
        ValueError: `sequences` or `pieces` is below 1, there are more pieces than steps in an answer,
            the task does not have this difficulty, or the network's output does not fit its answer.
    """
    at_least(1, pieces=pieces)
    sequences = sequences_of(task, "evaluation", sequences=sequences)
    batches = chunks(task, seed, "evaluation", sequences, difficulty)
    return measured_rows(model, task, difficulty, batches, pieces=pieces, memory_slots=memory_slots)


def measured_rows(
    model: MemoryModel[Any],
    task: Task,
    difficulty: dict[str, int],
    batches: Iterable[Batch],
    *,
    pieces: int = 1,
    memory_slots: int | None = None,
) -> list[dict[str, Any]]:
    """Measure a network on given episodes of one difficulty, as `evaluate_pieces` does."""
    answer = task.answer
    answer.check_size(model.output_size)
    measured: defaultdict[int, list[dict[str, Tensor]]] = defaultdict(list)  # of the whole, then of each part
    steps = 0
    for batch in batches:
        with undisturbed(model):
            start = start_of(model, len(batch.inputs), memory_slots)
            logits = logits_of(model, for_network(model, batch), start).cpu()
        optimal = task.optimal_logits(batch)
        steps = max(steps, int(batch.mask.sum(1).max()))
        for piece, mask in enumerate(_masks(batch, pieces)):
            measured[piece].append(_measured(answer, logits, optimal, batch._replace(mask=mask)))
    optima = {measure.optimum for measure in answer.measures.each}
    return [
        {**difficulty, **_part(piece, pieces, steps), **_summary(values, optima)} for piece, values in measured.items()
    ]


def _part(piece: int, pieces: int, steps: int) -> dict[str, str]:
    """Return which steps of an answer a row is about, if there are rows for parts of it."""
    if pieces == 1:
        return {}
    first, last = (-(-steps * end // pieces) for end in (piece - 1, piece))
    return {"answer": f"{first + 1}-{last}" if piece else "whole"}


def _masks(batch: Batch, pieces: int) -> list[Tensor]:
    """Return the mask of the whole answer and those of its parts."""
    if pieces == 1:
        return [batch.mask]
    steps = batch.mask.sum(1, keepdim=True)
    if pieces > int(steps.min()):
        raise ValueError(f"pieces (={pieces}) must be at most {int(steps.min())}, the steps of an answer.")
    part = (batch.mask.cumsum(1) - 1) * pieces // steps
    return [batch.mask, *(batch.mask & (part == piece) for piece in range(pieces))]


def _measured(answer: Answer, logits: Tensor, optimal: Tensor | None, batch: Batch) -> dict[str, Tensor]:
    """Return each measure of each episode, and whether it is perfect."""
    measured = answer.measure(logits, batch)
    compared = {} if optimal is None else answer.compare(measured, optimal, batch)
    return {"perfect": answer.errors(logits, batch) == 0, **measured, **compared}


def _summary(batches: list[dict[str, Tensor]], optima: set[str]) -> dict[str, Any]:
    """Return means and margins of measures, but no margins of `optima`, which are those of the episodes."""
    measured = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    perfect = measured.pop("perfect")
    right, sequences = int(perfect.sum()), len(perfect)
    summary: dict[str, Any] = {name: float(mean(values)) for name, values in measured.items()}
    summary |= {"perfect": right / sequences, "sequences": sequences}
    summary["perfect_low"], summary["perfect_high"] = wilson(right, sequences)
    if right == sequences:
        summary["share_wrong_at_most"] = none_of(sequences)
    return summary | {f"{name}_margin": margin(values) for name, values in measured.items() if name not in optima}


def margin(values: Tensor) -> float:
    """Return half the width of the 95 % confidence interval of a mean; nan of few values, or of the same ones."""
    if len(values) < FEWEST or bool((values == values[0]).all()):
        return math.nan
    return CONFIDENCE * float(values.double().std()) / math.sqrt(len(values))
