"""What every answer promises, and what its measures have in common."""

import abc
import math
from typing import ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from lightning_ntm.measures import BITS_PER_SEQUENCE, Measures
from lightning_ntm.tasks.batch import Batch


class Answer(abc.ABC):
    """What every answer promises. A value: two of the same fields are equal.

    Attributes:
        size: Logits per step, the `output_size` of the network.
        unit: Name of one element of an answer, such as `bit`.
        constant: Whether `cost` and `units` depend on the fields and their arguments alone, the fields cannot change,
            and gradients flow through the logits alone. Then a training step may compute all gradients in one call,
            and replay a CUDA graph of it. A subclass must say so itself.
        known: Name of the built-in answer with the same `cost`, `units` and `errors`, so that a kernel may compute
            them: `bits`, `symbols`, with `end`, or `numbers`, with `tolerance`. A subclass must say so itself.
    """

    size: int
    unit: ClassVar[str]
    constant: ClassVar[bool] = False
    known: ClassVar[Literal["bits", "symbols", "numbers"] | None] = None

    @property
    @abc.abstractmethod
    def measures(self) -> Measures:
        """Declarations of what `measure` and `compare` return; the first judges."""

    @abc.abstractmethod
    def cost(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Return what training minimises, summed over each answer; differentiable."""

    def cost_and_gradient(
        self,
        logits: Float[Tensor, "batch time outputs"],
        batch: Batch,
        weight: float | Float[Tensor, ""] | Float[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch time outputs"]]:
        """Return the cost of each answer, and the gradient of their weighted sum with respect to the logits.

        Args:
            logits: Of the network.
            batch: The episodes.
            weight: Of each cost in the sum, one for all or one for each.
        """
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            costs = self.cost(leaf, batch)
            weights = torch.as_tensor(weight, dtype=costs.dtype, device=costs.device).expand_as(costs)
            (gradient,) = torch.autograd.grad(costs, leaf, weights)
        return costs.detach(), gradient

    @abc.abstractmethod
    def units(self, batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many bits, symbols or numbers each answer has."""

    def measured_steps(self, batch: Batch) -> Bool[Tensor, "batch time"]:
        """Return the steps that measures count: those of the answers, up to their end if they have one."""
        return batch.mask

    @abc.abstractmethod
    def errors(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many units of each answer are wrong. A logit that is NaN is wrong whatever the target."""

    def raw(
        self, logits: Float[Tensor, "batch time outputs"], batch: Batch, cost: Float[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return each measure of each answer, by name, but for those that compare it to an optimum.

        Cross-entropy is in nats, since means are converted later, by `in_unit`: this runs in every training step.
        A subclass defines this, or `counted` where the measures follow from errors and cost.

        Args:
            logits: Of the network.
            batch: The episodes.
            cost: What `cost` returns for both.
        """
        return self.counted(self.errors(logits, batch), batch, cost)

    def counted(
        self, errors: Float[Tensor, " batch"], batch: Batch, cost: Float[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return what `raw` returns, from the errors, which a kernel counts for answers that are `known`.

        Args:
            errors: What `errors` returns.
            batch: The episodes.
            cost: What `cost` returns.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither raw nor counted.")

    def measure(
        self, logits: Float[Tensor, "batch time outputs"], batch: Batch, cost: Float[Tensor, " batch"] | None = None
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return the measures of `raw`, each in its unit.

        Args:
            logits: Of the network.
            batch: The episodes.
            cost: What `cost` returns for both, where that is known.
        """
        raw = self.raw(logits, batch, self.cost(logits, batch) if cost is None else cost)
        return {name: in_unit(name, value) for name, value in raw.items()}

    @abc.abstractmethod
    def shown(self, logits: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return what a picture shows: probabilities, or the numbers themselves."""

    @abc.abstractmethod
    def pictured(self, targets: Shaped[Tensor, "batch time ..."]) -> Float[Tensor, "batch time outputs"]:
        """Return targets as `shown` would give them for a perfect answer."""

    @abc.abstractmethod
    def fault(self, batch: Batch) -> str | None:
        """Return the error in the targets of a batch at steps that count, or `None`."""

    def compare(
        self, measured: dict[str, Tensor], optimal: Float[Tensor, "batch time outputs"], batch: Batch
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return the optimum of each answer and how far a network is from it, where the measures declare that.

        Args:
            measured: What `measure` returns of the network.
            optimal: Logits of the best possible network.
            batch: The episodes.
        """
        best, found = self.measure(optimal, batch), dict[str, Tensor]()
        for measure in self.measures.each:
            if of := measure.above:
                found[self.measures.named(of).optimum] = best[of]
                found[measure.name] = measured[of].double() - best[of].double()
        return found

    def step_errors(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, "batch time"]:
        """Return how many units are wrong in each step of each answer."""
        steps = Batch(*(part.flatten(0, 1).unsqueeze(1) for part in batch))
        return self.errors(logits.flatten(0, 1).unsqueeze(1), steps).view(batch.mask.shape)

    def check_size(self, output_size: int) -> None:
        """Check that a network has a logit for each of this answer.

        Args:
            output_size: Of the network.

        Raises:
            ValueError: It has more or fewer.
        """
        if output_size != self.size:
            raise ValueError(
                f"output_size (={output_size}) of the network must be {self.size}, as the task asks for {self}."
            )


Value = TypeVar("Value", Tensor, float)


def in_unit(name: str, value: Value) -> Value:
    """Return a measure that `Answer.raw` gave, or a mean of it, in its unit: cross-entropy in bits instead of nats.

    Args:
        name: Of the measure.
        value: One or many values of it.
    """
    return value / math.log(2) if name == BITS_PER_SEQUENCE.name else value


def mean(values: Tensor) -> Float[Tensor, ""]:
    """Return a mean in float64: in float32, 28 of 100 is 0.2800000011920929."""
    return values.mean(dtype=torch.float64)


def exact(tensor: Tensor) -> torch.dtype:
    """Return a dtype of at least float32: in bfloat16, 513 is 512."""
    return torch.promote_types(tensor.dtype, torch.float32)
