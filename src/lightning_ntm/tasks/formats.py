"""File formats of sequences: `.npz`, `.jsonl` and `.parquet`, each read into one value per sequence and name.

Nothing that a file holds is executed: pickles in `.npz` files are refused.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_ntm.checks import message_of

Rows = dict[str, list[Any]]

#: What a sequence may have; the last tells the lengths of sequences that share an array.
_NAMES = ("inputs", "targets", "mask")
_LENGTHS = "lengths"
#: Size of a file with names of symbols, at most.
_NAMES_BYTES = 2**20


def read_rows(source: str, path: Path) -> Rows:
    """Return the sequences of a file, by name.

    Args:
        source: How errors name the file.
        path: Its place; the ending of the name is its format.

    Raises:
        ValueError: There is no such file, it is in another format or damaged, or lacks something.
    """
    readers: dict[str, Callable[[str, Path], Rows]] = {".npz": _npz, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{source} must be a file that ends in {', '.join(readers)}.")
    if not path.is_file():
        raise ValueError(f"{source}: there is no such file.")
    try:
        return readers[path.suffix.lower()](source, path)
    except MemoryError:
        raise ValueError(f"{source}: the file does not fit into memory.") from None
    except OSError as error:
        raise ValueError(f"{source}: the file cannot be read ({error.strerror or error}).") from None


def read_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, each of which is the name of a symbol.

    Raises:
        ValueError: The file cannot be read, or a line is empty or cannot be shown.
    """
    if not path.is_file() or path.stat().st_size > _NAMES_BYTES:
        raise ValueError(f"names (={path}) must be a text file of at most {_NAMES_BYTES:,} bytes.")
    try:
        found = tuple(path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"names (={path}) cannot be read ({message_of(error)}).") from None
    for number, name in enumerate(found, start=1):
        if not name.strip() or not name.isprintable():
            raise ValueError(f"names (={path}), line {number}: expected the name of a symbol, got {name[:60]!r}.")
    return found


def split_rows(source: str, arrays: Mapping[str, Any]) -> Rows:
    """Return the sequences in arrays, by name.

    An array may be padded, with a sequence in each of its first axis, or concatenated, with `lengths` that add up to
    its first axis. With `lengths` the padding of padded arrays is cut off. An array of three axes is padded; one of two
    is concatenated if the lengths add up to its first axis. Where all lengths are 1, integers in two axes could be
    both, and are refused.

    Args:
        source: How errors name the arrays.
        arrays: `inputs`, `targets`, and if there are any `mask` and `lengths`. Lists have a sequence in each entry.

    Raises:
        ValueError: An array is missing or unknown, or does not fit the lengths.
    """
    _check_names(source, "array", (name for name in arrays if arrays[name] is not None), (*_NAMES, _LENGTHS))
    lengths = None if arrays.get(_LENGTHS) is None else _checked_lengths(source, arrays[_LENGTHS])
    named = {name: arrays[name] for name in _NAMES if arrays.get(name) is not None}
    return {name: _split(source, name, values, lengths) for name, values in named.items()}


def _split(source: str, name: str, values: Any, lengths: np.ndarray | None) -> list[Any]:
    if isinstance(values, list | tuple):
        if lengths is not None:
            raise ValueError(f"{source}: lengths are for arrays, but {name} is a list of sequences.")
        return list(values)
    array = as_array(values)
    if lengths is None:
        if name != "mask" and not (array.ndim == 3 or (array.ndim == 2 and array.dtype.kind in "iu")):
            raise ValueError(
                f"{source}: {name} has shape {array.shape}; without lengths it must be (sequences, steps, size), "
                "or (sequences, steps) of integers."
            )
        return list(array)
    if name != "mask" and array.ndim == 2 and array.dtype.kind in "iu" and len(array) == len(lengths) == lengths.sum():
        raise ValueError(
            f"{source}: {name} has shape {array.shape} and all lengths are 1: its integers may be numbers of one step, "
            f"or padded symbols. Numbers must have shape ({len(array)}, 1, {array.shape[1]}), symbols ({len(array)},)."
        )
    if 0 < array.ndim < (2 if name == "mask" else 3) and len(array) == lengths.sum():
        return np.split(array, np.cumsum(lengths)[:-1])
    if array.ndim > 1 and len(array) == len(lengths) and array.shape[1] >= lengths.max():
        return [one[:length] for one, length in zip(array, lengths, strict=True)]
    raise ValueError(
        f"{source}: {name} has shape {array.shape}, which does not fit its {len(lengths)} lengths: it must have "
        f"{lengths.sum()} steps in all, or {len(lengths)} sequences of at least {lengths.max()} steps."
    )


