"""What a user says to `ntm train`: the command line and its YAML files as one plain mapping."""

import os
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from lightning_ntm.cli.classes import arguments, class_path
from lightning_ntm.cli.hints import of_word
from lightning_ntm.cli.words import UnknownOptionError, UsageError, command, explained, kind_of_no_file, near
from lightning_ntm.recipes import SPEC, overlay, presets
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import read_yaml
from lightning_ntm.records.parsing import parse_yaml

#: Options that take a class with its arguments, and options that hold others.
CLASSES, GROUPS = ("model", "task", "optimizer", "scheduler", "data.curriculum"), ("data", "trainer")
#: Words that ask for a text, and stand alone.
_ALONE = ("--help-all", "--print_config")


class Said(NamedTuple):
    """What a user says. Later files and words override earlier ones.

    Args:
        mapping: All options, as in one YAML file; values from the command line are text.
        words: Options and values of the command line alone.
        own: First names of the options set on the command line or in files other than presets.
        whole: A file is a configuration of its own: it names task and network, and arguments of theirs.
        printing: Options that ask for a text instead of a training, such as `--help-all`, with their values.
        resumed: The run folder to resume.
    """

    mapping: dict[str, Any]
    words: list[tuple[str, str]]
    own: set[str]
    whole: bool
    printing: list[tuple[str, str]]
    resumed: RunFolder | None

    def in_words(self, option: str) -> bool:
        """Return whether the command line itself sets an option."""
        return _in_words(self.words, option)


def read(argv: Sequence[str]) -> Said:
    """Return what a command line and its files say. Whether there are such options is left to the parser."""
    said = [*_words(argv)]
    printing = [word for word in said if _prints(word[0])]
    words, resumed = _resumed([word for word in said if not _prints(word[0])])
    mapping: dict[str, Any] = {}
    own: set[str] = set()
    whole = resumed is not None
    for option, value in words:
        path = _config_path(value) if option == "--config" else None
        layer = _of_file(path) if path else _spelled(_nested(option, value), "--", Path())
        with explained():
            mapping = overlay(_carried(mapping, layer, words), layer)
        own |= set() if path in presets().values() else layer.keys()
        specs = [layer.get(group) or {} for group in ("model", "task")]
        whole |= all("class_path" in spec for spec in specs) and any("init_args" in spec for spec in specs)
    return Said(mapping, words, own, whole, printing, resumed)


def _prints(option: str) -> bool:
    return option in _ALONE or option.endswith(".help")


def _in_words(words: list[tuple[str, str]], option: str) -> bool:
    return any(word.replace(".init_args", "").removesuffix(".class_path") == option for word, _ in words)


