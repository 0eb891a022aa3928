"""Episodes, side by side."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Batch(NamedTuple):
    """Episodes padded to one length: presentation, delimiter, then the answer to be given.

    `mask` is true where the answer counts; elsewhere inputs and targets are zero or ignored. Targets have the shape and
    the type that the task's `answer` says: for `Symbols` `(batch, time)` of int64. What comes after the last step of an
    episode whose input is not zero or whose answer counts is padding.
    """

    inputs: Float[Tensor, "batch time inputs"]
    targets: Float[Tensor, "batch time outputs"] | Int64[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]


def steps_of(inputs: Float[Tensor, "batch time inputs"], mask: Bool[Tensor, "batch time"]) -> Int64[Tensor, " batch"]:
    """Return the steps of each episode without its padding, at least 1."""
    used = mask.bool() | (inputs != 0).any(dim=-1)
    return (used * torch.arange(1, inputs.shape[1] + 1, device=inputs.device)).amax(dim=1).clamp(min=1)
