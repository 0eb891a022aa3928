"""Training states as Lightning saves them, checked before anything in them is used."""

import copy
import inspect
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ntm.checks import message_of
from lightning_ntm.evaluation.weights import FLOATS, FORMAT, check_format, check_kinds, check_shapes


def training_state(model: nn.Module, path: Path) -> dict[str, Any]:
    """Return a training state as Lightning saved it.

    Raises:
        ValueError: The file does not exist, is damaged, was not written by this package, or is of another network.
    """
    if not path.is_file():
        raise ValueError(f"there is nothing to resume: {path} does not exist.")
    _check_archive(model, path)
    try:
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:  # PyTorch's message explains how to run the code in the file
        raise ValueError(
            f"{path} is damaged or not a training state: it holds more than tensors and numbers."
        ) from None
    except Exception as error:  # torch.load raises errors of many types for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or not a training state ({reason}).") from None
    if not isinstance(state, dict) or not _PARTS.keys() <= state.keys():
        raise ValueError(f"{path} is not a training state of lightning-ntm.")
    check_format(state.get("lightning_ntm", FORMAT), path)
    for name, like in _PARTS.items():
        check_like(state[name], like, f"{path} is damaged: {name}")
    weights = {name.removeprefix("model."): tensor for name, tensor in state["state_dict"].items()}
    if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError(f"{path} is damaged: its weights are not all tensors.")
    check_shapes(model, {name: tuple(tensor.shape) for name, tensor in weights.items()}, path)
    check_kinds(model, weights, path)
    for name in ("Keeper", "Recorder", "RandomStates"):
        if not isinstance(state["callbacks"].get(name), dict):
            raise ValueError(f"{path} is damaged: it lacks the state of {name}.")
    return state


#: Keys of a training state, each with a value of its type.
_PARTS: dict[str, Any] = {
    "state_dict": {}, "loops": {}, "global_step": 0, "optimizer_states": [{}], "lr_schedulers": [{}], "callbacks": {}
}  # fmt: skip


def check_like(value: Any, like: Any, what: str) -> None:
    """Raise `ValueError` unless a value has the type of another value, and so have its entries.

    A dictionary must have the same keys, if `like` has any. A list must have the same length. An integer may replace a
    float.
    """
    kinds: Any = (int, float) if isinstance(like, float) else type(like)
    if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(like, bool):
        raise ValueError(f"{what} is {type(value).__name__}, not {type(like).__name__}.")
    if isinstance(like, dict) and like:
        if value.keys() != like.keys():
            raise ValueError(f"{what} has {', '.join(map(str, value))} in it, not {', '.join(map(str, like))}.")
        for key in like:
            check_like(value[key], like[key], f"{what}.{key}")
    elif isinstance(like, list):
        if len(value) != len(like):
            raise ValueError(f"{what} has {len(value)} entries, not {len(like)}.")
        for place, pair in enumerate(zip(value, like, strict=True)):
            check_like(*pair, f"{what}.{place}")


def _check_archive(model: nn.Module, path: Path) -> None:
    """Raise `ValueError` for a file that would exhaust the memory: compressed, or larger than a state can be."""
    most = _BESIDE + _TIMES * sum(tensor.nbytes for tensor in model.state_dict().values())
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or not a training state ({message_of(error)}).") from None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in inside) or sum(e.file_size for e in inside) > most:
        raise ValueError(f"{path} is damaged or not a training state: it is larger than one of this network can be.")


#: Bytes of a state beside its copies of the weights, and the number of copies: an optimizer has two, an average one.
_BESIDE, _TIMES = 2**28, 32


def check_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: Path) -> None:
    """Raise `ValueError` unless a saved optimizer state has the names, shapes and types of a state after a step."""
    saved = state["optimizer_states"][0]
    groups, kept = saved.get("param_groups"), saved.get("state")
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    try:
        numbers = [number for group in groups for number in group["params"]]
        whole = [len(group["params"]) for group in groups] == sizes and numbers == list(range(sum(sizes)))
        whole = whole and set(kept) <= set(numbers) and all(isinstance(one, dict) for one in kept.values())
    except (TypeError, LookupError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged: its optimizer has other parameters.")
    like = _states_after_a_step(optimizer)
    if state["global_step"] and any(like) and not any(kept.values()):
        raise ValueError(f"{path} is damaged: it has no state of the optimizer.")
    for number, entries in kept.items() if like else ():
        if entries and entries.keys() != like[number].keys():
            raise ValueError(f"{path} was saved with another optimizer; its state is {', '.join(map(str, entries))}.")
        for name, value in entries.items():
            if not _fits(value, like[number][name]):
                raise ValueError(f"{path} is damaged: {name} of the optimizer does not fit parameter {number}.")


def _states_after_a_step(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return an optimizer's state of each parameter after a step, or an empty list if a trial step fails."""
    parameters, groups = [], []
    for group in optimizer.param_groups:
        copies = [nn.Parameter(torch.zeros_like(p)) for p in group["params"]]
        groups.append({**{name: group[name] for name in optimizer.defaults if name in group}, "params": copies})
        parameters += copies
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    with suppress(Exception):  # optimizers with other arguments, or a step with a closure, are not checked
        kind: Any = type(optimizer)
        trial = kind(groups)
        trial.step()
        return [dict(trial.state[parameter]) for parameter in parameters]
    return []


def _fits(value: Any, like: Any) -> bool:
    if isinstance(value, Tensor) and isinstance(like, Tensor):
        return value.shape == like.shape and (value.dtype == like.dtype or {value.dtype, like.dtype} <= FLOATS)
    single = like is None or isinstance(like, int | float) or (isinstance(like, Tensor) and not like.shape)
    return value is None or (single and isinstance(value, int | float)) or type(value) is type(like)


def check_settings(
    optimizer: torch.optim.Optimizer, scheduler: Any, moved: set[str], state: dict[str, Any], path: Path
) -> None:
    """Raise `ValueError` unless a saved training state has the settings of this optimiser and scheduler.

    Args:
        optimizer: As the training would have it.
        scheduler: Likewise.
        moved: Settings of the optimiser that the scheduler changes.
        state: The saved training state.
        path: Its file, for messages.
    """
    mine: tuple[dict[str, Any], ...] = (optimizer.state_dict()["param_groups"][0], scheduler.state_dict())
    saved = (state["optimizer_states"][0]["param_groups"][0], state["lr_schedulers"][0])
    fixed = (
        mine[0].keys() - {"params", "lr", "foreach", "fused"} - moved,
        inspect.signature(type(scheduler)).parameters.keys() - {"last_epoch"},
    )
    for what, one, other, names in zip(("optimizer", "scheduler"), mine, saved, fixed, strict=True):
        if set(one) != set(other):
            raise ValueError(f"{path} was saved with another {what}; its settings are {', '.join(sorted(other))}.")
        for name in sorted(names & one.keys()):
            if one[name] != other[name]:
                raise ValueError(f"{path} was saved with {name} (={other[name]}) of the {what}, not {one[name]}.")


def by_itself(state: Any) -> Any:
    """Return a state in which no tensor is a part of a larger one: a file would hold the larger one."""
    if isinstance(state, (dict, list)):
        places = list(state) if isinstance(state, dict) else range(len(state))
        parts = [(place, part) for place in places if (part := by_itself(state[place])) is not state[place]]
        made = copy.copy(state) if parts else state
        for place, part in parts:
            made[place] = part
        return made
    is_part = isinstance(state, Tensor) and state.untyped_storage().nbytes() > state.nbytes
    return state.clone() if is_part else state
