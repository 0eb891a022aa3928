"""The memory of a network in one episode, as a matplotlib figure: `figure`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.explorer.episodes import samples
from lightning_ntm.explorer.page import Network, opened
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.report.episode import title_of, titled
from lightning_ntm.report.memory import draw_memory
from lightning_ntm.report.style import Picture
from lightning_ntm.tasks.base import Task


def figure(
    network: Network,
    task: Task | None = None,
    difficulty: Mapping[str, int] | None = None,
    *,
    show: str | Sequence[str] = (),
    seed: int = 1,
    sequence: int = 0,
    memory_slots: int | None = None,
) -> Picture:
    """Draw what a network does in one episode: inputs, targets, outputs, and its memory.

    What is drawn of a network follows from what its `observe` returns.

    Args:
        network: A network, a run folder, a folder of `save_pretrained`, or a name that `ntm zoo` lists, as `copy`.
        task: The task it was trained on, by default that of the folder. Without a task the inputs are random bits, and
            there are no targets.
        difficulty: As `{"length": 40}`. What is not given is the largest of the training.
        show: What is drawn of the network, as `ntm figure --show` takes it: names of the trace, `addressing` or `all`.
        seed: Of the episodes. A run has its own.
        sequence: Number of the episode, from 0.
        memory_slots: Memory slots of the sequence, by default those of the network.

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: An argument is of another kind.
        ValueError: A folder has no network, or the task, the difficulty or a name in `show` does not fit it.
    """
    model, task, seed = opened(network, task, seed)
    names = [show] if isinstance(show, str) else show
    if task is None:
        return _without_task(model, seed, names)
    difficulty = {**task.difficulty, **_known(task, difficulty or {})}
    seen = trace_episode(model, task, difficulty, seed=seed, sequence=sequence, memory_slots=memory_slots)
    title = titled(seen, title_of(model, task, difficulty), task.answer.measures)
    return draw_memory(seen, title, task.answer.unit, names)


def _without_task(model: MemoryModel[Any], seed: int, show: Sequence[str]) -> Picture:
    ((label, seen),) = samples(model, None, seed, recorded=True)
    seen["mask"] = np.ones(len(seen.pop("logits")), bool)
    return draw_memory(seen, f"{type(model).__name__} on {label}", "number", show)


def _known(task: Task, difficulty: Mapping[str, int]) -> Mapping[str, int]:
    if not isinstance(difficulty, Mapping):
        raise TypeError(f'difficulty (={difficulty!r}) must be a mapping, such as {{"length": 40}}.')
    for name in difficulty:
        if name not in task.difficulty:
            known = ", ".join(task.difficulty) or "none"
            raise ValueError(f"{type(task).__name__} has no difficulty {name!r}; it has {known}.")
    return difficulty
