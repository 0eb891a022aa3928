"""What a configuration may name: classes of the kind asked for, since it may come from anybody.

jsonargparse sees to it for classes, but calls a function wherever it takes one, and makes any class where it asks for
nothing in particular.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace, Unset, set_parsing_settings
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_ntm.cli.words import UsageError
from lightning_ntm.evaluation.build import class_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.parts import Controller, Memory
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.curricula import Curriculum

#: Which of them an option takes is its type, of which jsonargparse makes sure.
_KINDS = (
    *(MemoryModel, Controller, Memory, Task, Curriculum, Optimizer, LRScheduler, Callback, Logger, Profiler, Strategy),
    *(Accelerator, Precision, ClusterEnvironment, CheckpointIO, LayerSync),
)
_PLAIN = (str, int, float, Path, timedelta, Enum, torch.device, torch.dtype, type(None))


def forbid_imports() -> None:
    """Let no value name anything of Python's own library, nor make what stands where any value may."""
    itself = [*sorted(sys.stdlib_module_names), "test.autotest", "test.__main__"]
    set_parsing_settings(import_path_denylist=itself, instantiate_subclass_spec_in_any=False)


def check_named(config: Namespace, words: list[tuple[str, str]]) -> None:
    """Raise `UsageError` for what is no class of the kind asked for, unless the command line names it as well.

    Raises one too for an argument that has no value.
    """
    for place, name, named in _named(config.as_dict(), ""):
        if named is Unset:
            raise UsageError(f"--{place[1:]} needs a value.")
        known = isinstance(named, type) and issubclass(named, _KINDS)
        if not known and not any(named is said for said in _said(words)):
            raise UsageError(
                f"--{place[1:]} (={name}) is no class of the kind asked for; what else a configuration names is used "
                "only if it is named on the command line, too."
            )


def _named(value: Any, place: str) -> Iterator[tuple[str, str, Any]]:
    """Yield all that a value names, with its place and its name."""
    if isinstance(value, dict):
        if "class_path" in value:
            path, named = value["class_path"], None
            with suppress(ValueError):
                named = class_of(path)
            yield place, path, named
            value = {**value, "class_path": None, "init_args": _beside_defaults(named, value.get("init_args") or {})}
        for key, inner in value.items():
            yield from _named(inner, place if key == "init_args" else f"{place}.{key}")
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _named(inner, place)
    elif not isinstance(value, _PLAIN):
        yield place, getattr(value, "__name__", type(value).__name__), value


def _beside_defaults(made: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what is not as the class itself has it: a function, for instance, may be its default."""
    defaults: dict[str, Any] = {}
    for base in reversed(getattr(made, "__mro__", ())):
        with suppress(ValueError, TypeError):  # it says nothing of its arguments, as what is written in C
            defaults |= {name: parameter.default for name, parameter in inspect.signature(base).parameters.items()}
    return {
        name: value for name, value in arguments.items() if value is not defaults.get(name, inspect.Parameter.empty)
    }


def _said(words: list[tuple[str, str]]) -> Iterator[Any]:
    """Yield what the values of options name, except those of options that name files."""
    for option, value in words:
        if option in ("--config", "-c", "--name", "--runs"):
            continue
        for path in re.findall(r"[A-Za-z_]\w*(?:\.\w+)+", value):
            with suppress(ValueError):
                yield class_of(path)
