"""Kinds of answers: the form of the targets, the cost in training, and the measures.

Costs and measures are sums over the steps where `mask` is true. Logits and targets of other steps change neither the
sums nor their gradients, even if they are NaN.
"""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.checks import at_least, between
from lightning_ntm.measures import BITS, BITS_PER_SEQUENCE, UNCERTAIN_BITS, Measure, Measures, uncertain
from lightning_ntm.tasks.answer import Answer as Answer, exact
from lightning_ntm.tasks.batch import Batch


@dataclass(frozen=True)
class Bits(Answer):
    """Independent bits: a logit for each, above zero for 1. Targets are `(batch, time, size)`, 0 or 1.

    Args:
        size: Bits per step.
        uncertain: Whether the answers do not follow from the inputs, and the task has `optimal_logits`. Then the
            cross-entropy decides which weights are kept, since wrong bits never reach 0.
    """

    size: int
    uncertain: bool = False
    unit = "bit"
    constant = True
    known = "bits"

    def __post_init__(self) -> None:
        at_least(1, size=self.size)

    @property
    def measures(self) -> Measures:
        """Wrong bits and cross-entropy."""
        return UNCERTAIN_BITS if self.uncertain else BITS

    def cost(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Cross-entropy of each answer in nats, summed over its steps and bits."""
        # Selected before the loss, too: the gradient of a cost that is NaN or infinite is NaN even if it is masked.
        mask = batch.mask.unsqueeze(-1)
        logits = logits.to(exact(logits), copy=True).masked_fill_(~mask, 0)  # in the layout of the logits
        nats = F.binary_cross_entropy_with_logits(logits, batch.targets.to(logits), reduction="none")
        return torch.where(mask, nats, 0).sum((1, 2))

    def cost_and_gradient(
        self,
        logits: Float[Tensor, "batch time outputs"],
        batch: Batch,
        weight: float | Float[Tensor, ""] | Float[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch time outputs"]]:
        """Return both in closed form: the derivative of a bit's cross-entropy is its probability minus its target."""
        if type(self).cost is not Bits.cost:  # of a subclass
            return super().cost_and_gradient(logits, batch, weight)
        hidden = ~batch.mask.unsqueeze(-1)
        logits = logits.to(exact(logits), copy=True).masked_fill_(hidden, 0)
        targets = batch.targets.to(logits)
        nats = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").masked_fill_(hidden, 0)
        weight = weight.view(-1, 1, 1) if isinstance(weight, Tensor) else weight
        gradient = logits.sigmoid_().sub_(targets).mul_(weight).masked_fill_(hidden, 0)
        return nats.sum((1, 2)), gradient

    def units(self, batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many bits each answer has."""
        return (batch.mask.sum(1) * batch.targets.shape[-1]).to(exact(batch.targets))

    def errors(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many bits of each answer are wrong."""
        right = torch.where(batch.targets > 0.5, logits > 0, logits <= 0)
        return (batch.mask.unsqueeze(-1) & ~right).sum((1, 2)).to(exact(logits))

    def counted(
        self, errors: Float[Tensor, " batch"], batch: Batch, cost: Float[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return wrong bits and cross-entropy."""
        return {BITS.each[0].name: errors, BITS_PER_SEQUENCE.name: cost}

    def shown(self, logits: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return the probability of each bit."""
        return logits.sigmoid()

    def pictured(self, targets: Shaped[Tensor, "batch time ..."]) -> Float[Tensor, "batch time outputs"]:
        """Return the bits."""
        return targets.float()

    def fault(self, batch: Batch) -> str | None:
        """Return what is wrong with the targets."""
        if batch.targets.shape != (*batch.mask.shape, self.size):
            return f"targets must have shape (batch, time, {self.size}), got {tuple(batch.targets.shape)}"
        answers = batch.targets[batch.mask]
        if not ((answers == 0) | (answers == 1)).all():
            return "targets must be 0 or 1 where the mask is true"
        return None


@dataclass(frozen=True)
class Symbols(Answer):
    """One of several symbols in each step: a logit for each. Targets are `(batch, time)`, int64 from 0 to size - 1.

    Args:
        size: Number of different symbols.
        uncertain: As for `Bits`.
        end: Symbol that ends an answer. The loss counts all steps of the answer. Wrong symbols and accuracy count only
            the steps up to and including the first `end`. No target before or after an answer may be `end`.
    """

    size: int
    uncertain: bool = False
    end: int | None = field(default=None, repr=False)
    unit = "symbol"
    constant = True
    known = "symbols"

    def __post_init__(self) -> None:
        at_least(2, size=self.size)
        if self.end is not None:
            between(0, self.size - 1, end=self.end)

    @property
    def measures(self) -> Measures:
        """Wrong symbols, cross-entropy, and the share of right symbols."""
        known = _SYMBOLS.each[0]._replace(chance=1 - 1 / self.size)
        bits = BITS_PER_SEQUENCE._replace(chance=math.log2(self.size))
        declared = Measures((known, bits, _SYMBOLS.each[2]._replace(chance=1 / self.size)), _SYMBOLS.without_error)
        return uncertain(declared, bits.name) if self.uncertain else declared

    def cost(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Cross-entropy of each answer in nats, summed over its steps."""
        logits = logits.to(exact(logits), copy=True).masked_fill_(~batch.mask.unsqueeze(-1), 0)
        targets = batch.targets.masked_fill(~batch.mask, 0)
        nats = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return torch.where(batch.mask, nats, 0).sum(1)

    def units(self, batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many symbols each answer has."""
        return batch.mask.sum(1).float()

    def errors(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many symbols of each answer are wrong, up to its end."""
        return self.step_errors(logits, batch).sum(1)

    def step_errors(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, "batch time"]:
        """Return 1 for each step with a wrong symbol, up to the end of the answer."""
        right = (logits.argmax(-1) == batch.targets) & ~logits.isnan().any(-1)
        return (self.measured_steps(batch) & ~right).to(exact(logits))

    def counted(
        self, errors: Float[Tensor, " batch"], batch: Batch, cost: Float[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return wrong symbols, cross-entropy, and the share of right symbols: 1 of an answer without any."""
        values = errors, cost, 1 - errors.double() / self.measured_steps(batch).sum(1).clamp(min=1)
        return dict(zip(_SYMBOLS.names, values, strict=True))

    def shown(self, logits: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return the probability of each symbol."""
        return logits.softmax(-1)

    def pictured(self, targets: Shaped[Tensor, "batch time ..."]) -> Float[Tensor, "batch time outputs"]:
        """Return the symbols, one-hot."""
        return F.one_hot(targets.clamp(0, self.size - 1), self.size).float()

    def fault(self, batch: Batch) -> str | None:
        """Return what is wrong with the targets."""
        if batch.targets.shape != batch.mask.shape or batch.targets.dtype != torch.int64:
            return (
                f"targets must be int64 of shape (batch, time), got {batch.targets.dtype} {tuple(batch.targets.shape)}"
            )
        answers = batch.targets[batch.mask]
        if not ((answers >= 0) & (answers < self.size)).all():
            return f"targets must be symbols from 0 to {self.size - 1} where the mask is true"
        if self.end is not None and (batch.targets[~batch.mask] == self.end).any():
            return f"targets must not be the end symbol {self.end} where the mask is false"
        return None

    def measured_steps(self, batch: Batch) -> Bool[Tensor, "batch time"]:
        """Return the steps of answers up to their end."""
        if self.end is None:
            return batch.mask
        ends = batch.targets == self.end
        return batch.mask & (ends.cumsum(1) - ends.long() == 0)


@dataclass(frozen=True)
class Numbers(Answer):
    """Real numbers: the logits are the answer. Targets are `(batch, time, size)`, finite.

    Args:
        size: Numbers per step.
        tolerance: A number whose error is larger than this is wrong. A run whose mean squared error is at most the
            square of the tolerance has learned the task.
    """

    size: int
    tolerance: float = 0.04
    unit = "number"
    constant = True
    known = "numbers"

    def __post_init__(self) -> None:
        at_least(1, size=self.size)
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance (={self.tolerance}) must be above 0 and finite.")

    @property
    def measures(self) -> Measures:
        """Mean squared error, and numbers further off than the tolerance."""
        error, wrong = _NUMBERS.each
        solved = self.tolerance**2
        return Measures((error._replace(solved=solved, near=4 * solved), wrong), _NUMBERS.without_error)

    def cost(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Squared error of each answer, summed over its steps and numbers."""
        if batch.targets.shape != logits.shape:  # PyTorch would repeat them
            shapes = f"{tuple(batch.targets.shape)} and {tuple(logits.shape)}"
            raise ValueError(f"targets must have the shape of the logits, got {shapes}.")
        mask = batch.mask.unsqueeze(-1)
        logits = logits.to(exact(logits), copy=True).masked_fill_(~mask, 0)
        targets = batch.targets.to(logits).masked_fill(~mask, 0)
        return (logits - targets).square().sum((1, 2))

    def units(self, batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many numbers each answer has."""
        return (batch.mask.sum(1) * self.size).to(exact(batch.targets))

    def errors(self, logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
        """Return how many numbers of each answer are further off than the tolerance."""
        right = (logits.to(exact(logits)) - batch.targets).abs() <= self.tolerance
        return (batch.mask.unsqueeze(-1) & ~right).sum((1, 2)).to(exact(logits))

    def counted(
        self, errors: Float[Tensor, " batch"], batch: Batch, cost: Float[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return the mean squared error, 0 of an answer without numbers, and the wrong numbers."""
        values = cost / self.units(batch).clamp(min=1), errors
        return dict(zip(_NUMBERS.names, values, strict=True))

    def shown(self, logits: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return the numbers."""
        return logits

    def pictured(self, targets: Shaped[Tensor, "batch time ..."]) -> Float[Tensor, "batch time outputs"]:
        """Return the numbers."""
        return targets.float()

    def fault(self, batch: Batch) -> str | None:
        """Return what is wrong with the targets."""
        if batch.targets.shape != (*batch.mask.shape, self.size):
            return f"targets must have shape (batch, time, {self.size}), got {tuple(batch.targets.shape)}"
        if batch.targets.dtype == torch.bool or batch.targets.is_complex():
            return f"targets must be real numbers, got {batch.targets.dtype}"
        if not batch.targets[batch.mask].isfinite().all():
            return "targets must be finite where the mask is true"
        return None


_SYMBOLS = Measures(
    (
        Measure(
            "wrong_symbols", "wrong symbols", "wrong symbols per sequence",
            "Symbols of an answer that are not the most probable one, mean over sequences.",
            solved=0.0, near=0.1, solved_means="In its best validation no symbol was wrong.",
        ),
        BITS_PER_SEQUENCE,
        Measure("accuracy", "accuracy", "share of right symbols",
                "Share of right symbols in an answer, mean over sequences.", better="higher"),
    ),
    "sequences without a wrong symbol",
)  # fmt: skip
_NUMBERS = Measures(
    (
        Measure("squared_error", "squared error", "mean squared error",
                "Squared error of the numbers of an answer, mean over them and over sequences.",
                solved_means="In its best validation the squared error was at most that of the tolerance."),
        Measure("wrong_numbers", "wrong numbers", "wrong numbers per sequence",
                "Numbers of an answer that are further off than the tolerance, mean over sequences."),
    ),
    "sequences without a wrong number",
)  # fmt: skip
