"""Whether a batch is what a task promises."""

from typing import Any

import torch
from torch import Tensor

from lightning_ntm.checks import kind_of
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.batch import Batch


class TargetsError(ValueError):
    """A batch is not what the task promises: its targets, its mask or its shape."""


def check_batch(answer: Answer, batch: Batch, source: str, *, sequences: int | None = None, each: bool = False) -> None:
    """Raise `TargetsError` for the first error in a batch.

    Args:
        answer: What is asked for.
        batch: The batch.
        source: Where it is from, for the message.
        sequences: Sequences that were asked for, if the batch must have as many.
        each: Whether each sequence must have an answer; by default one of them.
    """
    if fault := batch_fault(answer, batch, sequences) or _unasked(batch.mask, each=each):
        raise TargetsError(f"{source}: {fault}.")


def batch_fault(answer: Answer, batch: Any, sequences: int | None = None) -> str | None:
    """Return the first error in a batch: in its parts, their shapes, its mask, its targets; or `None`."""
    if getattr(batch, "_fields", None) != Batch._fields:
        return f"a batch must be a Batch, not {kind_of(batch)}"
    for name, part in zip(Batch._fields, batch, strict=True):
        if not isinstance(part, Tensor):
            return f"{name} must be a tensor, not {kind_of(part)}"
    inputs, _, mask = batch
    if inputs.ndim != 3:
        return f"inputs must have shape (batch, time, inputs), got {tuple(inputs.shape)}"
    if sequences is not None and len(inputs) != sequences:
        return (
            f"a batch must have {sequences} sequences, as was asked for, got {len(inputs)}: "
            f"inputs (batch, time, inputs) have shape {tuple(inputs.shape)}"
        )
    if mask.shape != inputs.shape[:2] or mask.dtype != torch.bool:
        shape = tuple(inputs.shape[:2])
        return f"the mask must be torch.bool of shape {shape}, got {mask.dtype} of shape {tuple(mask.shape)}"
    return answer.fault(batch)


def _unasked(mask: Tensor, *, each: bool) -> str | None:
    if not mask.any():
        return "the mask is true in no step of a batch"
    asked = mask.any(dim=1)
    if each and not asked.all():
        return f"the mask is true in no step of sequence {int(asked.int().argmin())} of a batch"
    return None
