"""Classes that an option names: short names, import paths, arguments."""

import importlib
import inspect
from contextlib import suppress
from typing import Any, get_type_hints

from lightning_ntm.cli.words import UsageError, near, one_line
from lightning_ntm.evaluation.build import class_of

#: The module of the short names of each option that takes a class, their base class, and the package that exports them.
_ROOMS = {
    "model": ("lightning_ntm.models", "MemoryModel", "lightning_ntm"),
    "task": ("lightning_ntm.tasks", "Task", "lightning_ntm"),
    "data.curriculum": ("lightning_ntm.tasks.curricula", "Curriculum", "lightning_ntm.tasks.curricula"),
    "optimizer": ("torch.optim", "Optimizer", "torch.optim"),
    "scheduler": ("torch.optim.lr_scheduler", "LRScheduler", "torch.optim.lr_scheduler"),
}
#: Other short names, in lower case.
_ALIASES = {"files": "filetask"}


def short_names(option: str) -> dict[str, type]:
    """Return the classes that an option takes by their name alone."""
    module, base = importlib.import_module(_ROOMS[option][0]), _ROOMS[option][1]
    promise = getattr(module, base)
    classes = inspect.getmembers(module, inspect.isclass)
    return {name: made for name, made in classes if issubclass(made, promise) and made is not promise}


def class_path(option: str, name: str) -> str:
    """Return the import path that stands for a class in all configurations, from a short name or any path."""
    known, package = short_names(option), _ROOMS[option][2]
    if "." not in name:
        plain = name.translate(dict.fromkeys(map(ord, "-_ "))).casefold()
        plain = _ALIASES.get(plain, plain)
        if found := [short for short in known if short.casefold() == plain]:
            return f"{package}.{found[0]}"
        hint = near(name, known) or f"; known: {', '.join(known)}, or the import path of your own."
        raise UsageError(f"unknown {option.rpartition('.')[2]} {name!r}{hint}")
    try:
        made = class_of(name)
    except Exception as error:  # importing a user's own module may raise anything
        raise UsageError(f"--{option} {name}: {one_line(error.__cause__ or error)}.") from error
    return next((f"{package}.{short}" for short in known if known[short] is made), name)


def arguments(made: Any) -> list[str]:
    """Return the names of the arguments of a class or import path; none if Python does not know them."""
    try:
        return list(inspect.signature(made if isinstance(made, type) else class_of(made)).parameters)
    except (ValueError, TypeError):
        return []


def types(made: Any) -> dict[str, Any]:
    """Return the types of the arguments of a class or function; none if only a type checker can resolve them."""
    with suppress(NameError, AttributeError, TypeError):
        return get_type_hints(getattr(made, "__init__", made))
    return {}
