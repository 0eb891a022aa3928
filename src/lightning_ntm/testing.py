"""Checks that any task or network must pass; for this package's tests and for yours.

Each raises `AssertionError` with the promise that is broken.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_ntm.models.base import MemoryModel
from lightning_ntm.states import flatten, named
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.faults import batch_fault


def check_task(task: Task) -> None:
    """Check that a `Task` meets its requirements."""
    name = type(task).__name__
    batch, again = (task.sample(np.random.default_rng(1), 3) for _ in range(2))
    fault = batch_fault(task.answer, batch, 3)
    assert fault is None, f"{name}: {fault}."
    same = all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    assert same, f"{name} is not a function of its generator."
    other = task.sample(np.random.default_rng(2), 3)
    changed = other.inputs.shape != batch.inputs.shape or not torch.equal(other.inputs, batch.inputs)
    assert changed, f"{name} gives the same episodes whatever the generator."

    assert batch.inputs.shape[-1] == task.input_size, f"{name}.input_size is not that of its inputs."
    assert batch.inputs.dtype != torch.float64, f"{name} has inputs in torch.float64, not torch.float32."
    assert batch.mask.any(dim=1).all(), f"{name} has an episode with nothing to answer."
    assert torch.isfinite(batch.inputs).all(), f"{name} has inputs that are not finite."
    assert len(task.input_names) in (0, task.input_size), f"{name}.input_names must name all numbers of an input."
    assert len(task.answer_names) in (0, task.answer.size), f"{name}.answer_names must name all of an answer."
    _check_optimum(task, batch)
    evaluated = [sorted(difficulty.items()) for difficulty in task.evaluations]
    assert all(evaluated.count(one) == 1 for one in evaluated), f"{name}.evaluations has a difficulty twice."
    for key, hardest in task.difficulty.items():
        harder = task.sample(np.random.default_rng(1), 2, **{key: 3 * hardest})
        fault = batch_fault(task.answer, harder, 2)
        assert fault is None, f"{name} with {key} {3 * hardest}: {fault}."
        assert torch.isfinite(harder.inputs).all(), f"{name} cannot be made harder than training along {key!r}."


def _check_optimum(task: Task, batch: Batch) -> None:
    """Check that the best possible answers are known exactly where the answer declares an optimum."""
    declared = any(measure.optimum for measure in task.answer.measures.each)
    known = task.optimal_logits(batch) is not None
    means = "must" if declared else "cannot"
    assert known == declared, f"{type(task).__name__} {means} have optimal_logits, as its answer is {task.answer}."


def check_model(model: MemoryModel[Any]) -> None:
    """Check that a `MemoryModel` meets its requirements, and each kernel that can run here against its own loop."""
    name = type(model).__name__
    reference = next(model.parameters())
    inputs = torch.randn(3, 5, model.input_size, dtype=reference.dtype, device=reference.device)
    whole, end = model(inputs)
    assert whole.shape == (3, 5, model.output_size), f"{name} gives logits of shape {tuple(whole.shape)}."
    if not model.reads_ahead:
        _check_stream(model, inputs, whole, end)
    alone, _ = model(inputs[1:2])
    _close(alone, whole[1:2], f"{name}: sequences of one batch influence each other.")
    _check_lengths(model, inputs)
    _close(model.trace(inputs)["logits"], whole, f"{name}: the trace is of another run than the outputs.")
    for kernel in model.all_kernels:
        if _runs(model, kernel, inputs):
            check_kernel(model, kernel, inputs)


def _check_stream(model: MemoryModel[Any], inputs: Tensor, whole: Tensor, end: Any) -> None:
    """Check that a sequence in two parts is as the whole."""
    name = type(model).__name__
    first, state = model(inputs[:, :2])
    rest, streamed_end = model(inputs[:, 2:], state)
    _close(torch.cat([first, rest], dim=1), whole, f"{name}: the state does not carry the whole memory.")
    for mine, other in zip(flatten(streamed_end), flatten(end), strict=True):
        _close(mine, other, f"{name}: the state after a streamed sequence is not that after the whole.")


def _check_lengths(model: MemoryModel[Any], inputs: Tensor) -> None:
    """Check that sequences with padding are as they are without it."""
    name, lengths = type(model).__name__, [4, 2, 5][: len(inputs)]
    logits, end = model(inputs, lengths=torch.tensor(lengths))
    for number, length in enumerate(lengths):
        alone, alone_end = model(inputs[number : number + 1, :length])
        expected = torch.nn.functional.pad(alone[0], (0, 0, 0, inputs.shape[1] - length))
        _close(logits[number], expected, f"{name}: padding changes the outputs.")
        for mine, other in zip(flatten(end), flatten(alone_end), strict=True):
            _close(mine[number], other[0], f"{name}: padding changes the last state.")


def _runs(model: MemoryModel[Any], kernel: str, inputs: Tensor) -> bool:
    twin = copy.deepcopy(model)
    twin.backend = kernel
    return twin.backend_for(inputs) == kernel


def check_kernel(model: MemoryModel[Any], kernel: str, inputs: Tensor) -> None:
    """Check that a kernel gives the outputs, last state and all gradients of the model's own loop."""
    results = {}
    for backend in ("reference", kernel):
        twin = copy.deepcopy(model)
        twin.backend = backend
        leaf = inputs.clone().requires_grad_()
        logits, state = twin(leaf)
        parts = flatten(state)
        (logits.square().sum() + sum(part.square().sum() for part in parts)).backward()
        gradients = [parameter.grad for parameter in twin.parameters()]
        results[backend] = [logits, *parts, leaf.grad, *gradients]
    names = ["logits", *named(state), "inputs.grad", *(f"{n}.grad" for n, _ in model.named_parameters())]
    for name, mine, reference in zip(names, results[kernel], results["reference"], strict=True):
        _close(mine, reference, f"kernel {kernel!r} of {type(model).__name__} has other {name} than its loop.")


def _close(mine: Tensor, reference: Tensor, message: str) -> None:
    # As wide as float32 rounding over a few steps, of numbers that may be sums of larger ones; a wrong term is far
    # outside.
    largest = float(reference.detach().abs().max()) if reference.numel() else 0.0
    torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5 * max(1.0, largest), msg=message)
