"""A network as the script of the page takes it, if the script has its mathematics."""

import base64
from typing import Any

import numpy as np
import torch
from torch import nn

from lightning_ntm.evaluation.device import device_of
from lightning_ntm.kernels.plain import PART_METHODS, changed, replaced
from lightning_ntm.kernels.torch_internals import has_global_hooks, has_hooks
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.controllers import FeedForwardController
from lightning_ntm.models.dnc import DNC
from lightning_ntm.models.gru import GRU
from lightning_ntm.models.lstm import LSTM
from lightning_ntm.models.ntm import NTM
from lightning_ntm.models.recurrent_controllers import RECURRENT
from lightning_ntm.models.rnn import RNN
from lightning_ntm.models.sparse import SAM, SDNC
from lightning_ntm.models.sparse_memory import SparseMemory
from lightning_ntm.models.stack_memory import StackMemory
from lightning_ntm.models.stack_rnn import StackRNN
from lightning_ntm.models.tape_memory import TapeMemory
from lightning_ntm.models.tape_rnn import TapeRNN
from lightning_ntm.states import flatten

#: Numbers in a memory or in the links of a DNC, at most: the page keeps them for each of up to 500 steps, 8 bytes a
#: number.
MOST_NUMBERS = 2**16


#: Networks with a memory whose mathematics the script has.
REMEMBERING = (NTM, DNC, StackRNN, TapeRNN, SAM, SDNC)
Remembering = NTM | DNC | StackRNN | TapeRNN | SAM | SDNC
#: Layers of units, by the names of the script.
UNITS: dict[str, Any] = {**RECURRENT, "feedforward": FeedForwardController}
#: Bytes of the weights of steps of a training on a page; base64 takes a third more.
TRAINING_BYTES = 500_000
#: Largest number of float16.
HALF_LARGEST = 65504.0


def packed(array: np.ndarray) -> dict[str, Any]:
    """Return an array as JSON can hold it: base64 of bytes where all numbers are 0 or 1, else of float32."""
    kind = "u1" if np.isin(array, (0, 1)).all() else "f4"
    data = np.ascontiguousarray(array, np.dtype(f"<{kind}")).tobytes()
    return {"shape": list(array.shape), "type": kind, "data": base64.b64encode(data).decode()}