def _words(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield options with their values, which follow an equals sign or are the next word."""
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        option = "--config" if option == "-c" else option
        _check_name(option)
        alone = equals or option in _ALONE
        value = value if alone else next(words, "")
        if not (value or _prints(option)) or (not alone and re.match(r"-(?![\d.])", value)):
            raise UsageError(f"{option} needs a value.")
        yield option, value


def _check_name(option: str) -> None:
    """Raise `UsageError` for what cannot be the name of an option."""
    if not option:
        raise UsageError("an argument is empty (unset shell variable?).")
    if not option.startswith("-"):
        raise UsageError(f"{option!r} is one word too many{of_word(option)}")
    if not re.fullmatch(r"--[^.+]+(\.[^.]+)*", option):
        raise UnknownOptionError(option)


def _resumed(words: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], RunFolder | None]:
    """Return the words with the configuration of the run folder first, if they resume one."""
    folders = [RunFolder(Path(value)) for option, value in words if option == "--resume"]
    if not folders:
        return words, None
    folder = folders[-1].path
    if not folders[-1].config.is_file() and folder.joinpath("plan.yaml").is_file():
        raise UsageError(f"--resume: {folder} is a sweep; {command('sweep', folder)} resumes it.")
    with explained("--resume: "):
        folders[-1].require()
    others = [word for word in words if word[0] != "--resume"]
    return [("--config", str(folders[-1].config)), *others], folders[-1]


def _nested(option: str, value: Any) -> Any:
    """Return a value as a file says it: `{"data": {"batch_size": "8"}}` for `--data.batch_size=8`."""
    return reduce(lambda inner, name: {name: inner}, reversed(option.removeprefix("--").split(".")), value)


def _config_path(name: str) -> Path:
    """Return the file that a `--config` stands for: its path, or the name of a preset."""
    if os.path.isfile(name):
        return Path(name)
    known = {preset: path for preset, path in presets().items() if preset != "default"}
    if name in known:
        return known[name]
    if what := kind_of_no_file(name):
        raise UsageError(f"--config {name} is {what}; it must be a regular file or a preset.")
    meant = [preset for preset in known if set(name.split("-")) <= set(preset.split("-"))]
    hint = f"; did you mean {min(meant, key=len)!r}?" if meant else near(name, known)
    raise UsageError(f"--config {name}: there is no such file or preset{hint or '; presets: ' + ', '.join(known)}")


def _of_file(path: Path) -> dict[str, Any]:
    """Return what a file says."""
    source = f"--config {path}"
    layer = _options(path, source)
    for name in [*layer]:
        _check_name(f"--{name}")
        if name in ("config", "resume") and (value := layer.pop(name)) is not None:
            raise UsageError(f"{source}: {name} (={value}) must be given on the command line, not in a file.")
    return _spelled(layer, f"{source}: ", path.parent)


def _spelled(layer: dict[str, Any], source: str, folder: Path) -> dict[str, Any]:
    """Return a layer with files and texts of YAML read, and names of classes written out."""
    for group in (*GROUPS, *CLASSES):
        above, _, name = group.rpartition(".")
        options = layer.get(above, {}) if above else layer
        if name in options:
            where, value = f"{source}{group}", options[name]
            if isinstance(value, str) and value.endswith((".yaml", ".yml", ".json")):
                value = _options(folder / value, f"{where} {value}")
            options[name] = _spec(group, value, where) if group in CLASSES else _options(value, where)
    return layer


def _spec(group: str, value: Any, where: str) -> dict[str, Any] | None:
    """Return how a class is named, with its arguments. They may stand beside its name, as on the command line."""
    if isinstance(value, str):
        value = _parsed(value, where) if value.startswith("{") or value == "null" else {"class_path": value}
    if group in ("scheduler", "data.curriculum") and value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("class_path", ""), str):
        raise UsageError(f"{where} must be a class, not {value!r}.")
    spec = {name: _options(value[name], f"{where}.{name}") for name in SPEC[1:] if value.get(name) is not None}
    if beside := {str(name): inner for name, inner in value.items() if name not in SPEC}:
        spec["init_args"] = {**beside, **spec.get("init_args", {})}
    return {"class_path": class_path(group, value["class_path"]), **spec} if "class_path" in value else spec


def _options(value: Any, where: str) -> dict[str, Any]:
    """Return options by name: those of a file, of a text of YAML, or as they are."""
    value = _parsed(value, where)
    if not isinstance(value, dict):
        raise UsageError(f"{where} must hold options by name, {'but is empty' if value is None else f'not {value!r}'}.")
    return {str(name): inner for name, inner in value.items()}


def _parsed(value: Any, where: str) -> Any:
    """Return what a file or a text of YAML holds, and anything else as it is."""
    with explained(f"{where}: "):
        return read_yaml(value) if isinstance(value, Path) else parse_yaml(value) if isinstance(value, str) else value


def _carried(said: dict[str, Any], layer: dict[str, Any], words: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what was said, where a class keeps the arguments of the one that it replaces.

    Those of files are dropped if it has no such arguments. Those of the command line are left for the parser to refuse.
    """
    for group in layer.keys() & said.keys() & {*CLASSES}:
        before, now = {"class_path": None, **(said[group] or {})}, (layer[group] or {}).get("class_path")
        if now and before["class_path"] != now:
            options = before.get("init_args", {})
            known = arguments(now) if before["class_path"] else options
            kept = {name: options[name] for name in options if name in known or _in_words(words, f"--{group}.{name}")}
            said = {**said, group: {**before, "class_path": now, "init_args": kept}}
    return said
