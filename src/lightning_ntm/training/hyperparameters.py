"""The hyperparameters of a learner: plain values for loggers and checkpoints, and the objects that they describe.

A checkpoint may come from anybody. Only networks, answers, optimizers and schedulers are made from what it says.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_ntm.checks import check_kind, kind_of
from lightning_ntm.evaluation.build import build, class_of
from lightning_ntm.models.arguments import class_path_of, described
from lightning_ntm.models.as_made import arguments_now
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.training.optimizer import default_optimizer


def hyperparameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a learner or of its data in plain values.

    What cannot be described is its name: a network whose arguments are not plain values, or a function that makes an
    optimizer.

    Args:
        arguments: The arguments by name, such as `locals()` in a constructor.
    """
    return {name: plain(value) for name, value in arguments.items() if name not in ("self", "__class__")}


def check_parts(optimizer: object, scheduler: object, answer: object) -> None:
    """Raise `TypeError` for arguments of a learner that are of another kind, as an optimizer that was made already."""
    for name, value in {"optimizer": optimizer, "scheduler": scheduler}.items():
        if not (callable(value) or (name == "scheduler" and value is None)):
            example = _EXAMPLES[name]
            raise TypeError(f"{name} must be a function that makes one, as {example}, not {kind_of(value)}.")
    if answer is not None:
        check_kind(Answer, "an answer, as Symbols(5)", answer=answer)


_EXAMPLES = {
    "optimizer": "functools.partial(torch.optim.Adam, lr=1e-3)",
    "scheduler": "functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)",
}


def plain(value: Any) -> Any:
    """Return an argument in plain values, or its name if it cannot be described."""
    if value is default_optimizer:
        made = default_optimizer([nn.Parameter(torch.zeros(1))])
        kind: Any = type(made)
        value = partial(kind, **{name: made.defaults[name] for name in ("lr", "alpha", "momentum")})
    try:
        return _factory(value) if callable(value) and not isinstance(value, nn.Module) else described(value)
    except TypeError:
        return getattr(value, "__qualname__", type(value).__qualname__)


def plain_network(network: MemoryModel[Any]) -> Any:
    """Return a network as it is now in plain values, or its name if its arguments do not describe it."""
    if network.made_with is None:
        return plain(network)
    try:
        return {"class_path": class_path_of(type(network)), "init_args": arguments_now(network)}
    except ValueError:
        return type(network).__qualname__


def _factory(value: Any) -> dict[str, Any]:
    """Describe a class, or a `functools.partial` of one."""
    inside = (value.func, *value.args) if isinstance(value, partial) else (value,)
    kinds = [part for part in inside if isinstance(part, type)]  # jsonargparse puts a function of its own before it
    if len(kinds) != 1 or any(not callable(part) for part in inside):
        raise TypeError("not a class")
    options = value.keywords if isinstance(value, partial) else {}
    return {"class_path": class_path_of(kinds[0]), "init_args": described(options)}


def restored(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a learner that hyperparameters describe.

    A function that makes an optimizer or a scheduler has only its name there. It becomes one that raises an error.

    Raises:
        ValueError: The network, the answer, or the class of optimizer or scheduler is none, or cannot be made.
    """
    arguments = dict(hyperparameters)
    if "model" in arguments:
        arguments["model"] = _network(arguments["model"])
    for name in {"optimizer", "scheduler"} & arguments.keys():
        arguments[name] = _made_by(name, arguments[name])
    if arguments.get("answer") is not None:
        arguments["answer"] = restored_answer(arguments["answer"])
    return arguments


def restored_answer(description: Any) -> Answer:
    """Return the answer that `plain` described.

    Raises:
        ValueError: It is none, or cannot be made.
    """
    try:
        made: Answer = _made(description, Answer)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}. Pass answer= to load_from_checkpoint.") from error
    return made


def _network(description: Any) -> Any:
    try:
        return _made(description, MemoryModel)
    except ValueError as error:
        raise ValueError(f"{error} Pass model= to load_from_checkpoint.") from error


def _made(description: Any, kind: type) -> Any:
    made = build(description, kind)
    if not isinstance(made, kind):
        raise ValueError(f"the checkpoint does not hold how its {kind.__name__} ({description}) was made.")
    return made


def _made_by(name: str, description: Any) -> Any:
    if isinstance(description, str):
        return partial(_missing, name, description)
    if not isinstance(description, Mapping):
        return None
    kind = class_of(description.get("class_path"))
    if not (isinstance(kind, type) and issubclass(kind, (Optimizer, LRScheduler))):
        raise ValueError(f"{description.get('class_path')} is no {name}.")
    return partial(kind, **dict(description.get("init_args") or {}))


def _missing(name: str, function: str, *_: Any) -> Any:
    raise ValueError(
        f"{name} (={function}) is a function, which a checkpoint does not hold; pass {name}= to load_from_checkpoint."
    )
