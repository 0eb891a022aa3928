"""What a run refuses before it changes anything in its folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
from torch import nn
from torch.nn.parameter import is_lazy

from lightning_ntm.evaluation.contents import changed_file
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import CONFIG_BYTES, read_text
from lightning_ntm.records.parsing import parse_yaml
from lightning_ntm.records.writing import is_link
from lightning_ntm.tasks.base import Task


def check_same_data(task: Task, folder: RunFolder) -> None:
    """Raise `ValueError` unless a task has the data that a run was trained on."""
    if fault := changed_file(task, folder.notes(), "train", "validation"):
        raise ValueError(f"{folder.path} cannot be resumed: {fault}")
    for note in folder.notes():
        if (version := note.get("task_version")) not in (None, task.version):
            raise ValueError(
                f"{folder.path} was trained on version {version} of {type(task).__name__}'s data; "
                f"this is version {task.version}."
            )


def check_sizes(model: nn.Module) -> None:
    """Raise `ValueError` where a parameter has no size yet, as one of `nn.LazyLinear` before the first call."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise ValueError(
                f"{name} of {type(model).__name__} has no size before the first call (a lazy module of PyTorch, such "
                "as nn.LazyLinear): give its size in the constructor, for example by nn.Linear."
            )


def backend_of(trainer: L.Trainer, model: MemoryModel[Any], task: Task) -> str:
    """Return the backend that runs sequences of a task, where the network is now and in the precision of the trainer.

    Raises:
        ValueError: The backend that was asked for by name cannot run them.
    """
    inputs = next(model.parameters()).new_zeros(1, 1, task.input_size)
    with trainer.precision_plugin.forward_context():
        backend = model.backend_for(inputs)
        if model.backend not in ("auto", backend):
            model(inputs)  # raises the error that gives the reason
    return backend


def check_further(trainer: L.Trainer, step: int, folder: RunFolder, *, saves: bool) -> None:
    """Raise `ValueError` unless a run can be resumed at a step, and saves what it trains."""
    if not saves:
        raise ValueError(
            "enable_checkpointing (=False) cannot be set when a run is resumed: "
            f"its kept weights and its state would stay those of step {step}."
        )
    if 0 <= trainer.max_steps < step:
        raise ValueError(f"max_steps (={trainer.max_steps}) must be at least {step}, the step of {folder.path}.")


def check_stop(stop_when_solved: int, trainer: dict[str, Any]) -> None:
    """Raise `ValueError` where a training is to end by its validations and has none."""
    if stop_when_solved and trainer.get("limit_val_batches") == 0:
        raise ValueError(
            f"stop_when_solved (={stop_when_solved}) needs validations; limit_val_batches (=0) of the Trainer leaves "
            "them out."
        )


#: Options of the Trainer that end a training, or leave nothing to train.
_LIMITS = ("max_steps", "max_epochs", "max_time", "limit_train_batches")


def check_left(folder: RunFolder, config: str, step: int, *, resume: bool) -> None:
    """Raise `ValueError` where a run that trained nothing was asked for more than the end that it had before."""
    now, before = _limits(config), _limits(read_text(folder.config, CONFIG_BYTES)) if resume else {}
    if not resume or now != before:
        asked = ", ".join(f"{name} (={value})" for name, value in now.items() if value != before.get(name))
        raise ValueError(f"nothing is left to train at step {step} of {folder.path}{asked and f' with {asked}'}.")


def _limits(config: str) -> dict[str, Any]:
    found = parse_yaml(config)
    trainer = found.get("trainer") if isinstance(found, dict) else None
    options = trainer if isinstance(trainer, dict) else {}
    return {name: options[name] for name in _LIMITS if options.get(name) not in (None, -1)}


def check_links(trainer: L.Trainer, folder: Path) -> None:
    """Raise `ValueError` where loggers, callbacks or a profiler would write through a link in a run folder."""
    parts = [*trainer.loggers, *trainer.callbacks, trainer.profiler]  # type: ignore[attr-defined]
    for part in parts:
        for name in ("dirpath", "log_dir" if hasattr(part, "log_dir") else "save_dir"):
            written = getattr(part, name, None)
            for path in _below(Path(os.path.abspath(written)), folder) if isinstance(written, (str, Path)) else ():
                if is_link(path):
                    raise ValueError(f"{path} is a symbolic link; {type(part).__name__} would write through it.")


def _below(directory: Path, folder: Path) -> Iterator[Path]:
    """Yield the folders from a run folder down to a directory in it, and what is in the directory."""
    above = [directory, *directory.parents]
    depth = next((i for i, path in enumerate(above) if path.exists() and path.samefile(folder)), None)
    if depth is None:
        return
    yield from reversed(above[:depth])
    if directory.is_dir():
        yield from directory.iterdir()
