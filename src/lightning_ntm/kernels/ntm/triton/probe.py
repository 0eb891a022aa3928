"""How fast programs read an array from the caches of a GPU, again and again: what reading weights costs at least."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Warps of a program, as in the programs of an NTM of the paper's size.
_WARPS = 8


@triton.jit(do_not_specialize=["count", "repeats"])
def sum_again(numbers, sums, count, repeats, BLOCK: tl.constexpr):
    """Store `repeats` times the sum of all numbers.

    The end of a block is not checked: with a check that is only known at run time each number would be loaded alone.
    `count` is no constant, so that no load leaves the loops.
    """
    i = tl.arange(0, BLOCK)
    sums_of_threads = tl.zeros([BLOCK], numbers.dtype.element_ty)
    for _ in range(repeats):
        for start in range(0, count, BLOCK):
            sums_of_threads += tl.load(numbers + start + i)
    tl.store(sums + tl.program_id(0), tl.sum(sums_of_threads, 0))


def read_again(numbers: Tensor, programs: int, repeats: int, block: int) -> Tensor:
    """Let each of so many programs read all numbers `repeats` times, and return `repeats` times their sum for each.

    Args:
        numbers: In float32, on a CUDA device; a multiple of `block`.
        programs: Programs that run side by side.
        repeats: Times that each program reads the whole array, at least 1.
        block: Numbers that a program loads at once, a power of two.
    """
    assert numbers.numel() % block == 0
    sums = numbers.new_empty(programs)
    with torch.cuda.device_of(numbers):
        sum_again[(programs,)](numbers, sums, numbers.numel(), repeats, BLOCK=block, num_warps=_WARPS)
    return sums