def packed_training(steps: list[tuple[int, dict[str, torch.Tensor]]]) -> dict[str, Any]:
    """Return the weights of steps of a training: in float32 if the page has room for them, else in float16.

    Where there are still too many, some steps between the first and the last are left out.
    """
    numbers = sum(tensor.numel() for tensor in steps[0][1].values()) if steps else 0
    whole = 4 * numbers * len(steps) <= TRAINING_BYTES
    room = max(2, TRAINING_BYTES // max(1, numbers * (4 if whole else 2)))
    if len(steps) > room:
        steps = [steps[place * (len(steps) - 1) // (room - 1)] for place in range(room)]
    return {
        "half": not whole,
        "steps": [
            {"step": step, "tensors": {name: _packed_weights(tensor, whole) for name, tensor in tensors.items()}}
            for step, tensors in steps
        ],
    }


def _packed_weights(tensor: torch.Tensor, whole: bool) -> dict[str, Any]:
    array = tensor.detach().cpu().float().numpy()
    kind = "f4" if whole or np.abs(array).max(initial=0) > HALF_LARGEST else "f2"
    data = np.ascontiguousarray(array, np.dtype(f"<{kind}")).tobytes()
    return {"shape": list(array.shape), "type": kind, "data": base64.b64encode(data).decode()}


def why_not(model: MemoryModel[Any]) -> str | None:
    """Return why the script cannot run a network, or `None`."""
    name = type(model).__name__
    if type(model) not in (*REMEMBERING, LSTM, GRU, RNN):
        return f"The page cannot run a {name}."
    if model.made_with is None or any(isinstance(value, dict) for value in model.made_with.values()):
        return "The page cannot run a network with a controller or a memory of one's own."
    dtype = next(model.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        return f"The page cannot run a network in {dtype}."
    if isinstance(model, REMEMBERING) and _numbers(model) > MOST_NUMBERS:
        return f"The page cannot run a memory of more than {MOST_NUMBERS:,} numbers."
    if isinstance(model, DNC) and model.memory_slots**2 > MOST_NUMBERS:
        return f"The page cannot run a DNC with more than {MOST_NUMBERS:,} links."
    if isinstance(model, StackRNN | TapeRNN | SAM | SDNC):  # their kernels run fewer controllers, or any
        reason = _replaced(model)
    else:
        state = model.initial_state(1)
        inputs = torch.zeros(1, 1, model.input_size, dtype=flatten(state)[0].dtype, device=device_of(model))
        reason = changed(model, inputs, state)  # type: ignore[arg-type]
    return reason and f"The page cannot run this {name}: {reason}"


def _replaced(model: StackRNN | TapeRNN | SAM | SDNC) -> str | None:
    """Return which part of a network is not as it was made, or `None`."""
    if reason := replaced(model):
        return reason
    known = (type(model), StackMemory, TapeMemory, SparseMemory, nn.Linear, nn.ModuleList, *UNITS.values())
    if has_global_hooks():
        return "there are hooks of all modules."
    for name, part in model.named_modules():
        if has_hooks(part):
            return f"{name or 'the network'} has hooks."
        if type(part) not in known or not PART_METHODS.isdisjoint(part.__dict__):
            return f"{name or 'the network'} was replaced."
    return None


def description(model: MemoryModel[Any]) -> dict[str, Any]:
    """Return sizes and weights of a network that the script can run."""
    controller: Any = model.controller
    return {
        "units": next(name for name, kind in UNITS.items() if type(controller) is kind),
        "skip": getattr(controller, "skip", False),
        "hidden_size": controller.hidden_size,
        "num_layers": controller.num_layers,
        "output_size": model.output_size,
        "memory": _memory(model) if isinstance(model, REMEMBERING) else None,
        "tensors": {name: packed(tensor.detach().cpu().numpy()) for name, tensor in model.state_dict().items()},
    }


def _numbers(model: Remembering) -> int:
    """Return how many numbers a memory has."""
    parts = getattr(model, "num_stacks", 1) * getattr(model, "num_tapes", 1)
    return int(parts * model.memory_slots * model.memory_width)


def _memory(model: Remembering) -> dict[str, Any]:
    size = {"slots": model.memory_slots, "width": model.memory_width}
    if isinstance(model, StackRNN):
        return {"kind": "stacks", **size, "count": model.num_stacks, "actions": 3}
    if isinstance(model, TapeRNN):
        return {"kind": "tapes", **size, "count": model.num_tapes, "actions": 5 if model.length_oracle else 3}
    sizes = {**size, "reads": model.num_read_heads}
    if isinstance(model, DNC):
        switches = ("masking", "mask_floor", "deallocation", "sharpening")
        return {"kind": "dnc", **sizes, "writes": 1, **{name: getattr(model, name) for name in switches}}
    if isinstance(model, SAM | SDNC):
        return {"kind": "sparse", **sizes, "writes": 1, "nearest": model.num_nearest, "links": model.memory.num_links}
    return {
        "kind": "ntm",
        **sizes,
        "writes": model.num_write_heads,
        "max_shift": model.max_shift,
        "min_sharpening": model.min_sharpening,
    }


def facts(model: MemoryModel[Any]) -> str:
    """Return the sizes of a network in words."""
    count = sum(parameter.numel() for parameter in model.parameters())
    told = [f"{count:,} parameters"]
    if (slots := getattr(model, "memory_slots", None)) is not None:
        width = getattr(model, "memory_width", None)
        told.append(f"memory of {slots} slots" + ("" if width is None else f" of {width} numbers"))
    if hidden := (model.made_with or {}).get("hidden_size"):
        names = {"lstm": "LSTM controller", "feedforward": "feed-forward controller"}
        named = (model.made_with or {}).get("controller")
        told.append(f"{names.get(named, 'layers') if isinstance(named, str) else 'layers'} of {hidden} units")
    return "; ".join(told)
