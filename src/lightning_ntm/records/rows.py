"""The rows of `metrics.jsonl`."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_ntm.records.files import open_regular, whole_lines
from lightning_ntm.records.parsing import is_count


def read(path: Path) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """Yield the whole lines of a file and their rows, oldest first, some thousands at a time.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is not a JSON object with a step.
    """
    if not path.exists():
        return
    number = 1
    for lines in whole_lines(path):
        rows = _parsed(f"[{','.join(lines)}]")  # parsing many lines at once is faster
        if rows is None or len(rows) != len(lines):
            _refuse(path, lines, number)
        yield lines, rows or []
        number += len(lines)


def _refuse(path: Path, lines: list[str], number: int) -> None:
    """Name the first damaged line."""
    wrong = next((place for place, line in enumerate(lines) if not _parsed(f"[{line}]")), 0)
    raise ValueError(f"{path}, line {number + wrong}, is damaged: it is no JSON object with a step.")


def latest(path: Path, size: int) -> list[dict[str, Any]]:
    """Return the rows of the whole lines in the last `size` bytes, oldest first, without damaged lines."""
    if not path.exists():
        return []
    with open_regular(path, sys.maxsize) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - size))
        lines = file.read(size).decode(errors="replace").split("\n")
    return [row for line in lines[:-1] for row in _parsed(f"[{line}]") or []]


def _parsed(text: str) -> list[dict[str, Any]] | None:
    """Return the rows in a JSON list; `None` if it is not a list of rows."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return rows if all(isinstance(row, dict) and is_count(row.get("step")) for row in rows) else None
