"""What a user says to `ntm train`: the command line and its YAML files as one plain mapping."""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from lightning_ntm.cli.classes import arguments, class_path
from lightning_ntm.cli.hints import of_others, of_train, of_word
from lightning_ntm.cli.words import UsageError, explained, near
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

    def named(self, option: str) -> Any:
        """Return the import path of the class that is named for an option, or None."""
        return (self.mapping.get(option) or {}).get("class_path")

    def in_words(self, option: str) -> bool:
        """Return whether the command line itself sets an option."""
        return any(word.replace(".init_args", "").removesuffix(".class_path") == option for word, _ in self.words)


def read(argv: list[str], known: Collection[str]) -> Said:
    """Return what a command line and its files say, where `known` are the options by dotted name."""
    said = list(_words(argv, known))
    printing = [word for word in said if _prints(word[0])]
    words, resumed = _resumed([word for word in said if not _prints(word[0])])
    mapping: dict[str, Any] = {}
    own: set[str] = set()
    whole = resumed is not None
    for option, value in words:
        path = _config_path(value) if option in ("--config", "-c") else None
        layer = _of_file(path, known) if path else _spelled(_nested(_names(option), value), "--", Path())
        with explained():
            mapping = overlay(_with_shared_arguments(mapping, layer), layer)
        own |= set() if path in presets().values() else layer.keys()
        specs = [layer.get(group) or {} for group in ("model", "task")]
        whole |= all("class_path" in spec for spec in specs) and any("init_args" in spec for spec in specs)
    _check_not_replaced(words, mapping)
    return Said(mapping, words, own, whole, printing, resumed)


def _prints(option: str) -> bool:
    return option in _ALONE or option.endswith(".help")


