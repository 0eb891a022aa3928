"""Initial states for a kernel that only reads them: constants are made once and shared.

`initial_state` gives tensors of their own, which a user may change, and passes gradients to what is learned through
autograd. In each step of a training both cost as much as a tenth of a short sequence.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn


class KernelStart(NamedTuple):
    """An initial state that must not be changed.

    Args:
        tensors: Contiguous, in the order of the state's fields.
        learned: Which of them repeat a parameter for each sequence. The gradient of the parameter is the sum of theirs.
    """

    tensors: list[Tensor]
    learned: list[tuple[int, nn.Parameter]]


@lru_cache(1024)
def constant(value: float, *shape: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor on the CPU with one value everywhere; it must not be changed."""
    count = math.prod(shape)
    return _block(value, 1 << (count - 1).bit_length(), dtype)[:count].view(shape)


@lru_cache(8)  # views keep further ones alive
def _block(value: float, count: int, dtype: torch.dtype) -> Tensor:
    return torch.full((count,), value, dtype=dtype, device="cpu")


def on_first_slot(*shape: int, dtype: torch.dtype) -> Tensor:
    """Return weightings `(*batch, heads, slots)` that are 1 on slot 0; they must not be changed."""
    return _kept_weightings(shape, dtype) if math.prod(shape) <= _MOST_KEPT else _weightings(shape, dtype)


#: Numbers of the largest weightings that are kept.
_MOST_KEPT = 2**14


def _weightings(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    weights = torch.zeros(shape, dtype=dtype, device="cpu")
    weights[..., 0] = 1
    return weights


_kept_weightings = lru_cache(256)(_weightings)


def repeated_for_kernel(start: Tensor, batch: int) -> Tensor:
    """Return the numbers of a parameter for each sequence of a batch."""
    return start.detach().expand(batch, *start.shape).contiguous()
