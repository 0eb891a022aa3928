"""The word error of a network on the bAbI tasks, as it is published: of each task, and the mean over tasks."""

from pathlib import Path
from typing import Any

import torch

from lightning_ntm.evaluation.calls import for_network, logits_of
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.evaluation.modes import undisturbed
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.files import FileTask


@torch.inference_mode()
def word_errors(model: MemoryModel[Any], task: FileTask, folder: Path | str) -> dict[str, float]:
    """Return the share of wrong answer words in the test stories of each bAbI task, and the mean over tasks.

    Args:
        model: The network.
        task: The task it was trained on, of the files that `lightning_ntm.tasks.babi` wrote.
        folder: The folder of these files.

    Returns:
        Shares from 0 to 1 by `qa1`, `qa2`, ..., and their `mean`. In publications a task is failed above 0.05.

    Raises:
        TypeError: The task is another one.
        ValueError: The folder has no test files, or one of them is not as it should be.
    """
    if not isinstance(task, FileTask):
        raise TypeError(f"task must be a FileTask, not a {type(task).__name__}.")
    found = {path.stem.removeprefix("test-qa"): path for path in Path(folder).glob("test-qa*.npz")}
    paths = {int(number): path for number, path in found.items() if number.isdecimal()}
    if not paths:
        raise ValueError(f"{folder} has no files such as test-qa1.npz.")
    with undisturbed(model):
        errors = {f"qa{number}": _word_error(model, task.on(str(path))) for number, path in sorted(paths.items())}
    return {**errors, "mean": sum(errors.values()) / len(errors)}


def _word_error(model: MemoryModel[Any], task: FileTask) -> float:
    wrong = words = 0.0
    for batch in chunks(task, 1, "evaluation", task.stored("evaluation"), {}):
        logits = logits_of(model, for_network(model, batch)).cpu()
        wrong += float(task.answer.errors(logits, batch).sum())
        words += float(task.answer.units(batch).sum())
    return wrong / words
