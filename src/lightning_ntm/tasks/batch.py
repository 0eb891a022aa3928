"""Episodes, side by side."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Batch(NamedTuple):
    """Episodes padded to one length: presentation, delimiter, then the answer to be given.

    `mask` is true where the answer counts; elsewhere inputs and targets are zero or ignored. Targets have the shape and
    the type that the task's `answer` says: for `Symbols` `(batch, time)` of int64.
    """

    inputs: Float[Tensor, "batch time inputs"]
    targets: Float[Tensor, "batch time outputs"] | Int64[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]
