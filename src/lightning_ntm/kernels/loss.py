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
from lightning_ntm.kernels.plain import has_hooks


def obstacle(model: Any, inputs: Tensor) -> str | None:
    """Return what could look between the logits of a call and its gradients, or `None`.

    Args:
        model: Has the parameters; what the kernel itself cannot compute is not asked here.
        inputs: Of the call.
    """
    if has_hooks(model) or model._compiled_call_impl is not None:
        return "the network has hooks or was compiled."
    if model.checkpoint_every:
        return "the network keeps checkpoints of its states."
    if not torch.is_grad_enabled() or inputs.requires_grad:
        return "gradients are off, or asked for of the inputs."
    if autocast_enabled(inputs.device):
        return "autocast is on."
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack():
        return "the operations are being traced."
    if torch.is_anomaly_enabled() or torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
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


#: Returns the loss of `([networks,] batch, time, outputs)` logits.
Judge = Callable[[Tensor], Judged]


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


class Results(NamedTuple):
    """What a program returns.

    Args:
        judged: What the loss said of the logits.
        logits: The logits.
        gradients: Of the loss with respect to the tensors of the call, in their order.
    """

    judged: Judged
    logits: Tensor
    gradients: Sequence[Tensor | None]


#: Computes a call from the loss and the tensors of the call.
Program = Callable[[Judge, Sequence[Tensor]], Results]


def run(program: Program, judge: Judge, tensors: Sequence[Tensor]) -> Loss:
    """Return the loss of a call as a function of its tensors.

    Args:
        program: Computes it.
        judge: The loss.
        tensors: State, weights and biases: all that can need a gradient.
    """
    return Loss(*_Loss.apply(program, judge, *tensors))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, program: Program, judge: Judge, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (loss, costs, _), logits, ctx.gradients = program(judge, tensors)
        ctx.mark_non_differentiable(costs, logits)
        ctx.set_materialize_grads(False)
        return loss, costs, logits

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        refuse_beyond_first(gradients)
        found, ctx.gradients = ctx.gradients, None
        if found is None:
            raise RuntimeError("the gradients of this loss were given away: a second backward needs a new loss.")
        (of_loss, *_), needed = gradients, ctx.needs_input_grad[2:]
        found = [gradient if need else None for gradient, need in zip(found, needed, strict=True)]
        return None, None, *(_scaled(found, of_loss))


def _scaled(gradients: Sequence[Tensor | None], factor: Tensor) -> Sequence[Tensor | None]:
    # On a GPU reading the factor would wait for all that is queued.
    if not factor.is_cuda and float(factor) == 1:
        return gradients
    scaled = iter(torch._foreach_mul([gradient for gradient in gradients if gradient is not None], factor))
    return [None if gradient is None else next(scaled) for gradient in gradients]


def of_output_layer(
    output: Tensor, weight: Tensor, bias: Tensor, judge: Judge, *, time_first: bool = False
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
    flat = output.flatten(-3, -2)
    answers = F.linear(flat, weight, bias) if weight.ndim == 2 else torch.baddbmm(bias.unsqueeze(1), flat, weight.mT)
    logits = answers.unflatten(-2, output.shape[-3:-1])
    logits = logits.transpose(0, 1) if time_first else logits
    judged = judge(logits)
    gradient = judged.gradient.transpose(0, 1) if time_first else judged.gradient
    gradient = gradient.flatten(-3, -2)
    doutput = (gradient @ weight).view(output.shape)
    return judged, logits, (doutput, gradient.mT @ flat, gradient.sum(-2))
