"""What a user says to `ntm train`: the command line and its YAML files as one plain mapping."""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning_ntm.cli.classes import arguments, class_path
from lightning_ntm.cli.words import UsageError, explained, near
from lightning_ntm.recipes import overlay, presets
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import read_yaml
from lightning_ntm.records.parsing import parse_yaml

CLASSES, _GROUPS = ("model", "task", "optimizer", "scheduler"), ("data", "trainer")
_SPEC = ("class_path", "init_args", "dict_kwargs")


class Said(NamedTuple):
    """What a user says. Later files and words override earlier ones.

    Args:
        mapping: All options, as in one YAML file; values from the command line are text.
        words: Options and values of the command line alone.
        own: First names of the options set on the command line or in files other than presets.
        whole: A file is a configuration of its own: it names task and network, and arguments of theirs.
        printing: Words that ask for a text instead of a training, such as `--help-all`.
        resumed: The run folder to resume.
    """

    mapping: dict[str, Any]
    words: list[tuple[str, str]]
    own: set[str]
    whole: bool
    printing: list[str]
    resumed: RunFolder | None

    def named(self, option: str) -> Any:
        """Return the import path of the class that is named for an option, or None."""
        return (self.mapping.get(option) or {}).get("class_path")

    def in_words(self, option: str) -> bool:
        """Return whether the command line itself sets an option."""
        return any(word.replace(".init_args", "").removesuffix(".class_path") == option for word, _ in self.words)


def read(argv: list[str], known: Collection[str]) -> Said:
    """Return what a command line and its files say, where `known` are the options by dotted name."""
    words = list(_pairs(argv, known))
    printing = [_printing(*word) for word in words if _prints(word[0])]
    words, resumed = _resumed([word for word in words if not _prints(word[0])])
    mapping: dict[str, Any] = {}
    own: set[str] = set()
    whole = resumed is not None
    for option, value in words:
        if option not in ("--config", "-c"):
            mapping = _with_word(mapping, option[2:].split("."), value)
            own.add(option[2:].partition(".")[0])
            continue
        path = _config_path(value)
        layer = _file(path, known)
        mapping = _with_layer(mapping, layer)
        own |= set() if path in presets().values() else layer.keys()
        specs = [layer.get(group) or {} for group in ("model", "task")]
        whole |= all("class_path" in spec for spec in specs) and any("init_args" in spec for spec in specs)
    _check_kept(words, mapping)
    return Said(mapping, words, own, whole, printing, resumed)


def _check_kept(words: list[tuple[str, str]], mapping: dict[str, Any]) -> None:
    """Raise `UsageError` for an argument of a class that the command line then replaces by one without it."""
    for option, _ in words:
        group, *names = option[2:].rstrip("+").replace(".init_args", "").split(".")
        if group not in CLASSES or not names or names[0] in _SPEC:
            continue
        spec = mapping.get(group) or {}
        if names[0] not in (spec.get("init_args") or {}):
            name = str(spec.get("class_path")).rpartition(".")[2]
            raise UsageError(f"{option} cannot be given: the {group} is then set to {name}, which has no such option.")


def _prints(option: str) -> bool:
    return option in ("--help-all", "--print_config") or option.endswith(".help")


def _printing(option: str, value: str) -> str:
    group = option[2:].removesuffix(".help")
    return f"{option}={class_path(group, value) if group in CLASSES else value}" if value else option


