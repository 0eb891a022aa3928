"""Episodes for the page: samples of a task with their targets, and the layouts in which a reader draws their own."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lightning_ntm.evaluation.calls import lengths_for, trace_steps
from lightning_ntm.evaluation.episodes import episode_of
from lightning_ntm.evaluation.modes import undisturbed
from lightning_ntm.evaluation.trace import of_network, trace_episode
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.report.cells import stack_cells, tape_cells
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols
from lightning_ntm.tasks.associative_recall import AssociativeRecall
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.copy import Copy
from lightning_ntm.tasks.formal import (
    BucketSort,
    CycleNavigation,
    DuplicateString,
    EvenPairs,
    ModularArithmetic,
    OddsFirst,
    ParityCheck,
    ReverseString,
    StackManipulation,
)
from lightning_ntm.tasks.formal.strings import StringTask
from lightning_ntm.tasks.repeat_copy import RepeatCopy

#: Steps of an episode on the page, at most.
MOST_STEPS = 500
#: Tasks on strings of which the script has the answer, and its name there.
_STRINGS: dict[type, str] = {
    ReverseString: "reverse",
    DuplicateString: "duplicate",
    EvenPairs: "pairs",
    ParityCheck: "parity",
    CycleNavigation: "cycle",
    ModularArithmetic: "arithmetic",
    OddsFirst: "odds",
    BucketSort: "sorted",
    StackManipulation: "stack",
}
#: Episodes of the training range, and of each difficulty of an evaluation: those that the page runs, and recorded ones.
_DRAWN, _RECORDED = (5, 2), (3, 1)
_STEPS_WITHOUT_TASK = 20

Sample = tuple[str, dict[str, np.ndarray]]


def samples(model: MemoryModel[Any], task: Task | None, seed: int, *, recorded: bool) -> Iterator[Sample]:
    """Yield a label and the arrays of an episode, with time first; episodes of the training range come first.

    Args:
        model: The network.
        task: Its task; without one there is a single episode of random bits, without targets.
        seed: Of the episodes.
        recorded: Whether all that happens is wanted, as `trace_episode` returns it. Otherwise the arrays are inputs,
            targets and mask; those of the first episode have `logits` too.

    Raises:
        ValueError: The network does not fit the task.
    """
    if task is None:
        yield "random bits", _without_task(model, seed)
        return
    task.answer.check_size(model.output_size)
    drawn = list(_drawn(task, seed, _RECORDED if recorded else _DRAWN))
    if not drawn:
        raise ValueError(
            f"the episodes of {type(task).__name__} have more than {MOST_STEPS} steps, the most of a page."
        )
    for first, (label, difficulty, number) in enumerate(drawn):
        if recorded:
            seen = trace_episode(model, task, difficulty, seed=seed, sequence=number)
            yield label, {**seen, **cells_of(seen)}
        else:
            yield label, _episode(model, task, episode_of(task, seed, number, difficulty), not first)


def cells_of(seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what stacks and tapes hold, a number for each cell, as `cells_stack_1`, and the row of a tape's head."""
    found: dict[str, np.ndarray] = {}
    for number in range(seen["stacks"].shape[1] if "stacks" in seen else 0):
        found[f"cells_stack_{number + 1}"] = stack_cells(seen["stacks"][:, number]).shades
    for number in range(seen["tapes"].shape[1] if "tapes" in seen else 0):
        tape = tape_cells(seen["tapes"][:, number], seen["tape_actions"][:, number], seen["moves"])
        found[f"cells_tape_{number + 1}"] = tape.shades
        found[f"head_tape_{number + 1}"] = np.nan_to_num(np.asarray(tape.heads), nan=-1)
    return found


def _drawn(task: Task, seed: int, numbers: tuple[int, int]) -> Iterator[tuple[str, dict[str, int], int]]:
    """Yield label, difficulty and number of episodes: so many of the training range, and of each evaluation."""
    stored = task.stored("evaluation")
    trained, harder = numbers
    steps = [_steps(task, seed, number, {}) for number in range(trained if stored is None else min(trained, stored))]
    order = sorted(range(len(steps)), key=lambda number: 0 if stored else -steps[number])  # the shortest show little
    for place, number in enumerate(order, start=1):
        if steps[number] <= MOST_STEPS:
            yield f"{'as in training' if stored is None else 'sequence'} {place}", {}, number
    for difficulty in task.evaluations if stored is None else ():
        if _steps(task, seed, 0, difficulty) <= MOST_STEPS:
            named = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in difficulty.items())
            yield from ((f"{named} ({number + 1})", difficulty, number) for number in range(harder))


def _steps(task: Task, seed: int, number: int, difficulty: dict[str, int]) -> int:
    return episode_of(task, seed, number, difficulty).inputs.shape[1]


