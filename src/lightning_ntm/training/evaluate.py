"""How a trained network does at chosen difficulties, and what its memory does meanwhile."""

from typing import Any

import numpy as np
import torch

from lightning_ntm.checks import at_least
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks import metrics
from lightning_ntm.tasks.base import Task
from lightning_ntm.training.episodes import batch_generator, chunks


@torch.inference_mode()
def evaluate(
    model: MemoryModel[Any], task: Task, difficulty: dict[str, int], *, sequences: int = 100, seed: int = 1
) -> dict[str, float]:
    """Measure a network on episodes of one difficulty that it never saw.

    Args:
        model: The network.
        task: The task it was trained on.
        difficulty: As `{"length": 120}`.
        sequences: Number of episodes.
        seed: Of the episodes.

    Returns:
        The difficulty, mean `wrong_bits` and `bits_per_sequence`, the share of episodes that are
        `perfect` (no wrong bit), and the number of `sequences`.

    Raises:
        ValueError: `sequences` is below 1, or the task does not have this difficulty.
    """
    at_least(1, sequences=sequences)
    wrong, bits = [], []
    for batch in chunks(task, seed, "evaluation", sequences, difficulty):
        logits, _ = model(batch.inputs)
        wrong.append(metrics.wrong_bits(logits, batch))
        bits.append(metrics.bits_per_sequence(logits, batch))
    wrong_bits = torch.cat(wrong)
    return {
        **difficulty,
        "wrong_bits": float(wrong_bits.mean()),
        "bits_per_sequence": float(torch.cat(bits).mean()),
        "perfect": float((wrong_bits == 0).float().mean()),
        "sequences": sequences,
    }


def trace_episode(
    model: MemoryModel[Any], task: Task, difficulty: dict[str, int], *, seed: int = 1
) -> dict[str, np.ndarray]:
    """Run one episode and return all that happened, each array with time first.

    Returns:
        `inputs`, `targets`, `mask`, `outputs` (probabilities) and what the network's `trace` tells.
    """
    batch = task.sample(batch_generator(seed, "evaluation", 0), 1, **difficulty)
    seen = {**batch._asdict(), **model.trace(batch.inputs)}
    seen["outputs"] = seen.pop("logits").sigmoid()
    return {name: tensor[0].numpy() for name, tensor in seen.items()}
