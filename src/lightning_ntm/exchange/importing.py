"""Makes a run folder of a network that another program trained."""

import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_ntm.evaluation.build import build
from lightning_ntm.evaluation.weights import kept_config, save_weights
from lightning_ntm.exchange.checkpoints import Checkpoint, read
from lightning_ntm.exchange.peer_tasks import ColumnSort, FlaggedCopy, ScaledRepeatCopy
from lightning_ntm.exchange.peers import convert
from lightning_ntm.models.arguments import described
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import RunFolder, as_json, write_whole
from lightning_ntm.tasks.associative_recall import AssociativeRecall
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.copy import Copy
from lightning_ntm.tasks.repeat_copy import RepeatCopy
from lightning_ntm.tasks.sequences import sha256_of
from lightning_ntm.version import installed

#: Mean and standard deviation with which ntm-pytorch scales 1 to 10 repeats; the true mean is 5.5.
_SCALED = {"offset": 4.5, "scale": 8.25**0.5}


class _Known(NamedTuple):
    """A task of an implementation, made from the number of outputs; `bits` are those of its published settings."""

    make: Callable[[int], Task]
    bits: int


_REPEATED = _Known(lambda outputs: RepeatCopy(outputs - 1), 8)
_OURS = {"Copy": _Known(Copy, 8), "RepeatCopy": _REPEATED}
#: By implementation: its tasks, under the names of the package.
TASKS: dict[str, dict[str, _Known]] = {
    "pytorch-ntm": _OURS,
    "lightning-ntm": _OURS,
    "clemkoa-ntm": {"Copy": _Known(Copy, 8), "RepeatCopy": _Known(lambda outputs: ScaledRepeatCopy(outputs - 1), 8)},
    "vlgiitr-ntm": {
        "Copy": _Known(FlaggedCopy, 8),
        "RepeatCopy": _Known(lambda outputs: ScaledRepeatCopy(outputs - 1, flag_first=True, **_SCALED), 8),
        "AssociativeRecall": _Known(AssociativeRecall, 6),
        "PrioritySort": _Known(ColumnSort, 8),
    },
}
#: The task in the options of a checkpoint of lightning-ntm.
_NAMED = {"copy": "Copy", "repeat-copy": "RepeatCopy"}


class Imported(NamedTuple):
    """A run folder that was made, its network and task, and what a user should know of them."""

    folder: Path
    network: MemoryModel[Any]
    task: Task
    notes: tuple[str, ...]


def import_run(
    path: Path, kind: str, folder: Path, *, task: str | None = None, write_follows_read: bool | None = None
) -> Imported:
    """Make a run folder of a checkpoint; nothing is written if anything is wrong.

    Args:
        path: The checkpoint.
        kind: The implementation that wrote it: a name in `TASKS`.
        folder: The run folder, which must not exist.
        task: Name of the task, as `Copy`, or the import path of one's own; by default what the checkpoint or the sizes
            of the network say.
        write_follows_read: For clemkoa-ntm only, and needed there: whether the write head interpolates with the
            previous weighting of the read head, as before its commit 723d4eb.

    Raises:
        OSError: The checkpoint cannot be read, or the folder not be written.
        ValueError: The checkpoint is damaged or of another implementation, an option is missing or not for this
            implementation, or there is no checkpoint, or the folder exists.
    """
    _check_option(kind, write_follows_read)
    _check_file(path, kind)
    if folder.exists():
        raise ValueError(f"run folder {folder} exists; choose another --name.")
    checkpoint = read(path)
    try:
        options = {"write_follows_read": bool(write_follows_read)} if kind == _TWO_CODES else {}
        network, notes = convert(checkpoint.tensors, kind, options)
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported: {error}{_of_run(path)}") from None
    if kind == _TWO_CODES and write_follows_read is None:
        raise ValueError(
            "a checkpoint of clemkoa-ntm does not tell which code trained it: give --write_follows read for code "
            "before its commit 723d4eb, as that of the published checkpoints, or --write_follows write for later code."
        )
    found = _task(network, kind, checkpoint, task)
    _write(
        folder, network, found, checkpoint.step, {"imported_from": kind, "file": path.name, "sha256": sha256_of(path)}
    )
    return Imported(folder, network, found, notes)


