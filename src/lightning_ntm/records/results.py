"""The evaluations of the kept weights of a run: `evaluation.json`."""

from pathlib import Path
from typing import Any

from lightning_ntm.records.files import read_object
from lightning_ntm.records.parsing import as_json, is_count, is_measure
from lightning_ntm.records.writing import write_whole

_MOST = 2000  # rows; a figure has a place for each
#: Texts in a row: the part of the answer, and of a user's file its name and SHA-256.
_TEXTS = ("answer", "on", "sha256")


def read(path: Path) -> tuple[int | None, list[dict[str, Any]], int]:
    """Return the step of the weights, a row for each difficulty, and the version of the episodes.

    Without a file there are no rows and the version is 0.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    if not path.exists():
        return None, [], 0
    found = read_object(path)
    rows = found.get("results")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise ValueError(f"{path.name} is damaged: it has no list of results.")
    if len(rows) > _MOST:
        raise ValueError(f"{path.name} is damaged: it has more than {_MOST:,} results.")
    version = found.get("version", 1)  # the first version was not written
    if not is_count(version):
        raise ValueError(f"{path.name} is damaged: its version (={version!r}) is no number.")
    return found.get("step"), rows, version


def add(path: Path, step: int, rows: list[dict[str, Any]], version: int) -> None:
    """Add rows to those of other difficulties.

    Args:
        path: The file.
        step: Step of the weights; rows of another step are dropped.
        rows: A row for each difficulty.
        version: Version of the episodes; rows of another version are dropped.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        of, before, drawn = read(path)
    except ValueError:
        of, before, drawn = None, [], None
    kept: dict[str, dict[str, Any]] = {}
    for row in [*(before if (of, drawn) == (step, version) else []), *rows]:
        difficulty = {name: value for name, value in difficulty_of(row).items() if value != "whole"}
        kept.pop(as_json(difficulty), None)  # the latest row comes last
        kept[as_json(difficulty)] = row
    whole = {"step": step, "version": version, "results": list(kept.values())[-_MOST:]}
    write_whole(path, as_json(whole, indent=2) + "\n")


def _is_row(row: Any) -> bool:
    """Return whether a row holds numbers, and no texts but those of `_TEXTS`."""
    return (
        isinstance(row, dict)
        and all(is_measure(value) for name, value in row.items() if name not in _TEXTS)
        and all(isinstance(row.get(name, ""), str) for name in _TEXTS)
    )


def difficulty_of(row: dict[str, Any]) -> dict[str, int | str]:
    """Return the difficulty in a row: its whole numbers and texts, without `sequences` and `sha256`."""
    others = ("sequences", "sha256")
    return {name: value for name, value in row.items() if isinstance(value, int | str) and name not in others}
