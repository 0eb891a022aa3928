"""The plan of a sweep: its runs and their options."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_ntm.records import write_whole
from lightning_ntm.records.files import PLAN_BYTES, read_text
from lightning_ntm.records.parsing import parse_yaml

#: Keys of a plan. `options` and `grid` map options of `ntm train` to values. The others are a value or a list.
KEYS = ("name", "configs", "models", "tasks", "seeds", "options", "grid")
#: Options for data files, which are not copied into the folder of a sweep.
_DATA = ("--task.train", "--task.validation")
#: Options of `ntm train` that accept a file; folder of a sweep for the copies of these files; their suffixes.
_FILE_OPTIONS = ("--config", "--model", "--task", "--data", "--trainer", "--optimizer", "--scheduler", *_DATA)
_FILES, _YAML = "files", (".yaml", ".yml", ".json")
_LONGEST = 200  # bytes in the name of a run: file systems allow 255, and some files append to the name
#: Options that the sweep sets for each run, with the hint for the user.
_RESERVED = {
    "--name": "--name names the sweep",
    "--runs": "--runs is the parent folder of the sweep",
    "--resume": "ntm sweep FOLDER resumes a sweep",
    "--seed": "use --seeds",
    "--model": "use --models",
    "--task": "use --tasks",
    "--config": "use --configs",
    "-c": "use --configs",
}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Args:
        name: Name of its folder in the folder of the sweep.
        words: Arguments of `ntm train` besides the name.
    """

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, in the order of their start.

    Args:
        name: Name of the folder of the sweep.
        runs: All runs, with unique names.
    """

    name: str
    runs: tuple[PlannedRun, ...]

    @classmethod
    def of(cls, keys: Mapping[str, Any], arguments: Sequence[str] = ()) -> "Plan":
        """Return every combination of configurations, networks, tasks, values of the grid and seeds.

        The first seed of all combinations comes first, so that an unfinished sweep can be compared.

        Args:
            keys: The plan, with `KEYS`.
            arguments: Further arguments of `ntm train` for every run.

        Raises:
            ValueError: A key is unknown, a list is empty, a value is repeated, or `arguments` has an option that the
                sweep sets.
        """
        unknown = [key for key in keys if key not in KEYS]
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r} in a plan; known: {', '.join(KEYS)}.")
        for word in arguments:
            if (option := word.partition("=")[0]) in _RESERVED:
                raise ValueError(f"{option} is for a single run: {_RESERVED[option]}.")
        for option in {*_mapping(keys, "options"), *_options(arguments)} & _mapping(keys, "grid").keys():
            raise ValueError(f"{option} is in the grid, so it cannot also have one value for every run.")
        _check_named_networks(keys, {*_mapping(keys, "options"), *_options(arguments), *_mapping(keys, "grid")})
        axes = list(_axes(keys))
        options = [_argument(option, value) for option, value in _mapping(keys, "options").items()]
        runs = []
        for choice in itertools.product(*axes):
            seed, *others = choice
            words = [word for part in (*others, seed) for word in part.words]
            name = "-".join(part.label for part in (*others, seed) if part.label)
            runs.append(PlannedRun(name, (*words[:-1], *options, words[-1], *arguments)))
        _each_once("run", [run.name for run in runs])
        _plain_names(run.name for run in runs)
        return cls(str(keys.get("name") or _default_name(axes)), tuple(runs))

    def shard(self, number: int, of: int) -> "Plan":
        """Return part `number`, from 1, of the plan split into `of` parts."""
        return Plan(self.name, self.runs[number - 1 :: of])

    def kept_in(self, folder: Path) -> tuple["Plan", dict[Path, str]]:
        """Return the plan with paths to copies of its files in `folder`, and the text of each copy by its path.

        The user may edit or move a file while runs wait. Therefore the sweep has its own copies.
        """
        files, copies = folder.absolute() / _FILES, {}

        def copied(option: str, value: str) -> str:
            path = Path(value)
            if option in _DATA:
                return str(path.absolute()) if path.is_file() else value
            if not (path.is_file() and (option == "--config" or path.suffix in _YAML)) or path.parent == files:
                return value
            copy = files / f"{option.removeprefix('--')}-{path.name}"
            copies[copy] = _inlined(path)
            return str(copy)

        return self._mapped(copied), copies

    def _mapped(self, change: Callable[[str, str], str]) -> "Plan":
        """Return the plan with `change` applied to each value that may be a file."""
        return Plan(self.name, tuple(PlannedRun(run.name, _mapped(run.words, change)) for run in self.runs))

    def save(self, folder: Path) -> None:
        """Write the plan into the folder of a sweep, together with the runs that are already planned there.

        Raises:
            ValueError: A run of the same name has other options.
        """
        plan, copies = self.kept_in(folder)
        path, words = folder / "plan.yaml", {run.name: run.words for run in plan.runs}
        for copy, text in copies.items():
            if copy.exists() and copy.read_text(encoding="utf-8") != text:
                raise ValueError(
                    f"{folder} holds another plan: {copy.name.partition('-')[2]} has changed since it was copied to "
                    f"{folder / _FILES / copy.name}; choose another --name, or resume with ntm sweep {folder}."
                )
        if path.exists():
            before = {run.name: run.words for run in Plan.load(folder).runs}
            for name in before.keys() & words.keys():
                if before[name] != words[name]:
                    raise ValueError(
                        f"{folder} holds another plan: its {name} is `{' '.join(before[name])}`; choose another --name."
                    )
            if before.keys() >= words.keys():
                return
            words = {**before, **words}
        for copy, text in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_whole(copy, text)
        folder.mkdir(parents=True, exist_ok=True)
        inside = f"{folder.absolute()}/"
        runs = {name: list(_mapped(run, lambda _, value: value.removeprefix(inside))) for name, run in words.items()}
        write_whole(path, yaml.safe_dump({"name": self.name, "runs": runs}, sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Return the plan in the folder of a sweep.

        Raises:
            ValueError: The plan is missing or damaged.
        """
        path = folder / "plan.yaml"
        if not path.is_file():
            raise ValueError(f"{folder} is not a sweep: it has no {path.name}.")
        stored = read_plan(path)
        runs = stored.get("runs")
        if not isinstance(runs, dict) or not all(isinstance(words, list) for words in runs.values()):
            raise ValueError(f"{path} is damaged: it has no valid runs.")
        planned = tuple(PlannedRun(str(name), tuple(map(str, words))) for name, words in runs.items())
        _plain_names(run.name for run in planned)
        inside = folder.absolute()
        return cls(str(stored.get("name", folder.name)), planned)._mapped(
            lambda _, value: str(inside / value) if value.startswith(f"{_FILES}/") else value
        )


