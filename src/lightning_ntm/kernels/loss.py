"""The loss of a sequence and all gradients in one call of a kernel.

Usually autograd connects three steps: the kernel's forward, the loss, and the kernel's backward. Here the kernel's
program computes the logits, calls the loss, and continues with the backward. For autograd the loss is then one function
of the parameters whose gradients are already known. This requires that nothing else uses or changes the values in
between.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ntm.kernels.autocast import autocast_enabled
from lightning_ntm.kernels.derivatives import refuse_beyond_first
from lightning_ntm.kernels.torch_internals import (
    has_dispatch_modes,
    has_function_modes,
    has_hooks,
    has_saved_tensor_hooks,
    is_compiled,
    products,
)


def obstacle(model: Any, episodes: Sequence[Tensor], *, scaled: bool = True) -> str | None:
    """Return what may use or change the values between the logits and the gradients, or `None`.

    Args:
        model: The network. Whether the kernel can run it is checked elsewhere.
        episodes: The tensors of the batch.
        scaled: Whether the loss may be multiplied before its backward.
    """
    device = episodes[0].device
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or has_dispatch_modes() or has_function_modes():
        return "the operations are being traced, or a mode looks at them."
    if has_hooks(model) or is_compiled(model) or type(model).__call__ is not nn.Module.__call__:
        return "the network has hooks, was compiled, or is called in a way of its own."
    if model.checkpoint_every:
        return "the network keeps checkpoints of its states."
    if not torch.is_grad_enabled() or any(part.requires_grad for part in episodes):
        return "gradients are off, or asked for of the episodes."
    if autocast_enabled(device):
        return "autocast is on."
    if torch.is_anomaly_enabled() or has_saved_tensor_hooks():
        return "anomaly detection or hooks for saved tensors are on."
    if scaled and device.type == "cuda" and getattr(model, "gradient_limit", False):
        return "gradients are limited, and whether the loss is scaled cannot be seen without waiting for the GPU."
    return None


class CriterionOutput(NamedTuple):
    """What a criterion returns for logits.

    Args:
        loss: A scalar.
        costs: The cost of each sequence.
        gradient: The gradient of the loss with respect to the logits.
    """

    loss: Tensor
    costs: Tensor
    gradient: Tensor


#: Called with `([networks,] batch, time, outputs)` logits and the tensors of the episodes. One with an attribute
#: `known` that is a `KnownLoss` computes that loss.
Criterion = Callable[..., CriterionOutput]

#: Losses that programs can compute themselves. The episodes are inputs, targets and mask, as those of a `Batch`.
KINDS = ("bits", "symbols", "numbers")


class KnownLoss(NamedTuple):
    """A loss that a program can compute itself.

    Args:
        kind: One of `KINDS`: the costs are those of the answers of these names in `tasks/answers.py`.
        mean: Whether the loss is the mean over all units of a batch, or over its sequences.
        end: Symbol that ends an answer, or -1.
        tolerance: Numbers that are further off are wrong.
    """

    kind: Literal["bits", "symbols", "numbers"]
    mean: bool
    end: int = -1
    tolerance: float = 0.0


def known_loss(criterion: Criterion) -> KnownLoss | None:
    """Return what a criterion says that it is, or `None`."""
    return getattr(criterion, "known", None)


class Loss(NamedTuple):
    """A loss, the costs of the sequences, and their logits. Only the loss has a gradient.

    Args:
        loss: A scalar.
        costs: The cost of each sequence.
        logits: `([networks,] batch, time, outputs)`.
        errors: How many units of each sequence are wrong, if the program counted them.
    """

    loss: Tensor
    costs: Tensor
    logits: Tensor
    errors: Tensor | None = None


class Gradients:
    """The gradients of a call until autograd asks for them.

    Args:
        tensors: One for each tensor of the call.
        shared: Whether they are in memory that the next call overwrites. `keep` copies them before that.
    """

    def __init__(self, tensors: Sequence[Tensor | None], *, shared: bool = False):
        self.tensors, self.shared = tensors, shared

    def keep(self) -> None:
        """Copy them out of memory that is shared."""
        if self.shared:
            self.tensors = [None if tensor is None else tensor.clone() for tensor in self.tensors]
            self.shared = False

    def times(self, factor: Tensor, needed: Sequence[bool]) -> Sequence[Tensor | None]:
        """Return those that are needed, times a factor, in memory of their own."""
        found = [tensor if need else None for tensor, need in zip(self.tensors, needed, strict=True)]
        if not self.shared and is_one(factor):
            return found
        scaled = iter(products([tensor for tensor in found if tensor is not None], factor))
        return [None if tensor is None else next(scaled) for tensor in found]


def is_one(factor: Tensor) -> bool:
    """Return whether a factor is known to be 1: on a GPU reading it would wait for all that is queued."""
    return not factor.is_cuda and float(factor) == 1


class Results(NamedTuple):
    """What a program returns.

    Args:
        loss: A scalar.
        costs: The cost of each sequence.
        logits: The logits.
        gradients: Of the loss with respect to the tensors of the call, in their order.
        errors: As in `Loss`.
    """

    loss: Tensor
    costs: Tensor
    logits: Tensor
    gradients: Gradients
    errors: Tensor | None = None


#: Computes a call from the loss, the tensors of the episodes, and those that can need a gradient.
Program = Callable[[Criterion, Sequence[Tensor], Sequence[Tensor]], Results]


def run(
    program: Program,
    criterion: Criterion,
    episodes: Sequence[Tensor],
    tensors: Sequence[Tensor],
    *,
    linear: bool = True,
) -> Loss:
    """Return the loss of a call as a function of its tensors.

    Args:
        program: Computes it.
        criterion: Computes the loss.
        episodes: The arguments of the loss after the logits; the first are the inputs.
        tensors: State, weights and biases: all that can need a gradient.
        linear: Whether the gradients of a multiple of the loss are that multiple of its gradients. They are not if
            the kernel limits gradients within the sequence.
    """
    return Loss(*_Loss.apply(program, criterion, episodes, linear, *tensors))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, program: Program, criterion: Criterion, episodes: Sequence[Tensor], linear: bool, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        loss, costs, logits, ctx.gradients, errors = program(criterion, episodes, tensors)
        ctx.call, ctx.linear = (program, criterion, episodes), linear
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(costs, logits, *([] if errors is None else [errors]))
        ctx.set_materialize_grads(False)
        return loss, costs, logits, errors

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        refuse_beyond_first(gradients)
        factor, needed = gradients[0], ctx.needs_input_grad[4:]
        found, ctx.gradients = ctx.gradients, None  # the tensors become the gradients of the parameters
        if not ctx.linear and not is_one(factor):
            found = _again(ctx, factor)
            factor = torch.ones_like(factor)
        elif found is None:  # a second backward
            found = _again(ctx, torch.ones_like(factor))
        return None, None, None, None, *found.times(factor, needed)


def _again(ctx: Any, factor: Tensor) -> Gradients:
    """Return the gradients of a multiple of the loss, computed again."""
    program, criterion, episodes = ctx.call

    def scaled(*call: Tensor) -> CriterionOutput:
        loss, costs, gradient = criterion(*call)
        return CriterionOutput(loss, costs, gradient * factor)

    if is_one(factor):
        scaled = criterion  # may be known to the program, which then rounds as in the first call
    with torch.no_grad(), torch.autocast(factor.device.type, enabled=False):
        results: Results = program(scaled, episodes, ctx.saved_tensors)
    return results.gradients


def output_layer(output: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the logits of a sequence, or of sequences of networks side by side; see `of_output_layer`."""
    flat = output.to(weight.dtype).flatten(-3, -2)
    logits = F.linear(flat, weight, bias) if weight.ndim == 2 else torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)
    return logits.unflatten(-2, output.shape[-3:-1])


def of_output_layer(
    output: Tensor,
    weight: Tensor,
    bias: Tensor,
    criterion: Criterion,
    episodes: Sequence[Tensor],
    *,
    time_first: bool = False,
) -> tuple[CriterionOutput, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return the criterion's output, the logits, and the gradients of the output layer's input, weight and bias.

    Args:
        output: What the output layer takes: `([networks,] batch, time, features)`, with `time_first` `(time, batch,
            features)`.
        weight: Of the output layer, `([networks,] outputs, features)`.
        bias: Likewise.
        criterion: Computes the loss.
        episodes: Its arguments after the logits.
        time_first: Whether time is the first axis.
    """
    logits = output_layer(output, weight, bias)
    logits = logits.transpose(0, 1) if time_first else logits
    evaluated = criterion(logits, *episodes)
    gradient = evaluated.gradient.transpose(0, 1) if time_first else evaluated.gradient
    gradient, flat = (tensor.to(weight.dtype).flatten(-3, -2) for tensor in (gradient, output))
    doutput = (gradient @ weight).view(output.shape).to(output.dtype)
    return evaluated, logits, (doutput, gradient.mT @ flat, gradient.sum(-2))
