"""The rate at which programs read an array repeatedly from the caches of a GPU: a bound for the reading of weights."""

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

    Loads are not masked: with a mask that is known only at run time each number would be loaded separately. `count` is
    no constant, so that the compiler moves no load out of the loops.
    """
    i = tl.arange(0, BLOCK)
    sums_of_threads = tl.zeros([BLOCK], numbers.dtype.element_ty)
    for _ in range(repeats):
        for start in range(0, count, BLOCK):
            sums_of_threads += tl.load(numbers + start + i)
    tl.store(sums + tl.program_id(0), tl.sum(sums_of_threads, 0))


def read_again(numbers: Tensor, programs: int, repeats: int, block: int) -> Tensor:
    """Read all numbers `repeats` times in each of several programs, and return `repeats` times their sum for each.

    Args:
        numbers: A float32 tensor on a CUDA device; its size is a multiple of `block`.
        programs: Number of programs that run in parallel.
        repeats: How often each program reads the whole array, at least 1.
        block: Numbers that a program loads at once, a power of two.
    """
    assert numbers.numel() % block == 0
    sums = numbers.new_empty(programs)
    with torch.cuda.device_of(numbers):
        sum_again[(programs,)](numbers, sums, numbers.numel(), repeats, BLOCK=block, num_warps=_WARPS)
    return sums