def _check_file(path: Path, kind: str) -> None:
    if not path.exists():
        raise ValueError(f"checkpoint {path} does not exist.")
    if (path / "config.yaml").is_file() or (path / "config.json").is_file():
        raise ValueError(
            f"{path} is a folder of this package: ntm evaluate, figure, explore, export and report take it as it is."
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file of {kind}, written by torch.save.")


def _of_run(file: Path) -> str:
    """Return a hint if a file is in a run folder of this package."""
    ours = (file.parent / "config.yaml").is_file()
    return f" It belongs to the run folder {file.parent}, which other verbs of ntm take as it is." if ours else ""


#: The implementation whose checkpoints may be of two versions of its code.
_TWO_CODES = "clemkoa-ntm"


def _check_option(kind: str, write_follows_read: bool | None) -> None:
    if kind != _TWO_CODES and write_follows_read is not None:
        raise ValueError(f"--write_follows is for clemkoa-ntm only, not for {kind}.")


def _task(network: MemoryModel[Any], kind: str, checkpoint: Checkpoint, asked: str | None) -> Task:
    sizes = (network.input_size, network.output_size)
    told = checkpoint.options.get("task")
    name = asked or (_NAMED.get(told) if isinstance(told, str) else None)
    known = TASKS[kind]
    if name is not None:
        made = known[name].make(network.output_size) if name in known else _own(name, known)
        if (made.input_size, made.output_size) != sizes:
            raise ValueError(
                f"--task (={name}) has {made.input_size} inputs and {made.output_size} outputs; the network has "
                f"{sizes[0]} and {sizes[1]}."
            )
        return made
    usual = {name: one.make(one.bits + (name == "RepeatCopy")) for name, one in known.items()}
    fitting = [made for made in usual.values() if (made.input_size, made.output_size) == sizes]
    if len(fitting) != 1:
        raise ValueError(
            f"the network has {sizes[0]} inputs and {sizes[1]} outputs, which no task of {kind} has in its published "
            f"settings: give --task, {', '.join(known)}, or the import path of a task of your own."
        )
    return fitting[0]


def _own(name: str, known: dict[str, _Known]) -> Task:
    if "." not in name:
        raise ValueError(f"--task (={name!r}) must be one of {', '.join(known)}, or an import path as my_task.Mine.")
    made: Task = build({"class_path": name}, Task)
    return made


def _write(folder: Path, network: MemoryModel[Any], task: Task, step: int, origin: dict[str, Any]) -> None:
    """Write a run folder beside its place, and rename it."""
    config = _config(folder, network, task)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        run = RunFolder(beside)
        write_whole(run.config, config)
        write_whole(run.measures, as_json(task.answer.measures.as_object(), indent=2) + "\n")
        write_whole(run.metrics, "")
        run.note(_about(network, task, origin))
        save_weights(network, run.best, step=step, config=kept_config(config))
        write_whole(run.result, as_json({"step": step, "sequences": 0, "seconds": 0.0, "best": {}}, indent=2) + "\n")
        beside.chmod(0o755)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _config(folder: Path, network: MemoryModel[Any], task: Task) -> str:
    arguments = {name: value for name, value in network.arguments().items() if not name.endswith("put_size")}
    room = "lightning_ntm" if type(network).__module__.startswith("lightning_ntm.models") else "lightning_ntm.exchange"
    config = {
        "name": folder.name,
        "runs": str(folder.parent),
        "seed": 1,
        "model": {"class_path": f"{room}.{type(network).__name__}", "init_args": arguments},
        "task": described(task),
    }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _about(network: MemoryModel[Any], task: Task, origin: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {name: installed(name) for name in ("lightning-ntm", "torch")},
        **origin,
        "task_version": task.version,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
