"""Sequences of a user's own: read from files or arrays, checked, kept one after the other in memory.

Every error is one line that names the file and the row. Rows are sequences, counted from 0.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lightning_ntm.tasks.formats import as_array, read_rows, split_rows

_REQUIRED = ("inputs", "targets")


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of different length, one after the other.

    Args:
        source: How errors name them.
        inputs: `(steps,)` of int64 for symbols, else `(steps, size)` of float32.
        targets: The same; 0 where the mask is false.
        mask: `(steps,)`, true where the answer counts.
        lengths: Steps of each sequence.
    """

    source: str
    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    lengths: np.ndarray

    @classmethod
    def read(cls, source: str, path: Path) -> "Sequences":
        """Read a file: `.npz`, `.jsonl` or `.parquet`.

        Raises:
            ValueError: It cannot be read, or a sequence in it is not as it should be.
        """
        return cls._checked(source, read_rows(source, path))

    @classmethod
    def of(cls, source: str, arrays: Mapping[str, Any]) -> "Sequences":
        """Take arrays named as those of an `.npz` file. A list of arrays has a sequence in each.

        Raises:
            ValueError: A sequence is not as it should be.
        """
        return cls._checked(source, split_rows(source, arrays))

    @classmethod
    def _checked(cls, source: str, rows: Mapping[str, Sequence[Any]]) -> "Sequences":
        for name in _REQUIRED:
            if not len(rows[name]):
                raise ValueError(f"{source}: has no sequences.")
        inputs, targets = (_joined(source, name, rows[name]) for name in _REQUIRED)
        if len(inputs) != len(targets):
            raise ValueError(f"{source}: there are {len(inputs)} sequences of inputs and {len(targets)} of targets.")
        lengths = np.array([len(one) for one in inputs])
        mask = _masks(source, rows.get("mask"), lengths)
        for name, parts in (("targets", targets), ("mask", mask)):
            for row, (one, length) in enumerate(zip(parts, lengths, strict=True)):
                if len(one) != length:
                    at_row(source, row, f"inputs have {length} steps and {name} {len(one)}; they must have the same.")
        shown, asked = _flat(source, "inputs", inputs), _flat(source, "targets", targets)
        found = cls(source, shown, asked, np.concatenate(mask).astype(bool), lengths)
        found._check_values()
        return found

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> np.ndarray:
        """The first step of each sequence."""
        starts: np.ndarray = np.cumsum(self.lengths) - self.lengths
        return starts

    def _check_values(self) -> None:
        nothing = ~np.logical_or.reduceat(self.mask, self.starts)
        if nothing.any():
            at_row(self.source, int(nothing.argmax()), "the mask selects no step; it must select at least one.")
        self.targets[~self.mask] = 0
        for name, values in (("inputs", self.inputs), ("targets", self.targets)):
            if values.dtype != np.int64:
                wrong = ~np.isfinite(values).all(axis=1)
                where = " where the mask is true" if name == "targets" else ""
                self.refuse(wrong, name, f"finite numbers{where}")

    def refuse(self, wrong: np.ndarray, name: str, allowed: str) -> None:
        """Raise `ValueError` for the first step whose values are wrong, if there is one.

        Args:
            wrong: `(steps,)`, true for each that is wrong.
            name: `inputs` or `targets`.
            allowed: What they must be.
        """
        if wrong.any():
            step = int(wrong.argmax())
            row = int(np.searchsorted(self.starts, step, side="right")) - 1
            values = np.array2string(getattr(self, name)[step], threshold=8, edgeitems=3)
            at_row(self.source, row, f"{name} (={values}) must be {allowed}.")

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return inputs, targets and mask of some sequences, padded with zeros to the longest of them."""
        lengths = self.lengths[rows][:, None]
        time = np.arange(lengths.max())
        real = time < lengths  # batch time
        steps = np.where(real, self.starts[rows][:, None] + time, 0)
        inputs, targets, mask = self.inputs[steps], self.targets[steps], self.mask[steps] & real
        inputs[~real], targets[~real] = 0, 0
        return inputs, targets, mask


def at_row(source: str, row: int, reason: str) -> NoReturn:
    """Raise the `ValueError` that names a sequence."""
    raise ValueError(f"{source}, row {row} (counted from 0): {reason}")


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numbers(source: str, name: str, values: np.ndarray) -> np.ndarray:
    """Return values as numbers: symbols become one number a step."""
    if values.ndim == 2:
        return values
    found = values[:, None].astype(np.float32)
    _warn_of_rounding(source, name, [values], found)
    return found


#: Single precision holds all whole numbers up to this.
_WHOLE = 2**24


def _warn_of_rounding(source: str, name: str, arrays: Sequence[np.ndarray], found: np.ndarray) -> None:
    """Warn of the first integer that is another number in single precision."""
    if max(np.fmax.reduce(found, axis=None), -np.fmin.reduce(found, axis=None)) < _WHOLE:
        return
    for array in arrays:
        if array.dtype.kind in "iu":
            single = array.astype(np.float32).astype(np.float64)
            if (wrong := single != array).any():
                told = f"{array[wrong][0]} becomes {single[wrong][0]:.0f}"
                text = f"{source}: {name} has integers that single precision (float32) cannot hold: {told}."
                warnings.warn(text, stacklevel=2)
                return


def _joined(source: str, name: str, rows: Sequence[Any]) -> list[np.ndarray]:
    """Return each row as an array of one kind: `(time,)` of integers, or `(time, size)` of numbers of one size."""
    arrays = [_array(source, row, name, value) for row, value in enumerate(rows)]
    for row, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            size, first = (_described(one) for one in (array, arrays[0]))
            at_row(source, row, f"{name} are {size}, but those of row 0 are {first}; they must be the same.")
    return arrays


def _described(array: np.ndarray) -> str:
    return "one number a step" if array.ndim == 1 else f"a list of {array.shape[1]} numbers a step"


def _array(source: str, row: int, name: str, value: Any) -> np.ndarray:
    if value is None:
        at_row(source, row, f"{name} is missing.")
    try:
        array = as_array(value)
    except (ValueError, OverflowError):  # NumPy's word for lists of different lengths within one another
        array = np.array(None)
    if array.ndim and not len(array):
        at_row(source, row, f"{name} has no steps; there must be at least one.")
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf" or 0 in array.shape:
        allowed = "a number for each step, or a list of as many numbers for each step"
        at_row(source, row, f"{name} must be {allowed}; this one is ragged, or holds something else.")
    return array


def _masks(source: str, rows: Sequence[Any] | None, lengths: np.ndarray) -> list[np.ndarray]:
    """Return the mask of each row; all true where there is none."""
    if rows is None:
        return [np.ones(length, bool) for length in lengths]
    if len(rows) != len(lengths):
        raise ValueError(f"{source}: there are {len(lengths)} sequences of inputs and {len(rows)} masks.")
    masks = []
    for row, (value, length) in enumerate(zip(rows, lengths, strict=True)):
        mask = np.ones(length, bool) if value is None else _array(source, row, "mask", value)
        if mask.ndim != 1 or not ((mask == 0) | (mask == 1)).all():
            at_row(source, row, "the mask must be true or false (or 1 or 0) for each step.")
        masks.append(mask)
    return masks


def _flat(source: str, name: str, arrays: list[np.ndarray]) -> np.ndarray:
    """Return all steps of all rows: symbols if every row has one integer a step, else numbers."""
    if all(array.ndim == 1 and array.dtype.kind in "iu" for array in arrays):
        return np.concatenate(arrays, dtype=np.int64, casting="unsafe")
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and refused as such
        found: np.ndarray = np.concatenate(arrays, dtype=np.float32, casting="unsafe")
    _warn_of_rounding(source, name, arrays, found)
    return found if found.ndim == 2 else found[:, None]
