"""Defaults of options, from the sources of what is configured: nothing of it is imported, so nothing is run."""

import ast
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_ntm.records.parsing import shown_value

#: Where the sources of classes are that are known, by the first part of their import path.
_SOURCES = {"lightning_ntm": ("models", "tasks", "training"), "torch": ("optim",), "lightning": ("pytorch/trainer",)}
#: Whose arguments the options of a group are, and those of no group; of `model` and others the configuration says it.
_OWNERS = {
    "": ("lightning_ntm.SequenceLearner", "lightning_ntm.Run"),
    "data": ("lightning_ntm.EpisodeData",),
    "trainer": ("lightning.Trainer",),
}
_CHOSEN = ("model", "task", "optimizer", "scheduler")


def filled_in(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return configurations of which each has the options of all, where those that it lacks have a known default.

    Older runs do not name options that are newer than they are.
    """
    names = dict.fromkeys(name for config in configs for name in config)
    return [_filled_in(config, names) for config in configs]


def _filled_in(config: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    defaults = {name: _default(name, config) for name in names if name not in config}
    return config | {name: value for name, value in defaults.items() if value is not _UNKNOWN}


_UNKNOWN = object()


def _default(name: str, config: dict[str, Any]) -> Any:
    group, _, argument = name.rpartition(".")
    owners = (str(config.get(group)),) if group in _CHOSEN else _OWNERS.get(group, ())
    return next((found[argument] for owner in owners if argument in (found := _defaults(owner))), _UNKNOWN)


@lru_cache
def _defaults(path: str) -> dict[str, Any]:
    """Return the defaults of the arguments of a class, by name; nothing where it is not known."""
    package, name = path.partition(".")[0], path.rpartition(".")[2]
    spec = find_spec(package) if package in _SOURCES else None
    roots = (spec and spec.submodule_search_locations) or ()
    for folder in (Path(root, part) for root in roots for part in _SOURCES[package]):
        for file in sorted(folder.rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if f"class {name}" in text:
                for node in ast.parse(text).body:
                    if isinstance(node, ast.ClassDef) and node.name == name:
                        return _of_class(node)
    return {}


def _of_class(node: ast.ClassDef) -> dict[str, Any]:
    made = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
    pairs: list[tuple[str, ast.expr | None]]
    if made is None:  # a dataclass
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
        pairs = [(ast.unparse(part.target), part.value) for part in fields]
    else:
        given, defaults = made.args.args, made.args.defaults
        pairs = [(one.arg, value) for one, value in zip(given[len(given) - len(defaults) :], defaults, strict=True)]
        pairs += [(one.arg, value) for one, value in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True)]
    found: dict[str, Any] = {}
    for name, value in pairs:
        if value is not None:
            with suppress(ValueError):  # no plain value
                found[name] = shown_value(ast.literal_eval(value))
    return found
