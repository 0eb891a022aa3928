"""The recipe of a task and a network, beneath what a user says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_ntm.recipes.presets import networks, presets
from lightning_ntm.records.parsing import parse_yaml

#: How a configuration names a class with its arguments.
SPEC = ("class_path", "init_args", "dict_kwargs")

#: Options of a recipe that belong to its network, as the curriculum of its data does.
_OF_NETWORK = ("model", "min_memory_slots", "weight_noise", "head_noise", "noise_warmup")
#: Options of the recipe's Trainer that give way to others.
_REPLACED_BY = {"max_steps": ("max_epochs", "max_time"), "val_check_interval": ("check_val_every_n_epoch",)}
#: Arguments of a recipe's network that make its controller; all others make its memory.
_OF_CONTROLLER = ("controller", "hidden_size", "num_layers")


def resolve(said: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    """Return the configuration of a run: what the user says, on top of a recipe.

    The recipe is `default.yaml` with the file of the task on top, if the task has one. A network, optimizer or
    scheduler that the user names replaces the recipe's, with all its arguments. The recipe's network keeps its
    arguments where the user names the same class, except those that a part of the user's own replaces. Another network
    of this package brings its own recipe, if it has one.

    Args:
        said: What the user says, as a mapping like that of a YAML file, where classes are named by import paths.
        whole: `said` holds a configuration of its own, such as a preset, with a network and its arguments: it replaces
            the recipe of the task and the network.
    """
    recipe = _read(presets()["default"])
    task, network = ((said.get(group) or {}).get("class_path") for group in ("task", "model"))
    own = {} if whole else _of(presets(), task or recipe["task"]["class_path"])
    for key, value in own.items():
        recipe[key] = {**recipe.get(key, {}), **value} if key in ("data", "trainer") else value
    if whole or network not in (None, recipe["model"]["class_path"]):
        recipe = _without(recipe, *_OF_NETWORK)
        if "data" in recipe:
            recipe["data"] = _without(recipe["data"], "curriculum")
        recipe = recipe if whole else overlay(recipe, _of(networks(), network))
    for group in ("task", "optimizer", "scheduler"):
        if "class_path" in (said.get(group) or {}):
            recipe.pop(group, None)
    if "model" in recipe:
        recipe["model"] = _with_parts(recipe["model"], (said.get("model") or {}).get("init_args") or {})
    trainer = said.get("trainer") or {}
    for option, others in _REPLACED_BY.items():
        if any(trainer.get(other) not in (None, "null") for other in others):
            del recipe["trainer"][option]
    return overlay(recipe, said)


def overlay(under: Any, over: Any) -> Any:
    """Return one configuration on top of another.

    Mappings are joined. Anything else is replaced, and so is a class by another one. Options without a `class_path` are
    those of the class beneath, which may stand there by its name, as YAML, or as the last of a list. A name with a plus
    sign, such as `callbacks+`, adds to a list.

    Raises:
        ValueError: A text beneath is no YAML.
    """
    if not isinstance(over, Mapping):
        return over
    if isinstance(under, str):
        under = parse_yaml(under) if under.startswith(("{", "[")) else {"class_path": under}
    if isinstance(under, list) and "class_path" not in over:
        return [*under[:-1], overlay(under[-1] if under else None, over)]
    joined = dict(under) if isinstance(under, Mapping) else {}
    if "class_path" in joined:
        if over.get("class_path", joined["class_path"]) != joined["class_path"]:
            return over
        over = over if over.keys() & {*SPEC} else {"init_args": over}
    for name, value in over.items():
        before = joined.get(name.removesuffix("+"))
        if name.endswith("+"):
            joined[name[:-1]] = [*(before if isinstance(before, list) else [before] if before else []), value]
        else:
            joined[name] = overlay(before, value)
    return joined


def _without(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}


def _with_parts(network: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's network without the arguments of parts that the user replaces by parts of their own."""
    kept = dict(network.get("init_args") or {})
    if said.get("memory") not in (None, "null"):
        kept = {name: value for name, value in kept.items() if name in _OF_CONTROLLER}
    controller = said.get("controller")
    if isinstance(controller, Mapping) or "." in str(controller):
        kept = {name: value for name, value in kept.items() if name not in _OF_CONTROLLER}
    return {**network, "init_args": kept}


def _of(files: Mapping[str, Path], path: Any) -> dict[str, Any]:
    """Return the file that is named as a class of this package, empty if there is none."""
    package, _, name = path.rpartition(".")
    named = (file for file in files if package == "lightning_ntm" and file.replace("-", "").lower() == name.lower())
    return next((_read(files[file]) for file in named), {})


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
