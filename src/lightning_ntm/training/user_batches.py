"""Batches of a loader of the user's: tuples or dictionaries of tensors."""

from typing import Any

import torch
from torch import Tensor

from lightning_ntm.evaluation.device import works_ahead
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.data import check_targets

_EXPECTED = "a batch must be (inputs, targets), (inputs, targets, mask) or a dictionary with these names"


def as_batch(data: Any, answer: Answer, dtype: torch.dtype) -> Batch:
    """Return a `Batch`, from a tuple, a list or a dictionary of tensors.

    Args:
        data: `inputs` of shape `(batch, time, inputs)`, `targets` as the answer says, and a `mask` of shape
            `(batch, time)`, true or 1 where the answer counts; without it all steps count. A `Batch` is such a tuple.
        answer: What is asked for.
        dtype: Of the network; inputs are converted to it.

    Raises:
        ValueError: It is something else; the message says what is expected.
    """
    inputs, targets, mask = _parts(data)
    if inputs.ndim != 3:
        raise ValueError(f"inputs must have shape (batch, time, inputs), got {tuple(inputs.shape)}.")
    if mask is None:
        mask = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
    if mask.shape != inputs.shape[:2]:
        raise ValueError(f"mask must have shape {tuple(inputs.shape[:2])}, as the inputs, got {tuple(mask.shape)}.")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise ValueError("mask must be true or false (or 1 or 0) for each step.")
    batch = Batch(inputs.to(dtype), targets, mask.bool())
    if not works_ahead(inputs.device):  # there it would wait for the device
        check_targets(answer, batch, "the data")
    return batch


def inputs_of(data: Any, dtype: torch.dtype) -> Tensor:
    """Return the inputs of a batch, of which there may be nothing else: for a prediction.

    Args:
        data: As for `as_batch`, or the inputs alone.
        dtype: Of the network.

    Raises:
        ValueError: There are no inputs.
    """
    found = (
        data.get("inputs") if isinstance(data, dict) else data[0] if isinstance(data, tuple | list) and data else data
    )
    if not isinstance(found, Tensor):
        raise ValueError(f"{_EXPECTED}, or inputs alone, got {_kind(data)}.")
    return found.to(dtype)


def targets_of(data: Any) -> Tensor | None:
    """Return the targets of what `as_batch` takes, or `None` if there are none, as for a prediction."""
    found: Any = None
    if isinstance(data, dict):
        found = data.get("targets")
    elif isinstance(data, tuple | list) and len(data) > 1:
        found = data[1]
    return found if isinstance(found, Tensor) else None


def with_targets(data: Any, targets: Tensor) -> Any:
    """Return what `as_batch` takes, a `Batch` too, with other targets."""
    if isinstance(data, Batch):
        return data._replace(targets=targets)
    if isinstance(data, dict):
        return {**data, "targets": targets}
    return type(data)((data[0], targets, *data[2:]))


def mask_of(data: Any) -> Tensor | None:
    """Return the mask of a batch whose inputs `inputs_of` returns, if it has one."""
    third = data[2] if isinstance(data, tuple | list) and len(data) > 2 else None
    found = data.get("mask") if isinstance(data, dict) else third
    return found if isinstance(found, Tensor) else None


def _parts(data: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    names = ("inputs", "targets", "mask")
    named = data if isinstance(data, dict) else {}
    if isinstance(data, tuple | list):
        named = dict(zip(names, data, strict=False)) if len(data) <= len(names) else {}
    if named.keys() not in ({*names}, {*names[:2]}) or not all(isinstance(part, Tensor) for part in named.values()):
        raise ValueError(f"{_EXPECTED}, got {_kind(data)}.")
    return named["inputs"], named["targets"], named.get("mask")


def _kind(data: Any) -> str:
    name = type(data).__name__
    if isinstance(data, dict):
        return f"a {name} with {', '.join(map(str, data)) or 'nothing'}"
    if isinstance(data, tuple | list):
        return f"a {name} of {', '.join(type(part).__name__ for part in data) or 'nothing'}"
    return f"a {name}"
