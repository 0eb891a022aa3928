"""States of networks: named tuples whose fields are tensors or further named tuples.

`flatten` and `unflatten` convert between a state and the list of its tensors. Fields may be nested to any depth, and a
named tuple may be empty.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor

Nested = TypeVar("Nested")


def flatten(state: Any) -> list[Tensor]:
    """Return the tensors of a state in the order of its fields."""
    tensors: list[Tensor] = []
    for part in state:
        if isinstance(part, tuple):
            tensors += flatten(part)
        else:
            tensors.append(part)
    return tensors


def unflatten(like: Nested, tensors: Iterable[Any]) -> Nested:
    """Return a state of the same types as `like` with other tensors.

    Args:
        like: A state, or its `structure`.
        tensors: In the order of `flatten`; those beyond the state's own are not used.
    """
    return _filled(like, iter(tensors))


def _filled(like: Any, tensors: Iterator[Any]) -> Any:
    return type(like)(*[_filled(part, tensors) if isinstance(part, tuple) else next(tensors) for part in like])


def structure(state: Any) -> Any:
    """Return a state of the same types without its tensors, which it therefore does not keep alive."""
    return type(state)(*[structure(part) if isinstance(part, tuple) else None for part in state])


def mapped(function: Callable[..., Any], *states: Nested) -> Nested:
    """Return a state whose tensors are `function` of those of other states, which are all of one structure."""
    return unflatten(states[0], [function(*parts) for parts in zip(*map(flatten, states), strict=True)])


def detach(state: Nested) -> Nested:
    """Return a state with the same numbers and no gradients, as for backpropagation through time that is truncated."""
    if not isinstance(state, tuple | Tensor):
        raise TypeError(f"state must be a state of a network, not {type(state).__name__}.")
    return mapped(lambda part: part.detach(), state)


def named(state: Any, prefix: str = "") -> dict[str, Any]:
    """Return what is in the fields of a state by their dotted names, as `controller.hidden`."""
    parts: dict[str, Any] = {}
    for name, part in state._asdict().items():
        if isinstance(part, tuple):
            parts |= named(part, f"{prefix}{name}.")
        else:
            parts[prefix + name] = part
    return parts


def apart(seen: Mapping[str, Nested], taken: Collection[str]) -> dict[str, Nested]:
    """Return what a network shows by name; names that are taken get a prefix, as `network.inputs`."""
    return {f"network.{name}" if name in taken else name: part for name, part in seen.items()}
