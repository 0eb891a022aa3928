"""Loss and gradients of a whole call at once, where nothing looks in between.

A program computes logits, hands them to the caller's loss, and goes on with the gradients: to autograd all of it is one
function of the parameters. Its backward has nothing left to compute.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
    """Return what could look between the logits of a call and its gradients, or `None`.

    Args:
        model: Has the parameters; what the kernel itself cannot compute is not asked here.
        episodes: Of the call.
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
        judged: What the loss said of the logits.
        logits: The logits.
        gradients: Of the loss with respect to the tensors of the call, in their order.
    """

    judged: Judged
    logits: Tensor
    gradients: Gradients


#: Computes a call from the loss, the tensors of the episodes, and those that can need a gradient.
Program = Callable[[Judge, Sequence[Tensor], Sequence[Tensor]], Results]


def run(
    program: Program, judge: Judge, episodes: Sequence[Tensor], tensors: Sequence[Tensor], *, linear: bool = True
) -> Loss:
    """Return the loss of a call as a function of its tensors.

    Args:
        program: Computes it.
        judge: The loss.
        episodes: The arguments of the loss after the logits; the first are the inputs.
        tensors: State, weights and biases: all that can need a gradient.
        linear: Whether the gradients of a multiple of the loss are that multiple of its gradients: not so where
            gradients are limited on their way.
    """
    return Loss(*_Loss.apply(program, judge, episodes, linear, *tensors))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, program: Program, judge: Judge, episodes: Sequence[Tensor], linear: bool, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (loss, costs, _), logits, ctx.gradients = program(judge, episodes, tensors)
        ctx.call, ctx.linear = (program, judge, episodes), linear
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(costs, logits)
        ctx.set_materialize_grads(False)
        return loss, costs, logits

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        refuse_beyond_first(gradients)
        factor, needed = gradients[0], ctx.needs_input_grad[4:]
        found, ctx.gradients = ctx.gradients, None  # which become those of the parameters
        if not ctx.linear and not is_one(factor):
            found = _again(ctx, factor)
            factor = torch.ones_like(factor)
        elif found is None:  # a second backward
            found = _again(ctx, torch.ones_like(factor))
        return None, None, None, None, *found.times(factor, needed)


def _again(ctx: Any, factor: Tensor) -> Gradients:
    """Return the gradients of a multiple of the loss, computed again."""
    program, judge, episodes = ctx.call

    def scaled(*call: Tensor) -> Judged:
        loss, costs, gradient = judge(*call)
        return Judged(loss, costs, gradient * factor)

    with torch.no_grad(), torch.autocast(factor.device.type, enabled=False):
        results: Results = program(scaled, episodes, ctx.saved_tensors)
    return results.gradients


def output_layer(output: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the logits of a sequence, or of sequences of networks side by side; see `of_output_layer`."""
    flat = output.to(weight.dtype).flatten(-3, -2)
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
    gradient, flat = (tensor.to(weight.dtype).flatten(-3, -2) for tensor in (gradient, output))
    doutput = (gradient @ weight).view(output.shape).to(output.dtype)
    return judged, logits, (doutput, gradient.mT @ flat, gradient.sum(-2))
