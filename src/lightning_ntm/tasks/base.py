"""What every task promises."""

import abc
import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_ntm.checks import at_least
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
        """What is asked for: `Bits(8)`, `Symbols(5)`, `Numbers(1)`. It defines targets, loss and measures.

        A class attribute (`answer = Bits(1)`) where it does not depend on the fields of the task, else a property.
        """

    @property
    def output_size(self) -> int:
        """Logits per step, as the answer says."""
        return self.answer.size

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a task that defines `output_size` alone, answer in bits."""
        super().__init_subclass__(**options)
        defining = next(one for one in cls.__mro__ if {"answer", "output_size"} & vars(one).keys())
        if "answer" not in vars(defining):
            _answer_in_bits(cls)

    @property
    @abc.abstractmethod
    def difficulty(self) -> dict[str, int]:
        """What can be made harder, with the hardest value drawn in training."""

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """Difficulties that are measured when the user asks for none in particular, each once."""
        return [self.difficulty]

    def training_values(self, name: str) -> range:
        """Return the values of a difficulty that training draws from: `min_<name>` to the hardest.

        A task whose field has another name, or that leaves values out, overrides this.
        """
        hardest = self.difficulty[name]
        return range(getattr(self, f"min_{name}", hardest), hardest + 1)

    @property
    def pieces(self) -> int:
        """Equal parts of an answer that are then measured one by one, besides the whole; 1 is the whole alone."""
        return 1

    @abc.abstractmethod
    def sample(self, generator: np.random.Generator, batch_size: int, **difficulty: int) -> Batch:
        """Draw a batch, without a loop over it.

        Args:
            generator: The only source of randomness.
            batch_size: Number of episodes, at least 1.
            difficulty: Fixes what is otherwise drawn from the training range, as `length=120`;
                values beyond the range are allowed and change nothing else in the encoding.

        Raises:
            ValueError: A difficulty has an unknown name or is below 1.
        """

    def batch(
        self, seed: int, split: Split, number: int, batch_size: int, end: int | None = None, /, **difficulty: int
    ) -> Batch:
        """Return a batch of a run, a function of the arguments alone. `sample` draws it from their generator.

        A task that keeps its sequences overrides this: it gives those from `number * batch_size` on.

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
        """Return how many sequences a split has; `None` where they are drawn, without end."""
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

        `None` where the answer follows from what was shown, so that the best cost is 0. Otherwise an
        evaluation also reports how far a network is from it.
        """
        return None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return what each number of an input step stands for, as a word, for pictures; nothing to count them."""
        return ()

    @property
    def answer_names(self) -> tuple[str, ...]:
        """Return what each bit or symbol of an answer stands for, for pictures; nothing to count them."""
        return ()

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the steps to point out in a picture of the memory at work, by what they are."""
        return {}

    def placed_by(self, batch: Batch) -> Float[Tensor, "batch time"] | None:
        """Return the number that may decide where in its memory a network writes what it sees in a step.

        NaN in steps without one; `None` where there is no such number. `ntm figure` then shows the slots against it.
        """
        return None

    def fixed(self, difficulty: dict[str, int], name: str, low: int, high: int, *, minimum: int = 1) -> tuple[int, int]:
        """Return the range to draw `name` from: the one value asked for, or the training range.

        Args:
            difficulty: What was asked for.
            name: One of this task's difficulties.
            low: Least value drawn in training.
            high: Largest value drawn in training.
            minimum: Least value of `name` that makes sense; of all others it is 1.

        Raises:
            ValueError: `difficulty` names something this task does not have, or is below its minimum.
        """
        for asked, value in difficulty.items():
            if asked not in self.difficulty:
                known = ", ".join(self.difficulty) or "none"
                raise ValueError(f"{type(self).__name__} has no difficulty {asked!r}; it has {known}.")
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
