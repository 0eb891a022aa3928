"""All that happens in one episode."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_ntm.checks import check_kind
from lightning_ntm.evaluation.calls import trace_of
from lightning_ntm.evaluation.device import device_of
from lightning_ntm.evaluation.episodes import episode_of
from lightning_ntm.evaluation.modes import undisturbed
from lightning_ntm.evaluation.slots import start_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.states import apart
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

#: Names of a trace that are of the episode.
EPISODE = ("inputs", "targets", "mask", "outputs", "errors", "measured", "optimal", "placed_by")


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
        `measured`, which is true at the steps that count (those of the mask, up to the end symbol if there is one),
        what the network's `trace` returns, and of the task, where it has them, `optimal` (the best possible outputs),
        `placed_by`, and each of its landmarks as `landmark: NAME`. Outputs, targets and `optimal` are what the task's
        answer shows: probabilities and bits, probabilities and one-hot symbols, or numbers. Each measure of the
        episode is `measure: NAME`, a single number. `names: inputs` and `names: outputs` are what their numbers stand
        for, where the task says it. What the network calls by one of these names has a prefix, as `network.inputs`.

    Raises:
        TypeError: An argument is of another type.
        ValueError: The network's output does not fit the answer of the task, `sequence` is below 0, or the task does
            not have this difficulty or episode.
    """
    check_kind(Task, "a task, as Copy()", task=task)
    task.answer.check_size(model.output_size)
    batch = episode_of(task, seed, sequence, difficulty)
    seen, logits = _traced(model, batch, memory_slots)
    return _first(seen | _of_answer(task.answer, batch, logits) | _of_task(task, batch, logits)) | names_of(task)


def names_of(task: Task) -> dict[str, np.ndarray]:
    """Return what the numbers of inputs and answers stand for, as `names: inputs` and `names: outputs`."""
    named = {"names: inputs": task.input_names, "names: outputs": task.answer_names}
    return {name: np.array(names) for name, names in named.items() if names}


def trace_own(
    model: MemoryModel[Any],
    answer: Answer,
    batch: Batch,
    *,
    known: bool = True,
    memory_slots: int | None = None,
    task: Task | None = None,
) -> dict[str, np.ndarray]:
    """Run an episode of a user's own and return all that happened, each array with time first.

    Args:
        model: The network.
        answer: What its outputs are.
        batch: The episode, alone.
        known: Whether its targets are known; otherwise the trace has no targets, errors and measures.
        memory_slots: Memory slots of the sequence, by default those of the network.
        task: What the targets are from, if they are known; the trace then has all that `trace_episode` returns.

    Raises:
        ValueError: The network's output does not fit the answer.
    """
    answer.check_size(model.output_size)
    seen, logits = _traced(model, batch, memory_slots)
    if known:
        of_task = _of_task(task, batch, logits) if task else {}
        return _first(seen | _of_answer(answer, batch, logits) | of_task) | (names_of(task) if task else {})
    return _first(
        {name: value for name, value in seen.items() if name != "targets"} | {"outputs": answer.shown(logits)}
    )


def _traced(model: MemoryModel[Any], batch: Batch, memory_slots: int | None) -> tuple[dict[str, Tensor], Tensor]:
    """Return the episode with the network's trace, and the logits."""
    inputs = batch.inputs.to(device_of(model))
    if (weights := next(model.parameters(), None)) is not None:
        inputs = inputs.to(weights.dtype)
    with undisturbed(model):
        traced = trace_of(model, inputs, batch.mask.to(inputs.device), start_of(model, 1, memory_slots))
    logits = traced.pop("logits").cpu()
    return batch._asdict() | {name: tensor.cpu() for name, tensor in of_network(traced).items()}, logits


def of_network(traced: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a network's `trace` returns, with names that a trace of an episode does not have itself."""
    return apart(traced, EPISODE)


def _first(seen: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: _readable(tensor[0]).numpy() for name, tensor in seen.items()}


def _readable(tensor: Tensor) -> Tensor:
    """Return numbers of a dtype that NumPy has."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _of_answer(answer: Answer, batch: Batch, logits: Tensor) -> dict[str, Any]:
    """Return what an answer says about an episode with these logits."""
    seen = {"errors": answer.step_errors(logits, batch), "outputs": answer.shown(logits)}
    seen |= {"targets": answer.pictured(batch.targets), "measured": answer.measured_steps(batch)}
    return seen | {f"measure: {name}": value for name, value in answer.measure(logits, batch).items()}


def _of_task(task: Task, batch: Batch, logits: Tensor) -> dict[str, Any]:
    """Return what a task knows about an episode."""
    answer, seen = task.answer, dict[str, Any]()
    measured: dict[str, Tensor] = {}
    optimal, placed_by = task.optimal_logits(batch), task.placed_by(batch)
    if optimal is not None:
        seen["optimal"] = answer.shown(optimal)
        measured = answer.compare(answer.measure(logits, batch), optimal, batch)
    seen |= {f"measure: {name}": value for name, value in measured.items()}
    seen |= {} if placed_by is None else {"placed_by": placed_by}
    return seen | {f"landmark: {name}": steps for name, steps in task.landmarks(batch).items()}