@torch.no_grad()
def _episode(model: MemoryModel[Any], task: Task, batch: Batch, with_logits: bool) -> dict[str, np.ndarray]:
    if (lengths := lengths_for(model, batch.inputs, batch.mask)) is not None:
        batch = Batch(*(part[:, : int(lengths)] for part in batch))
    seen = {"inputs": batch.inputs, "targets": task.answer.pictured(batch.targets), "mask": batch.mask}
    if with_logits:
        exact = copy.deepcopy(model).cpu().double()  # the page computes in double precision, too
        with undisturbed(exact):
            seen["logits"] = exact(batch.inputs.double())[0].float()
    return {name: tensor[0].numpy() for name, tensor in seen.items()}


def _without_task(model: MemoryModel[Any], seed: int) -> dict[str, np.ndarray]:
    bits = np.random.default_rng(seed).integers(2, size=(1, _STEPS_WITHOUT_TASK, model.input_size))
    inputs = torch.from_numpy(bits).to(next(model.parameters()))
    with undisturbed(model):
        seen = of_network(trace_steps(model, inputs))
    traced = {name: tensor[0].float().cpu().numpy() for name, tensor in seen.items()}
    return {"inputs": bits[0].astype(np.float32), **traced, "outputs": traced["logits"]}


def asked(task: Task | None) -> dict[str, Any]:
    """Return what the script needs to know of the answers of a task, and the names of its symbols."""
    named = {"inputs": task.input_names if task else (), "outputs": task.answer_names if task else ()}
    return {"answer": answer(task.answer if task else None), "names": named}


def answer(asked: Answer | None) -> dict[str, Any]:
    """Return what the script needs to know of the answer of a task."""
    if isinstance(asked, Bits):
        return {"kind": "bits", "unit": "bit"}
    if isinstance(asked, Symbols):
        return {"kind": "symbols", "unit": "symbol", "end": asked.end}
    tolerance = asked.tolerance if isinstance(asked, Numbers) else 0.0
    return {"kind": "numbers", "unit": "number", "tolerance": tolerance}


def layout(task: Task | None) -> dict[str, Any] | None:
    """Return how an episode is made of what a reader draws, or `None` for a task without such a description."""
    kind = type(task)
    if isinstance(task, Copy) and kind is Copy:
        return {**_vectors(task), "outputs": task.bits, "number": None, "end": None, "repeats": 1, "most_repeats": 1}
    if isinstance(task, RepeatCopy) and kind is RepeatCopy:
        scaled = task.scaled(np.array([0.0, 1.0]))
        deviation = 1 / float(scaled[1] - scaled[0])
        number = {"form": task.number, "channel": task.bits + 1, "mean": -float(scaled[0]) * deviation}
        return {
            **_vectors(task),
            "outputs": task.bits + 1,
            "number": {**number, "deviation": deviation},
            "end": task.bits,
            "repeats": min(3, task.max_repeats),
            "most_repeats": 2 * task.max_repeats,
        }
    if isinstance(task, AssociativeRecall) and kind is AssociativeRecall:
        return _recall(task)
    if isinstance(task, StringTask) and kind in _STRINGS:
        return _string(task, _STRINGS[kind])
    return None


#: Of layouts whose items are shown one after the other, each in one step: vectors in an item, fewest items, and the
#: names of the sliders.
_PLAIN: dict[str, Any] = {"group": 1, "least": 1, "names": ["length", "repeats"]}


def _recall(task: AssociativeRecall) -> dict[str, Any]:
    most = max(2, min(task.max_items * 20 // 6, 200 // task.item_length))
    sizes = {"bits": task.bits, "inputs": task.input_size, "outputs": task.bits, "delimiter": task.bits, "step": 1}
    items = {"group": task.item_length, "least": 2, "start": min(most, task.max_items), "most": most}
    asked = {"repeats": 1, "most_repeats": most - 1, "names": ["items", "item that is asked for"]}
    return {"kind": "recall", "end": None, **sizes, **items, **asked}


def _string(task: StringTask, answer: str) -> dict[str, Any]:
    step = 2 if task.odd else 1  # from a length of 1 on
    start, most = (length - (length - 1) % step for length in (min(10, task.max_length), min(200, 4 * task.max_length)))
    sizes = {"symbols": task.symbols, "outputs": task.answer.size, "step": step, "start": start, "most": most}
    return {"kind": "string", "answer": answer, "most_repeats": 1, "repeats": 1, **sizes, **_PLAIN}


def _vectors(task: Copy | RepeatCopy) -> dict[str, Any]:
    sizes = {"bits": task.bits, "inputs": task.input_size, "delimiter": task.bits, "step": 1, **_PLAIN}
    most = 6 * task.max_length if isinstance(task, Copy) else 2 * task.max_length
    return {"kind": "vectors", **sizes, "start": min(10, task.max_length), "most": min(200, most)}
