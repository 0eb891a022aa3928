"""A pool of memory blocks: new pages from the operating system cost more than the computation that fills them.

A block returns to the pool when the last tensor in it is deleted, in any thread. Blocks are not initialised: every
number is written before it is read.
"""

import math
import weakref
from collections import defaultdict
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

#: Free blocks by size. Only `append` and `pop`, which are atomic, change the lists: other threads and the garbage
#: collector may return a block at any time.
_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
_KEPT = 4  # of each size


def empty(like: Tensor, *shape: int) -> Tensor:
    """Return an uninitialised tensor of a shape on the CPU, with the dtype of `like`."""
    count = math.prod(shape) * like.element_size()
    block = _take(count)
    view = block[:count]
    finalizer = weakref.finalize(view, _give_back, block)
    finalizer.atexit = False
    return torch.from_numpy(view).view(like.dtype).view(shape)


class Block:
    """A block of so many bytes for the time of a `with` statement, which gets its address."""

    def __init__(self, count: int):
        self.count = count

    def __enter__(self) -> int:
        self.block = _take(self.count)
        return self.block.ctypes.data

    def __exit__(self, *error: object) -> None:
        _give_back(self.block)


def _take(count: int) -> np.ndarray:
    size = larger = _size(count)
    while larger < 2 * size:  # a larger free block is as good
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
    """Drop one smaller block that a new one can replace, so that slowly growing sizes do not accumulate."""
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
        except MemoryError:  # the message of PyTorch
            raise RuntimeError(f"can't allocate memory: the CPU kernel tried to allocate {size} bytes.") from None
    start = -block.ctypes.data % 64  # alignment to a cache line
    return block[start : start + size]


def _give_back(block: np.ndarray) -> None:
    blocks = _free[block.nbytes]
    if len(blocks) < _KEPT:
        blocks.append(block)


@lru_cache(4096)
def _size(count: int) -> int:
    """Return the size of the block for a number of bytes: up to an eighth more, so that there are few sizes."""
    step = max(64, 2 ** (max(1, count - 1).bit_length() - 4))
    return -(-max(1, count) // step) * step
