"""Range checks of arguments, with the same error message everywhere; messages of system errors; counts in words."""

import operator
from collections.abc import Mapping
from inspect import Parameter, Signature
from numbers import Real
from pathlib import Path
from typing import Any, get_args


def message_of(error: BaseException) -> str:
    """Return the message of an error; that of the operating system without its number, as `FILE: what is wrong`."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{_path(error.filename)}: {error.strerror}"


def _path(name: object) -> str:
    path = name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
    return path if len(path) <= 2 * _SHOWN else f"{path[:_SHOWN]}...{path[-_SHOWN:]}"


#: Letters of a long path at its beginning and at its end.
_SHOWN = 200


def kind_of(value: object) -> str:
    """Return what a value is, for a message about a wrong type: short values with their text."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shown = f" ({value!r:.40})" if isinstance(value, bool | int | float | str) else ""
    return f"{type(value).__name__}{shown}"


def check_kind(kind: type | tuple[type, ...], expected: str, **values: object) -> None:
    """Raise `TypeError` for the first value that is not of a kind. The message names the keyword."""
    for name, value in values.items():
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be {expected}, not {kind_of(value)}.")


def plain_numbers(signature: Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with Python's own numbers, as of NumPy's, where they are declared as `int` or `float`.

    Raises:
        TypeError: One that is declared as `int` is not a whole number, or one declared as `float` is a truth value.
    """
    declared = signature.parameters
    return {
        name: value if declared[name].kind in _SEVERAL else _plain(name, value, declared[name].annotation)
        for name, value in given.items()
    }


#: `*arguments` and `**options`, whose annotations are those of each value in them.
_SEVERAL = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def _plain(name: str, value: Any, declared: Any) -> Any:
    kinds = {*(get_args(declared) or (declared,))}
    if value is None and type(None) in kinds:
        return None
    if kinds - {type(None)} == {int}:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be a whole number, not {kind_of(value)}.")
        return operator.index(value)
    if kinds - {type(None)} == {float}:
        if isinstance(value, bool):
            raise TypeError(f"{name} must be a number, not {kind_of(value)}.")
        return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value
    return value


def check_whole(**values: object) -> None:
    """Raise `TypeError` for the first value that is not a whole number. The message names the keyword."""
    for name, value in values.items():
        _plain(name, value, int)


def _check_number(name: str, value: object) -> None:
    if isinstance(value, str | bytes | type) or not hasattr(value, "__ge__") or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {kind_of(value)}.")


def at_least(minimum: int, **values: float) -> None:
    """Raise `ValueError` for the first value below `minimum`. The message names the keyword."""
    for name, value in values.items():
        _check_number(name, value)
        if not value >= minimum:  # also true for nan
            raise ValueError(f"{name} (={value}) must be at least {minimum}.")


def at_most(maximum: float, **values: float) -> None:
    """Raise `ValueError` for the first value above `maximum`."""
    for name, value in values.items():
        _check_number(name, value)
        if not value <= maximum:
            raise ValueError(f"{name} (={value}) must be at most {maximum}.")


def between(minimum: float, maximum: float, **values: float) -> None:
    """Raise `ValueError` for the first value below `minimum` or above `maximum`."""
    for name, value in values.items():
        _check_number(name, value)
        if not minimum <= value <= maximum:
            raise ValueError(f"{name} (={value}) must be between {minimum:g} and {maximum:g}.")


def one_of(allowed: tuple[str, ...], **values: str) -> None:
    """Raise `ValueError` for the first value that is not among `allowed`."""
    for name, value in values.items():
        if value not in allowed:
            raise ValueError(f"{name} (={value!r}) must be one of {', '.join(allowed)}.")


def ordered(**values: float) -> None:
    """Raise `ValueError` unless each value is at least the one before it."""
    for name, value in values.items():
        _check_number(name, value)
    names, numbers = list(values), list(values.values())
    for i in range(len(names) - 1):
        if numbers[i] > numbers[i + 1]:
            raise ValueError(f"{names[i]} (={numbers[i]}) must be at most {names[i + 1]} (={numbers[i + 1]}).")


def check_name(what: str, name: str, hint: str = " --runs sets its parent folder.") -> None:
    """Raise `ValueError` for a name that no run and no sweep can have.

    Args:
        what: What has the name, as `--name`.
        name: Of a folder.
        hint: The end of the message.
    """
    plain = Path(name).name == name and name.isprintable() and name.strip() == name and not name.startswith(".")
    if not (name and plain and len(name.encode()) <= _LONGEST_NAME):
        raise ValueError(
            f"{what} (={name!r}) must be a plain folder name of at most {_LONGEST_NAME} bytes: no slash, no dot at its "
            f"start, no blanks at its ends, no control characters.{hint}"
        )


#: Bytes in the name of a folder: file systems allow 255, and some files append to the name.
_LONGEST_NAME = 200


def counted(number: int, noun: str) -> str:
    """Return a number with a noun in the singular or the plural, as `1 run` or `2 runs`."""
    return f"{number} {noun}{'s' * (number != 1)}"
