"""Equations of the memory of a Neural Turing Machine (Graves et al. 2014, section 3), one function each.

Shapes: any number of leading `*batch` axes, for one sequence, a mini-batch or a stack of seeds. `slots` is the paper's
N, `width` its M. `shifts` is the number of allowed shifts of a head: -k, ..., 0, ..., k. It is odd.

A *weighting* is a distribution over the slots: non-negative, with sum 1.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

#: Added inside the square roots of the cosine similarity and the logarithm of sharpening, so that a zero vector and a
#: zero weight have finite gradients. All backends use the same value.
EPSILON = 1e-12


def cosine_similarity(
    key: Float[Tensor, "*batch heads width"], memory: Float[Tensor, "*batch slots width"]
) -> Float[Tensor, "*batch heads slots"]:
    """Cosine of the angle between each head's key and each slot. Eq. 6.

    Returns:
        Similarities in [-1, 1]; 0 for a zero key or a zero slot.
    """
    key_norm = (key.square().sum(-1, keepdim=True) + EPSILON).sqrt()
    slot_norm = (memory.square().sum(-1) + EPSILON).sqrt().unsqueeze(-2)
    return key.div(key_norm) @ memory.mT / slot_norm


def content_weights(
    memory: Float[Tensor, "*batch slots width"],
    key: Float[Tensor, "*batch heads width"],
    strength: Float[Tensor, "*batch heads"],
) -> Float[Tensor, "*batch heads slots"]:
    """Content weighting: a softmax over the similarity of each slot to the key. Eq. 5.

    Args:
        strength: The paper's beta, at least 0. A larger value gives more weight to the best match.
    """
    return F.softmax(strength.unsqueeze(-1) * cosine_similarity(key, memory), dim=-1)


def interpolate(
    previous: Float[Tensor, "*batch heads slots"],
    content: Float[Tensor, "*batch heads slots"],
    gate: Float[Tensor, "*batch heads"],
) -> Float[Tensor, "*batch heads slots"]:
    """Interpolate between the previous weighting and the content weighting. Eq. 7.

    Args:
        gate: The paper's g, in [0, 1]. 0 gives the previous weighting, 1 the content weighting.
    """
    return torch.lerp(previous, content, gate.unsqueeze(-1))


def shift(
    weights: Float[Tensor, "*batch heads slots"], moves: Float[Tensor, "*batch heads shifts"]
) -> Float[Tensor, "*batch heads slots"]:
    """Circular convolution of each weighting with a distribution over shifts. Eq. 8.

    Args:
        moves: The paper's s. `moves[..., i]` is the share that moves by `i - shifts // 2` slots, to higher slots when
            positive. The slots form a circle.
    """
    max_shift = moves.shape[-1] // 2
    moved = [weights.roll(offset, dims=-1) for offset in range(-max_shift, max_shift + 1)]
    return (moves.unsqueeze(-2) @ torch.stack(moved, dim=-2)).squeeze(-2)


def sharpen(
    weights: Float[Tensor, "*batch heads slots"], sharpening: Float[Tensor, "*batch heads"]
) -> Float[Tensor, "*batch heads slots"]:
    """Raise each weight to a power and normalise. Eq. 9.

    Computed as a softmax of logarithms. Division by a sum plus a small constant would lose the weight of a diffuse
    head: 128 equal weights to the power 9 sum to 1e-17.

    Args:
        sharpening: The paper's gamma, at least 1. 1 changes nothing.
    """
    return F.softmax(sharpening.unsqueeze(-1) * (weights + EPSILON).log(), dim=-1)


def location_weights(
    previous: Float[Tensor, "*batch heads slots"],
    content: Float[Tensor, "*batch heads slots"],
    gate: Float[Tensor, "*batch heads"],
    moves: Float[Tensor, "*batch heads shifts"],
    sharpening: Float[Tensor, "*batch heads"],
) -> Float[Tensor, "*batch heads slots"]:
    """The new weighting: interpolation, shift and sharpening, in this order. Eqs. 7 to 9."""
    return sharpen(shift(interpolate(previous, content, gate), moves), sharpening)


def read(
    memory: Float[Tensor, "*batch slots width"], weights: Float[Tensor, "*batch heads slots"]
) -> Float[Tensor, "*batch heads width"]:
    """Weighted sum of the slots, for each head. Eq. 2."""
    return weights @ memory


def write(
    memory: Float[Tensor, "*batch slots width"],
    weights: Float[Tensor, "*batch heads slots"],
    erase: Float[Tensor, "*batch heads width"],
    add: Float[Tensor, "*batch heads width"],
) -> Float[Tensor, "*batch slots width"]:
    """All heads erase, then all heads add. Eqs. 3 and 4.

    Args:
        erase: The paper's e, in [0, 1]. 1 at a slot with weight 1 erases the slot.
        add: The paper's a.
    """
    for head in range(weights.shape[-2]):
        erased = weights[..., head, :, None] * erase[..., head, None, :]  # *batch slots width
        memory = torch.addcmul(memory, memory, erased, value=-1)
    return memory + weights.mT @ add


def limit_gradient(weights: Float[Tensor, "*batch heads slots"], limit: float) -> Float[Tensor, "*batch heads slots"]:
    """Return the weightings unchanged; clamp each number of their gradient to [-limit, limit]."""
    return _LimitedGradient.apply(weights, limit)


class _LimitedGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(weights: Tensor, limit: float) -> Tensor:
        return weights.view_as(weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.limit = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(-ctx.limit, ctx.limit), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent.view_as(tangent)  # only the backward pass is limited
