"""The axes of a plan: the options in which its runs differ, from each key of the plan."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Options that the sweep sets for each run, with the hint for the user.
RESERVED = {
    "--name": "--name names the sweep",
    "--runs": "--runs is the parent folder of the sweep",
    "--resume": "ntm sweep FOLDER resumes a sweep",
    "--seed": "use --seeds",
    "--model": "use --models",
    "--model.class_path": "use --models",
    "--task": "use --tasks",
    "--task.class_path": "use --tasks",
    "--config": "use --configs",
    "-c": "use --configs",
}


@dataclass(frozen=True)
class _Choice:
    """One value on one axis of a plan.

    Args:
        label: Its part of the run's name.
        words: Its arguments.
        network: The name of a set of options.
        option: The option of the grid.
    """

    label: str
    words: tuple[str, ...]
    network: str = ""
    option: str = ""


def axes_of(keys: Mapping[str, Any]) -> Iterator[list[_Choice]]:
    """Yield the axes: the seeds first. The last axis changes fastest."""
    seeds = numbers(1 if keys.get("seeds") is None else keys["seeds"])
    yield [_Choice(f"seed{seed}", (f"--seed={seed}",)) for seed in seeds]
    configs = _names(keys, "configs", [])
    if configs:
        yield [_Choice(Path(config).stem, (f"--config={absolute(config)}",)) for config in configs]
    networks = list(_networks(keys, [] if configs else ["NTM"]))
    if networks:
        yield networks
    tasks = _names(keys, "tasks", [] if configs else ["Copy"])
    if tasks:
        yield [_class("--task", name) for name in tasks]
    grid = mapping(keys, "grid")
    for option in grid:
        values = grid[option] if isinstance(grid[option], list) else [grid[option]]
        if not values:
            raise ValueError(f"grid.{option} is empty.")
        short = option.rpartition(".")[2]
        label = option if sum(other.rpartition(".")[2] == short for other in grid) > 1 else short
        yield [_Choice(_plain(f"{label}{_text(one)}"), (argument(option, one),), option=option) for one in values]


def _networks(keys: Mapping[str, Any], default: list[str]) -> Iterator[_Choice]:
    """Yield the networks: classes, or named sets of options in a list, as `small: {model.hidden_size: 20}`."""
    value = keys.get("models")
    if not isinstance(value, list) or not any(isinstance(one, dict) for one in value):
        yield from (_class("--model", name) for name in _names(keys, "models", default))
        return
    for one in value:
        if not isinstance(one, dict):
            yield from (_class("--model", name) for name in _names({"models": [one]}, "models", []))
            continue
        for name, options in one.items():
            if not isinstance(options, dict) or not options:
                raise ValueError(
                    f"models.{name} must map options of ntm train to values, as {{model.hidden_size: 20}}."
                )
            words = tuple(argument(str(option), options[option]) for option in options)
            yield _Choice(_plain(str(name)), words, str(name))


def with_named_networks(models: str, listed: Any) -> list[Any]:
    """Return the networks that a user lists, where a name of a network in a plan stands for it with its options.

    Args:
        models: Names with commas between, in any case.
        listed: `models` of the plan.
    """
    sets = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    named = {str(name).casefold(): {name: options} for one in sets for name, options in one.items()}
    return [named.get(name.strip().casefold(), name) for name in models.split(",")]


def check_named_networks(keys: Mapping[str, Any], others: set[str]) -> None:
    """Raise `ValueError` if a named network sets an option that is also set elsewhere."""
    listed = keys.get("models")
    for one in listed if isinstance(listed, list) else []:
        for name, options in one.items() if isinstance(one, dict) else ():
            check_spelled_once(f"models.{name}", options)
            for option in options if isinstance(options, dict) else ():
                if option in others:
                    raise ValueError(f"models.{name}: {option} is also set in options or in the grid.")
                if option not in ("model", "model.class_path") and f"--{option}" in RESERVED:
                    raise ValueError(f"models.{name}: {option} is for a single run: {RESERVED[f'--{option}']}.")


def check_spelled_once(place: str, options: Any) -> None:
    """Raise `ValueError` if options have one in two spellings, as `optimizer.lr` and `optimizer.init_args.lr`."""
    if isinstance(options, dict):
        each_once(f"{place}:", [str(option).replace(".init_args", "") for option in options])


def _class(option: str, name: str) -> _Choice:
    """Return the choice of a class, by its name, its import path or a file that describes it."""
    label = Path(name).stem if name.endswith((".yaml", ".yml", ".json")) else name.rpartition(".")[2]
    return _Choice(label.lower(), (f"{option}={name}",))


def numbers(seeds: Any) -> list[int]:
    """Return the seeds of `1-10`, `1,2,5-7`, a number, or a list of these.

    Raises:
        ValueError: A part is no number or range, a range goes backwards, or a seed is repeated.
    """
    found: list[int] = []
    for part in seeds if isinstance(seeds, list) else str(seeds).split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", str(part))
        if isinstance(part, bool) or not match:
            raise ValueError(f"seeds (={seeds!r}) must be numbers and ranges as in 1-10 or 1,2,5-7.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"seeds (={seeds!r}) has a range that goes backwards: {part}.")
        if last - first >= 100_000:
            raise ValueError(f"seeds (={seeds!r}) has a range of more than 100,000 seeds.")
        found += range(first, last + 1)
    if not found:
        raise ValueError("seeds is empty.")
    each_once("seed", found)
    return found


def values_in(text: str) -> list[str]:
    """Return values with commas between; a comma within brackets does not end a value.

    Raises:
        ValueError: Brackets do not match.
    """
    found, open_brackets = [""], 0
    for character in text:
        open_brackets += (character in "[{(") - (character in "]})")
        if open_brackets < 0:
            break
        if character == "," and not open_brackets:
            found.append("")
        else:
            found[-1] += character
    if open_brackets:
        raise ValueError("its brackets do not match.")
    return found


def options_in(words: Sequence[str]) -> list[str]:
    """Return the names of the options among arguments, without dashes and values."""
    return [word.partition("=")[0][2:] for word in words if word.startswith("--")]


def _names(keys: Mapping[str, Any], key: str, default: list[str]) -> list[str]:
    value = default if keys.get(key) is None else keys[key]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key} (={value!r}) must be names, as a list or with commas between.")
    values = [name.strip() for one in values for name in one.split(",")]
    if (keys.get(key) is not None and not values) or not all(values):
        raise ValueError(f"{key} is empty.")
    each_once(key.removesuffix("s"), values)
    return values


def mapping(keys: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the options in a key of a plan.

    Raises:
        ValueError: It is no mapping, or has an option that the sweep sets.
    """
    value = keys.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} must map options of ntm train to values, as {{data.batch_size: 4}}.")
    for option in value:
        if f"--{option}" in RESERVED:
            raise ValueError(f"{key}.{option} is for a single run: {RESERVED[f'--{option}']}.")
    return {str(option): value[option] for option in value}


def argument(option: str, value: Any) -> str:
    """Return an argument of `ntm train`."""
    return f"--{option}={_text(value)}"


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except TypeError:  # of a date, among others
        raise ValueError(f"{value} cannot be an argument of ntm train; put it in quotes, as a text.") from None


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)


def each_once(what: str, values: Sequence[object]) -> None:
    """Raise `ValueError` if a value is repeated."""
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]} is given twice.")


def default_name(axes: list[list[_Choice]]) -> str:
    """Return the name of a sweep without one: the labels on its short axes."""
    return "-".join(choice.label for axis in axes[1:] if len(axis) <= 3 for choice in axis) or "sweep"


def absolute(config: str) -> str:
    """Return the absolute path of a file: a sweep may be resumed in another working folder."""
    return str(Path(config).resolve()) if Path(config).is_file() else config
