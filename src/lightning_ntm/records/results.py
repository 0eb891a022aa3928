"""The evaluations of the kept weights of a run: `evaluation.json`."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from lightning_ntm.records.files import read_object
from lightning_ntm.records.locks import held_for_change
from lightning_ntm.records.parsing import as_json, is_count, is_measure
from lightning_ntm.records.writing import write_whole

_MOST = 2000  # rows; a figure has a place for each
_MOST_TEXT = 50  # characters in the name of a range
#: Texts in a row: the part of the answer, and of a user's file its name and SHA-256.
_TEXTS = ("answer", "on", "sha256")


class Kept(NamedTuple):
    """The evaluations of a run.

    Args:
        step: Step of the weights; `None` if it is not known.
        rows: A row for each difficulty.
        version: Version of the episodes; 0 without any evaluation.
        ranges: What `evaluate_range` returns for each range of lengths, the latest last.
    """

    step: int | None
    rows: list[dict[str, Any]]
    version: int
    ranges: list[dict[str, Any]]


def read(path: Path) -> Kept:
    """Return the evaluations in a file; none if there is no file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    if not path.exists():
        return Kept(None, [], 0, [])
    found = read_object(path)
    rows, ranges = found.get("results"), found.get("ranges", [])  # earlier versions have no ranges
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise ValueError(f"{path.name} is damaged: it has no list of results.")
    if not isinstance(ranges, list) or not all(map(_is_range, ranges)):
        raise ValueError(f"{path.name} is damaged: its ranges are no list of ranges.")
    if max(len(rows), sum(len(one["results"]) for one in ranges)) > _MOST:
        raise ValueError(f"{path.name} is damaged: it has more than {_MOST:,} results.")
    version = found.get("version", 1)  # the first version was not written
    if not is_count(version):
        raise ValueError(f"{path.name} is damaged: its version (={version!r}) is no number.")
    return Kept(found.get("step"), rows, version, ranges)


def add(
    path: Path, step: int, rows: list[dict[str, Any]], version: int, ranges: list[dict[str, Any]] | None = None
) -> None:
    """Add rows to those of other difficulties, and ranges to others. Other processes may do so at the same time.

    Args:
        path: The file.
        step: Step of the weights; evaluations of another step are dropped.
        rows: A row for each difficulty.
        version: Version of the episodes; evaluations of another version are dropped.
        ranges: What `evaluate_range` returns. The oldest are dropped where there are too many lengths.

    Raises:
        OSError: The file cannot be written.
    """
    with held_for_change(path):
        _add(path, step, rows, version, ranges)


def _add(path: Path, step: int, rows: list[dict[str, Any]], version: int, ranges: list[dict[str, Any]] | None) -> None:
    try:
        before = read(path)
    except ValueError:
        before = Kept(None, [], 0, [])
    if (before.step, before.version) != (step, version):
        before = Kept(step, [], version, [])
    whole = {
        "step": step,
        "version": version,
        "results": _latest([*before.rows, *rows], _asked)[-_MOST:],
    }
    if kept := _latest([*before.ranges, *(ranges or [])], _range):
        whole["ranges"] = _within(kept)
    # Without line breaks, as many lengths as there may be have less than the bytes that a reader takes.
    write_whole(path, as_json(whole, indent=None if "ranges" in whole else 2) + "\n")


def _latest(values: list[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
    """Return the last value of each key, in the order in which these came."""
    kept: dict[str, dict[str, Any]] = {}
    for value in values:
        kept.pop(key(value), None)
        kept[key(value)] = value
    return list(kept.values())


def _asked(row: dict[str, Any]) -> str:
    """Return what a row is of: its difficulty, and which file, since several may have one name."""
    difficulty = {name: value for name, value in difficulty_of(row).items() if value != "whole"}
    return as_json([difficulty, row.get("sha256")])


def _range(one: dict[str, Any]) -> str:
    return as_json([one["range"], one.get("memory_slots")])


def _within(ranges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last ranges that together have at most `_MOST` lengths."""
    total = 0
    for number, one in enumerate(reversed(ranges)):
        total += len(one["results"])
        if total > _MOST:
            return ranges[len(ranges) - number :]
    return ranges


def _is_row(row: Any) -> bool:
    """Return whether a row holds numbers, and no texts but those of `_TEXTS`."""
    return (
        isinstance(row, dict)
        and all(is_measure(value) for name, value in row.items() if name not in _TEXTS)
        and all(isinstance(row.get(name, ""), str) for name in _TEXTS)
    )


def _is_range(one: Any) -> bool:
    """Return whether a value holds a row for each length of a range, ascending, and otherwise numbers and its name."""
    if not isinstance(one, dict) or not isinstance(rows := one.get("results"), list):
        return False
    numbers = [value for name, value in one.items() if name not in ("range", "results")]
    counts = [one.get(name) for name in ("training_length", "skipped", "sequences")]
    if not (rows and all(map(_is_row, rows)) and all(map(is_measure, numbers)) and all(map(is_count, counts))):
        return False
    lengths = [row.get("length") for row in rows]
    ascend = all(map(is_count, lengths)) and all(a < b for a, b in pairwise(lengths))
    name = one.get("range")
    named = isinstance(name, str) and 0 < len(name) <= _MOST_TEXT
    return named and ascend and is_count(one.get("memory_slots", 0))


def difficulty_of(row: dict[str, Any]) -> dict[str, int | str]:
    """Return the difficulty in a row: its whole numbers and texts, without `sequences` and `sha256`."""
    others = ("sequences", "sha256")
    return {name: value for name, value in row.items() if isinstance(value, int | str) and name not in others}
