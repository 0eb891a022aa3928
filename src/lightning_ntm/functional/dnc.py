"""Equations of the Differentiable Neural Computer, one function each.

They are in the Methods of Graves et al., "Hybrid computing using a neural network with dynamic external memory"
(Nature 538, 2016); sections are named below. The three changes of Csordas and Schmidhuber, "Improving Differentiable
Neural Computers Through Memory Masking, De-allocation, and Link Distribution Sharpness Control" (ICLR 2019), are
`masked_content_weights`, `deallocate` and `sharpen_link_weights`. What a DNC shares with the NTM is in `ntm.py`:
`content_weights`, `read` and `write`.

Shapes: any number of leading `*batch` axes. `slots` is the paper's N, `width` its W, `heads` its R read heads. There is
one write head. Weightings of the DNC may sum to less than 1; the rest is not read or written.
"""

from functools import reduce

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.functional.ntm import EPSILON

#: Usages that differ by less than this, times the slots between them, count as equal.
TIE = 1e-6
#: A weighting along links whose largest number is below this is taken for one without links.
LEAST_LINK = 1e-6


def retention(
    free_gates: Float[Tensor, "*batch heads"], read_weights: Float[Tensor, "*batch heads slots"]
) -> Float[Tensor, "*batch slots"]:
    """How much of each slot is not freed: the paper's psi. Dynamic memory allocation.

    Args:
        free_gates: The paper's f, in [0, 1]. 1 frees the slots that a head read in the step before.
        read_weights: Of the step before.
    """
    factors = 1 - free_gates.unsqueeze(-1) * read_weights
    return reduce(torch.mul, factors.unbind(dim=-2))  # the backward of Tensor.prod waits for the device


def update_usage(
    usage: Float[Tensor, "*batch slots"],
    write_weights: Float[Tensor, "*batch slots"],
    retention: Float[Tensor, "*batch slots"],
) -> Float[Tensor, "*batch slots"]:
    """Usage of each slot after the write of the step before and the frees of this one. Dynamic memory allocation.

    The gradient flows into the write weighting, as in the paper.

    Args:
        usage: The paper's u of the step before, in [0, 1].
        write_weights: Of the step before.
        retention: Of this step.
    """
    return (usage + (1 - usage) * write_weights) * retention


def allocation_weights(usage: Float[Tensor, "*batch slots"]) -> Float[Tensor, "*batch slots"]:
    """Weighting of unused slots: the least used slot gets its free share, the next a share of the rest, and so on.

    Dynamic memory allocation. Slots of equal usage are taken in the order of their numbers. Usages that differ by less
    than `TIE` for each slot between them count as equal. Reason: slots that were never allocated have the same usage up
    to rounding, and rounding would otherwise choose among them. The order is treated as constant in the gradient, as in
    the paper. Nothing is added to the usage itself, and there is no division by a product, so that a usage of 0 has its
    exact weight and gradient.

    Args:
        usage: The paper's u, in [0, 1].
    """
    numbers = torch.arange(usage.shape[-1], dtype=usage.dtype, device=usage.device)
    order = _order(usage.detach() + TIE * numbers)
    ordered = usage.gather(-1, order)
    weights = (1 - ordered) * _products_before(ordered)
    return weights.gather(-1, order.argsort(dim=-1))


def _order(values: Float[Tensor, "*batch slots"]) -> Int64[Tensor, "*batch slots"]:
    """Return the places of values from the smallest to the largest, of equal ones the first first."""
    if torch.onnx.is_in_onnx_export():
        return values.sort(dim=-1).indices  # ONNX has one order, which is stable
    return values.argsort(dim=-1, stable=True)


def _products_before(values: Float[Tensor, "*batch slots"]) -> Float[Tensor, "*batch slots"]:
    """Return for each value the product of all values before it, by doubling: 1, a, ab, abc, ..."""
    # The backward of torch.cumprod waits for the device, and its second derivative takes a loop over the slots.
    products, reach = F.pad(values[..., :-1], (1, 0), value=1.0), 1
    while reach < values.shape[-1]:
        products = products * F.pad(products[..., :-reach], (reach, 0), value=1.0)
        reach *= 2
    return products


