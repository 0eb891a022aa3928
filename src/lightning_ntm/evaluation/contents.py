"""Whether the files that a run was trained on are what they were."""

from pathlib import Path
from typing import Any

from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.sequences import sha256_of


def contents(task: Task) -> dict[str, dict[str, str]]:
    """Return what a run notes of the files of its task: the SHA-256 of each; nothing for a task without files."""
    return {"files": {name: sha256_of(path) for name, path in task.files.items()}} if task.files else {}


def changed_file(task: Task, notes: list[dict[str, Any]], *names: str) -> str | None:
    """Return what says that a file is not what it was in the last training; `None` if all that are there are.

    Args:
        task: The task of the run.
        notes: What the run noted, oldest first.
        names: Which of its files, as `train`.
    """
    noted: dict[str, Any] = next((note["files"] for note in reversed(notes) if isinstance(note.get("files"), dict)), {})
    for name in names:
        path = task.files.get(name)
        if path and name in noted and Path(path).is_file() and sha256_of(path) != noted[name]:
            return f"{name} (={path}) has changed since the training: its SHA-256 was {noted[name]}."
    return None
