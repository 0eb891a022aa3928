"""The loss of a training step.

A fused loss computes the loss and all gradients in one call of a kernel (`kernels/loss.py`). It is used if nothing of
the user's depends on the values in between. Otherwise the network computes logits, and autograd the gradients. Both
give the same numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_ntm.evaluation.calls import lengths_for, logits_of
from lightning_ntm.kernels.loss import CriterionOutput, KnownLoss, Loss
from lightning_ntm.kernels.torch_internals import has_hooks, is_compiled
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.stack import Stack
from lightning_ntm.tasks.answer import Answer, exact
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.faults import TargetsError, batch_fault


@dataclass(frozen=True)
class Objective:
    """What a training minimises.

    Args:
        answer: What the task asks for.
        reduction: `mean` over all units of the answers in a batch, or `sum` over each answer and mean over the batch.
        task: Name of the task, for messages.
    """

    answer: Answer
    reduction: Literal["mean", "sum"] = "mean"
    task: str = "the data"

    def costs(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the cost of each answer; see `Answer.cost`.

        Raises:
            TargetsError: The targets are not those of the answer.
        """
        with self._explained(batch):
            return self.answer.cost(logits, batch)

    def costs_and_gradient(self, logits: Tensor, batch: Batch, weight: float | Tensor) -> tuple[Tensor, Tensor]:
        """Return the cost of each answer, and the gradient of their weighted sum; see `Answer.cost_and_gradient`.

        Raises:
            TargetsError: The targets are not those of the answer.
        """
        with self._explained(batch):
            return self.answer.cost_and_gradient(logits, batch, weight)

    def __call__(self, logits: Tensor, *episodes: Tensor) -> CriterionOutput:
        """Return the output of `with_gradient`: an objective is a criterion, which may be known to a kernel."""
        return self.with_gradient(logits, *episodes)

    @cached_property
    def known(self) -> KnownLoss | None:
        """The loss, if the answer says that it is one that kernels know."""
        kind = type(self.answer).__dict__.get("known")
        if kind is None or not type(self.answer).__dict__.get("constant"):
            return None
        end, tolerance = getattr(self.answer, "end", None), getattr(self.answer, "tolerance", 0.0)
        return KnownLoss(kind, self.reduction == "mean", -1 if end is None else end, tolerance)

    def loss(self, costs: Tensor, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        return costs.mean() if self.reduction == "sum" else costs.sum() / self.answer.units(batch).sum()

    def with_gradient(self, logits: Tensor, *episodes: Tensor) -> CriterionOutput:
        """Return loss, costs, and the gradient of the loss with respect to the logits.

        Raises:
            TargetsError: The targets are not those of the answer.
        """
        batch = Batch(*episodes)
        units = None if self.reduction == "sum" else self.answer.units(batch).sum()
        weight = 1 / len(logits) if units is None else units.to(exact(logits)).reciprocal()
        costs, gradient = self.costs_and_gradient(logits, batch, weight)
        return CriterionOutput(costs.mean() if units is None else costs.sum() / units, costs, gradient)

    def refusal(self) -> str | None:
        """Return why the answer does not allow a fused loss, or `None`."""
        if type(self.answer).__dict__.get("constant"):
            return None
        return f"{type(self.answer).__name__} does not say that it is constant."

    def side_by_side_with_gradient(self, logits: Tensor, *episodes: Tensor) -> CriterionOutput:
        """Return the output of `with_gradient` for the sum of the losses of several networks.

        All tensors have a leading axis of networks.
        """
        batches = Batch(*episodes)
        weights = self.weights(batches, exact(logits))
        costs, gradient = self.costs_and_gradient(logits.flatten(0, 1), _flat(batches), weights.flatten())
        loss = (costs * weights.flatten()).sum()
        return CriterionOutput(loss, costs.view(weights.shape), gradient.view(logits.shape))

    def weights(self, batches: Batch, dtype: torch.dtype) -> Tensor:
        """Return the weight of the cost of each answer in the loss of its network, `(networks, batch)`."""
        shape = batches.mask.shape[:2]
        if self.reduction == "sum":
            return torch.full(shape, 1 / shape[1], dtype=dtype, device=batches.mask.device)
        units = self.answer.units(_flat(batches)).view(shape)
        return units.sum(1, keepdim=True).to(dtype).reciprocal().expand(shape)

    def of(self, logits: Tensor, batch: Batch) -> Loss:
        """Return the loss of logits.

        Raises:
            TargetsError: The targets are not those of the answer.
        """
        costs = self.costs(logits, batch)
        return Loss(self.loss(costs, batch), costs.detach(), logits.detach())

    @contextmanager
    def _explained(self, batch: Batch) -> Iterator[None]:
        try:
            yield
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            if fault := batch_fault(self.answer, batch):
                raise TargetsError(f"{self.task}: {fault}.") from error
            raise


def loss_of(model: nn.Module, objective: Objective, batch: Batch, state: Any = None) -> Loss:
    """Return the loss of a network on a batch.

    Args:
        model: The network.
        objective: What is minimised.
        batch: The episodes.
        state: Before the first step; by default `initial_state`.

    Raises:
        ValueError: The inputs have the wrong shape, or the network's backend cannot run the call.
        TargetsError: The targets are not those of the answer.
    """
    short = fused_loss(model, objective, batch, state)
    return objective.of(logits_of(model, batch, state), batch) if short is None else short


def fused_loss(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    state: Any = None,
    *,
    slots: int | None = None,
    scaled: bool = True,
) -> Loss | None:
    """Return the fused loss, or `None` if it is not possible; see `loss_of`.

    `slots` are the memory slots of the initial state, if `state` is not given. `scaled` is whether the loss may be
    multiplied before its backward, as for accumulated gradients.
    """
    if objective.refusal() or not isinstance(model, MemoryModel):
        return None
    return model.loss_by_kernel(batch, objective, state, slots=slots, scaled=scaled)


def loss_refusal(model: nn.Module, objective: Objective, inputs: Tensor, *, scaled: bool = True) -> str | None:
    """Return why `fused_loss` is not possible for such inputs, or `None`."""
    if reason := objective.refusal():
        return reason
    if not isinstance(model, MemoryModel):  # what torch.compile returns, which has the network's attributes
        return f"the network is a {type(model).__name__}."
    return model.loss_refusal(inputs, scaled=scaled)


def methods_between(learner: Any) -> dict[str, Any]:
    """Return the methods that compute a loss, of a learner or of a class of learners."""
    found = {name: getattr(learner, name) for name in ("__call__", "forward", "training_step", "loss_of")}
    # Strategies of Lightning assign the forward of the class to the learner.
    return {name: getattr(method, "__func__", method) for name, method in found.items()}


def learner_refusal(learner: Any, methods: dict[str, Any]) -> str | None:
    """Return what of a learner does not allow a fused loss, or `None`.

    Args:
        learner: Is attached to a Trainer.
        methods: What `methods_between` returned of its class as it was defined.
    """
    if torch.compiler.is_compiling():
        return "the learner is compiled."
    if methods_between(learner) != methods or has_hooks(learner) or is_compiled(learner):
        return "the learner has hooks or methods of its own, or was compiled."
    return None if learner.holds_whole_gradients() else "the strategy divides parameters or gradients."


def loss_side_by_side(stack: Stack[Any], objective: Objective, batches: Batch, state: Any = None) -> Loss:
    """Return the loss of networks side by side: the sum of their losses.

    Args:
        stack: The networks.
        objective: What each network minimises.
        batches: The batch of each network; each field has a leading axis of networks.
        state: Before the first step; by default `initial_state`.

    Raises:
        ValueError: The networks must know where padding begins, and there is padding.
    """
    if lengths_for(stack.networks, batches.inputs.flatten(0, 1), batches.mask.flatten(0, 1)) is not None:
        raise ValueError(f"a Stack of {type(stack.networks).__name__} that reads ahead cannot run padded sequences.")
    short = None if objective.refusal() else stack.loss_by_kernel(batches, objective.side_by_side_with_gradient, state)
    if short is not None:
        return short
    logits = stack(batches.inputs, state)[0]
    costs = objective.costs(logits.flatten(0, 1), _flat(batches)).view(logits.shape[:2])
    return Loss((costs * objective.weights(batches, costs.dtype)).sum(), costs.detach(), logits.detach())


def _flat(batches: Batch) -> Batch:
    return Batch(*(part.flatten(0, 1) for part in batches))
