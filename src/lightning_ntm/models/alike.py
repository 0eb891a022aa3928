"""Checks that models have one architecture: they differ only in the numbers in their parameters."""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lightning_ntm.models.base import MemoryModel


def check_alike(members: Sequence[nn.Module]) -> None:
    """Raise `ValueError` for the first difference between models, for an empty list, and for other classes."""
    if not members:
        raise ValueError("members must hold at least one network.")
    for i, member in enumerate(members):
        if not isinstance(member, MemoryModel):
            raise ValueError(f"member {i} must be a MemoryModel, got {type(member).__name__}.")
        if type(member) is not type(members[0]):
            raise ValueError(
                f"member {i} is of class {type(member).__name__}, member 0 of {type(members[0]).__name__}."
            )
    first = _facts(members[0])
    for i, member in enumerate(members[1:], start=1):
        facts = _facts(member)
        for name in {**first, **facts}:
            mine, other = facts.get(name), first.get(name)
            if mine != other:
                raise ValueError(f"member {i} has {name} (={mine}), member 0 has {other}.")


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _facts(model: nn.Module) -> dict[str, Any]:
    """Return the properties of an architecture by name, starting with the constructor arguments."""
    arguments = [name for name in inspect.signature(type(model)).parameters if hasattr(model, name)]
    facts = {name: _shown(getattr(model, name)) for name in arguments}
    for path, module in model.named_modules():
        facts[path] = _shown(module)
        facts |= {f"{path}.{name}".lstrip("."): _shown(value) for name, value in vars(module).items()}
    for path, tensor in tensors_of(model).items():
        facts[f"{path}.shape"] = tuple(tensor.shape)
        facts |= {f"{path}.{name}": getattr(tensor, name) for name in ("dtype", "device", "requires_grad")}
    return facts


def _shown(value: Any) -> Any:
    """Return plain values unchanged, the class name of a module, and `None` for anything else."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    return value if isinstance(value, bool | int | float | str) else None