def _words(argv: list[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield options with their values, which follow an equals sign or are the next word."""
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if not word:
            raise UsageError("an argument is empty (unset shell variable?).")
        _check_known(option, known, argv)
        if not equals and option not in _ALONE:
            value = next(words, "" if option.endswith(".help") else "--")
            if value.startswith("-") and not re.fullmatch(r"-\d*\.?\d+", value):
                number = re.match(r"-[\d.]", value)
                raise UsageError(f"write {option}={value}." if number else f"{option} needs a value.")
        if not (value or _prints(option) or option.startswith(("--model.", "--task."))):
            raise UsageError(f"{option} needs a value.")
        yield option, value


def _check_known(option: str, known: Collection[str], words: Sequence[str] = ()) -> None:
    """Raise `UsageError` for an option that there is not; arguments of classes are left to the parser."""
    first, *rest = option.removeprefix("--").split(".")
    if first in GROUPS and rest:
        first, *rest = f"{first}.{rest[0].removesuffix('+')}", *rest[1:]
    if option != "-c" and not (option.startswith("--") and first in known and all(rest)):
        if words and not option.startswith("-"):
            raise UsageError(f"{option!r} is one word too many{of_word(option)}")
        meant = of_train(option, known, words) or of_others(option)
        hint = meant or near(option, [f"--{name}" for name in known])
        raise UsageError(f"unknown option {option}{hint}")


def _resumed(words: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], RunFolder | None]:
    """Return the words with the configuration of the run folder first, if they resume one."""
    asked = [value for option, value in words if option == "--resume"]
    if not asked:
        return words, None
    if len({*asked}) > 1:
        raise UsageError(f"--resume is given twice, with {asked[0]} and {asked[-1]}; give one run folder.")
    for option, _ in words:
        if option in ("--name", "--runs"):
            raise UsageError(f"{option} cannot be changed when a run is resumed.")
    folder = RunFolder(Path(asked[-1]))
    with explained("--resume: "):
        folder.require()
    return [("--config", str(folder.config)), *(word for word in words if word[0] != "--resume")], folder


def _nested(names: list[str], value: Any) -> Any:
    """Return a value as a file says it: `{"data": {"batch_size": "8"}}` for `--data.batch_size=8`."""
    return reduce(lambda inner, name: {name: inner}, reversed(names), value)


def _names(option: str) -> list[str]:
    """Return the keys that lead to an option in a file."""
    return (
        re.sub(rf"^--({'|'.join(CLASSES)})\.(?!({'|'.join(SPEC)})\b)", r"\1.init_args.", option).lstrip("-").split(".")
    )


def _config_path(name: str) -> Path:
    """Return the file that a `--config` stands for: its path, or the name of a preset."""
    with suppress(OSError, ValueError):  # a word that no file can be called
        if Path(name).is_file():
            return Path(name)
    known = {preset: path for preset, path in presets().items() if preset != "default"}
    if name in known:
        return known[name]
    meant = [preset for preset in known if set(name.split("-")) <= set(preset.split("-"))]
    hint = f"; did you mean {min(meant, key=len)!r}?" if meant else near(name, known)
    raise UsageError(f"--config {name}: there is no such file or preset{hint or '; presets: ' + ', '.join(known)}")


def _of_file(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Return what a file says."""
    source = f"--config {path}"
    layer = _options(path, source)
    for name in ("config", "resume"):
        if layer.get(name) is not None:
            raise UsageError(f"{source}: {name} (={layer[name]}) must be given on the command line, not in a file.")
    layer = _spelled(layer, f"{source}: ", path.parent)
    for name, value in layer.items():
        for option in [f"{name}.{inner}" for inner in value] if name in GROUPS else [name]:
            _check_known(f"--{option}", known)
    return layer


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
    """Return how a class is named, with its arguments."""
    if isinstance(value, str):
        value = _parsed(value, where) if value.startswith("{") or value == "null" else {"class_path": value}
    if group in ("scheduler", "data.curriculum") and value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("class_path", ""), str):
        raise UsageError(f"{where} must be a class, not {value!r}.")
    if loose := [str(name) for name in value if name not in SPEC]:
        raise UsageError(f"{where} must have a class_path, and {', '.join(loose)} in init_args.")
    spec = {
        name: _options(inner, f"{where}.{name}")
        for name, inner in value.items()
        if name != "class_path" and inner is not None
    }
    return {"class_path": class_path(group, value["class_path"]), **spec} if "class_path" in value else spec


def _options(value: Any, where: str) -> dict[str, Any]:
    """Return options by name: those of a file, of a text of YAML, or as they are."""
    value = _parsed(value, where)
    if not isinstance(value, dict):
        raise UsageError(f"{where} must hold options by name, not {value!r}.")
    return {str(name): inner for name, inner in value.items()}


def _parsed(value: Any, where: str) -> Any:
    """Return what a file or a text of YAML holds, and anything else as it is."""
    with explained(f"{where}: "):
        return read_yaml(value) if isinstance(value, Path) else parse_yaml(value) if isinstance(value, str) else value


def _with_shared_arguments(said: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """Return what was said, where another class of a layer keeps the arguments that it has as well."""
    for group in layer.keys() & said.keys() & {*CLASSES}:
        before, now = {"class_path": None, **(said[group] or {})}, (layer[group] or {}).get("class_path")
        if now and before["class_path"] != now:
            options = before.get("init_args", {})
            shared = arguments(now) if before["class_path"] else options
            kept = {name: value for name, value in options.items() if name in shared}
            said = {**said, group: {**before, "class_path": now, "init_args": kept}}
    return said


def _check_not_replaced(words: list[tuple[str, str]], mapping: dict[str, Any]) -> None:
    """Raise `UsageError` for an argument of a class that the command line then replaces by one without it."""
    for option, _ in words:
        group, inner, name, *_ = [*_names(option), "", ""]
        spec = mapping.get(group) or {}
        if group in CLASSES and inner == "init_args" and name and name.rstrip("+") not in spec.get("init_args", {}):
            made = str(spec.get("class_path")).rpartition(".")[2]
            raise UsageError(f"{option} cannot be given: the {group} is then set to {made}, which has no such option.")
