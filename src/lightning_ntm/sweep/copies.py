"""Copies of the files that a plan names, in the folder of its sweep. The user may edit or move the originals."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count, takewhile
from os.path import isabs, isfile  # false for a text that is too long for a path, which raises in `pathlib`
from pathlib import Path
from typing import Any

import yaml

from lightning_ntm.records.files import CONFIG_BYTES, read_text, read_yaml
from lightning_ntm.records.parsing import parse_yaml

#: Folder of a sweep for the copies; suffixes of configurations.
FILES, _YAML = "files", (".yaml", ".yml", ".json")
#: Arguments of a task that are data files, which are not copied.
_DATA = ("train", "validation", "names")
_DATA_OPTIONS = tuple(f"--task.{name}" for name in _DATA)
#: Options of `ntm train` that accept a file.
_FILE_OPTIONS = (
    *("--config", "--model", "--task", "--data", "--data.curriculum", "--trainer", "--optimizer", "--scheduler"),
    *_DATA_OPTIONS,
)


class Copies:
    """The copies of a sweep. Called with an option and its value, it returns the value that names the copy.

    Args:
        folder: Of the sweep.
    """

    def __init__(self, folder: Path):
        self.files = folder.absolute() / FILES
        self.texts: dict[Path, str] = {}
        self._places: dict[tuple[str, Path], Path] = {}

    def __call__(self, option: str, value: str) -> str:
        """Return the path of the copy of a file, the absolute path of a data file, or the value as it is."""
        path = Path(value)
        if option in _DATA_OPTIONS:
            return str(path.absolute()) if isfile(path) else value
        if option == "--task" and value.startswith("{"):
            return _with_absolute_paths(value)
        if not self._is_copied(option, path):
            return value
        self.find(option, value)
        if (option, path) not in self._places:
            self._add(option, path)
        return str(self._places[option, path])

    def find(self, option: str, value: str) -> str:
        """Look for the copy of a file that the folder already has; return the value as it is."""
        path = Path(value)
        if not self._is_copied(option, path) or (option, path) in self._places:
            return value
        if places := list(takewhile(Path.is_file, self._numbered(option, path))):
            relative = _inlined(path)  # as earlier versions copied it
            texts = (_absolute(option, relative), relative)
            found = next((place for place in places if place.read_text(encoding="utf-8") in texts), None)
            if found:
                self._places[option, path], self.texts[found] = found, found.read_text(encoding="utf-8")
        return value

    def _add(self, option: str, path: Path) -> None:
        """Find a place for a new copy: that of the same text, or another number."""
        text = _absolute(option, _inlined(path))
        place = next(place for place in self._numbered(option, path) if self.texts.get(place, text) == text)
        self._places[option, path], self.texts[place] = place, text

    def _is_copied(self, option: str, path: Path) -> bool:
        if option in _DATA_OPTIONS or path.parent == self.files:
            return False
        return isfile(path) and (option == "--config" or path.suffix in _YAML)

    def _numbered(self, option: str, path: Path) -> Iterator[Path]:
        """Yield the places for copies of files of one name."""
        for number in count(1):
            yield self.files / f"{option.removeprefix('--')}{number if number > 1 else ''}-{path.name}"


def mapped(words: Sequence[str], change: Callable[[str, str], str]) -> tuple[str, ...]:
    """Apply `change` to each value that may be a file: after `=` or in the argument after the option."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if equals and _spelled(option) in _FILE_OPTIONS:
            found.append(f"{option}={change(_spelled(option), value)}")
        else:
            found.append(change(_spelled(before), word) if _spelled(before) in _FILE_OPTIONS else word)
    return tuple(found)


def _spelled(option: str) -> str:
    return "--config" if option == "-c" else option.replace(".init_args", "")


def _inlined(path: Path) -> str:
    """Return the text of a configuration, with files that it names (`model: small.yaml`) inserted."""
    config = _content(path)
    inserted = _inserted(config, path.parent)
    if isinstance(config, dict) and isinstance(data := inserted.get("data"), dict):
        inserted["data"] = _inserted(data, path.parent)
    return read_text(path, CONFIG_BYTES) if inserted == config else yaml.safe_dump(inserted)


def _inserted(options: Any, folder: Path) -> Any:
    """Return options with the contents of the files that they name."""
    if not isinstance(options, dict):
        return options
    return {key: _content(folder / value) if _is_yaml(value, folder) else value for key, value in options.items()}


def _is_yaml(value: Any, folder: Path) -> bool:
    return isinstance(value, str) and value.endswith(_YAML) and isfile(folder / value)


def _content(path: Path) -> Any:
    try:
        return read_yaml(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _absolute(option: str, text: str) -> str:
    """Return the text of a configuration, or of the part that an option takes, with absolute paths of data files."""
    config = parse_yaml(text)
    specs = [config] if option == "--task" else [config.get("task")] if isinstance(config, dict) else []
    changed = [_make_absolute(spec) for spec in specs if isinstance(spec, dict)]
    return yaml.safe_dump(config) if any(changed) else text


def _with_absolute_paths(text: str) -> str:
    """Return the text of a task with absolute paths of data files; one that is no YAML as it is."""
    with suppress(ValueError):
        if isinstance(spec := parse_yaml(text), dict) and _make_absolute(spec):
            return json.dumps(spec)
    return text


def _make_absolute(task: dict[str, Any]) -> bool:
    """Make the paths of data files absolute; return whether one was not."""
    relative = list(_relative(task))
    for options, name in relative:
        options[name] = str(Path(options[name]).absolute())
    return bool(relative)


def _relative(task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the arguments that are relative paths of data files, with the mapping in which they are."""
    inside = task.get("init_args")
    for options in (task, *([inside] if isinstance(inside, dict) else [])):
        for name, value in options.items():
            if isinstance(value, str) and (name in _DATA or Path(value).suffix) and isfile(value) and not isabs(value):
                yield options, name
