"""What a folder says of its network: which class, with which arguments, for which task.

A folder may come from anybody. Reading it makes nothing and imports nothing: classes are found by name among those of
the package.
"""

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from torch import nn

from lightning_ntm import models, tasks
from lightning_ntm.checks import message_of
from lightning_ntm.evaluation.build import read_configuration
from lightning_ntm.exchange import peer_tasks, sequential
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.pretrained import Pretrained
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import read_object
from lightning_ntm.records.parsing import is_count
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.files import FileTask

#: Version of `config.json`. Increased when older versions of this package cannot read the files.
FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
#: Keys of `config.json` that are no arguments: our own, and those that programs of the hub may add.
_NOT_ARGUMENTS = {
    *("architectures", "format", "task"),
    *("dtype", "library_name", "model_type", "torch_dtype", "transformers_version"),
}
_PACKAGE = "lightning_ntm."
#: Where networks and tasks of the package are.
_NETWORKS, _TASKS = (models, sequential), (tasks, peer_tasks)


class Described(NamedTuple):
    """What a folder says of its network.

    `network` is the name of its class, as `NTM` or `my_network.Mine`, or `None`; `task` is the name of a class and its
    arguments, or `None`; `place` is the file that says so.
    """

    network: str | None
    arguments: dict[str, Any]
    task: tuple[str, dict[str, Any]] | None
    weights: Path
    place: Path


def is_shared(folder: Path) -> bool:
    """Return whether a folder has a network as `save_pretrained` writes it."""
    return (folder / CONFIG).is_file()


def read(folder: Path) -> Described:
    """Return what a folder of `save_pretrained`, or a run folder, says of its network.

    Raises:
        ValueError: It is neither, or damaged.
    """
    if is_shared(folder):
        return _shared(folder)
    run = RunFolder(folder)
    if not run.config.is_file():
        raise ValueError(f"{folder} has no network: neither {CONFIG}, as save_pretrained writes it, nor a run.")
    config = read_configuration(run.config)
    (network, arguments), task = _spec(config["model"], run.config), _spec(config["task"], run.config)
    return Described(network, arguments, task, run.best, run.config)


def _shared(folder: Path) -> Described:
    place = folder / CONFIG
    try:
        config = read_object(place)
    except (OSError, ValueError) as error:
        raise ValueError(f"{place} cannot be read: {' '.join(message_of(error).split())}") from None
    if not is_count(number := config.get("format", FORMAT)) or not 1 <= number <= FORMAT:
        raise ValueError(f"{place} has format {number!r}; this lightning-ntm reads {FORMAT}: upgrade it.")
    names = config.get("architectures") or [None]
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str | None):
        raise ValueError(f"{place} is damaged: architectures must be a list of one name.")
    arguments = {key: value for key, value in config.items() if key not in _NOT_ARGUMENTS}
    task = None if config.get("task") is None else _spec(config["task"], place)
    return Described(names[0], arguments, task, folder / WEIGHTS, place)


def _spec(spec: Any, place: Path) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, dict) and isinstance(spec.get("class_path"), str):
        arguments = spec.get("init_args") or {}
        if isinstance(arguments, dict) and all(isinstance(name, str) for name in arguments):
            return spec["class_path"], arguments
    raise ValueError(f"{place} is damaged: a class must be a class_path with init_args.")


def network_of(kind: type[Pretrained], described: Described) -> type[MemoryModel[Any]]:
    """Return the class to make: `kind` itself, or for a base class the one of the package that the files name.

    Raises:
        ValueError: The files name another class, or none of the package.
    """
    named = described.network
    name = None if named is None else named.rpartition(".")[2]
    if not inspect.isabstract(kind):
        if name not in (None, kind.__name__):
            raise ValueError(
                f"{described.place} is of class {named}, not {kind.__name__}: call {name}.from_pretrained."
            )
        return kind  # type: ignore[return-value]
    found = _named(_NETWORKS, kind, named)
    if found is None:
        known = ", ".join(sorted(_classes(_NETWORKS, kind)))
        raise ValueError(
            f"{described.place} is of class {named}, which is not of the package ({known}): call from_pretrained of "
            "the class itself."
        )
    return found


def task_of(described: Described) -> Task | None:
    """Return the task of a network, if it is one of the package that needs no files.

    Raises:
        ValueError: The task does not take the arguments in the files.
    """
    if described.task is None:
        return None
    named, arguments = described.task
    kind = _named(_TASKS, Task, named)
    if kind is None or kind is FileTask:
        return None
    try:
        check_kinds(kind, arguments)
        made: Task = kind(**arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{described.place} is damaged: {named} cannot be made from it: {error}") from None
    return made


def check_kinds(kind: type, arguments: dict[str, Any]) -> None:
    """Raise `ValueError` for an argument from a file that is not of the kind that a constructor declares."""
    try:
        parameters = inspect.signature(kind, eval_str=True).parameters
    except NameError:  # some name is known to type checkers only
        return
    for name, value in arguments.items():
        hint = parameters[name].annotation if name in parameters else Any
        if not _fits(value, hint):
            shown = hint.__name__ if isinstance(hint, type) else str(hint)
            raise ValueError(f"{name} (={value!r}) must be of type {shown.replace('typing.', '')}.")


def _is(kind: type, value: Any) -> bool:
    return type(value) is kind


#: Whether a value of JSON is of a type. Of other types than these nothing is known.
_KINDS: dict[Any, Callable[[Any], bool]] = {
    **{kind: partial(_is, kind) for kind in (bool, int, str, NoneType)},
    float: lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max,
    **{kind: lambda value: isinstance(value, list) for kind in (list, tuple)},
}


def _fits(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is Literal:
        return value in get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        return False
    return kind not in _KINDS or _KINDS[kind](value)


def description(model: MemoryModel[Any], task: Task | None) -> str:
    """Return the text of `config.json`.

    Raises:
        ValueError: Arguments of the network or the task cannot be written as JSON.
    """
    arguments = {name: value for name, value in model.arguments().items() if name != "backend"}
    if reserved := sorted(arguments.keys() & _NOT_ARGUMENTS):
        raise ValueError(f"{type(model).__name__} has an argument {reserved[0]!r}, which {CONFIG} uses itself.")
    config = {"architectures": [type(model).__name__], "format": FORMAT, **arguments}
    if task is not None:
        config["task"] = _described_task(task)
    try:
        return json.dumps(config, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"the arguments of {type(model).__name__} cannot be written as JSON: {error}.") from None


def _described_task(task: Task) -> dict[str, Any]:
    kind = type(task)
    if task.files or not dataclasses.is_dataclass(task):
        raise ValueError(f"task (={kind.__name__}) must be a dataclass without files; leave it out.")
    path = _PACKAGE + kind.__name__ if _classes(_TASKS, Task).get(kind.__name__) is kind else kind.__qualname__
    return {"class_path": path, "init_args": dataclasses.asdict(task)}


def _named(rooms: tuple[Any, ...], base: type, path: str | None) -> Any:
    """Return the class of the package that a path names, or `None`."""
    if path is None:
        return None
    name = path.rpartition(".")[2]
    return _classes(rooms, base).get(name) if path == name or path.startswith(_PACKAGE) else None


def _classes(rooms: tuple[Any, ...], base: type) -> dict[str, type]:
    found: dict[str, type] = {}
    for room in rooms:
        found |= dict(inspect.getmembers(room, lambda one: inspect.isclass(one) and issubclass(one, base)))
    return {name: kind for name, kind in found.items() if not inspect.isabstract(kind)}
