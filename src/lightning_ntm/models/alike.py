"""Checks that models have one architecture: they differ only in the numbers in their parameters."""

import inspect
from collections.abc import Sequence
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from lightning_ntm.kernels.torch_internals import attributes_of, has_gradient_hooks, has_hooks, hooks_of
from lightning_ntm.models.base import MemoryModel


def check_alike(members: Sequence[nn.Module]) -> None:
    """Raise `ValueError` for the first difference between models, for an empty list, and for other classes.

    One whose call is more than its steps, by a `forward` or hooks of its own, is refused, too, and so is one with hooks
    on gradients.
    """
    if not members:
        raise ValueError("members must hold at least one network.")
    for i, member in enumerate(members):
        if not isinstance(member, MemoryModel):
            raise ValueError(f"member {i} must be a MemoryModel, got {type(member).__name__}.")
        if type(member) is not type(members[0]):
            raise ValueError(
                f"member {i} is of class {type(member).__name__}, member 0 of {type(members[0]).__name__}."
            )
        if calls_more(member):
            raise ValueError(f"member {i} has a forward or hooks of its own, which run only where it is called alone.")
        if hooked := next((name for name, p in member.named_parameters() if has_gradient_hooks(p)), None):
            raise ValueError(f"member {i} has a hook on the gradient of {hooked}, which copies of it do not have.")
    first = _facts(members[0])
    for i, member in enumerate(members[1:], start=1):
        facts, compared = _facts(member), Comparison(member, members[0])
        for name in {**first, **facts}:
            mine, other = facts.get(name), first.get(name)
            if not compared.same(mine, other):
                raise ValueError(_difference(i, name, mine, other))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def calls_more(model: MemoryModel[Any]) -> bool:
    """Return whether a call of a network is more than its steps: it has a `forward` or hooks of its own."""
    return _has_own(model, "forward") or has_hooks(model)


def traces_less(model: MemoryModel[Any]) -> bool:
    """Return whether a call of a network is more than what its trace runs. One with a `trace` of its own runs that."""
    return calls_more(model) and not _has_own(model, "trace")


def _has_own(model: MemoryModel[Any], method: str) -> bool:
    """Return whether a method is not that of the class that declares the kernels."""
    declaring: Any = next(parent for parent in type(model).__mro__ if "kernels" in vars(parent))
    return method in vars(model) or getattr(type(model), method) is not getattr(declaring, method)


def _facts(model: nn.Module) -> dict[str, Any]:
    """Return the properties of an architecture by name, starting with the constructor arguments."""
    arguments = [name for name in inspect.signature(type(model)).parameters if hasattr(model, name)]
    facts: dict[str, Any] = {name: getattr(model, name) for name in arguments}
    for path, module in model.named_modules():
        attributes = {name: value for name, value in attributes_of(module).items() if name != "made_with"}
        facts[path] = module
        facts |= {f"{path}.{name}".lstrip("."): value for name, value in attributes.items()}
        facts |= {f"the hooks of {path}": hooks} if (hooks := hooks_of(module)) else {}
    for path, tensor in tensors_of(model).items():
        facts[f"{path}.shape"] = tuple(tensor.shape)
        facts |= {f"{path}.{name}": getattr(tensor, name) for name in ("dtype", "device", "requires_grad")}
    return facts


def _difference(i: int, name: str, mine: Any, other: Any) -> str:
    shown, first = _shown(mine), _shown(other)
    if shown is None or first is None or shown == first:
        return f"member {i} differs from member 0 in {name}."
    return f"member {i} has {name} (={shown}), member 0 has {first}."


def _shown(value: Any) -> str | None:
    """Return plain values and the class name of a module as text, and `None` for anything else."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    parts = value if isinstance(value, tuple | list) else (value,)
    plain = all(isinstance(part, (*_PLAIN, torch.dtype, torch.device)) for part in parts)
    return str(value) if plain and len(str(value)) <= _LONGEST else None


#: Values that are compared by `==`.
_PLAIN = (bool, int, float, complex, str, bytes, set, frozenset, type(None))
#: Letters of a value in a message.
_LONGEST = 60


class Comparison:
    """Compares what two models hold by value; a value whose copies cannot be recognized differs."""

    def __init__(self, *models: nn.Module):
        self.places = [{id(module): path for path, module in model.named_modules()} for model in models] or [{}, {}]
        self.registered = {id(tensor) for model in models for tensor in tensors_of(model).values()}
        self.compared = dict[tuple[int, int], tuple[Any, Any]]()  # holds them, since an id may be used again

    def same(self, mine: Any, other: Any) -> bool:
        """Return whether two values are the same."""
        pair = id(mine), id(other)
        if mine is other or pair in self.compared:  # the latter is a value that contains itself
            return True
        if pair[0] in self.places[0]:
            kinds = {type_before_parametrizations(module) for module in (mine, other)}
            return len(kinds) == 1 and self.places[0][pair[0]] == self.places[1].get(pair[1])
        if {type(mine), type(other)} == {int, float}:
            return bool(mine == other)
        if type(mine) is not type(other):
            return False
        self.compared[pair] = mine, other
        return self._same_of_type(mine, other)

    def _same_of_type(self, mine: Any, other: Any) -> bool:
        if isinstance(mine, _PLAIN):
            return bool(mine == other) or (mine != mine and other != other)  # not a number
        if isinstance(mine, Tensor):
            # Copies of a model have their own parameters and buffers only where these are registered.
            return not isinstance(mine, nn.Parameter) and id(mine) not in self.registered and _same_numbers(mine, other)
        if isinstance(mine, MethodType):  # its copy is one of the copied object
            return mine.__func__ is other.__func__ and self.same(mine.__self__, other.__self__)
        if isinstance(mine, FunctionType):  # is not copied, nor is what it refers to
            apart = Comparison()
            apart.compared = self.compared
            return mine.__code__ == other.__code__ and apart.same(_closed_over(mine), _closed_over(other))
        if type(mine) in (list, tuple):
            return len(mine) == len(other) and all(map(self.same, mine, other))
        if type(mine) is dict:
            return self.same([*mine.items()], [*other.items()])
        try:
            parts = [_reduced(value) for value in (mine, other)]
        except Exception:  # whatever an object raises that cannot be copied
            return False
        return self.same(*parts)


def _same_numbers(mine: Tensor, other: Tensor) -> bool:
    if any(getattr(mine, name) != getattr(other, name) for name in ("shape", "dtype", "device", "layout")):
        return False
    return bool(((mine == other) | ((mine != mine) & (other != other))).all())


def _closed_over(function: FunctionType) -> list[Any]:
    """Return what a function holds besides its code."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return [function.__defaults__, function.__kwdefaults__, cells, vars(function)]


def _reduced(value: Any) -> Any:
    """Return an object as `copy` and `pickle` see it: how it is made, its state, its items."""
    reduced = value.__reduce_ex__(4)
    return reduced if isinstance(reduced, str) else [*reduced[:3], *(list(items or ()) for items in reduced[3:5])]
