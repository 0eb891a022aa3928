"""What every task promises."""

import abc
import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_ntm.checks import at_least, check_arguments, check_whole
from lightning_ntm.measures import BITS_PER_SEQUENCE
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.randomness import Split, batch_generator


class Task(abc.ABC):
    """A source of episodes with known answers. Knows nothing of networks or of training.

    A task is a value: the same fields and the same state of the generator give the same batch.
    Subclasses are frozen dataclasses; their fields are the ranges drawn from in training.
    """

    #: Raised when the same fields and seed would give other data than before.
    version: int = 1

    #: Difficulties that count what a network must keep, for each of which a memory needs a slot.
    kept: tuple[str, ...] = ("length", "items")

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """Numbers per step of the input."""

    @property
    @abc.abstractmethod
    def answer(self) -> Answer:
        """Kind of the answers: `Bits(8)`, `Symbols(5)`, `Numbers(1)`. It defines targets, loss and measures.

        A class attribute (`answer = Bits(1)`) where it does not depend on the fields of the task, else a property.
        """

    @property
    def output_size(self) -> int:
        """Logits per step, as the answer says."""
        return self.answer.size

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """Check that sizes are whole numbers.

        Raises:
            TypeError: One is not.
        """
        check_arguments(cls.__init__, arguments, options)
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a task that defines `output_size` alone, answer in bits."""
        super().__init_subclass__(**options)
        defining = next(one for one in cls.__mro__ if {"answer", "output_size"} & vars(one).keys())
        if "answer" not in vars(defining):
            _answer_in_bits(cls)

    @property
    @abc.abstractmethod
    def difficulty(self) -> dict[str, int]:
        """Names of the difficulties that an evaluation may set, with the hardest value drawn in training."""

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """Difficulties that are measured by default, each once."""
        return [self.difficulty]

    def training_values(self, name: str) -> range:
        """Return the values of a difficulty that training draws from: `min_<name>` to the hardest.

        A task whose field has another name, or that leaves values out, overrides this.
        """
        hardest = self.difficulty[name]
        return range(getattr(self, f"min_{name}", hardest), hardest + 1)

    @property
    def pieces(self) -> int:
        """Number of equal parts of an answer that are measured separately, besides the whole; 1: only the whole."""
        return 1

    @abc.abstractmethod
    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch, without a loop over its episodes.

        Args:
            generator: The only source of randomness.
            batch_size: Number of episodes, at least 1.
            difficulty: Sets a value that is otherwise drawn from the training range, such as `length=120`. Values
                beyond the range are allowed; they do not change the encoding.

        Raises:
            ValueError: A difficulty has an unknown name or is below 1.
        """

    def batch(
        self, seed: int, split: Split, number: int, batch_size: int, end: int | None = None, /, **difficulty: int
    ) -> Batch:
        """Return a batch of a run, a function of the arguments alone. `sample` draws it from their generator.

        A task with stored sequences overrides this: it returns the sequences from `number * batch_size` on.

        Args:
            seed: Of the run.
            split: What the batch is for.
            number: Of the batch in its split, from 0.
            batch_size: Sequences in each batch but the last.
            end: Sequences in the split; the last batch has only those before it.
            difficulty: As for `sample`.
        """
        size = batch_size if end is None else min(batch_size, end - number * batch_size)
        drawn_by = batch_generator(seed, split, number, difficulty if split == "evaluation" else None)
        return self.sample(drawn_by, size, **difficulty)

    def stored(self, split: Split) -> int | None:
        """Return the number of sequences of a split; `None` if they are drawn without end."""
        return None

    @property
    def files(self) -> dict[str, str]:
        """Files that sequences come from: absolute paths by the argument that names them."""
        return {}

    def resolved(self) -> dict[str, Any]:
        """Return arguments to be kept in a run's configuration in place of those given, such as absolute paths."""
        return {}

    def optimal_logits(self, batch: Batch) -> Float[Tensor, "batch time outputs"] | None:
        """Return what the best possible network would answer to a batch, as finite logits.

        `None` if the answer follows from the inputs, so that the best cost is 0. Otherwise an evaluation also reports
        the regret, the difference between the cost of a network and the best cost.
        """
        return None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return a name for each number of an input step, for pictures; empty to number them."""
        return ()

    @property
    def answer_names(self) -> tuple[str, ...]:
        """Return a name for each bit or symbol of an answer, for pictures; empty to number them."""
        return ()

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the steps to mark in a picture of the memory, by name."""
        return {}

    def placed_by(self, batch: Batch) -> Float[Tensor, "batch time"] | None:
        """Return the number that may decide where in its memory a network writes what it sees in a step.

        NaN in steps without one; `None` where there is no such number. `ntm figure` then shows the slots against it.
        """
        return None

    def fixed(self, difficulty: dict[str, int], name: str, low: int, high: int, *, minimum: int = 1) -> tuple[int, int]:
        """Return the range to draw `name` from: the value that `difficulty` sets, or the training range.

        Args:
            difficulty: The difficulties that an evaluation sets.
            name: One of this task's difficulties.
            low: Least value drawn in training.
            high: Largest value drawn in training.
            minimum: Least value allowed for `name`; for all other difficulties it is 1.

        Raises:
            TypeError: A value of `difficulty` is not a whole number.
            ValueError: `difficulty` has a name that this task does not have, or a value below its minimum.
        """
        for asked, value in difficulty.items():
            if asked not in self.difficulty:
                known = ", ".join(self.difficulty) or "none"
                raise ValueError(f"{type(self).__name__} has no difficulty {asked!r}; it has {known}.")
            check_whole(**{asked: value})
            at_least(minimum if asked == name else 1, **{asked: value})
        return (difficulty[name],) * 2 if name in difficulty else (low, high)


def _answer_in_bits(task: type[Task]) -> None:
    cross_entropy_judges = getattr(task, "judged_by", None) == BITS_PER_SEQUENCE.name
    options = ", uncertain=True" if cross_entropy_judges else ""
    warnings.warn(
        f"{task.__name__} defines output_size, which ends in version 0.3; define answer = Bits(output_size{options}) "
        "instead (from lightning_ntm.tasks.answers import Bits).",
        DeprecationWarning,
        stacklevel=4,  # the class statement
    )
    answer = property(lambda self: Bits(self.output_size, uncertain=cross_entropy_judges))
    task.answer = answer  # type: ignore[method-assign, assignment]
