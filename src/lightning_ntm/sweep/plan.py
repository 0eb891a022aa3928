"""Which runs a sweep is made of."""

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

#: What a plan may say, each a list or one value; `options` and `grid` are mappings from an option of `ntm train`.
KEYS = ("name", "configs", "models", "tasks", "seeds", "options", "grid")
#: Options of `ntm train` that take a file, and where a sweep has its copies of these. Files of data are not copied.
_DATA = ("--task.train", "--task.validation")
_FILED = ("--config", "--model", "--task", "--data", "--trainer", "--optimizer", "--scheduler", *_DATA)
_FILES, _YAML = "files", (".yaml", ".yml", ".json")
_LONGEST = 200  # bytes in the name of a run: file systems take 255, and files beside it have longer names
#: What the sweep says to each run itself, and how it is told.
_OWN = {
    "--name": "--name names the sweep",
    "--runs": "--runs is where the sweep stands",
    "--resume": "ntm sweep FOLDER goes on with a sweep",
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
        name: Of its folder in the folder of the sweep.
        words: What `ntm train` is told besides the name.
    """

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, in the order in which they are begun.

    Args:
        name: Of the folder of the sweep.
        runs: All runs, each name once.
    """

    name: str
    runs: tuple[PlannedRun, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any], more: Sequence[str] = ()) -> "Plan":
        """Return every combination of what a plan says: configurations, networks, tasks, a grid of options, seeds.

        The first seed of everything comes first, so that an unfinished sweep can be compared.

        Args:
            said: The plan, with `KEYS`.
            more: Words for `ntm train` that every run is told besides.

        Raises:
            ValueError: A key is unknown, a list is empty, something stands there twice, or `more` says what
                the sweep says itself.
        """
        unknown = [key for key in said if key not in KEYS]
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r} in a plan; known: {', '.join(KEYS)}.")
        for word in more:
            if (option := word.partition("=")[0]) in _OWN:
                raise ValueError(f"{option} is for a single run: {_OWN[option]}.")
        for option in {*_mapping(said, "options"), *_options(more)} & _mapping(said, "grid").keys():
            raise ValueError(f"{option} is in the grid, so it cannot be the same for every run.")
        _own_options(said, {*_mapping(said, "options"), *_options(more), *_mapping(said, "grid")})
        axes = list(_axes(said))
        options = [_word(option, value) for option, value in _mapping(said, "options").items()]
        runs = []
        for choice in itertools.product(*axes):
            seed, *others = choice
            words = [word for part in (*others, seed) for word in part.words]
            name = "-".join(part.label for part in (*others, seed) if part.label)
            runs.append(PlannedRun(name, (*words[:-1], *options, words[-1], *more)))
        _each_once("run", [run.name for run in runs])
        _plain_names(run.name for run in runs)
        return cls(str(said.get("name") or _default_name(axes)), tuple(runs))

    def shard(self, number: int, of: int) -> "Plan":
        """Return the `number`-th, from 1, of `of` plans that share the runs out."""
        return Plan(self.name, self.runs[number - 1 :: of])

    def kept_in(self, folder: Path) -> tuple["Plan", dict[Path, str]]:
        """Return the plan as the folder of a sweep keeps it, and by their paths the files it keeps for that.

        What the words of a run name as a file may be edited or moved while others wait, so the sweep has its own copy.
        """
        files, copies = folder.absolute() / _FILES, {}

        def kept(option: str, value: str) -> str:
            path = Path(value)
            if option in _DATA:
                return str(path.absolute()) if path.is_file() else value
            if not (path.is_file() and (option == "--config" or path.suffix in _YAML)) or path.parent == files:
                return value
            copy = files / f"{option.removeprefix('--')}-{path.name}"
            copies[copy] = _with_files(path)
            return str(copy)

        return self._mapped(kept), copies

    def _mapped(self, change: Callable[[str, str], str]) -> "Plan":
        """Return the plan with each value changed that may be a file."""
        return Plan(self.name, tuple(PlannedRun(run.name, _mapped(run.words, change)) for run in self.runs))

    def save(self, folder: Path) -> None:
        """Keep the plan in the folder of a sweep, beside what is planned there already.

        Raises:
            ValueError: A run of the same name was planned otherwise.
        """
        plan, copies = self.kept_in(folder)
        path, words = folder / "plan.yaml", {run.name: run.words for run in plan.runs}
        for copy, text in copies.items():
            if copy.exists() and copy.read_text(encoding="utf-8") != text:
                raise ValueError(
                    f"{folder} holds another plan: {copy.name.partition('-')[2]} is not what it was, which stands in "
                    f"{folder / _FILES / copy.name}; choose another --name, or go on with ntm sweep {folder}."
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
        runs = {name: list(_mapped(said, lambda _, value: value.removeprefix(inside))) for name, said in words.items()}
        write_whole(path, yaml.safe_dump({"name": self.name, "runs": runs}, sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Return the plan kept in the folder of a sweep.

        Raises:
            ValueError: There is none, or it is damaged.
        """
        path = folder / "plan.yaml"
        if not path.is_file():
            raise ValueError(f"{folder} is not a sweep: it has no {path.name}.")
        kept = read_plan(path)
        runs = kept.get("runs")
        if not isinstance(runs, dict) or not all(isinstance(words, list) for words in runs.values()):
            raise ValueError(f"{path} is damaged: it names no runs.")
        found = tuple(PlannedRun(str(name), tuple(map(str, words))) for name, words in runs.items())
        _plain_names(run.name for run in found)
        inside = folder.absolute()
        return cls(str(kept.get("name", folder.name)), found)._mapped(
            lambda _, value: str(inside / value) if value.startswith(f"{_FILES}/") else value
        )


@dataclass(frozen=True)
class _Choice:
    """One value on one axis of a plan: its part of the name, and of the words."""

    label: str
    words: tuple[str, ...]


def _axes(said: Mapping[str, Any]) -> Iterator[list[_Choice]]:
    """The seeds, then all else; the last changes fastest."""
    seeds = numbers(1 if said.get("seeds") is None else said["seeds"])
    yield [_Choice(f"seed{seed}", (f"--seed={seed}",)) for seed in seeds]
    configs = _listed(said, "configs", [])
    if configs:
        yield [_Choice(Path(config).stem, (f"--config={_found_again(config)}",)) for config in configs]
    networks = list(_networks(said, [] if configs else ["NTM"]))
    if networks:
        yield networks
    tasks = _listed(said, "tasks", [] if configs else ["Copy"])
    if tasks:
        yield [_class("--task", name) for name in tasks]
    grid = _mapping(said, "grid")
    for option in grid:
        values = grid[option] if isinstance(grid[option], list) else [grid[option]]
        if not values:
            raise ValueError(f"grid.{option} is empty.")
        short = option.rpartition(".")[2]
        label = option if sum(other.rpartition(".")[2] == short for other in grid) > 1 else short
        yield [_Choice(_plain(f"{label}{_text(value)}"), (_word(option, value),)) for value in values]


def _networks(said: Mapping[str, Any], default: list[str]) -> Iterator[_Choice]:
    """The networks: classes, and in a list also options under a name of their own, `small: {model.hidden_size: 20}`."""
    value = said.get("models")
    if not isinstance(value, list) or not any(isinstance(one, dict) for one in value):
        yield from (_class("--model", name) for name in _listed(said, "models", default))
        return
    for one in value:
        if not isinstance(one, dict):
            yield from (_class("--model", name) for name in _listed({"models": [one]}, "models", []))
            continue
        for name, options in one.items():
            if not isinstance(options, dict) or not options:
                raise ValueError(
                    f"models.{name} must map options of ntm train to values, as {{model.hidden_size: 20}}."
                )
            yield _Choice(_plain(str(name)), tuple(_word(str(option), options[option]) for option in options))


def _own_options(said: Mapping[str, Any], others: set[str]) -> None:
    """Raise `ValueError` where a network under a name of its own says what is said elsewhere."""
    listed = said.get("models")
    for one in listed if isinstance(listed, list) else []:
        for name, options in one.items() if isinstance(one, dict) else ():
            for option in options if isinstance(options, dict) else ():
                if option in others:
                    raise ValueError(f"models.{name}: {option} is said for other runs too, in options or the grid.")
                if option != "model" and f"--{option}" in _OWN:
                    raise ValueError(f"models.{name}: {option} is for a single run: {_OWN[f'--{option}']}.")


def _class(option: str, name: str) -> _Choice:
    return _Choice(name.rpartition(".")[2].lower(), (f"{option}={name}",))


def numbers(said: Any) -> list[int]:
    """Return the seeds that `1-10`, `1,2,5-7`, a number or a list of such stand for.

    Raises:
        ValueError: One is no number or range, a range is backwards, or one stands there twice.
    """
    found: list[int] = []
    for part in said if isinstance(said, list) else str(said).split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", str(part))
        if isinstance(part, bool) or not match:
            raise ValueError(f"seeds (={said!r}) must be numbers and ranges as in 1-10 or 1,2,5-7.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"seeds (={said!r}) has a range that goes backwards: {part}.")
        if last - first >= 100_000:
            raise ValueError(f"seeds (={said!r}) are more than 100,000.")
        found += range(first, last + 1)
    if not found:
        raise ValueError("seeds is empty.")
    _each_once("seed", found)
    return found


def read_plan(path: Path) -> dict[str, Any]:
    """Return what a file says of a plan.

    Raises:
        ValueError: It cannot be read, or is no mapping.
    """
    try:
        read = parse_yaml(read_text(path, PLAN_BYTES))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not readable as YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(read, dict):
        raise ValueError(f"{path} is not a plan, but {type(read).__name__}.")
    return {str(key): value for key, value in read.items()}


def _found_again(config: str) -> str:
    """Return a file's whole path: a sweep may be gone on with from anywhere."""
    return str(Path(config).resolve()) if Path(config).is_file() else config


def _with_files(path: Path) -> str:
    """Return what a configuration says, with what it says by naming other files, as `model: small.yaml`."""
    try:
        text = path.read_text(encoding="utf-8")
        said = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: not readable as YAML ({' '.join(str(error).split())}).") from None
    inner = {
        key: path.parent / value
        for key, value in (said.items() if isinstance(said, dict) else ())
        if isinstance(value, str) and value.endswith(_YAML) and (path.parent / value).is_file()
    }
    if not inner:
        return text
    return yaml.safe_dump({**said, **{key: parse_yaml(_with_files(file)) for key, file in inner.items()}})


def _mapped(words: Sequence[str], change: Callable[[str, str], str]) -> tuple[str, ...]:
    """Return words with each value changed that may be a file; it stands behind its option, or in the next word."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if equals and option in _FILED:
            found.append(f"{option}={change(option, value)}")
        else:
            found.append(change(before, word) if before in _FILED else word)
    return tuple(found)


def _options(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[0][2:] for word in words if word.startswith("--")]


def _listed(said: Mapping[str, Any], key: str, default: list[str]) -> list[str]:
    value = default if said.get(key) is None else said[key]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key} (={value!r}) must be names, as a list or with commas between.")
    values = [name.strip() for one in values for name in one.split(",")]
    if (said.get(key) is not None and not values) or not all(values):
        raise ValueError(f"{key} is empty.")
    _each_once(key.removesuffix("s"), values)
    return values


def _mapping(said: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = said.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} must map options of ntm train to values, as {{data.batch_size: 4}}.")
    for option in value:
        if f"--{option}" in _OWN:
            raise ValueError(f"{key}.{option} is for a single run: {_OWN[f'--{option}']}.")
    return {str(option): value[option] for option in value}


def _word(option: str, value: Any) -> str:
    return f"--{option}={_text(value)}"


def _text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} cannot be told to ntm train ({error}); put it in quotes.") from None


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
        raise ValueError(f"{what} {twice[0]} is there twice.")


def _default_name(axes: list[list[_Choice]]) -> str:
    return "-".join(choice.label for axis in axes[1:] if len(axis) <= 3 for choice in axis) or "sweep"
