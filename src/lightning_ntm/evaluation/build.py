"""From a saved configuration back to objects, and from a run folder to a trained network."""

import math
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lightning_ntm.checks import message_of
from lightning_ntm.evaluation.device import chosen_device
from lightning_ntm.evaluation.noise import HeadNoise, WeightNoise
from lightning_ntm.evaluation.slots import start_of
from lightning_ntm.evaluation.weights import check_weights, config_in, holds_weights, load_weights
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.initial_weights import Undrawn
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import read_object, read_yaml
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.curricula import Curriculum, training_batch
from lightning_ntm.zoo import located


class TrainedRun(NamedTuple):
    """A network as it was kept, and what it was trained on.

    `memory_slots` is the number of slots for sequences, for `evaluate` and `trace_episode`, where it is not the number
    with which the network was trained.
    """

    model: MemoryModel[Any]
    task: Task
    seed: int
    step: int
    memory_slots: int | None


def open_run(path: Path | str, *, memory_slots: int | None = None, device: str | torch.device = "cpu") -> TrainedRun:
    """Load the kept network of a run, ready to evaluate.

    Args:
        path: The run folder, or its `best.safetensors` alone, or the name of a network that comes with the package, as
            `copy`. `ntm zoo` lists them; files and folders have precedence.
        memory_slots: Memory slots of sequences, if not those of the training. The network itself stays as trained:
            pass `memory_slots` of the returned run to `evaluate` and `trace_episode`.
        device: Where the network is put: `cpu`, `cuda`, `cuda:N`, or `auto` for a CUDA device if there is one.

    Raises:
        ValueError: The folder holds no run, or the file no configuration; its weights are damaged or of another
            network, the sequences of the network cannot have this number of slots, or this machine does not have the
            device.
    """
    where = chosen_device(str(device))
    weights = located(path)
    if holds_weights(weights):
        config = _checked(config_in(weights), f"the configuration in {weights}")
    else:
        folder = RunFolder(weights)
        folder.require()
        weights, config = folder.best, read_configuration(folder.config)
    model, task = _parts(config, weights)
    about = load_weights(model, weights)
    start_of(model, 1, memory_slots)  # raises where there cannot be so many
    slots = None if memory_slots == getattr(model, "memory_slots", None) else memory_slots
    return TrainedRun(model.to(where), task, config["seed"], int(about["step"]), slots)


def replay(path: Path | str) -> tuple[MemoryModel[Any], Batch, Any]:
    """Return the step at which a run ended because its loss or gradient was not finite.

    Args:
        path: The run folder.

    Returns:
        The network as it was before the step, with the noise that weights and heads had in it; the batch, drawn again
        from its number; and the state before its first step, with the memory slots that the network had in it:
        `network(batch.inputs, state)`.

    Raises:
        ValueError: The folder holds no such step, or it is damaged.
    """
    folder = RunFolder(Path(path))
    folder.require()
    weights = folder.nonfinite.with_suffix(".safetensors")
    config = read_configuration(folder.config)
    model, task = _parts(config, weights)
    load_weights(model, weights)
    try:
        step = read_object(folder.nonfinite)
        number, seed, batch_size = step["batch"], step["seed"], config["data"]["batch_size"]
        if deviation := step.get("weight_noise"):
            WeightNoise(deviation).put_on(model.parameters(), seed, number)
        named = config["data"].get("curriculum")
        curriculum = build(named, Curriculum) if named else None
        batch = training_batch(task, curriculum, seed, number, batch_size)
        if deviation := step.get("head_noise"):
            noise = HeadNoise(deviation)
            noise.put_on(model, noise.drawn(model, batch.inputs, seed, number))
        slots = step.get("memory_slots")
        start = start_of(model, batch_size, slots) if slots else model.initial_state(batch_size)
        return model.train(), batch, start
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder.nonfinite} does not tell which batch it was ({message_of(error)}).") from None


def _parts(config: dict[str, Any], weights: Path) -> tuple[MemoryModel[Any], Task]:
    """Return network and task of a configuration; a network is not made before the weights fit its size."""
    task = build(config["task"], Task)
    options = {"input_size": task.input_size, "output_size": task.output_size}
    sketch = None
    # What is wrong is told below; some networks cannot be made without numbers.
    with suppress(Exception), torch.device("meta"), Undrawn():
        sketch = build(config["model"], MemoryModel, **options)
    if sketch is not None:
        check_weights(sketch, weights)
    return build(config["model"], MemoryModel, **options).eval(), task


def build(spec: Any, *kinds: type, **options: Any) -> Any:
    """Make what `{"class_path": ..., "init_args": {...}}` describes, parts within parts first.

    Only networks, parts of them and tasks are made: a run folder may come from anybody, and calling
    whatever it names would be running its author's program.

    Raises:
        ValueError: There is no such class, it is not of these kinds, or it does not take these arguments.
    """
    if not isinstance(spec, dict) or "class_path" not in spec:
        return spec
    made = class_of(spec["class_path"])
    if not (isinstance(made, type) and issubclass(made, kinds)):
        raise ValueError(f"{spec['class_path']} is no {' or '.join(kind.__name__ for kind in kinds)}.")
    arguments = {key: build(value, nn.Module, Task) for key, value in (spec.get("init_args") or {}).items()}
    try:
        return made(**{**arguments, **options})
    except (TypeError, RuntimeError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0]  # PyTorch's go on with where in its own code that was
        raise ValueError(f"{spec['class_path']} cannot be made from its configuration: {reason}.") from error


def class_of(path: Any) -> Any:
    """Return what an import path names.

    Raises:
        ValueError: There is no such thing, or it belongs to Python's own library, of which even an import may do harm.
    """
    try:
        if str(path).partition(".")[0] in sys.stdlib_module_names:
            raise ImportError("it is Python's own")
        return pkgutil.resolve_name(str(path))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no class {path}: {error}.") from error


def warn_beyond_memory(
    model: MemoryModel[Any], task: Task, difficulty: dict[str, int], least: int = 0, memory_slots: int | None = None
) -> str | None:
    """Return a warning when lists are longer than the memory has slots.

    Args:
        model: The network.
        task: The task.
        difficulty: As `{"length": 120}`.
        least: Lowest number of slots of a batch in training, where it varies.
        memory_slots: Memory slots of sequences, if not those of the network.

    Raises:
        ValueError: There are more items than slots: of a list a part may still be given back.
    """
    slots = least or memory_slots or getattr(model, "memory_slots", None)
    limit, memory = ("min_memory_slots", "memory of some batches") if least else ("memory_slots", "memory")
    beyond = {name: difficulty.get(name, 0) for name in task.kept if difficulty.get(name, 0) > (slots or math.inf)}
    if "items" in beyond:
        raise ValueError(f"items (={beyond['items']}) must be at most {limit} (={slots}).")
    if "length" in beyond:
        return f"length (={beyond['length']}) exceeds {limit} (={slots}): the list does not fit into the {memory}."
    return None


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the configuration of a run: a mapping with a class of the network, of the task, and a seed.

    Raises:
        ValueError: The file is damaged, or not the configuration of a run.
    """
    try:
        config = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from None
    return _checked(config, str(path))


def _checked(config: Any, source: str) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise ValueError(f"{source} is not the configuration of a run.")
    classes = [isinstance(config.get(key), dict) and "class_path" in config[key] for key in ("model", "task")]
    if not all(classes) or not isinstance(config.get("seed"), int):
        raise ValueError(f"{source} is not the configuration of a run: it lacks model, task or seed.")
    return config
