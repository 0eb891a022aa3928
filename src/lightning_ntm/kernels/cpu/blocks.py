"""Memory that is used again: fresh pages cost more than computing what is written into them.

A block goes back to the free ones when the last tensor in it is gone, in whichever thread that happens.
Nothing depends on what a block holds: every number is written before it is read.
"""

import math
import weakref
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

#: Free blocks by the logarithm of their size. Only `append` and `pop` touch the lists: each is one step to
#: other threads, and to the collector, which may give a block back in the middle of anything.
_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
_KEPT = 4  # of each size


def empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of a shape with the dtype of `like`, on the CPU, holding anything."""
    count = math.prod(shape) * like.element_size()
    block = _take(count)
    view = block[:count]
    finalizer = weakref.finalize(view, _give_back, block)
    finalizer.atexit = False
    return torch.from_numpy(view).view(like.dtype).view(shape)


def _take(count: int) -> np.ndarray:
    size = _size(count)
    try:
        return _free[size].pop()
    except IndexError:
        block = np.empty(2**size + 64, np.uint8)
        start = -block.ctypes.data % 64  # where a line of the cache begins
        return block[start : start + 2**size]


def _give_back(block: np.ndarray) -> None:
    blocks = _free[_size(block.nbytes)]
    if len(blocks) < _KEPT:
        blocks.append(block)


def _size(count: int) -> int:
    return max(6, (count - 1).bit_length())
