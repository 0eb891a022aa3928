"""All that happens in one episode."""

from typing import Any

import numpy as np
from torch import Tensor

from lightning_ntm.evaluation.device import device_of
from lightning_ntm.evaluation.slots import start_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


def trace_episode(
    model: MemoryModel[Any],
    task: Task,
    difficulty: dict[str, int],
    *,
    seed: int = 1,
    sequence: int = 0,
    memory_slots: int | None = None,
) -> dict[str, np.ndarray]:
    """Run one episode and return all that happened, each array with time first.

    Args:
        model: The network.
        task: The task it was trained on.
        difficulty: As `{"length": 120}`.
        seed: Of the episodes.
        sequence: Number of the episode, from 0.
        memory_slots: Memory slots of the sequence, by default those of the network.

    Returns:
        `inputs`, `targets`, `mask`, `outputs`, the `errors` of each step (how many bits, symbols or numbers are wrong),
        what the network's `trace` returns, and of the task, where it has them, `optimal` (the best possible outputs),
        `placed_by`, and each of its landmarks as `landmark: NAME`. Outputs, targets and `optimal` are what the task's
        answer shows: probabilities and bits, probabilities and one-hot symbols, or numbers. Each measure of the
        episode is `measure: NAME`, a single number.

    Raises:
        ValueError: The network's output does not fit the answer of the task.
    """
    task.answer.check_size(model.output_size)
    batch = task.batch(seed, "evaluation", sequence, 1, **difficulty)
    traced = model.trace(batch.inputs.to(device_of(model)), start_of(model, 1, memory_slots))
    seen = {**batch._asdict(), **{name: tensor.cpu() for name, tensor in traced.items()}}
    seen |= _of_task(task, batch, seen.pop("logits"))
    return {name: tensor[0].numpy() for name, tensor in seen.items()}


def _of_task(task: Task, batch: Batch, logits: Tensor) -> dict[str, Any]:
    """Return what a task and its answer say about an episode with these logits."""
    answer, seen = task.answer, dict[str, Any]()
    seen |= {"errors": answer.step_errors(logits, batch), "outputs": answer.shown(logits)}
    seen["targets"] = answer.pictured(batch.targets)
    measured = answer.measure(logits, batch)
    optimal, placed_by = task.optimal_logits(batch), task.placed_by(batch)
    if optimal is not None:
        seen["optimal"] = answer.shown(optimal)
        measured |= answer.compare(measured, optimal, batch)
    seen |= {f"measure: {name}": value for name, value in measured.items()}
    seen |= {} if placed_by is None else {"placed_by": placed_by}
    return seen | {f"landmark: {name}": steps for name, steps in task.landmarks(batch).items()}
