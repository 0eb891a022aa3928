"""Loss and gradients of a whole call at once, where nothing looks in between.

A program computes logits, hands them to the caller's loss, and goes on with the gradients: to autograd all of it is one
function of the parameters. Its backward has nothing left to compute.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.autocast import autocast_enabled
from lightning_ntm.kernels.derivatives import refuse_beyond_first
from lightning_ntm.kernels.torch_internals import (
    has_dispatch_modes,
    has_hooks,
    has_saved_tensor_hooks,
    is_compiled,
    products,
)


def obstacle(model: Any, inputs: Tensor) -> str | None:
    """Return what could look between the logits of a call and its gradients, or `None`.

    Args:
        model: Has the parameters; what the kernel itself cannot compute is not asked here.
        inputs: Of the call.
    """
    if has_hooks(model) or is_compiled(model):
        return "the network has hooks or was compiled."
    if model.checkpoint_every:
        return "the network keeps checkpoints of its states."
    if not torch.is_grad_enabled() or inputs.requires_grad:
        return "gradients are off, or asked for of the inputs."
    if autocast_enabled(inputs.device):
        return "autocast is on."
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or has_dispatch_modes():
        return "the operations are being traced."
    if torch.is_anomaly_enabled() or has_saved_tensor_hooks():
        return "anomaly detection or hooks for saved tensors are on."
    return None


class Judged(NamedTuple):
    """What a loss says of logits.

    Args:
        loss: A scalar.
        costs: What it is made of, for each sequence.
        gradient: Of the loss with respect to the logits.
    """

    loss: Tensor
    costs: Tensor
    gradient: Tensor


#: Returns the loss of `([networks,] batch, time, outputs)` logits; its other arguments are the tensors of the episodes.
Judge = Callable[..., Judged]


class Loss(NamedTuple):
    """A loss, and what it was computed from. Only the loss is part of autograd's graph.

    Args:
        loss: A scalar.
        costs: What it is made of, for each sequence.
        logits: `([networks,] batch, time, outputs)`.
    """

    loss: Tensor
    costs: Tensor
    logits: Tensor


class Gradients:
    """Gradients on their way to the tensors of a call.

    Args:
        tensors: One for each tensor.
        shared: Whether they are in memory that the next call writes over, unless `keep` was called before.
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
        # On a GPU reading the factor would wait for all that is queued.
        if not factor.is_cuda and not self.shared and float(factor) == 1:
            return found
        scaled = iter(products([tensor for tensor in found if tensor is not None], factor))
        return [None if tensor is None else next(scaled) for tensor in found]


class Results(NamedTuple):
    """What a program returns.

    Args:
        judged: What the loss said of the logits.
        logits: The logits.
        gradients: Of the loss with respect to the tensors of the call, in their order.
    """

    judged: Judged
    logits: Tensor
    gradients: Gradients


#: Computes a call from the loss, the tensors of the episodes, and those that can need a gradient.
Program = Callable[[Judge, Sequence[Tensor], Sequence[Tensor]], Results]


def run(program: Program, judge: Judge, episodes: Sequence[Tensor], tensors: Sequence[Tensor]) -> Loss:
    """Return the loss of a call as a function of its tensors.

    Args:
        program: Computes it.
        judge: The loss.
        episodes: The arguments of the loss after the logits; the first are the inputs.
        tensors: State, weights and biases: all that can need a gradient.
    """
    return Loss(*_Loss.apply(program, judge, episodes, *tensors))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, program: Program, judge: Judge, episodes: Sequence[Tensor], *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (loss, costs, _), logits, ctx.gradients = program(judge, episodes, tensors)
        ctx.mark_non_differentiable(costs, logits)
        ctx.set_materialize_grads(False)
        return loss, costs, logits

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        refuse_beyond_first(gradients)
        found, ctx.gradients = ctx.gradients, None
        if found is None:
            raise RuntimeError("the gradients of this loss were given away: a second backward needs a new loss.")
        return None, None, None, *found.times(gradients[0], ctx.needs_input_grad[3:])


def output_layer(output: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the logits of a sequence, or of sequences of networks side by side; see `of_output_layer`."""
    flat = output.flatten(-3, -2)
    logits = F.linear(flat, weight, bias) if weight.ndim == 2 else torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)
    return logits.unflatten(-2, output.shape[-3:-1])


def of_output_layer(
    output: Tensor, weight: Tensor, bias: Tensor, judge: Callable[[Tensor], Judged], *, time_first: bool = False
) -> tuple[Judged, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return what a loss says of the logits, the logits, and gradients of the output layer's input, weight and bias.

    Args:
        output: What the output layer takes: `([networks,] batch, time, features)`, with `time_first` `(time, batch,
            features)`.
        weight: Of the output layer, `([networks,] outputs, features)`.
        bias: Likewise.
        judge: The loss.
        time_first: Whether time is the first axis.
    """
    logits = output_layer(output, weight, bias)
    logits = logits.transpose(0, 1) if time_first else logits
    judged = judge(logits)
    gradient = judged.gradient.transpose(0, 1) if time_first else judged.gradient
    gradient, flat = gradient.flatten(-3, -2), output.flatten(-3, -2)
    doutput = (gradient @ weight).view(output.shape)
    return judged, logits, (doutput, gradient.mT @ flat, gradient.sum(-2))
