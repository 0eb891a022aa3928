"""All that happens in one episode."""

from typing import Any

import numpy as np

from lightning_ntm.evaluation.device import device_of
from lightning_ntm.evaluation.episodes import batch_generator
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.base import Task


def trace_episode(
    model: MemoryModel[Any], task: Task, difficulty: dict[str, int], *, seed: int = 1
) -> dict[str, np.ndarray]:
    """Run one episode and return all that happened, each array with time first.

    Returns:
        `inputs`, `targets`, `mask`, `outputs` (probabilities), what the network's `trace` tells, and of the task,
        where it has them, `optimal` (the best possible probabilities), `placed_by`, and each of its landmarks as
        `landmark: NAME`.
    """
    batch = task.sample(batch_generator(seed, "evaluation", 0, difficulty), 1, **difficulty)
    traced = model.trace(batch.inputs.to(device_of(model)))
    seen = {**batch._asdict(), **{name: tensor.cpu() for name, tensor in traced.items()}}
    seen["outputs"] = seen.pop("logits").sigmoid()
    optimal, placed_by = task.optimal_logits(batch), task.placed_by(batch)
    seen |= {} if optimal is None else {"optimal": optimal.sigmoid()}
    seen |= {} if placed_by is None else {"placed_by": placed_by}
    seen |= {f"landmark: {name}": steps for name, steps in task.landmarks(batch).items()}
    return {name: tensor[0].numpy() for name, tensor in seen.items()}