def _pairs(argv: list[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield options with their values, which follow an equals sign or are the next word."""
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if not word:
            raise UsageError("an argument is empty (unset shell variable?).")
        _check_known(option, known)
        if not equals and option not in ("--help-all", "--print_config"):
            value = next(words, "" if option.endswith(".help") else "--")
            if value.startswith("-") and not re.fullmatch(r"-\d*\.?\d+", value):
                number = re.match(r"-[\d.]", value)
                raise UsageError(f"write {option}={value}." if number else f"{option} needs a value.")
        if not (value or _prints(option) or option.startswith(("--model.", "--task."))):
            raise UsageError(f"{option} needs a value.")
        yield option, value


def _check_known(option: str, known: Collection[str]) -> None:
    names = option.removeprefix("--").split(".")
    names[1:] = [name.removesuffix("+") for name in names[1:]]
    above = {".".join(names[:count]) for count in range(1, len(names) + 1)}
    if names[1:]:
        above -= set(_GROUPS)  # their options have two names
    if option != "-c" and not (option.startswith("--") and above & {*known} and all(names)):
        raise UsageError(f"unknown option {option}{near(option, [f'--{name}' for name in known])}")


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


def _file(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Return what a file says, with names of classes written out and files that it names read."""
    source = f"--config {path}: "
    layer = _loaded(path, source)
    for name in ("config", "resume"):
        if layer.get(name) is not None:
            raise UsageError(f"{source}{name} (={layer[name]}) must be given on the command line, not in a file.")
    for group in layer.keys() & {*CLASSES, *_GROUPS}:
        layer[group] = _spec(group, layer[group], source, path.parent)
    for name, value in layer.items():
        for option in [f"{name}.{inner}" for inner in value] if name in _GROUPS else [name]:
            _check_known(f"--{option}", known)
    return layer


def _loaded(path: Path, source: str) -> dict[str, Any]:
    with explained(source):
        read = read_yaml(path)
    if not isinstance(read, dict):
        raise UsageError(f"{source}not a configuration, but {type(read).__name__}.")
    return {str(name): value for name, value in read.items()}


def _spec(group: str, value: Any, source: str, folder: Path) -> dict[str, Any] | None:
    """Return what is said of a class, `data` or `trainer`, as a mapping; a file or a text of YAML may hold it."""
    if isinstance(value, str) and value.endswith((".yaml", ".yml", ".json")):
        value = _loaded(folder / value, f"{source}{group} {value}: ")
    elif isinstance(value, str) and (group in _GROUPS or value.startswith("{")):
        with explained(f"{source}{group}: "):
            value = parse_yaml(value)
    elif isinstance(value, str) and (group, value) != ("scheduler", "null"):
        value = {"class_path": value}
    if group == "scheduler" and value in (None, "null"):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("class_path", ""), str):
        kind = "hold options by name" if group in _GROUPS else "be a class"
        raise UsageError(f"{source}{group} must {kind}, not {value!r}.")
    if group in _GROUPS:
        return {str(name): inner for name, inner in value.items()}
    if loose := [str(name) for name in value if name not in _SPEC]:
        raise UsageError(f"{source}{group} must have a class_path, and {', '.join(loose)} in init_args.")
    spec = {name: value[name] for name in value if name == "class_path" or value[name] is not None}
    for name in spec.keys() - {"class_path"}:
        if not isinstance(spec[name], dict):
            raise UsageError(f"{source}{group}.{name} must hold options by name, not {spec[name]!r}.")
    return {**spec, "class_path": class_path(group, spec["class_path"])} if "class_path" in spec else spec


def _with_layer(said: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """Return what was said, with more on top; another class keeps those of the arguments that it has as well."""
    for group in layer.keys() & set(CLASSES):
        before, now = dict(said.get(group) or {}), (layer[group] or {}).get("class_path")
        if before and now and now != (other := before.pop("class_path", None)):
            options = before.get("init_args", {})
            shared = options.keys() & arguments(now) if other else options.keys()
            before["init_args"] = {name: value for name, value in options.items() if name in shared}
            said = {**said, group: {"class_path": now, **before}}
    return dict(overlay(said, layer))


def _with_word(said: dict[str, Any], names: list[str], value: str) -> dict[str, Any]:
    """Return what was said, with the value of an option on top."""
    group, *rest = names
    if group in (*CLASSES, *_GROUPS) and rest in ([], ["class_path"]):
        return _with_layer(said, {group: _spec(group, value, "--", Path())})
    if group in CLASSES and rest == ["init_args"]:
        with explained(f"--{group}.init_args: "):
            return _with_layer(said, {group: _spec(group, {"init_args": parse_yaml(value)}, "--", Path())})
    if group in CLASSES and rest[0] not in _SPEC:
        rest = ["init_args", *rest]
    return dict(_within(said, [group, *rest], value))


def _within(under: Any, names: list[str], value: str) -> Any:
    """Return what was said with a value put at dotted names: an argument of a class, or of the last class of a list."""
    if not names:
        return value
    if isinstance(under, str):
        with explained():
            under = parse_yaml(under) if under.startswith(("{", "[")) else {"class_path": under}
    if isinstance(under, list):
        return [*under[:-1], _within(under[-1] if under else None, names, value)]
    under = dict(under) if isinstance(under, dict) else {}
    name, *rest = names
    if name.endswith("+"):
        before = under.get(name[:-1]) or []
        return {**under, name[:-1]: [*(before if isinstance(before, list) else [before]), value]}
    if "class_path" in under and name not in _SPEC:
        name, rest = "init_args", names
    return {**under, name: _within(under.get(name), rest, value)}