def write_weights(
    allocation: Float[Tensor, "*batch slots"],
    content: Float[Tensor, "*batch slots"],
    allocation_gate: Float[Tensor, "*batch"],
    write_gate: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch slots"]:
    """The write weighting, from unused slots and slots found by content. Write weighting.

    Args:
        allocation: Allocation weighting, a.
        content: Content weighting, c, of the memory before the write.
        allocation_gate: The paper's g^a, in [0, 1]. 1 writes to unused slots, 0 by content.
        write_gate: The paper's g^w, in [0, 1]. 0 writes nothing.
    """
    return write_gate.unsqueeze(-1) * torch.lerp(content, allocation, allocation_gate.unsqueeze(-1))


def deallocate(
    memory: Float[Tensor, "*batch slots width"], retention: Float[Tensor, "*batch slots"]
) -> Float[Tensor, "*batch slots width"]:
    """Erase freed slots. De-allocation of Csordas and Schmidhuber; in Graves et al. a freed slot keeps its content."""
    return memory * retention.unsqueeze(-1)


def update_link(
    link: Float[Tensor, "*batch slots slots"],
    write_weights: Float[Tensor, "*batch slots"],
    precedence: Float[Tensor, "*batch slots"],
) -> Float[Tensor, "*batch slots slots"]:
    """Link matrix after a write: entry i, j says how far slot i was written right after slot j. Temporal linkage.

    Args:
        link: The paper's L, with zeros on its diagonal.
        write_weights: Of this step.
        precedence: The paper's p of the step before: a weighting over the slots of the last write.
    """
    to, source = write_weights.unsqueeze(-1), write_weights.unsqueeze(-2)
    link = (1 - to - source) * link + to * precedence.unsqueeze(-2)
    itself = torch.eye(link.shape[-1], dtype=torch.bool, device=link.device)
    return link.masked_fill(itself, 0.0)


def update_precedence(
    precedence: Float[Tensor, "*batch slots"], write_weights: Float[Tensor, "*batch slots"]
) -> Float[Tensor, "*batch slots"]:
    """How far each slot was the last one written: the paper's p. Temporal memory linkage."""
    return (1 - write_weights.sum(dim=-1, keepdim=True)) * precedence + write_weights


def forward_weights(
    link: Float[Tensor, "*batch slots slots"], read_weights: Float[Tensor, "*batch heads slots"]
) -> Float[Tensor, "*batch heads slots"]:
    """Slots written right after those that each head read in the step before: f = L w. Temporal memory linkage."""
    return read_weights @ link.mT


def backward_weights(
    link: Float[Tensor, "*batch slots slots"], read_weights: Float[Tensor, "*batch heads slots"]
) -> Float[Tensor, "*batch heads slots"]:
    """Slots written right before those that each head read in the step before: b = L^T w. Temporal memory linkage."""
    return read_weights @ link


def read_weights(
    backward: Float[Tensor, "*batch heads slots"],
    content: Float[Tensor, "*batch heads slots"],
    forward: Float[Tensor, "*batch heads slots"],
    modes: Float[Tensor, "*batch heads modes"],
) -> Float[Tensor, "*batch heads slots"]:
    """The read weightings, a mixture of three. Read weighting.

    Args:
        backward: The paper's b.
        content: The paper's c, of the memory after the write of this step.
        forward: The paper's f.
        modes: The paper's pi, a distribution over backward, content and forward, in this order.
    """
    return (modes.unsqueeze(-2) @ torch.stack([backward, content, forward], dim=-2)).squeeze(-2)


def masked_cosine_similarity(
    key: Float[Tensor, "*batch heads width"],
    memory: Float[Tensor, "*batch slots width"],
    mask: Float[Tensor, "*batch heads width"],
) -> Float[Tensor, "*batch heads slots"]:
    """Cosine of the angle between key and slot, both multiplied by the mask. Masking of Csordas and Schmidhuber.

    Args:
        mask: In [0, 1]. 0 leaves a part of a slot out of the comparison.
    """
    masked = key * mask
    key_norm = (masked.square().sum(-1, keepdim=True) + EPSILON).sqrt()
    slot_norm = (mask.square() @ memory.square().mT + EPSILON).sqrt()  # *batch heads slots
    return masked.div(key_norm).mul(mask) @ memory.mT / slot_norm


def masked_content_weights(
    memory: Float[Tensor, "*batch slots width"],
    key: Float[Tensor, "*batch heads width"],
    strength: Float[Tensor, "*batch heads"],
    mask: Float[Tensor, "*batch heads width"],
) -> Float[Tensor, "*batch heads slots"]:
    """Content weighting by the masked similarity. Masking of Csordas and Schmidhuber.

    Args:
        strength: The paper's beta, at least 1.
        mask: In [0, 1].
    """
    return F.softmax(strength.unsqueeze(-1) * masked_cosine_similarity(key, memory, mask), dim=-1)


def sharpen_link_weights(
    weights: Float[Tensor, "*batch heads slots"], sharpness: Float[Tensor, "*batch heads"]
) -> Float[Tensor, "*batch heads slots"]:
    """Raise a forward or backward weighting to a power and normalise. Sharpness control of Csordas and Schmidhuber.

    Without links the weighting stays zero: nothing is added before the power. If the largest number of a weighting is
    below `LEAST_LINK`, the sum of the result falls from 1 to 0, which keeps the gradient finite.

    Args:
        weights: The weighting; it is divided by its largest number before the power.
        sharpness: The paper's s, at least 1.
    """
    relative = weights / weights.amax(dim=-1, keepdim=True).clamp(min=LEAST_LINK)
    # r ** s, with finite derivatives at 0.
    powers = relative * ((sharpness.unsqueeze(-1) - 1) * (relative + EPSILON).log()).exp()
    return powers / powers.sum(dim=-1, keepdim=True).clamp(min=1)
