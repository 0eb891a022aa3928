"""A network called with the episodes of a task: their device, their dtype, and where their padding begins."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ntm.evaluation.device import device_of
from lightning_ntm.models.alike import traces_less
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.precision import state_dtype
from lightning_ntm.tasks.batch import Batch, steps_of


def lengths_for(model: nn.Module, inputs: Tensor, mask: Tensor) -> Tensor | None:
    """Return the steps of each episode for a network that must know where padding begins; `None` if there is none.

    Args:
        model: The network.
        inputs: Of the episodes.
        mask: Of the episodes.
    """
    if not getattr(model, "reads_ahead", False):
        return None
    lengths = steps_of(inputs, mask)
    return None if bool((lengths == inputs.shape[1]).all()) else lengths


def logits_of(model: nn.Module, batch: Batch, *state: Any) -> Tensor:
    """Return the logits of a network, which gets no padding that would change them.

    Args:
        model: The network.
        batch: The episodes, in the network's dtype and on its device.
        state: Before the first step; by default `initial_state`.
    """
    lengths = lengths_for(model, batch.inputs, batch.mask)
    padded = {} if lengths is None else {"lengths": lengths}
    logits: Tensor = model(batch.inputs, *state, **padded)[0]
    return logits


def for_network(model: nn.Module, batch: Batch) -> Batch:
    """Return episodes with their inputs on the device of a network, in the dtype of its state."""
    weights, device = next(model.parameters(), None), device_of(model)
    dtype = batch.inputs.dtype if weights is None else state_dtype(weights)
    return batch._replace(inputs=batch.inputs.to(device, dtype), mask=batch.mask.to(device))


def trace_steps(model: MemoryModel[Any], inputs: Tensor, state: Any = None) -> dict[str, Tensor]:
    """Return the trace of a network. A warning tells if a call of the network does more than its steps."""
    if traces_less(model):
        warnings.warn(
            f"{type(model).__name__} has a forward or hooks of its own, which a trace does not run: "
            "its logits are those of the steps alone.",
            stacklevel=2,
        )
    return model.trace(inputs, state)


def trace_of(model: MemoryModel[Any], inputs: Tensor, mask: Tensor, state: Any = None) -> dict[str, Tensor]:
    """Return the trace of one episode by a network; it is zero in padding that the network must not see.

    Args:
        model: The network.
        inputs: Of the episode, `(1, time, inputs)`.
        mask: Of the episode.
        state: Before the first step; by default `initial_state`.
    """
    time, lengths = inputs.shape[1], lengths_for(model, inputs, mask)
    if lengths is None:
        return trace_steps(model, inputs, state)
    steps = int(lengths)
    traced = trace_steps(model, inputs[:, :steps], state)
    return {
        name: torch.cat([part, part.new_zeros(1, time - steps, *part.shape[2:])], 1) for name, part in traced.items()
    }
