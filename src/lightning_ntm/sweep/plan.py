"""The plan of a sweep: its runs and their options."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_ntm.checks import check_name
from lightning_ntm.records import RunFolder, write_whole
from lightning_ntm.records.files import PLAN_BYTES, read_yaml
from lightning_ntm.records.parsing import kind_of_yaml
from lightning_ntm.sweep.axes import (
    RESERVED,
    argument,
    axes_of,
    check_named_networks,
    check_spelled_once,
    default_name,
    each_once,
    mapping,
    options_in,
)
from lightning_ntm.sweep.copies import FILES, Copies, mapped

#: Keys of a plan. `options` and `grid` map options of `ntm train` to values. The others are a value or a list.
KEYS = ("name", "configs", "models", "tasks", "seeds", "options", "grid")


class Distinction(NamedTuple):
    """What tells a run of a plan apart by its name: a value of the grid, or a named set of options.

    Args:
        option: The option of the grid, or an empty text.
        network: The name of the set, or an empty text.
        words: Its arguments.
    """

    option: str
    network: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Args:
        name: Name of its folder in the folder of the sweep.
        words: Arguments of `ntm train` besides the name.
        network: The name that the plan gives to a set of options; empty without one.
        distinctions: Values of the grid and named sets of options among `words`, before files are copied. A stored plan
            does not have them.
    """

    name: str
    words: tuple[str, ...]
    network: str = ""
    distinctions: tuple[Distinction, ...] = field(default=(), compare=False)


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
            if (option := word.partition("=")[0]) in RESERVED:
                raise ValueError(f"{option} is for a single run: {RESERVED[option]}.")
        for option in {*mapping(keys, "options"), *options_in(arguments)} & mapping(keys, "grid").keys():
            raise ValueError(f"{option} is in the grid, so it cannot also have one value for every run.")
        check_spelled_once("options", keys.get("options"))
        check_named_networks(keys, {*mapping(keys, "options"), *options_in(arguments), *mapping(keys, "grid")})
        if isinstance(keys.get("name"), bool | list | dict):
            raise ValueError(f"name must be a text, but is {kind_of_yaml(keys['name'])}.")
        axes = list(axes_of(keys))
        options = [argument(option, value) for option, value in mapping(keys, "options").items()]
        runs = []
        for choice in itertools.product(*axes):
            seed, *others = choice
            words = [word for part in (*others, seed) for word in part.words]
            name = "-".join(part.label for part in (*others, seed) if part.label)
            network = next((part.network for part in others if part.network), "")
            named = tuple(
                Distinction(part.option, part.network, part.words) for part in others if part.option or part.network
            )
            runs.append(PlannedRun(name, (*words[:-1], *options, words[-1], *arguments), network, named))
        each_once("run", [run.name for run in runs])
        _check_names(run.name for run in runs)
        return cls(str(keys.get("name") or default_name(axes)), tuple(runs))

    def shard(self, number: int, of: int) -> "Plan":
        """Return part `number`, from 1, of the plan split into `of` parts."""
        return Plan(self.name, self.runs[number - 1 :: of])

    def kept_in(self, folder: Path) -> tuple["Plan", dict[Path, str]]:
        """Return the plan with paths to copies of its files in `folder`, and the text of each copy by its path.

        Paths of data files become absolute: the sweep may be resumed in another working folder.
        """
        copies = Copies(folder)
        self._mapped(copies.find)  # all that are there, before places are found for others
        return self._mapped(copies), copies.texts

    def _mapped(self, change: Callable[[str, str], str]) -> "Plan":
        """Return the plan with `change` applied to each value that may be a file."""
        return Plan(self.name, tuple(replace(run, words=mapped(run.words, change)) for run in self.runs))

    def save(self, folder: Path) -> None:
        """Write the plan into the folder of a sweep, together with the runs that are already planned there.

        Raises:
            ValueError: A run of the same name has other options, or the folder is that of a run.
        """
        if RunFolder(folder).config.is_file():
            raise ValueError(f"{folder} is a run, not a sweep; choose another --name.")
        plan, copies = self.kept_in(folder)
        path, words = folder / "plan.yaml", {run.name: run.words for run in plan.runs}
        networks = plan.networks
        _check_copies(folder, copies)
        stored = Plan.load(folder) if path.exists() else None
        if stored:
            stored._check_same(folder, words)
        for copy, text in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_whole(copy, text)
        if stored:
            before = {run.name: run.words for run in stored.runs}
            if before == {**before, **words}:
                return
            words = {**before, **words}
            networks = {**stored.networks, **networks}
        folder.mkdir(parents=True, exist_ok=True)
        inside = f"{folder.absolute()}/"
        runs = {name: list(mapped(run, lambda _, value: value.removeprefix(inside))) for name, run in words.items()}
        named = {"networks": networks} if networks else {}
        write_whole(path, yaml.safe_dump({"name": self.name, "runs": runs, **named}, sort_keys=False))

    def _check_same(self, folder: Path, words: Mapping[str, tuple[str, ...]]) -> None:
        """Raise `ValueError` if a run of this stored plan has other words by now."""
        now = self.kept_in(folder)[0].runs  # plans of earlier versions have relative paths of data files
        for run, as_kept in zip(self.runs, now, strict=True):
            if words.get(run.name, run.words) not in (run.words, as_kept.words):
                raise ValueError(
                    f"{folder} holds another plan: its {run.name} is `{' '.join(run.words)}`; choose another --name."
                )

    @property
    def networks(self) -> dict[str, str]:
        """The names of sets of options, by run."""
        return {run.name: run.network for run in self.runs if run.network}

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Return the plan in the folder of a sweep.

        Raises:
            ValueError: The plan is missing or damaged.
        """
        path = folder / "plan.yaml"
        if not path.is_file():
            raise ValueError(
                f"{folder} is not a sweep: it has no {path.name}."
                if folder.exists()
                else f"folder {folder} does not exist."
            )
        stored = read_plan(path)
        runs = stored.get("runs")
        if not isinstance(runs, dict) or not all(isinstance(words, list) for words in runs.values()):
            raise ValueError(f"{path} is damaged: it has no valid runs.")
        known = stored.get("networks")
        named = {str(run): str(name) for run, name in known.items()} if isinstance(known, dict) else {}
        planned = tuple(
            PlannedRun(str(name), tuple(map(str, words)), named.get(str(name), "")) for name, words in runs.items()
        )
        _check_names(run.name for run in planned)
        inside = folder.absolute()
        return cls(str(stored.get("name", folder.name)), planned)._mapped(
            lambda _, value: str(inside / value) if value.startswith(f"{FILES}/") else value
        )


def read_plan(path: Path) -> dict[str, Any]:
    """Return the content of a plan file.

    Raises:
        ValueError: The file cannot be read, or is not a mapping.
    """
    try:
        read = read_yaml(path, PLAN_BYTES)
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from None
    if not isinstance(read, dict):
        raise ValueError(f"{path} must be a plan, which is a mapping, but is {kind_of_yaml(read)}.")
    return {str(key): value for key, value in read.items()}


def _check_copies(folder: Path, copies: Mapping[Path, str]) -> None:
    """Raise `ValueError` if a file has changed since it was copied."""
    for copy, text in copies.items():
        if copy.exists() and copy.read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{folder} holds another plan: {copy.name.partition('-')[2]} has changed since it was copied to "
                f"{folder / FILES / copy.name}; choose another --name, or resume with ntm sweep {folder}."
            )


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        check_name("the name of a run", name, "")
