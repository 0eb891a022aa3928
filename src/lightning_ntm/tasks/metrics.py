"""How wrong an answer is, in two measures that must not be mixed.

`wrong_bits` counts bits of the answer on the wrong side of 0.5: the cost that implementations of
the NTM report. `bits_per_sequence` is the cross-entropy of the answer in bits, summed over the
sequence: what the axes of the NTM paper show. Chance is half of the answer's bits for the first
and all of them for the second.
"""

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.tasks.batch import Batch

Nats = TypeVar("Nats", Tensor, float)


def wrong_bits(logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
    """Number of wrong bits in each answer; a logit that is NaN is wrong whatever the target."""
    right = torch.where(batch.targets > 0.5, logits > 0, logits <= 0)
    return (batch.mask.unsqueeze(-1) & ~right).sum((1, 2)).to(_exact(logits))


def nats_per_sequence(logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
    """Cross-entropy of each answer in nats, summed over its steps and bits."""
    # Selected before the loss, too: the gradient of a cost that is NaN or infinite is NaN even where it does not count.
    mask = batch.mask.unsqueeze(-1)
    logits = logits.to(_exact(logits), copy=True).masked_fill_(~mask, 0)  # in the layout of the logits
    nats = F.binary_cross_entropy_with_logits(logits, batch.targets.to(logits), reduction="none")
    return torch.where(mask, nats, 0).sum((1, 2))


def bits_per_sequence(logits: Float[Tensor, "batch time outputs"], batch: Batch) -> Float[Tensor, " batch"]:
    """Cross-entropy of each answer in bits, summed over its steps and bits."""
    return in_bits(nats_per_sequence(logits, batch))


def in_bits(nats: Nats) -> Nats:
    """Cross-entropies in bits."""
    return nats / math.log(2)


def answer_bits(batch: Batch) -> Float[Tensor, " batch"]:
    """Number of bits in each answer."""
    return (batch.mask.sum(1) * batch.targets.shape[-1]).to(_exact(batch.targets))


def mean(values: Tensor) -> Float[Tensor, ""]:
    """Mean in float64: in float32, 28 of 100 is 0.2800000011920929."""
    return values.mean(dtype=torch.float64)


def _exact(tensor: Tensor) -> torch.dtype:
    """At least float32: in bfloat16, 513 is 512."""
    return torch.promote_types(tensor.dtype, torch.float32)
