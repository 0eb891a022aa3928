"""Which operations of a network run under autocast."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.states import flatten


def autocast_enabled(device: torch.device) -> bool:
    """Return whether autocast is on for a device; false for devices without autocast, such as `meta`."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Compute in the dtypes of the arguments, also under autocast."""
    return torch.autocast(device.type, enabled=False) if autocast_enabled(device) else nullcontext()


def refused_dtypes(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why a kernel that computes in the dtype of the state cannot run the call, or `None`.

    Under autocast the inputs may be in half precision.
    """
    of_inputs, dtype = inputs.dtype, flatten(state)[0].dtype
    fits = of_inputs == dtype or (of_inputs in (torch.float16, torch.bfloat16) and autocast_enabled(inputs.device))
    if fits and model.output.weight.dtype == dtype:
        return None
    return f"the inputs are {of_inputs}, the state or the parameters are not."