@dataclass(frozen=True)
class _Choice:
    """One value on one axis of a plan: its part of the run's name and its arguments."""

    label: str
    words: tuple[str, ...]


def _axes(keys: Mapping[str, Any]) -> Iterator[list[_Choice]]:
    """Yield the axes: the seeds first. The last axis changes fastest."""
    seeds = numbers(1 if keys.get("seeds") is None else keys["seeds"])
    yield [_Choice(f"seed{seed}", (f"--seed={seed}",)) for seed in seeds]
    configs = _names(keys, "configs", [])
    if configs:
        yield [_Choice(Path(config).stem, (f"--config={_absolute(config)}",)) for config in configs]
    networks = list(_networks(keys, [] if configs else ["NTM"]))
    if networks:
        yield networks
    tasks = _names(keys, "tasks", [] if configs else ["Copy"])
    if tasks:
        yield [_class("--task", name) for name in tasks]
    grid = _mapping(keys, "grid")
    for option in grid:
        values = grid[option] if isinstance(grid[option], list) else [grid[option]]
        if not values:
            raise ValueError(f"grid.{option} is empty.")
        short = option.rpartition(".")[2]
        label = option if sum(other.rpartition(".")[2] == short for other in grid) > 1 else short
        yield [_Choice(_plain(f"{label}{_text(value)}"), (_argument(option, value),)) for value in values]


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
            yield _Choice(_plain(str(name)), tuple(_argument(str(option), options[option]) for option in options))


