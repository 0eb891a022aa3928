"""From a saved configuration back to objects, and from a run folder to a trained network."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.base import Task
from lightning_ntm.training.weights import load_weights


class TrainedRun(NamedTuple):
    """A network as it was kept, with what it was trained on."""

    model: MemoryModel[Any]
    task: Task
    seed: int
    step: int


def open_run(path: Path | str, *, memory_slots: int | None = None) -> TrainedRun:
    """Load the kept network of a run, ready to evaluate.

    Args:
        path: The run folder.
        memory_slots: Memory to give the network, when it is not what it was trained with.

    Raises:
        ValueError: The folder holds no run, its weights are damaged or of another network, or the
            network cannot be given other memory.
    """
    folder = RunFolder(Path(path))
    folder.require()
    config = _read(folder.config)
    task = build(config["task"])
    options = {"input_size": task.input_size, "output_size": task.output_size}
    if memory_slots is not None:
        _check_growth(config["model"], memory_slots)
        options["memory_slots"] = memory_slots
    model = build(config["model"], **options).eval()
    about = load_weights(model, folder.best)
    return TrainedRun(model, task, config["seed"], int(about["step"]))


def build(spec: Any, **options: Any) -> Any:
    """Make what `{"class_path": ..., "init_args": {...}}` describes, parts within parts first.

    Raises:
        ValueError: There is no such class, or it does not take these arguments.
    """
    if not isinstance(spec, dict) or "class_path" not in spec:
        return spec
    arguments = {key: build(value) for key, value in (spec.get("init_args") or {}).items()}
    try:
        return _class(spec)(**{**arguments, **options})
    except TypeError as error:
        raise ValueError(f"{spec['class_path']} cannot be made from its configuration: {error}.") from error


def _class(spec: dict[str, Any]) -> Any:
    module, _, name = str(spec["class_path"]).rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no class {spec['class_path']}: {error}.") from error


def warn_beyond_memory(model: MemoryModel[Any], difficulty: dict[str, int]) -> str | None:
    """Return a warning when lists are longer than the memory has slots."""
    length, slots = difficulty.get("length", 0), getattr(model, "memory_slots", None)
    if slots is None or length <= slots:
        return None
    return f"length (={length}) exceeds memory_slots (={slots}): the list does not fit into the memory."


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not the configuration of a run.")
    classes = [isinstance(config.get(key), dict) and "class_path" in config[key] for key in ("model", "task")]
    if not all(classes) or not isinstance(config.get("seed"), int):
        raise ValueError(f"{path} is not the configuration of a run: it lacks model, task or seed.")
    return config


def _check_growth(spec: dict[str, Any], memory_slots: int) -> None:
    network = _class(spec)
    if "memory_slots" not in inspect.signature(network).parameters:
        raise ValueError(f"memory_slots (={memory_slots}) cannot be given: {network.__name__} has no memory slots.")
    arguments = spec.get("init_args") or {}
    trained = arguments.get("memory_slots")
    fixed = [key for key in ("memory_init", "head_init") if arguments.get(key) in ("learned", "random")]
    if fixed and memory_slots != trained:
        raise ValueError(
            f"memory_slots (={memory_slots}) must stay at {trained}: with {fixed[0]}={arguments[fixed[0]]} "
            "the start of a sequence was trained or drawn for that many."
        )
