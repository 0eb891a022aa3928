"""The arguments that networks and their parts were made with, so that a checkpoint can tell how to make them again."""

import dataclasses
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

from lightning_ntm.checks import plain_numbers

_PLAIN = (bool, int, float, str, type(None))


class KeepsArguments:
    """A base class whose instances keep the arguments of their constructor, defaults included.

    Attributes:
        made_with: Values by name, as `described` returns them; `None` if one of them cannot be described.
    """

    made_with: dict[str, Any] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor of a subclass keep its arguments."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _keeping(cls.__init__)  # type: ignore[method-assign]


def _keeping(constructor: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def construct(self: Any, *arguments: Any, **options: Any) -> None:
        if "made_with" not in self.__dict__:  # else it is the constructor of a base class
            self.__dict__["made_with"] = None
            arguments, options = _plain_call(signature, self, arguments, options)
            with suppress(TypeError):
                self.__dict__["made_with"] = _described_call(signature, self, arguments, options)
        constructor(self, *arguments, **options)

    return construct


def _plain_call(signature: inspect.Signature, *call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with `plain_numbers`; as they are if the constructor will refuse them."""
    made, arguments, options = call
    try:
        bound = signature.bind(made, *arguments, **options)
    except TypeError:
        return arguments, options
    bound.arguments |= plain_numbers(signature, bound.arguments)
    return bound.args[1:], bound.kwargs


def _described_call(signature: inspect.Signature, *call: Any) -> dict[str, Any]:
    made, arguments, options = call
    bound = signature.bind(made, *arguments, **options)
    bound.apply_defaults()
    (_, *named), kinds = bound.arguments.items(), signature.parameters
    if any(value for name, value in named if kinds[name].kind is inspect.Parameter.VAR_POSITIONAL):
        raise TypeError("arguments without names")
    found: dict[str, Any] = {}
    for name, value in named:
        if kinds[name].kind is inspect.Parameter.VAR_KEYWORD:
            found |= {key: described(inner) for key, inner in value.items()}
        elif kinds[name].kind is not inspect.Parameter.VAR_POSITIONAL:
            found[name] = described(value)
    return found


def described(value: Any) -> Any:
    """Return a value in numbers, texts, truth values, `None`, lists and dictionaries.

    A network, a part of one, a task and an answer become `{"class_path": ..., "init_args": {...}}`, from which
    `evaluation.build.build` makes them again.

    Raises:
        TypeError: It is, or holds, something else.
    """
    if isinstance(value, _PLAIN):
        return value if type(value) in _PLAIN else _exact(value)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return [described(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(key): described(inner) for key, inner in value.items()}
    made_with = getattr(value, "made_with", None)
    if isinstance(value, KeepsArguments) and made_with is not None:
        return {"class_path": class_path_of(type(value)), "init_args": made_with}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return {"class_path": class_path_of(type(value)), "init_args": described(fields)}
    raise TypeError(f"a {type(value).__name__} cannot be described")


def _exact(value: Any) -> int | float | str:
    """Return a number or a text of a subclass, such as NumPy's `float64`, as one of Python's own."""
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value)


def class_path_of(kind: type) -> str:
    """Return the import path of a class, at the top of its package if it is public there."""
    name = kind.__qualname__
    package = kind.__module__.partition(".")[0]
    for module in (package, "torch.optim", "torch.optim.lr_scheduler"):
        with suppress(ImportError, AttributeError, ValueError):
            if pkgutil.resolve_name(f"{module}:{name}") is kind:
                return f"{module}.{name}"
    return f"{kind.__module__}.{name}"
