"""Files of weights, with checks that they fit a network."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lightning_ntm.checks import message_of
from lightning_ntm.records import as_json, write_whole
from lightning_ntm.records.files import CONFIG_BYTES
from lightning_ntm.records.parsing import parse_json, parse_yaml, shown_value

#: Version of the file format. Increased when older versions of this package cannot read the files.
FORMAT = 1
_NAME = "lightning-ntm"


def save_weights(
    weights: nn.Module | Mapping[str, Tensor], path: Path, *, network: str = "", step: int, config: str = ""
) -> None:
    """Write weights as safetensors. Equal weights and configurations give equal files.

    Args:
        weights: A network, or its state dict.
        path: The file.
        network: Name of the network's class, for a state dict.
        step: Training step of the weights.
        config: What makes the network again, as JSON; see `kept_config`.
    """
    if isinstance(weights, nn.Module):
        weights, network = weights.state_dict(), type(weights).__name__
    about = {"format": f"{_NAME} {FORMAT}", "network": network, "step": str(step)}
    if config:
        about["config"] = config
    write_whole(path, as_safetensors(weights, about))


def holds_weights(path: Path) -> bool:
    """Return whether a path is a file of weights, by its ending or its first bytes, which are the size of a header."""
    if not path.is_file():
        return False
    if path.suffix == ".safetensors":
        return True
    with suppress(OSError), path.open("rb") as file:
        return 0 < int.from_bytes(file.read(8), "little") <= path.stat().st_size
    return False


def as_safetensors(weights: Mapping[str, Tensor], about: dict[str, str]) -> bytes:
    """Return tensors and metadata as safetensors. Equal tensors give equal bytes; shared ones are written twice."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda named: named[1].data_ptr()):
        if tensor.data_ptr() < end:  # safetensors writes no numbers that two tensors have in common
            tensors[name] = tensor.clone()
        end = max(end, tensor.data_ptr() + tensor.nbytes)
    return _sorted_header(safetensors.torch.save(tensors, about))


def _sorted_header(data: bytes) -> bytes:
    """Return safetensors data with sorted metadata. safetensors writes them in random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return data[:8] + header.ljust(end - 8) + data[end:]


def kept_config(config: str) -> str:
    """Return the seed, the task and the network in the configuration of a run as JSON; nothing if it lacks one.

    Args:
        config: The configuration, as YAML.
    """
    try:
        found = shown_value(parse_yaml(config))
        text = as_json({name: found[name] for name in _KEPT})
    except (LookupError, TypeError, ValueError):
        return ""
    return text if len(text.encode()) <= CONFIG_BYTES else ""


def config_in(path: Path) -> Any:
    """Return the configuration that a file of weights holds.

    Raises:
        ValueError: The file is damaged, was not written by this package, or holds no configuration.
    """
    with _opened(path, ours=True) as (_, about):
        text = about.get("config", "")
    if not text:
        raise ValueError(f"{path} does not hold the configuration of its run; open the run folder instead.")
    if len(text.encode()) > CONFIG_BYTES:
        raise ValueError(f"{path} is damaged: its configuration is larger than {CONFIG_BYTES // 2**10:,} KiB.")
    return parse_json(text)


#: What is needed of a configuration to make a network again, and to evaluate it.
_KEPT = ("model", "seed", "task")


def load_weights(model: nn.Module, path: Path) -> dict[str, str]:
    """Load weights into a network and return the metadata of the file, including `step`.

    Numbers in double precision stay in it; those in half precision are read into the network's own.

    Raises:
        ValueError: The file does not exist, is damaged, was not written by this package, or is of another network.
    """
    with _weights(model, path, ours=True) as (file, about):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    check_kinds(model, tensors, path)
    if {tensor.dtype for tensor in tensors.values()} & FLOATS == {torch.float64}:
        model.double()
    model.load_state_dict(tensors)
    return about


def load_shared(model: nn.Module, path: Path) -> None:
    """Load weights from a safetensors file that any program may have written.

    Numbers in half or double precision stay in it: the network then has the dtype of the file.

    Raises:
        ValueError: The file does not exist, is damaged, or is of another network.
    """
    with _weights(model, path, ours=False) as (file, _):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    check_kinds(model, tensors, path)
    precisions = {tensor.dtype for tensor in tensors.values()} & FLOATS
    if len(precisions) == 1:
        model.to(*precisions)
    model.load_state_dict(tensors)


def check_weights(model: nn.Module, path: Path) -> None:
    """Raise `ValueError` unless a file of this package has the weights of a network, which may be on `meta`."""
    with _weights(model, path, ours=True):
        pass


def check_shared(model: nn.Module, path: Path) -> None:
    """Raise `ValueError` unless a file has the tensors of a network, which may be on `meta`."""
    with _weights(model, path, ours=False):
        pass


@contextmanager
def _weights(model: nn.Module, path: Path, *, ours: bool) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a file of weights. Sizes are checked against the network before tensors are read."""
    with _opened(path, ours=ours) as (file, about):
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        check_shapes(model, shapes, path)
        yield file, about


@contextmanager
def _opened(path: Path, *, ours: bool) -> Iterator[tuple[Any, dict[str, str]]]:
    if not path.is_file():
        raise ValueError(f"there are no weights at {path}.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            if ours:
                _checked(about, path)
            yield file, about
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({message_of(error)}).") from None


def _checked(about: dict[str, str], path: Path) -> None:
    name, _, number = about.get("format", "").partition(" ")
    if name != _NAME or not number.isdecimal():
        raise ValueError(
            f"{path} has no weights of a run of lightning-ntm (its format is {about.get('format')!r}); "
            "a file of save_pretrained is loaded by from_pretrained."
        )
    check_format(int(number[:18]), path)
    if not re.fullmatch(r"\d{1,15}", about.get("step", "")):
        raise ValueError(f"{path} is damaged: it has no valid step of its weights.")


def check_format(number: Any, path: Path) -> None:
    """Raise `ValueError` for a file of a newer format."""
    if not isinstance(number, int) or number > FORMAT:
        raise ValueError(
            f"{path} was written by a newer lightning-ntm (format {number}; this one reads {FORMAT}): upgrade it."
        )


def check_shapes(model: nn.Module, theirs: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raise `ValueError`, naming the first difference, unless the shapes are those of the network's tensors."""
    mine = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            raise ValueError(
                f"{path} is of another network: {name} has shape {theirs.get(name, 'nothing')} there, "
                f"{mine.get(name, 'nothing')} in {type(model).__name__}."
            )


FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def check_kinds(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `ValueError` for tensors of another type. Only the precision of floats may differ."""
    for name, mine in model.state_dict().items():
        theirs = tensors[name].dtype
        if theirs != mine.dtype and not {theirs, mine.dtype} <= FLOATS:
            raise ValueError(f"{path} is damaged: {name} is of {theirs} there, of {mine.dtype} in the network.")
