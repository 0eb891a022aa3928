"""Weights and training states on disk, and what is said when they do not fit."""

from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from lightning_ntm.records import write_whole

#: Of the files we write; raised when older programs cannot read them.
FORMAT = 1
_NAME = "lightning-ntm"


def save_weights(model: nn.Module, path: Path, *, step: int) -> None:
    """Write the state dict of a network as safetensors."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    about = {"format": f"{_NAME} {FORMAT}", "network": type(model).__name__, "step": str(step)}
    write_whole(path, safetensors.torch.save(tensors, about))


def load_weights(model: nn.Module, path: Path) -> dict[str, str]:
    """Load weights into a network and return what the file says of itself, its `step` among it.

    Raises:
        ValueError: There is no such file, it is damaged, not ours, or of another network.
    """
    if not path.is_file():
        raise ValueError(f"there are no weights at {path}.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({error}).") from None
    name, _, number = about.get("format", "").partition(" ")
    if name != _NAME or not number.isdecimal():
        raise ValueError(f"{path} was not written by lightning-ntm (its format is {about.get('format')!r}).")
    _check_format(int(number), path)
    check_fit(model, tensors, path)
    model.load_state_dict(tensors)
    return about


def _check_format(number: Any, path: Path) -> None:
    if not isinstance(number, int) or number > FORMAT:
        raise ValueError(
            f"{path} was written by a newer lightning-ntm (format {number}; this one reads {FORMAT}): upgrade it."
        )


def check_fit(model: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Raise `ValueError`, naming the first difference, unless the tensors are those of the network."""
    mine = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            raise ValueError(
                f"{path} is of another network: {name} has shape {theirs.get(name, 'nothing')} there, "
                f"{mine.get(name, 'nothing')} in {type(model).__name__}."
            )


def training_state(model: nn.Module, path: Path) -> dict[str, Any]:
    """Return a training state as Lightning saved it.

    Raises:
        ValueError: There is no such file, it is damaged, not ours, or of another network.
    """
    if not path.is_file():
        raise ValueError(f"there is nothing to resume: {path} does not exist.")
    try:
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises whatever the broken bytes lead it to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or not a training state ({reason}).") from None
    if not isinstance(state, dict) or not {"state_dict", "loops", "global_step", "optimizer_states"} <= state.keys():
        raise ValueError(f"{path} is not a training state of lightning-ntm.")
    _check_format(state.get("lightning_ntm", FORMAT), path)
    weights = {name.removeprefix("model."): tensor for name, tensor in state["state_dict"].items()}
    check_fit(model, weights, path)
    return state
