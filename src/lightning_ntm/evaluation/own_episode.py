"""An episode of a user's own, from a file: inputs, and if they are known targets and a mask."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from lightning_ntm.records.files import read_text
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.batch import Batch

_NAMES = ("inputs", "targets", "mask")
_FORMATS = (".npy", ".npz", ".json", ".csv")
#: Of a text file; numbers of 10,000 steps of 100 channels have fewer.
_BYTES = 64 * 2**20


def read_episode(path: Path | str, input_size: int, answer: Answer) -> tuple[Batch, bool]:
    """Return an episode as a batch of one, and whether its targets are known.

    A `.npy` or `.csv` file has the inputs, a row for each step. A `.npz` file and a `.json` object have `inputs`, and
    may have `targets` and `mask`; a `.json` file may also be the list of the inputs. Without a mask the network is
    asked in every step.

    Args:
        path: The file.
        input_size: Numbers per step of the inputs.
        answer: What the targets are.

    Raises:
        ValueError: The file cannot be read, or an array has a wrong shape or a number that is not allowed.
    """
    path = Path(path)
    found = _read(path)
    inputs = _numbers(path, "inputs", found["inputs"])
    if inputs.ndim == 1 and input_size == 1:
        inputs = inputs[:, None]
    if inputs.ndim != 2 or not len(inputs) or inputs.shape[1] != input_size:
        _fail(path, f"inputs must be (steps, {input_size}), got {inputs.shape}.")
    mask = _numbers(path, "mask", found.get("mask", np.ones(len(inputs))))
    if mask.shape != (len(inputs),) or not np.isin(mask, (0, 1)).all():
        _fail(path, f"mask must be 0 or 1 for each of {len(inputs)} steps.")
    known = "targets" in found
    targets = _numbers(path, "targets", found["targets"]) if known else np.zeros((len(inputs), answer.size))
    batch = Batch(
        torch.as_tensor(inputs, dtype=torch.float32)[None],
        _as_targets(targets)[None],
        torch.as_tensor(mask, dtype=torch.bool)[None],
    )
    if known and (fault := answer.fault(batch)):
        _fail(path, f"{fault}, with 1 for batch.")
    return batch, known


def _as_targets(values: np.ndarray) -> torch.Tensor:
    """Return symbols, one for each step, as integers, and all else as numbers."""
    symbols = values.ndim == 1 and (values == np.round(values)).all()
    return torch.as_tensor(values, dtype=torch.int64 if symbols else torch.float32)


def _fail(path: Path, reason: str) -> NoReturn:
    raise ValueError(f"{path}: {reason}")


def _numbers(path: Path, name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        _fail(path, f"{name} must be numbers, as many in each step.")
    if not np.isfinite(array).all():
        _fail(path, f"{name} must be finite numbers.")
    return array.astype(np.float64)


def _read(path: Path) -> dict[str, Any]:
    """Return the arrays of a file, by name."""
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        _fail(path, f"the name must end in {', '.join(_FORMATS)}.")
    if not path.is_file():
        _fail(path, "there is no such file.")
    try:
        found = _arrays(path) if kind in (".npy", ".npz") else _text(path, kind)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RecursionError):
        _fail(path, f"it cannot be read as {kind} of plain numbers.")
    if not isinstance(found, dict):
        return {"inputs": found}
    if "inputs" not in found or (unknown := [name for name in found if name not in _NAMES]):
        told = f"unknown {unknown[0]!r}" if "inputs" in found else "inputs are missing"
        _fail(path, f"{told}; it may have {', '.join(_NAMES)}.")
    return found


def _arrays(path: Path) -> Any:
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        return {name: found[name] for name in found}


def _text(path: Path, kind: str) -> Any:
    text = read_text(path, _BYTES)
    if kind == ".json":
        return json.loads(text)
    return [[float(word) for word in line.split(",")] for line in text.splitlines() if line.strip()]
