"""What every task promises."""

import abc
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_ntm.checks import at_least


class Batch(NamedTuple):
    """Episodes padded to one length: presentation, delimiter, then the answer to be given.

    `mask` is true where the answer counts; elsewhere inputs and targets are zero or ignored.
    """

    inputs: Float[Tensor, "batch time inputs"]
    targets: Float[Tensor, "batch time outputs"]
    mask: Bool[Tensor, "batch time"]


class Task(abc.ABC):
    """A source of episodes with known answers. Knows nothing of networks or of training.

    A task is a value: the same fields and the same state of the generator give the same batch.
    Subclasses are frozen dataclasses; their fields are the ranges drawn from in training.
    """

    #: Raised when the same fields and seed would give other data than before.
    version: int = 1

    #: The measure that tells the better of two networks: the weights with the least of it are kept. Where an answer
    #: does not follow from what was shown, `bits_per_sequence` says more than `wrong_bits`, which never reach 0.
    judged_by: Literal["wrong_bits", "bits_per_sequence"] = "wrong_bits"

    #: Difficulties that count what a network must keep, for each of which a memory needs a slot.
    kept: tuple[str, ...] = ("length", "items")

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """Numbers per step of the input."""

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """Bits per step of the answer."""

    @property
    @abc.abstractmethod
    def difficulty(self) -> dict[str, int]:
        """What can be made harder, with the hardest value drawn in training."""

    @property
    def evaluations(self) -> list[dict[str, int]]:
        """Difficulties that are measured when the user asks for none in particular, each once."""
        return [self.difficulty]

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

    def optimal_logits(self, batch: Batch) -> Float[Tensor, "batch time outputs"] | None:
        """Return what the best possible network would answer to a batch, as finite logits.

        `None` where the answer follows from what was shown, so that the best cost is 0. Otherwise an
        evaluation also reports how far a network is from it.
        """
        return None

    def landmarks(self, batch: Batch) -> dict[str, Bool[Tensor, "batch time"]]:
        """Return the steps to point out in a picture of the memory at work, by what they are."""
        return {}

    def placed_by(self, batch: Batch) -> Float[Tensor, "batch time"] | None:
        """Return the number that may decide where in its memory a network writes what it sees in a step.

        NaN in steps without one; `None` where there is no such number. `ntm figure` then shows locations against it.
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
                known = ", ".join(self.difficulty)
                raise ValueError(f"{type(self).__name__} has no difficulty {asked!r}; it has {known}.")
            at_least(minimum if asked == name else 1, **{asked: value})
        return (difficulty[name],) * 2 if name in difficulty else (low, high)
