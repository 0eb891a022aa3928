"""Whether a network is still as its constructor made it, so that the arguments of the constructor describe it.

Files have these arguments and the weights. A network with another part, or with another number in one, would be loaded
as a different one.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from lightning_ntm.kernels.torch_internals import attributes_of
from lightning_ntm.models.alike import Comparison
from lightning_ntm.models.arguments import KeepsArguments, class_path_of, described
from lightning_ntm.models.initial_weights import Undrawn

#: Attributes that do not change what a network computes, and those that are compared in the module itself.
_NOT_COMPARED = ("made_with", "training", "backend")
#: Packages all of whose attributes are known. A module of a user's own may also count or keep things.
_KNOWN = ("lightning_ntm", "torch")


def arguments_now(network: Any) -> dict[str, Any]:
    """Return the arguments with which the constructor of a network, which keeps them, makes the network as it is.

    They are those that it was made with, and the values of attributes of the same names that were set since. A network
    that its constructor cannot make again is taken as it was made.

    Raises:
        ValueError: The network has another part, attribute or tensor than the constructor makes.
    """
    made_with: dict[str, Any] = network.made_with
    differs = _replaced_argument(network, made_with)
    if differs is None:
        made = _anew(network, made_with)
        differs = None if made is None else _difference(network, made)
        if differs is None:
            return made_with
        arguments = {**made_with, **_changed(network, made)}
        again = _anew(network, arguments)
        if again is not None and _difference(network, again) is None:
            return arguments
    raise ValueError(
        f"{type(network).__name__} cannot be described by its arguments, since it was changed after it was made: "
        f"{differs}."
    )


def _replaced_argument(network: nn.Module, made_with: Mapping[str, Any]) -> str | None:
    """Return which part that a user passed is another now."""
    for name, argument in made_with.items():
        now = getattr(network, name, None)
        if isinstance(argument, dict) and "class_path" in argument and isinstance(now, KeepsArguments):
            with suppress(TypeError):
                if described(now) == argument:
                    continue
            return f"{name} is a part other than the one that was given"
    return None


def _anew(network: nn.Module, arguments: Mapping[str, Any]) -> nn.Module | None:
    """Make a network from its description, if possible without numbers."""
    kinds = {class_path_of(type(part)): type(part) for part in network.modules() if isinstance(part, KeepsArguments)}
    for device in ("meta", "cpu"):
        with suppress(Exception), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            with torch.device(device), Undrawn():
                return type(network)(**{name: _made(value, kinds) for name, value in arguments.items()})
    return None


def _made(value: Any, kinds: Mapping[str, type]) -> Any:
    if isinstance(value, dict):
        parts = {name: _made(part, kinds) for name, part in value.items()}
        return kinds[parts["class_path"]](**parts["init_args"]) if "class_path" in parts else parts
    return [_made(part, kinds) for part in value] if isinstance(value, list) else value


def _changed(network: Any, made: Any) -> dict[str, Any]:
    """Return the arguments whose attribute is a number or a text that differs from that of a network just made."""
    found: dict[str, Any] = {}
    for name in network.made_with:
        now, before = (getattr(one, name, None) for one in (network, made))
        if isinstance(now, Real | str) and isinstance(before, Real | str) and now != before:
            found[name] = now.item() if hasattr(now, "item") else now  # NumPy's as Python's
    return found


def _difference(network: nn.Module, made: nn.Module) -> str | None:
    """Return the first difference of a network from one that was just made, or `None`."""
    mine, theirs = dict(network.named_modules()), dict(made.named_modules())
    compared = _SameBesidesTensors(network, made)
    for path in [*theirs, *(path for path in mine if path not in theirs)]:
        if path not in mine or path not in theirs:
            return f"{path} is {'missing' if path in theirs else 'new'}"
        kind, expected = map(type_before_parametrizations, (mine[path], theirs[path]))
        if kind is not expected:
            return f"{path} is a {kind.__name__}, not the {expected.__name__} that the arguments make"
        for name in _names(mine[path], theirs[path]):
            values = [vars(module).get(name, _MISSING) for module in (mine[path], theirs[path])]
            if not compared.same(*values):
                return f"{path}.{name}".lstrip(".") + " has another value"
    shapes = [{name: tuple(tensor.shape) for name, tensor in one.state_dict().items()} for one in (network, made)]
    unlike = [name for name in {**shapes[0], **shapes[1]} if shapes[0].get(name) != shapes[1].get(name)]
    return f"{unlike[0]} has another shape, or is parametrized" if unlike else _other_ties(network, made)


def _other_ties(network: nn.Module, made: nn.Module) -> str | None:
    own, expected = _ties(network), _ties(made)
    for one, other in [*own, *expected]:
        if (one, other) not in expected:
            return f"{one} and {other} are one parameter"
        if (one, other) not in own and not torch.equal(network.get_parameter(one), network.get_parameter(other)):
            return f"{one} and {other} are no longer one parameter"
    return None


def _ties(network: nn.Module) -> list[tuple[str, str]]:
    """Return pairs of names that are the same parameter."""
    first: dict[int, str] = {}
    names = network.named_parameters(remove_duplicate=False)
    return [(known, name) for name, one in names if (known := first.setdefault(id(one), name)) != name]


_MISSING = object()


def _names(mine: nn.Module, theirs: nn.Module) -> Iterator[str]:
    """Yield the attributes that decide what a module computes: those that its constructor sets, and own methods."""
    kind, own = type(theirs), attributes_of(mine)
    package = kind.__module__.partition(".")[0]
    arguments = inspect.signature(kind).parameters
    for name in attributes_of(theirs):
        private = package == "torch" and name.startswith("_")
        if name not in _NOT_COMPARED and (name in arguments or (package in _KNOWN and not private)):
            yield name
    yield from (name for name in own if name not in vars(theirs) and hasattr(kind, name))


class _SameBesidesTensors(Comparison):
    """Compares what two networks hold, without the numbers in tensors."""

    def same(self, mine: Any, other: Any) -> bool:
        """Return whether two values are the same; numbers of different types can be."""
        if all(isinstance(value, Real) for value in (mine, other)):
            return bool(mine == other or (mine != mine and other != other))  # not a number
        both_tensors = isinstance(mine, Tensor) and isinstance(other, Tensor)
        return both_tensors or super().same(mine, other)
