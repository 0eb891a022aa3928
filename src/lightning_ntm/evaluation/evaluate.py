"""How a trained network does at chosen difficulties, and what its memory does meanwhile.

A network runs on the device it is on. Episodes are drawn, and answers are measured, on the CPU.
"""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.checks import at_least
from lightning_ntm.evaluation.device import device_of
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.intervals import none_of, wilson
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks import metrics
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

#: Half the width of an interval that holds the mean in 95 of 100 evaluations, in standard errors.
CONFIDENCE = 1.96


def evaluate(
    model: MemoryModel[Any], task: Task, difficulty: dict[str, int], *, sequences: int = 100, seed: int = 1
) -> dict[str, Any]:
    """Measure a network on episodes of one difficulty that it never saw.

    Args:
        model: The network.
        task: The task it was trained on.
        difficulty: As `{"length": 120}`.
        sequences: Number of episodes.
        seed: Of the episodes.

    Returns:
        The difficulty, mean `wrong_bits` and `bits_per_sequence`, the share of episodes that are
        `perfect` (no wrong bit) with its 95 % confidence interval from `perfect_low` to `perfect_high`
        (Wilson), and the number of `sequences`; for each of the two means a `_margin`, half the width of
        its 95 % confidence interval (nan where all episodes cost the same, which does not prove that all
        others do). Where no bit was wrong, `share_wrong_at_most` is the largest share of episodes with a
        wrong bit of which so many may show none (95 % confidence; about 3 in 100 for 100 episodes). Of
        a task with a known optimum also mean `optimal_bits`, and `regret_bits`: bits per sequence more
        than the optimum on the same episodes, with its margin.

    Raises:
        ValueError: `sequences` is below 1, or the task does not have this difficulty.
    """
    return evaluate_pieces(model, task, difficulty, pieces=1, sequences=sequences, seed=seed)[0]


@torch.inference_mode()
def evaluate_pieces(
    model: MemoryModel[Any],
    task: Task,
    difficulty: dict[str, int],
    *,
    pieces: int,
    sequences: int = 100,
    seed: int = 1,
) -> list[dict[str, Any]]:
    """Measure whole answers and, when `pieces` is above 1, each of so many equal parts of them.

    Args:
        model: The network.
        task: The task it was trained on.
        difficulty: As `{"length": 120}`.
        pieces: Parts of an answer, by its steps.
        sequences: Number of episodes.
        seed: Of the episodes.

    Returns:
        What `evaluate` returns, for the whole and then for each part. With parts each also has an
        `answer`: which steps of it, as `21-40` (of the longest, should they differ), or `whole`.

    Raises:
        ValueError: `sequences` or `pieces` is below 1, there are more pieces than steps in an answer,
            or the task does not have this difficulty.
    """
    at_least(1, sequences=sequences, pieces=pieces)
    costs: list[list[dict[str, Tensor]]] = [[] for _ in range(pieces + 1 if pieces > 1 else 1)]
    steps = 0
    device = device_of(model)
    for batch in chunks(task, seed, "evaluation", sequences, difficulty):
        logits, optimal = model(batch.inputs.to(device))[0].cpu(), task.optimal_logits(batch)
        steps = max(steps, int(batch.mask.sum(1).max()))
        for cost, mask in zip(costs, _masks(batch, pieces), strict=True):
            cost.append(_costs(logits, optimal, batch._replace(mask=mask)))
    rows = []
    for piece, cost in enumerate(costs):
        row: dict[str, Any] = {**difficulty}
        if pieces > 1:
            first, last = (-(-steps * end // pieces) for end in (piece - 1, piece))
            row["answer"] = f"{first + 1}-{last}" if piece else "whole"
        rows.append({**row, **_summary({name: torch.cat([c[name] for c in cost]) for name in cost[0]})})
    return rows


def _masks(batch: Batch, pieces: int) -> list[Tensor]:
    """Return the mask of the whole answer and those of its parts."""
    if pieces == 1:
        return [batch.mask]
    steps = batch.mask.sum(1, keepdim=True)
    if pieces > int(steps.min()):
        raise ValueError(f"pieces (={pieces}) must be at most {int(steps.min())}, the steps of an answer.")
    part = (batch.mask.cumsum(1) - 1) * pieces // steps
    return [batch.mask, *(batch.mask & (part == piece) for piece in range(pieces))]


def _costs(logits: Tensor, optimal: Tensor | None, batch: Batch) -> dict[str, Tensor]:
    """Return the measures of each episode."""
    bits = metrics.bits_per_sequence(logits, batch)
    costs = {"wrong_bits": metrics.wrong_bits(logits, batch), "bits_per_sequence": bits}
    if optimal is not None:
        costs["optimal_bits"] = metrics.bits_per_sequence(optimal, batch)
        costs["regret_bits"] = bits - costs["optimal_bits"]
    return costs


def _summary(costs: dict[str, Tensor]) -> dict[str, Any]:
    wrong_bits, sequences = costs["wrong_bits"], len(costs["wrong_bits"])
    summary = {name: float(metrics.mean(costs[name])) for name in ("wrong_bits", "bits_per_sequence")}
    right = int((wrong_bits == 0).sum())
    summary |= {"perfect": right / sequences, "sequences": sequences}
    summary["perfect_low"], summary["perfect_high"] = wilson(right, sequences)
    if right == sequences:
        summary["share_wrong_at_most"] = none_of(sequences)
    summary |= {name: float(metrics.mean(cost)) for name, cost in costs.items() if name not in summary}
    for name, cost in costs.items():
        if name != "optimal_bits":
            summary[f"{name}_margin"] = margin(cost)
    return summary


def margin(values: Tensor) -> float:
    """Return half the width of the 95 % confidence interval of a mean; nan where all values are the same."""
    if bool((values == values[0]).all()):
        return math.nan
    return CONFIDENCE * float(values.double().std()) / math.sqrt(len(values))