def as_array(values: Any) -> np.ndarray:
    """Return values as an array, also of a tensor on a GPU, in bfloat16 or with a gradient."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    dense = values if values.layout == torch.strided else values.to_dense()
    array: np.ndarray = (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy(force=True)
    return array


def _checked_lengths(source: str, values: Any) -> np.ndarray:
    lengths = as_array(values)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise ValueError(f"{source}: lengths must be whole numbers, one for each sequence.")
    if not len(lengths):
        raise ValueError(f"{source}: has no sequences.")
    if lengths.min() < 1:
        row = int(lengths.argmin())
        raise ValueError(f"{source}, row {row} (counted from 0): lengths (={lengths[row]}) must be at least 1.")
    return lengths.astype(np.int64)


def _check_names(source: str, what: str, found: Iterable[str], known: Sequence[str]) -> None:
    names = list(found)
    for name in _NAMES[:2]:
        if name not in names:
            raise ValueError(f"{source}: the {what} {name!r} is missing; there is {', '.join(names) or 'nothing'}.")
    for name in names:
        if name not in known:
            raise ValueError(f"{source}: unknown {what} {name!r}; known: {', '.join(known)}.")


def _npz(source: str, path: Path) -> Rows:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            names = list(found)
            arrays = {name: found[name] for name in names if name in (*_NAMES, _LENGTHS)}
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        pickled = "pickle" in str(error) or "Object arrays" in str(error)
        reason = "it holds Python objects, which may run programs when they are read" if pickled else "it is damaged"
        raise ValueError(f"{source}: not an .npz file of plain arrays: {reason}.") from None
    _check_names(source, "array", names, (*_NAMES, _LENGTHS))
    return split_rows(source, arrays)


def _jsonl(source: str, path: Path) -> Rows:
    rows: Rows = {name: [] for name in _NAMES}
    with open(path, "rb") as file:
        for row, line in enumerate(file):
            where = f"{source}, row {row} (counted from 0)"
            try:
                said = json.loads(line, object_pairs_hook=_once)
            except _TwiceError as error:
                raise ValueError(f"{where}: the name {str(error)!r} occurs twice.") from None
            except (ValueError, RecursionError):
                said = None
            if not isinstance(said, dict):
                raise ValueError(f"{where}: each line must be a JSON object with inputs and targets.")
            _check_names(where, "name", said, _NAMES)
            for name, values in rows.items():
                values.append(said.get(name))
    return rows


class _TwiceError(ValueError):
    """A name occurs twice in a JSON object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, whose names must differ: Python's reader would keep the last one alone."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _parquet(source: str, path: Path) -> Rows:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise ValueError(f"{source}: pandas reads .parquet with pyarrow: pip install pyarrow.") from None
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{source}: not a parquet file that pandas can read ({reason}).") from None
    _check_names(source, "column", map(str, frame.columns), _NAMES)
    return {name: [_plain(value) for value in frame[name]] for name in _NAMES if name in frame}


def _plain(value: Any) -> Any:
    """Return a cell of a list column without the arrays of arrays that pandas makes of lists of lists."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [one.tolist() if isinstance(one, np.ndarray) else one for one in value]
    return value
