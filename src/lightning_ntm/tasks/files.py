"""A user's own sequences, from files or arrays."""

import copy
from collections.abc import Mapping
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_ntm.checks import check_kind
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Numbers, Symbols
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.formats import read_names
from lightning_ntm.tasks.layout import Kind, Layout
from lightning_ntm.tasks.randomness import Split, batch_generator
from lightning_ntm.tasks.sequences import Sequences, sha256_of


class FileTask(Task):
    """Sequences of your own, from .npz, .jsonl or .parquet files.

    Each sequence has `inputs`: for each step a list of numbers, or an integer, which is a symbol and shown one-hot. Its
    `targets` have the same form. It may have a `mask`, true for each step whose answer counts. In each epoch training
    sees every sequence once, in an order drawn from the seed. Validation and evaluation see all sequences of the
    validation file, in its order.

    Args:
        train: The file of training sequences.
        validation: The file of validation sequences.
        answer: Kind of the targets. By default symbols if each step has one integer, else bits if all are 0 or 1 where
            the mask is true, else numbers.
        answer_size: Bits or numbers in a step of an answer, or the number of different symbols. By default as in the
            training file; for symbols the largest in the file plus 1.
        input_size: Numbers in a step of the inputs. By default as in the training file.
        input_symbols: Number of different input symbols. By default the largest in the training file plus 1, if each
            step of its inputs has one integer.
        tolerance: A number of an answer whose error is larger than this is wrong.
        names: A text file with the names of the symbols for pictures, one in each line, starting with that of symbol 0.

    Raises:
        ValueError: A file cannot be read, or a sequence is invalid; the message names file and row. If answer and sizes
            are all given, files are read when they are first needed.
    """

    def __init__(
        self,
        train: str,
        validation: str,
        *,
        answer: Kind | None = None,
        answer_size: int | None = None,
        input_size: int | None = None,
        input_symbols: int | None = None,
        tolerance: float = 0.04,
        names: str | None = None,
    ):
        self._names = None if names is None else str(Path(names).expanduser().absolute())
        paths = {"train": train, "validation": validation}
        self._files = {name: str(Path(path).expanduser().absolute()) for name, path in paths.items()}
        self._read: dict[str, Sequences] = {}
        self._held = "validation"
        self._set_up(Layout(input_size, input_symbols, answer, answer_size), tolerance)

    @classmethod
    def from_arrays(
        cls,
        train: Mapping[str, Any],
        validation: Mapping[str, Any],
        *,
        answer: Kind | None = None,
        answer_size: int | None = None,
        input_symbols: int | None = None,
        tolerance: float = 0.04,
    ) -> "FileTask":
        """Return the task of sequences in memory.

        Args:
            train: `inputs`, `targets`, and if needed `mask` and `lengths`, as in an .npz file; or lists with an array
                for each sequence. Arrays may be tensors of PyTorch.
            validation: The same.
            answer: As for files, and so are the others.
            answer_size: As for files.
            input_symbols: As for files.
            tolerance: As for files.

        Raises:
            TypeError: `train` or `validation` is no mapping.
            ValueError: A sequence is invalid; the message names its row.
        """
        check_kind(Mapping, "a mapping with inputs and targets", train=train, validation=validation)
        task = cls.__new__(cls)
        task._files, task._held, task._names = {}, "validation", None
        task._read = {"train": Sequences.of("train", train), "validation": Sequences.of("validation", validation)}
        task._set_up(Layout(None, input_symbols, answer, answer_size), tolerance)
        return task

    def _set_up(self, layout: Layout, tolerance: float) -> None:
        Numbers(1, tolerance)  # checks it
        layout.check()
        self.tolerance = tolerance
        if layout.complete and self._files:
            self.layout = layout
            return
        read = {name: self._read.get(name) or self._open(name) for name in ("train", "validation")}
        self.layout = layout.completed(read["train"])
        self._read = {name: self.layout.fit(sequences) for name, sequences in read.items()}
        if self._names:
            self._read_names(Path(self._names))  # reports a damaged file before it is needed

    def _named(self) -> tuple[str, ...]:
        """Return the names of symbols; none where the file is no longer there, since pictures alone need it."""
        return self._read_names(Path(self._names)) if self._names and Path(self._names).exists() else ()

    def _read_names(self, path: Path) -> tuple[str, ...]:
        """Return the names of symbols.

        Raises:
            ValueError: The file cannot be read, or has fewer names than there are symbols.
        """
        found = read_names(path)
        symbols = max(self.layout.input_symbols or 0, self.answer.size if isinstance(self.answer, Symbols) else 0)
        if len(found) < symbols:
            raise ValueError(f"names (={path}) has {len(found)} names for {symbols} symbols.")
        return found

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the symbols that inputs may be."""
        return self._named()[: self.layout.input_symbols or 0]

    @property
    def answer_names(self) -> tuple[str, ...]:
        """The names of the symbols that an answer may be."""
        return self._named()[: self.answer.size] if isinstance(self.answer, Symbols) else ()

    def _open(self, name: str) -> Sequences:
        path = self._files[name]
        return Sequences.read(f"{name} (={path})", Path(path))

    def _sequences(self, name: str) -> Sequences:
        if name not in self._read:
            self._read[name] = self.layout.fit(self._open(name))
        return self._read[name]

    def on(self, path: str) -> "FileTask":
        """Return this task with another file of the same sizes to evaluate on.

        Raises:
            ValueError: The file cannot be read, or is of other sizes.
        """
        other = copy.copy(self)
        other._files, other._held = {**self._files, "on": str(Path(path).expanduser().absolute())}, "on"
        other._read = {"on": self.layout.fit(other._open("on"))}
        return other

    @cached_property
    def version(self) -> int:  # type: ignore[override] # the same paths with other content are other data
        """A number that changes with the content of the files, so that reports do not mix runs on different files."""
        hashes = "".join(sha256_of(self._files[name]) for name in ("train", "validation") if name in self._files)
        return int(sha256(hashes.encode()).hexdigest()[:12], 16) if hashes else 1

    @property
    def input_size(self) -> int:
        """Numbers in a step of the inputs, or symbols that they may be."""
        return self.layout.input_size or self.layout.input_symbols or 0

    @property
    def answer(self) -> Answer:
        """What the targets are."""
        return self.layout.answers(self.tolerance)

    @property
    def difficulty(self) -> dict[str, int]:
        """Nothing can be made harder."""
        return {}

    @property
    def files(self) -> dict[str, str]:
        """The paths of the files."""
        return dict(self._files)

    def resolved(self) -> dict[str, Any]:
        """Return absolute paths, and sizes and kinds as they follow from the training file. Reads both files."""
        for name in ("train", "validation"):
            self._sequences(name)
        return {**self._files, **self.layout._asdict(), "names": self._names}

    def stored(self, split: Split) -> int:
        """Return how many sequences a split has."""
        return len(self._sequences("train" if split == "train" else self._held))

    def batch(
        self, seed: int, split: Split, number: int, batch_size: int, end: int | None = None, /, **difficulty: int
    ) -> Batch:
        """Return a batch: of training, the next sequences in the order of their epochs; else those of the file."""
        self.fixed(difficulty, "", 1, 1)
        first = number * batch_size
        if split == "train":
            return self._batch("train", _shuffled(seed, len(self._sequences("train")), first, batch_size))
        rows = np.arange(first, min(first + batch_size, self.stored(split) if end is None else end))
        if not len(rows) or rows[-1] >= self.stored(split):
            raise ValueError(f"sequence (={first}) must be at most {self.stored(split) - 1}, the last of the file.")
        return self._batch(self._held, rows)

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw training sequences, each independently of the others."""
        self.fixed(difficulty, "", 1, 1)
        return self._batch("train", generator.integers(self.stored("train"), size=batch_size))

    def _batch(self, name: str, rows: np.ndarray) -> Batch:
        inputs, targets, mask = self._sequences(name).padded(rows)
        if inputs.ndim == 2:
            inputs = _one_hot(inputs, self.input_size, self._sequences(name).lengths[rows])
        return Batch(*map(torch.from_numpy, (inputs, targets, mask)))


def _one_hot(symbols: np.ndarray, size: int, lengths: np.ndarray) -> np.ndarray:
    """Return symbols one-hot, and zeros in the padding."""
    shown = np.zeros((*symbols.shape, size), np.float32)
    real = np.arange(symbols.shape[1]) < lengths[:, None]
    np.put_along_axis(shown, symbols[..., None], real[..., None].astype(np.float32), axis=2)
    return shown


def _shuffled(seed: int, sequences: int, first: int, size: int) -> np.ndarray:
    """Return the sequences at some places of training, whose epochs follow one another without a gap."""
    places = np.arange(first, first + size)
    epochs = range(first // sequences, (first + size - 1) // sequences + 1)
    return np.concatenate(
        [_order(seed, sequences, epoch)[places[places // sequences == epoch] % sequences] for epoch in epochs]
    )


@lru_cache(maxsize=4)
def _order(seed: int, sequences: int, epoch: int) -> np.ndarray:
    """Return the order of an epoch, a function of the seed and its number."""
    order: np.ndarray = batch_generator(seed, "order", epoch).permutation(sequences)
    return order
