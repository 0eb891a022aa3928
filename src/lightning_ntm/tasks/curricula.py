"""Curricula: rules for the difficulty of each training batch.

The four of "Neural Networks and the Chomsky Hierarchy" (Delétang et al. 2023, arXiv 2207.02098), as in its code,
`training/curriculum.py`, except for `RegularIncrease`, which says how it differs. Validation and evaluation do not
depend on the curriculum.
"""

import abc
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_ntm.checks import at_least, between, check_arguments
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.randomness import batch_generator


@dataclass(frozen=True)
class Curriculum(abc.ABC):
    """A rule by which the difficulty of each training batch is chosen. It is a value, as a task is.

    All episodes of a batch have the difficulty that was chosen for the batch. It depends only on the seed and the
    number of the batch.

    Args:
        difficulty: Which difficulty of the task is chosen, such as `repeats`; by default its first. The others are
            drawn as they are without a curriculum.
    """

    difficulty: str | None = field(default=None, kw_only=True)

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """Check the types of numbers and truth values.

        Raises:
            TypeError: One is of another type.
        """
        check_arguments(cls.__init__, arguments, options)
        return super().__new__(cls)

    @abc.abstractmethod
    def choose(self, generator: np.random.Generator, number: int, values: range) -> int:
        """Return the difficulty of a batch, one of the values of training.

        Args:
            generator: The only source of randomness.
            number: Of the batch, from 0. With several devices all of their batches are counted.
            values: Difficulties from which the task draws in training, in ascending order.
        """

    def batch(self, task: Task, seed: int, number: int, batch_size: int) -> Batch:
        """Return a training batch, a function of the arguments alone."""
        name = self._name(task)
        values = task.training_values(name)
        chosen: object = self.choose(batch_generator(seed, "curriculum", number), number, values)
        if isinstance(chosen, np.integer):  # as NumPy's generators draw
            chosen = int(chosen)
        if type(chosen) is not int or chosen not in values:
            raise ValueError(
                f"{type(self).__name__}.choose must return one of the values of {name} in training, {values[0]} to "
                f"{values[-1]}, not {chosen!r}."
            )
        return task.batch(seed, "train", number, batch_size, **{name: chosen})

    def check(self, task: Task) -> None:
        """Raise `ValueError` unless the curriculum can choose difficulties of a task."""
        name = self._name(task)
        values = task.training_values(name)
        if len(values) < 2:
            raise ValueError(
                f"curriculum cannot be given: {type(task).__name__} has one value of {name} in training ({values[0]})."
            )

    def _name(self, task: Task) -> str:
        known = list(task.difficulty) if task.stored("train") is None else []
        if not known:
            raise ValueError(f"curriculum cannot be given: {type(task).__name__} draws no difficulty.")
        if (name := self.difficulty or known[0]) not in known:
            raise ValueError(
                f"curriculum.difficulty (={name!r}) must be one of those of {type(task).__name__}: {', '.join(known)}."
            )
        return name


@dataclass(frozen=True)
class Uniform(Curriculum):
    """Each training value with the same probability, anew for each batch. Without a curriculum, tasks do the same."""

    def choose(self, generator: np.random.Generator, number: int, values: range) -> int:
        """Return a value drawn uniformly."""
        return values[int(generator.integers(len(values)))]


@dataclass(frozen=True)
class Fixed(Curriculum):
    """Always the same value.

    Args:
        value: The difficulty, one of the values of training; by default the hardest.

    Raises:
        ValueError: The value is below 1.
    """

    value: int | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            at_least(1, value=self.value)

    def check(self, task: Task) -> None:
        """Raise `ValueError` unless the value is one of the task's in training."""
        super().check(task)
        _check_among("value", self.value, task.training_values(self._name(task)))

    def choose(self, generator: np.random.Generator, number: int, values: range) -> int:
        """Return the value."""
        return values[-1] if self.value is None else self.value


@dataclass(frozen=True)
class RegularIncrease(Curriculum):
    """Begin with easy episodes; harder ones are added at regular intervals, until all values of training are drawn.

    The code of the paper goes on beyond the hardest value of training, and with `all_below` draws only the values that
    were the hardest at some time.

    Args:
        start: The hardest difficulty at the beginning, one of the values of training; by default the easiest.
        every: Number of batches after which the hardest difficulty grows, at least 1.
        by: Number of values by which it grows, at least 1.
        all_below: Draw all values up to the hardest with the same probability; otherwise always the hardest.

    Raises:
        ValueError: A number is below 1.
    """

    start: int | None = None
    every: int = 100
    by: int = 1
    all_below: bool = True

    def __post_init__(self) -> None:
        at_least(1, every=self.every, by=self.by)

    def check(self, task: Task) -> None:
        """Raise `ValueError` unless the start is one of the task's values in training."""
        super().check(task)
        _check_among("start", self.start, task.training_values(self._name(task)))

    def choose(self, generator: np.random.Generator, number: int, values: range) -> int:
        """Return the hardest value so far, or one drawn from those up to it."""
        first = 0 if self.start is None else values.index(self.start)
        hardest = min(first + self.by * (number // self.every), len(values) - 1)
        return values[int(generator.integers(hardest + 1)) if self.all_below else hardest]


@dataclass(frozen=True)
class ReverseExponential(Curriculum):
    """A value v with a probability proportional to `tau ** v`: below 1 easy episodes are frequent, above 1 hard ones.

    Args:
        tau: Base of the probability, from 0.01 to 100.

    Raises:
        ValueError: `tau` is out of its range.
    """

    tau: float = 0.9

    def __post_init__(self) -> None:
        between(0.01, 100, tau=self.tau)

    def choose(self, generator: np.random.Generator, number: int, values: range) -> int:
        """Return a value drawn by these probabilities."""
        logits = np.log(self.tau) * np.array(values)
        chances = np.exp(logits - logits.max())
        return int(generator.choice(np.array(values), p=chances / chances.sum()))


def training_batch(task: Task, curriculum: Curriculum | None, seed: int, number: int, batch_size: int) -> Batch:
    """Return a training batch, drawn by a curriculum or, without one, by the task from all of its values."""
    if curriculum is None:
        return task.batch(seed, "train", number, batch_size)
    return curriculum.batch(task, seed, number, batch_size)


def _check_among(name: str, value: int | None, values: range) -> None:
    if value is not None and value not in values:
        step = f" in steps of {values.step}" if values.step > 1 else ""
        raise ValueError(
            f"curriculum.{name} (={value}) must be a difficulty of training, {values[0]} to {values[-1]}{step}."
        )
