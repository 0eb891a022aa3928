"""Check that a training step was finite after the update, so that the host does not wait for a GPU."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_ntm.evaluation.device import HostCopy


class Fault(NamedTuple):
    """A step whose loss or gradient is not finite.

    Args:
        step: Number of the step, from 1.
        batch: Number of its first batch whose loss is not finite, or else of its last batch, from 0.
        loss: Loss of that batch.
    """

    step: int
    batch: int
    loss: float


def first_fault(step: int, batches: Sequence[int], losses: Sequence[float]) -> Fault:
    """Return what is not finite in a step whose gradient, or the loss of a batch, is not.

    Args:
        step: Number of the step, from 1.
        batches: Numbers of its batches, from 0.
        losses: Of each batch.
    """
    place = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), -1)
    return Fault(step, batches[place], losses[place])


class LateCheck:
    """Checks each optimizer step while the next one is computed, and can undo it.

    A check on a GPU before the update would wait until all queued work is done. Then the GPU waits until the host has
    queued more. That costs up to 0.3 ms of a step of 0.6 to 1 ms. Instead, two numbers of each step are copied to the
    host in the background, and weights, optimizer state and gradients are copied on the GPU before the update. The
    copies are one call for each dtype: 0.05 ms of host time. The host reads the numbers after it has queued the
    backward pass of the next step.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.step, self.batches = 0, list[int]()
        self.measured: HostCopy | None = None  # of the step that is not checked yet
        self.optimizer: torch.optim.Optimizer | None = None
        self.state: dict[Any, dict[str, Any]] = {}
        self.gradients: list[tuple[Tensor, Tensor | None]] = []
        self.copies: list[tuple[list[Tensor], Tensor]] = []

    @torch.no_grad()
    def begin(
        self,
        step: int,
        batches: list[int],
        measured: HostCopy,
        tensors: list[Tensor],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Copy everything that a step may change. The previous step must have been checked.

        Args:
            step: Number of the step, from 1.
            batches: Numbers of its batches, from 0.
            measured: Losses of these batches, and gradient norm.
            tensors: Parameters, with their gradients, and buffers.
            optimizer: The optimizer, whose state is also copied.
        """
        self.step, self.batches, self.measured = step, batches, measured
        self.gradients = [(tensor, tensor.grad) for tensor in tensors]
        self.optimizer, self.state = optimizer, {key: dict(state) for key, state in optimizer.state.items()}
        gradients = [gradient for _, gradient in self.gradients if gradient is not None]
        averages = [value for state in self.state.values() for value in state.values() if isinstance(value, Tensor)]
        self.copies = _copies([*tensors, *gradients, *averages])

    def fault(self) -> Fault | None:
        """Return the last step if it was not finite. Otherwise discard its copies."""
        if self.measured is None:
            return None
        *losses, norm = self.measured.read()
        if not all(map(math.isfinite, (norm, *losses))):
            return first_fault(self.step, self.batches, losses)
        self._forget()
        return None

    @torch.no_grad()
    def undo(self) -> None:
        """Restore weights, gradients and optimizer state from before the last step."""
        for tensors, flat in self.copies:
            for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))
        for tensor, gradient in self.gradients:
            tensor.grad = gradient
        if self.optimizer is not None:
            # Not only the tensors: the first step creates state.
            self.optimizer.state.clear()
            self.optimizer.state.update(self.state)
        self._forget()


def _copies(tensors: list[Tensor]) -> list[tuple[list[Tensor], Tensor]]:
    """Return tensors grouped by device and dtype, each group with a copy of its numbers in one tensor."""
    groups: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return [(group, torch.cat([tensor.reshape(-1) for tensor in group])) for group in groups.values()]