def _check_named_networks(keys: Mapping[str, Any], others: set[str]) -> None:
    """Raise `ValueError` if a named network sets an option that is also set elsewhere."""
    listed = keys.get("models")
    for one in listed if isinstance(listed, list) else []:
        for name, options in one.items() if isinstance(one, dict) else ():
            for option in options if isinstance(options, dict) else ():
                if option in others:
                    raise ValueError(f"models.{name}: {option} is also set in options or in the grid.")
                if option != "model" and f"--{option}" in _RESERVED:
                    raise ValueError(f"models.{name}: {option} is for a single run: {_RESERVED[f'--{option}']}.")


def _class(option: str, name: str) -> _Choice:
    return _Choice(name.rpartition(".")[2].lower(), (f"{option}={name}",))


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
    _each_once("seed", found)
    return found


def read_plan(path: Path) -> dict[str, Any]:
    """Return the content of a plan file.

    Raises:
        ValueError: The file cannot be read, or is not a mapping.
    """
    try:
        read = parse_yaml(read_text(path, PLAN_BYTES))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not readable as YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(read, dict):
        raise ValueError(f"{path} is not a plan, but {type(read).__name__}.")
    return {str(key): value for key, value in read.items()}


def _absolute(config: str) -> str:
    """Return the absolute path of a file: a sweep may be resumed in another working folder."""
    return str(Path(config).resolve()) if Path(config).is_file() else config


def _inlined(path: Path) -> str:
    """Return the text of a configuration, with files that it names (`model: small.yaml`) inserted."""
    try:
        text = path.read_text(encoding="utf-8")
        config = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: not readable as YAML ({' '.join(str(error).split())}).") from None
    inner = {
        key: path.parent / value
        for key, value in (config.items() if isinstance(config, dict) else ())
        if isinstance(value, str) and value.endswith(_YAML) and (path.parent / value).is_file()
    }
    if not inner:
        return text
    return yaml.safe_dump({**config, **{key: parse_yaml(_inlined(file)) for key, file in inner.items()}})


def _mapped(words: Sequence[str], change: Callable[[str, str], str]) -> tuple[str, ...]:
    """Apply `change` to each value that may be a file: after `=` or in the argument after the option."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if equals and option in _FILE_OPTIONS:
            found.append(f"{option}={change(option, value)}")
        else:
            found.append(change(before, word) if before in _FILE_OPTIONS else word)
    return tuple(found)


def _options(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[0][2:] for word in words if word.startswith("--")]


def _names(keys: Mapping[str, Any], key: str, default: list[str]) -> list[str]:
    value = default if keys.get(key) is None else keys[key]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key} (={value!r}) must be names, as a list or with commas between.")
    values = [name.strip() for one in values for name in one.split(",")]
    if (keys.get(key) is not None and not values) or not all(values):
        raise ValueError(f"{key} is empty.")
    _each_once(key.removesuffix("s"), values)
    return values


def _mapping(keys: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = keys.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} must map options of ntm train to values, as {{data.batch_size: 4}}.")
    for option in value:
        if f"--{option}" in _RESERVED:
            raise ValueError(f"{key}.{option} is for a single run: {_RESERVED[f'--{option}']}.")
    return {str(option): value[option] for option in value}


def _argument(option: str, value: Any) -> str:
    return f"--{option}={_text(value)}"


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} cannot be an argument of ntm train ({error}); put it in quotes.") from None


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)


def _plain_names(names: Iterable[str]) -> None:
    for name in names:
        plain = Path(name).name == name and name.isprintable() and not name.startswith(".")
        if not name or not plain or len(name.encode()) > _LONGEST:
            raise ValueError(f"the name of a run (={name!r}) must be a plain folder name of at most {_LONGEST} bytes.")


def _each_once(what: str, values: Sequence[object]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]} is given twice.")


def _default_name(axes: list[list[_Choice]]) -> str:
    return "-".join(choice.label for axis in axes[1:] if len(axis) <= 3 for choice in axis) or "sweep"
