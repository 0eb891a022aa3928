"""Reads the tensors of a checkpoint that another program wrote with `torch.save`; nothing in the file is run."""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_ntm.exchange import pickles
from lightning_ntm.records.files import open_regular

#: Bytes of a checkpoint, and of the pickle in it, at most.
_MOST_BYTES, _PICKLE_BYTES = 2**28, 2**24
#: Numbers at the beginning of a file before version 1.6 of PyTorch: the magic number and the version of the format.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "LongStorage": torch.int64,
}
#: Modules within modules, and letters of a name.
_DEEPEST, _LONGEST = 20, 1000


class _OtherFileError(ValueError):
    """A file does not begin as one of `torch.save`."""


class Checkpoint(NamedTuple):
    """What a file has: tensors by name, and options of its training by name, if it is one of Lightning."""

    tensors: dict[str, Tensor]
    options: dict[str, Any]
    step: int


def read(path: Path) -> Checkpoint:
    """Read a file of a state dict, a checkpoint of Lightning, or a pickled network.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no such file, or is damaged.
    """
    try:
        with open_regular(path, _MOST_BYTES) as file:
            data = file.read(_MOST_BYTES)
        archive = io.BytesIO(data)
        value, storages = _zipped(archive) if data.startswith(b"PK\x03\x04") else _legacy(archive)
        tensors = _all_made(_views(_weights(value)), storages)
    except _OtherFileError:
        raise ValueError(f"{path} is not a file of torch.save.") from None
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is damaged or not a file of torch.save: its archive cannot be read.") from None
    except (ValueError, EOFError, RuntimeError, NotImplementedError, OverflowError) as error:
        reason = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
        raise ValueError(f"{path} is damaged or not a file of torch.save: {reason}.") from None
    if not tensors:
        raise ValueError(f"{path} has no weights: neither a state dict, nor a network, nor a checkpoint of Lightning.")
    options, step = (value.get(key) if isinstance(value, dict) else None for key in ("hyper_parameters", "global_step"))
    known = isinstance(step, int) and 0 <= step < 10**15
    return Checkpoint(tensors, options if isinstance(options, dict) else {}, int(step or 0) if known else 0)


def _zipped(file: io.BytesIO) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise ValueError("it is compressed")
        if "data.pkl" not in entries or entries["data.pkl"].file_size > _PICKLE_BYTES:
            raise ValueError("it has no data.pkl, or one that is too large")
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise ValueError("its numbers are big-endian")
        value = pickles.load(io.BytesIO(archive.read(entries["data.pkl"])))
        prefix = "data/"
        storages = {
            name.removeprefix(prefix): archive.read(entry) for name, entry in entries.items() if name.startswith(prefix)
        }
    return value, storages


def _legacy(file: io.BytesIO) -> tuple[Any, dict[str, bytes]]:
    _check_begin(file)
    system = pickles.load(file)
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise ValueError("its numbers are big-endian")
    value, keys = pickles.load(file), pickles.load(file)
    sizes = {storage.key: storage for storage in _storages(value)}
    storages = {}
    for key in [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []:
        count = int.from_bytes(file.read(8), "little")
        kind = sizes[key].kind if key in sizes else "FloatStorage"
        storages[key] = file.read(count * _dtype(kind).itemsize)
    return value, storages


def _check_begin(file: io.BytesIO) -> None:
    try:
        begins = pickles.load(file) == _MAGIC and pickles.load(file) == _PROTOCOL
    except ValueError:
        begins = False
    if not begins:
        raise _OtherFileError


def _storages(value: Any) -> list[pickles.Storage]:
    """Return the storages of all tensors in a value."""
    found, seen, waiting = [], set(), [value]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, pickles.TensorView):
            found.append(one.storage)
        elif isinstance(one, pickles.Instance):
            waiting.append(one.attributes)
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
    return found


def _dtype(kind: str) -> torch.dtype:
    name = kind.rpartition(".")[2]
    if name not in _DTYPES:
        raise ValueError(f"it has numbers of type {name}")
    return _DTYPES[name]


def _weights(value: Any) -> Any:
    """Return what holds the weights: the network of a Lightning checkpoint, or the value itself."""
    return value["state_dict"] if isinstance(value, dict) and isinstance(value.get("state_dict"), dict) else value


def _views(value: Any) -> dict[str, pickles.TensorView]:
    """Return the tensors of a state dict or of a pickled module by name; those of a shared module have one name."""
    if isinstance(value, dict):
        return _in_mapping(value, "")
    found: dict[str, pickles.TensorView] = {}
    seen: set[int] = set()
    waiting = [("", value)]
    while waiting:
        prefix, module = waiting.pop()
        if not isinstance(module, pickles.Instance) or id(module) in seen:
            continue
        seen.add(id(module))
        groups = [group for group in module.attributes.values() if isinstance(group, dict)]
        for group in groups:  # parameters, buffers and modules, each by name
            found |= _in_mapping(group, prefix)
        if prefix.count(".") < _DEEPEST:
            named = [(name, child) for group in groups for name, child in group.items()]
            children = [(name, child) for name, child in named if isinstance(child, pickles.Instance)]
            waiting.extend((f"{prefix}{_short(name)}.", child) for name, child in reversed(children))
    return found


def _short(name: Any) -> str:
    if len(text := str(name)) > _LONGEST:
        raise ValueError("a name in it is too long")
    return text


def _in_mapping(mapping: dict[Any, Any], prefix: str) -> dict[str, pickles.TensorView]:
    views = {name: view for name, view in mapping.items() if isinstance(view, pickles.TensorView)}
    return {f"{prefix}{_short(name)}": view for name, view in views.items()}


def _all_made(views: Mapping[str, pickles.TensorView], storages: Mapping[str, bytes]) -> dict[str, Tensor]:
    """Return the tensors, but for those of other types of numbers, such as a mask."""
    known = {name: view for name, view in views.items() if _kind(view.storage) in _DTYPES}
    if sum(math.prod(view.size) for view in known.values()) > _MOST_BYTES:
        raise ValueError("its tensors have too many numbers")
    return {name: _made(view, storages) for name, view in known.items()}


def _kind(storage: pickles.Storage) -> str:
    return storage.kind.rpartition(".")[2]


def _made(view: pickles.TensorView, storages: Mapping[str, bytes]) -> Tensor:
    storage, offset, size, stride = view
    dtype, data = _dtype(storage.kind), storages.get(storage.key, b"")
    if len(size) != len(stride) or len(size) > 4 or min((offset, *size, *stride), default=0) < 0:
        raise ValueError("a tensor in it has an impossible shape")
    stride = tuple(step if length > 1 else 1 for length, step in zip(size, stride, strict=True))
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = len(data) // dtype.itemsize
    if 0 in size or last >= count or math.prod(size) > count:
        raise ValueError("it is cut short: a tensor in it has fewer numbers than its shape says")
    part = memoryview(data)[offset * dtype.itemsize : (last + 1) * dtype.itemsize]
    return torch.frombuffer(bytearray(part), dtype=dtype).as_strided(size, stride).clone()
