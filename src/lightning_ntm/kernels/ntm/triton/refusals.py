"""Which calls the Triton programs cannot run, and why."""

import os
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.call import DeclaredNetwork
from lightning_ntm.kernels.ntm.triton.sizes import block
from lightning_ntm.kernels.plain import changed, linear_layers, transformed
from lightning_ntm.kernels.torch_internals import has_dispatch_modes
from lightning_ntm.states import flatten

#: Largest sizes that compile within seconds; the last is the size of the tensor heads x shifts x slots. With four times
#: as many slots compiling takes half a minute, and most numbers do not fit into registers.
_MOST = {"hidden_size": 1024, "memory_width": 256, "memory_slots": 4096}
_MOST_SHIFTED = 2**16
_HALF = (torch.float16, torch.bfloat16)


def refusal(model: DeclaredNetwork, inputs: Tensor, state: Any) -> str | None:
    """Return why the kernel cannot run the call, or `None`.

    Raises:
        ImportError: Triton is not installed.
    """
    if inputs.device.type != "cuda" and not _interpreted(model, inputs):
        return f"it needs tensors on a CUDA device, the inputs are on {inputs.device}."
    if torch.compiler.is_compiling():
        return "torch.compile cannot trace it."
    if torch.jit.is_tracing() or has_dispatch_modes():
        return "a mode that looks at the operations of PyTorch does not see those of a program."
    if reason := transformed():
        return reason
    if inputs.shape[0] == 0:
        return "the batch is empty."
    try:
        import triton  # noqa: F401
    except ImportError:
        raise ImportError("Triton is not installed; it comes with PyTorch for CUDA") from None
    return changed(model, inputs, state) or _refused_types(model, inputs, state) or _refused_sizes(model, state)


def _interpreted(model: Any, inputs: Tensor) -> bool:
    """Return whether Triton's interpreter runs programs on the CPU: only in tests, never with `auto`."""
    by_name = model.backend == "triton" and inputs.device.type == "cpu"
    return by_name and os.environ.get("TRITON_INTERPRET") == "1"


def _refused_types(model: DeclaredNetwork, inputs: Tensor, state: Any) -> str | None:
    weights, parts = linear_layers(model)["heads"].weight.dtype, flatten(state)
    if any(part.dtype not in (torch.float32, torch.float64) for part in parts):
        return f"it keeps a state in float32 or float64, this one is {parts[0].dtype}."
    if weights != parts[0].dtype and weights not in _HALF:
        return f"the state is {parts[0].dtype}, the parameters are {weights}."
    if inputs.dtype != weights and not torch.is_autocast_enabled(inputs.device.type):
        return f"the inputs are {inputs.dtype}, the parameters are {weights}."
    return None


def _refused_sizes(model: DeclaredNetwork, state: Any) -> str | None:
    (slots, width), heads = flatten(state)[0].shape[-2:], flatten(state)[1].shape[-2]
    sizes = {
        "hidden_size": linear_layers(model)["heads"].in_features,
        "memory_width": width,
        "memory_slots": slots,
    }
    for name, most in _MOST.items():
        if sizes[name] > most:
            return f"{name} (={sizes[name]}) must be at most {most}."
    max_shift = model.replaced_numbers().max_shift
    if block(heads) * block(2 * max_shift + 1) * block(slots) > _MOST_SHIFTED:
        return f"{heads} heads with max_shift (={max_shift}) and memory_slots (={slots}) are too many at once."
    return None
