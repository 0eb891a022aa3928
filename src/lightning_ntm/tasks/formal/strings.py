"""What the tasks on strings have in common: one-hot symbols, empty steps for the answer, one length for a batch."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray

from lightning_ntm.checks import at_least, ordered
from lightning_ntm.tasks.answers import Symbols
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class StringTask(Task):
    """A task of Delétang et al. 2023 (arXiv 2207.02098): read a string, then answer with another one.

    Each of the first `length` steps shows one symbol of the string, one-hot. Then there is one step for each symbol of
    the answer. All of these show the same empty symbol, in the last input channel. The mask covers exactly these steps,
    so the loss counts every position of the answer. The number of symbols in an answer depends on the length alone,
    and all strings of a batch have one length.

    Args:
        min_length: Shortest string in training.
        max_length: Longest string in training.

    Raises:
        ValueError: A length is below the shortest of the task, even where all are odd, or the minimum is above the
            maximum.
    """

    min_length: int = 1
    max_length: int = 40

    #: Symbols that a string may have: 0 to `symbols - 1`.
    symbols: ClassVar[int]
    #: How they are written, where a number is not enough; no string has those that are without a sign.
    signs: ClassVar[Sequence[str]] = ""
    #: Length of the shortest string of the task.
    shortest: ClassVar[int] = 1
    #: Whether all strings have an odd length.
    odd: ClassVar[bool] = False

    kept = tuple[str, ...]()

    def __post_init__(self) -> None:
        self._check(min_length=self.min_length, max_length=self.max_length)
        ordered(min_length=self.min_length, max_length=self.max_length)

    @property
    @abc.abstractmethod
    def answer(self) -> Symbols:
        """The symbols of an answer."""

    @property
    def input_size(self) -> int:
        """The symbols and the empty symbol."""
        return self.symbols + 1

    @property
    def input_names(self) -> tuple[str, ...]:
        """The symbols as they are written, `unused` for those that no string has, and `empty`."""
        numbers = range(self.symbols)
        written = [*self.signs, *("unused" for _ in numbers[len(self.signs) :])] if self.signs else map(str, numbers)
        return (*written, "empty")

    @property
    def answer_names(self) -> tuple[str, ...]:
        """The symbols of an answer, and `end` for the one that ends it."""
        end = self.answer.end
        return tuple("end" if symbol == end else str(symbol) for symbol in range(self.answer.size))

    @property
    def difficulty(self) -> dict[str, int]:
        """Length of the string."""
        return {"length": self.max_length}

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """One, two, four, eight and 12.5 times the training length: 40 to the paper's 500."""
        lengths = {self.max_length * halves // 2 for halves in (2, 4, 8, 16, 25)}
        return [{"length": length} for length in sorted({n - 1 if self.odd and n % 2 == 0 else n for n in lengths})]

    def training_values(self, name: str) -> range:
        """Return the lengths of training; with `odd` the odd ones."""
        return range(self.min_length, self.max_length + 1, 2 if self.odd else 1)

    @abc.abstractmethod
    def draw(
        self, generator: np.random.Generator, batch_size: int, length: int
    ) -> tuple[Int64[ndarray, "batch length"], Int64[ndarray, "batch answer"]]:
        """Return strings of one length, and the answer to each."""

    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch; `length=L` fixes the length of every string."""
        low, high = self.fixed(difficulty, "length", self.min_length, self.max_length, minimum=self.shortest)
        self._check(**difficulty)
        step = 2 if self.odd else 1
        length = low + step * int(generator.integers((high - low) // step + 1))
        strings, answers = self.draw(generator, batch_size, length)

        time = length + answers.shape[1]
        shown = np.full((batch_size, time), self.symbols)
        shown[:, :length] = strings
        inputs = np.eye(self.input_size, dtype=np.float32)[shown]
        targets = np.zeros((batch_size, time), np.int64)
        targets[:, length:] = answers
        mask = np.zeros((batch_size, time), bool)
        mask[:, length:] = True
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(mask))

    def _check(self, **lengths: int) -> None:
        at_least(self.shortest, **lengths)
        for name, length in lengths.items():
            if self.odd and length % 2 == 0:
                raise ValueError(f"{name} (={length}) must be odd.")
