"""Saves networks into folders and loads them: `save_pretrained`, `from_pretrained`."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_ntm.evaluation.build import open_run
from lightning_ntm.evaluation.weights import as_safetensors, check_shared, load_shared
from lightning_ntm.exchange.described import (
    CONFIG,
    WEIGHTS,
    Described,
    check_kinds,
    description,
    is_shared,
    network_of,
    read,
    task_of,
)
from lightning_ntm.exchange.hub import CARD, card, downloaded, is_hub_id, uploaded
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.pretrained import Pretrained, argument_names
from lightning_ntm.records import RunFolder, write_whole
from lightning_ntm.tasks.base import Task
from lightning_ntm.zoo import located


class OpenedNetwork(NamedTuple):
    """A network, the task it was trained on if that is known, and the seed of its run."""

    model: MemoryModel[Any]
    task: Task | None
    seed: int


def open_network(folder: Path | str) -> OpenedNetwork:
    """Open a run folder, a folder of `save_pretrained`, or by its name a network that comes with the package.

    A folder of `save_pretrained` has a network of the package. A run folder may hold networks and tasks of one's own,
    which are imported, as by `open_run`.

    Raises:
        ValueError: The folder has no network, or a file is damaged.
    """
    folder = located(folder)
    if is_shared(folder):
        described = read(folder)
        return OpenedNetwork(_made(MemoryModel, described, {}), task_of(described), 1)
    RunFolder(folder).require()
    run = open_run(folder)
    return OpenedNetwork(run.model, run.task, run.seed)


def save(model: MemoryModel[Any], folder: Path | str, task: Task | None = None) -> None:
    """Write a network, as `Pretrained.save_pretrained` describes it."""
    config = description(model, task)
    weights = as_safetensors(model.state_dict(), {"format": "pt", "network": type(model).__name__})
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / WEIGHTS, weights)
    write_whole(place / CONFIG, config)
    if not (place / CARD).exists():
        write_whole(place / CARD, card(model, task))


def push(
    model: MemoryModel[Any], name: str, task: Task | None, *, private: bool | None, token: str | None, message: str
) -> str:
    """Upload a network, as `Pretrained.push_to_hub` describes it."""
    with tempfile.TemporaryDirectory(prefix="ntm-hub-") as folder:
        save(model, folder, task)
        return uploaded(Path(folder), name, private=private, token=token, message=message)


def load(kind: type[Pretrained], folder: Path | str, options: dict[str, Any]) -> MemoryModel[Any]:
    """Load a network, as `Pretrained.from_pretrained` describes it."""
    return _made(kind, read(downloaded(folder) if is_hub_id(folder) else located(folder)), options)


def _made(kind: type[Pretrained], described: Described, options: dict[str, Any]) -> MemoryModel[Any]:
    """Make a network once the weights are known to fit its size."""
    network = network_of(kind, described)
    arguments = _arguments(network, described, options)
    try:
        check_kinds(network, {name: value for name, value in described.arguments.items() if name not in options})
    except ValueError as error:
        raise ValueError(f"{described.place}: {network.__name__} cannot be made from it: {error}") from None
    sketch = None
    with suppress(Exception), torch.device("meta"):  # the call below raises what is wrong; some need real tensors
        sketch = network(**arguments)
    if sketch is not None:
        check_shared(sketch, described.weights)
    try:
        made = network(**arguments)
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{described.place}: {network.__name__} cannot be made from it: {reason}") from None
    load_shared(made, described.weights)
    return made.eval()


def _arguments(network: type[MemoryModel[Any]], described: Described, options: dict[str, Any]) -> dict[str, Any]:
    known = [*argument_names(network), *network.initial]
    arguments = {**_sizes(described, options), **described.arguments, **options}
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(f"{network.__name__} takes no argument {name!r}; it takes {', '.join(known)}.")
        if isinstance(value, dict) and "class_path" in value:
            raise ValueError(
                f"{described.place}: {name} is a part of one's own ({value['class_path']!r}), which is not made from "
                f"the name in a file: give it, {network.__name__}.from_pretrained(folder, {name}=...)."
            )
    return arguments


def _sizes(described: Described, options: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of inputs and outputs, which the configuration of a run leaves to its task."""
    if "input_size" in described.arguments or options.keys() >= {"input_size", "output_size"}:
        return {}
    task = task_of(described)
    if task is None:
        raise ValueError(
            f"{described.place}: input_size and output_size must be given: the task of the network "
            f"({described.task[0] if described.task else 'none'}) is not one of the package without files."
        )
    return {"input_size": task.input_size, "output_size": task.output_size}
