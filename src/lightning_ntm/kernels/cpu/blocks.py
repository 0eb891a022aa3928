"""Memory that is used again: fresh pages cost more than computing what is written into them.

A block goes back to the free ones when the last tensor in it is gone. Nothing depends on what a block
holds: every number is written before it is read.
"""

import math
import weakref

import numpy as np
import torch
from torch import Tensor

#: Free blocks, smallest first, and the most of them that are kept.
_free: list[np.ndarray] = []
_KEPT = 6


def empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of a shape with the dtype of `like`, on the CPU, holding anything."""
    size = math.prod(shape)
    count = size * like.element_size()
    block = _take(count)
    view = block[:count]
    finalizer = weakref.finalize(view, _give_back, block)
    finalizer.atexit = False
    return torch.from_numpy(view).view(like.dtype).view(shape)


def _take(count: int) -> np.ndarray:
    for i, block in enumerate(_free):
        if block.nbytes >= count:
            return _free.pop(i)
    return np.empty(max(count, 64), np.uint8)


def _give_back(block: np.ndarray) -> None:
    _free.append(block)
    _free.sort(key=len)
    if len(_free) > _KEPT:
        _free.pop(0)  # the largest serve the most calls
