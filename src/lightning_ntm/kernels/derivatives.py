"""Derivatives beyond the one gradient that a kernel's backward computes."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ntm.kernels.torch_internals import (
    children_of,
    in_forward_mode,
    is_batched,
    own_parameters,
    with_contents,
)

Backward = Callable[..., tuple[Tensor | None, ...]]


def beyond_first(gradients: Sequence[Tensor | None]) -> bool:
    """Return whether a backward must itself be differentiable, or gets batches of gradients."""
    if torch.is_grad_enabled() or in_forward_mode():
        return True
    return any(gradient is not None and is_batched(gradient) for gradient in gradients)


def is_plain(gradient: Tensor | None) -> bool:
    """Return whether a gradient is `None`, or a tensor whose numbers are at its address."""
    return gradient is None or (type(gradient) is Tensor and not gradient.is_neg())


def first_only(backward: Backward) -> Backward:
    """Make a backward raise for all but first gradients. `once_differentiable` misses gradients of constants."""

    @wraps(backward)
    def checked(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_beyond_first(gradients)
        return backward(ctx, *gradients)

    return checked


def refuse_beyond_first(gradients: Sequence[Tensor | None]) -> None:
    """Raise an error where the backward of a kernel would be wrong.

    Raises:
        RuntimeError: Second, forward-mode or batched derivatives are computed.
    """
    if beyond_first(gradients):
        raise _refusal()


def _refusal() -> RuntimeError:
    return RuntimeError(
        "the kernel that ran computes first gradients, one at a time: for second, forward-mode or batched "
        'derivatives set backend="reference".'
    )


class Once(torch.autograd.Function):
    """The identity for results of PyTorch's programs, whose own error for second derivatives names an internal one.

    Batched gradients pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return a view."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient, or raise an error if it must itself be differentiable."""
        if torch.is_grad_enabled() or in_forward_mode():
            raise _refusal()
        return gradient


def by_loop(
    loop: Callable[..., Sequence[Tensor]],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of a loop, which is computed again, by autograd.

    Args:
        loop: A function from tensors to outputs.
        tensors: The tensors of the forward.
        needed: Which of them need a gradient.
        gradients: Gradients of the outputs.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(tensors[0].device.type, enabled=False):
        # Views, since one tensor may be computed from another, and each needs its own gradient.
        own = [tensor.view_as(tensor) if need else tensor for tensor, need in zip(tensors, needed, strict=True)]
        outputs = zip(loop(*own), gradients, strict=True)
        flowing = [(output, g) for output, g in outputs if g is not None and output.requires_grad]
        if not flowing:
            return [None] * len(own)
        ends, starts = zip(*flowing, strict=True)
        wanted = [tensor for tensor, need in zip(own, needed, strict=True) if need]
        found = iter(torch.autograd.grad(ends, wanted, starts, create_graph=differentiable, allow_unused=True))
    return [next(found) if need else None for need in needed]


def with_tensors(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str = "") -> Any:
    """Return a copy of a module with other tensors in place of the parameters of these names."""
    parameters = {name: tensors.get(prefix + name, own) for name, own in own_parameters(module).items()}
    children = children_of(module).items()
    parts = {name: part and with_tensors(part, tensors, f"{prefix}{name}.") for name, part in children}
    return with_contents(module, parameters, parts)
