"""All that happens in one episode."""

from typing import Any

import numpy as np

from lightning_ntm.evaluation.device import device_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.base import Task


def trace_episode(
    model: MemoryModel[Any], task: Task, difficulty: dict[str, int], *, seed: int = 1, sequence: int = 0
) -> dict[str, np.ndarray]:
    """Run one episode and return all that happened, each array with time first.

    Args:
        model: The network.
        task: The task it was trained on.
        difficulty: As `{"length": 120}`.
        seed: Of the episodes.
        sequence: Number of the episode, from 0.

    Returns:
        `inputs`, `targets`, `mask`, `outputs` (probabilities), what the network's `trace` tells, and of the task,
        where it has them, `optimal` (the best possible probabilities), `placed_by`, and each of its landmarks as
        `landmark: NAME`.
    """
    batch = task.batch(seed, "evaluation", sequence, 1, **difficulty)
    traced = model.trace(batch.inputs.to(device_of(model)))
    seen = {**batch._asdict(), **{name: tensor.cpu() for name, tensor in traced.items()}}
    seen["outputs"] = seen.pop("logits").sigmoid()
    optimal, placed_by = task.optimal_logits(batch), task.placed_by(batch)
    seen |= {} if optimal is None else {"optimal": optimal.sigmoid()}
    seen |= {} if placed_by is None else {"placed_by": placed_by}
    seen |= {f"landmark: {name}": steps for name, steps in task.landmarks(batch).items()}
    return {name: tensor[0].numpy() for name, tensor in seen.items()}
