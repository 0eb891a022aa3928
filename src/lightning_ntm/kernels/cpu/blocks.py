"""Memory that is used again: fresh pages cost more than computing what is written into them.

A block goes back to the free ones when the last tensor in it is gone, in whichever thread that happens.
Nothing depends on what a block holds: every number is written before it is read.
"""

import math
import weakref
from collections import defaultdict
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

#: Free blocks by their size. Only `append` and `pop` touch the lists: each is one step to other threads, and to the
#: collector, which may give a block back in the middle of anything.
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
    size = larger = _size(count)
    while larger < 2 * size:  # a block that is too large costs nothing: it is there
        if block := _pop(larger):
            return block[0]
        larger = _size(larger + 1)
    _drop_smaller(size)
    return _new(size)


def _pop(size: int) -> list[np.ndarray]:
    try:
        return [_free[size].pop()]
    except IndexError:
        return []


def _drop_smaller(size: int) -> None:
    """Give up a block that a new one can stand for, so that sizes that grow and grow do not add up."""
    smaller = size // 2
    while smaller < size:
        if _pop(smaller := _size(smaller + 1)):
            return


def _new(size: int) -> np.ndarray:
    try:
        block = np.empty(size + 64, np.uint8)
    except MemoryError:
        _free.clear()
        try:
            block = np.empty(size + 64, np.uint8)
        except MemoryError:  # as PyTorch says it
            raise RuntimeError(f"can't allocate memory: the CPU kernel tried to allocate {size} bytes.") from None
    start = -block.ctypes.data % 64  # where a line of the cache begins
    return block[start : start + size]


def _give_back(block: np.ndarray) -> None:
    blocks = _free[block.nbytes]
    if len(blocks) < _KEPT:
        blocks.append(block)


@lru_cache(4096)
def _size(count: int) -> int:
    """Return the size of the block for so many bytes: at most an eighth more, so that there are few sizes."""
    step = max(64, 2 ** (max(1, count - 1).bit_length() - 4))
    return -(-max(1, count) // step) * step
