"""What texts in run folders say. A folder may come from anybody: what is parsed is bounded in depth and size."""

import json
import math
from collections.abc import Iterator
from typing import Any, TypeGuard

import yaml

from lightning_ntm.measures import LARGEST_MEASURE

_DEEPEST = 32  # lists and mappings within each other; a configuration has about eight
_ALIASED = 10_000  # nodes that aliases may stand for, all together
LARGEST = 10**15  # steps and sequences


def parse_yaml(text: str) -> Any:
    """Return what a text of YAML says, with the quick parser where PyYAML has it.

    Raises:
        ValueError: It is none, is nested too deeply, a mapping has a key twice, or its aliases are cyclic or stand for
            too much.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        wrong = _too_much(yaml.parse(text, Loader=loader)) or _repeated(yaml.parse(text, Loader=loader))
        read = None if wrong else yaml.load(text, Loader=loader)
    except Exception as error:  # PyYAML raises whatever a tag with the wrong value leads it to
        wrong = f"not YAML: {' '.join(str(error).split()) or type(error).__name__}"
    if wrong:
        raise ValueError(wrong)
    return read


def _too_much(events: Iterator[Any]) -> str | None:
    """Return what would crash this process or fill its memory when it is composed, or when somebody walks it."""
    count, aliased = 0, 0
    open_nodes: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}  # of whole nodes, by anchor, with what their aliases stand for
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"not YAML: the alias {event.anchor} has no anchor, or stands within it"
            count, aliased = count + sizes[event.anchor], aliased + sizes[event.anchor]
            if aliased > _ALIASED:
                return f"too large: aliases stand for more than {_ALIASED:,} nodes"
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(open_nodes) == _DEEPEST:
                return f"nested deeper than {_DEEPEST} levels"
            open_nodes.append((event.anchor, count))
            sizes.pop(event.anchor or "", None)
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
    return None


def _repeated(events: Iterator[Any]) -> str | None:
    """Return which key a mapping has twice; readers of YAML take the last of them without a word.

    A merge (`<<`) may stand there twice, and the options that it brings may be set again.
    """
    lines: list[dict[str, int] | None] = []  # of the keys of each open mapping; `None` for a list
    is_value: list[bool] = []  # whether the next node in each is the value of a key
    for event in events:
        if isinstance(event, yaml.NodeEvent) and lines and (keys := lines[-1]) is not None:
            if not is_value[-1] and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
                line = event.start_mark.line + 1 if event.start_mark else 0
                if event.value in keys:
                    return f"ambiguous: line {line} repeats the key {event.value[:50]!r} of line {keys[event.value]}"
                keys[event.value] = line
            is_value[-1] = not is_value[-1]
        if isinstance(event, yaml.CollectionStartEvent):
            lines.append({} if isinstance(event, yaml.MappingStartEvent) else None)
            is_value.append(False)
        elif isinstance(event, yaml.CollectionEndEvent):
            lines.pop()
            is_value.pop()
    return None


def kind_of_yaml(value: Any) -> str:
    """Return what a value of YAML is, in words."""
    return "empty" if value is None else _KINDS.get(type(value), "of another kind")


_KINDS = {
    dict: "a mapping",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def parse_json(text: str) -> Any:
    """Return what a text of JSON says, as `shown_value`; `None` if it is none, or nested too deeply."""
    try:
        return shown_value(json.loads(text))
    except (ValueError, RecursionError):
        return None


def shown_value(value: Any, levels: int = _DEEPEST) -> Any:
    """Return a value as JSON could hold it, whose texts can be shown and written anywhere.

    Raises:
        ValueError: It is nested too deeply.
    """
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, int | float):
        return value
    if not levels:
        raise ValueError(f"nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        return {printable(str(key)): shown_value(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [shown_value(inner, levels - 1) for inner in value]
    return printable(str(value))


def printable(text: str) -> str:
    """Return a text whose control characters, and others that cannot be shown or encoded, are written as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a number of steps or the like."""
    return type(value) is int and 0 <= value <= LARGEST


def is_measure(value: Any) -> TypeGuard[float | None]:
    """Whether a value was measured: a number, or null for one that was not finite."""
    return value is None or (type(value) in (int, float) and not abs(value) > LARGEST_MEASURE)


def as_json(value: Any, indent: int | None = None) -> str:
    """Return JSON; numbers that are not finite, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def as_embedded(value: Any) -> str:
    """Return JSON for an element of a web page: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
