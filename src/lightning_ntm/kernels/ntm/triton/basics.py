"""What the stages of a step share: sizes, loads and stores, activations, and products with matrices.

Each function runs one stage for one sequence, with all threads of a program. Stages exchange vectors through arrays
in global memory, which stay in the L1 cache: a store, a barrier and a load cost about 0.06 us on an H100, a sum across
warps by `tl.sum` three times as much. So `product` and `store_slot_sums` store a sum over rows in parts, and the next
stage adds the parts. `tl.debug_barrier` separates a stage that stores from one that loads.

`emitted` is the interface vector as the linear layer returns it; stages clamp and activate its numbers where they use
them. The weightings of all heads are one tensor, heads x slots. A block is the next power of two of a size, as Triton
requires.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

from typing import NamedTuple

import triton
import triton.language as tl

COPY = tl.constexpr(1024)  # numbers that are copied at once
#: Strides of each part of the first state; they are 0 for an initial state that all sequences share.
STRIDES = [
    f"{part}_{axis}" for axis in ("networks", "batch") for part in ("memory", "weights", "reads", "hidden", "cell")
]


class Places(NamedTuple):
    """Offsets of the parameters of all heads in a row of `emitted`; keys come first."""

    adds: tl.constexpr
    gates: tl.constexpr
    erases: tl.constexpr
    strengths: tl.constexpr
    sharpenings: tl.constexpr
    moves: tl.constexpr


EPSILON = tl.constexpr(1e-12)  # functional.EPSILON


HEAD_LIMIT = tl.constexpr(20.0)  # models.ntm.HEAD_LIMIT


class Constants(NamedTuple):
    """Sizes of a network and their blocks; all are constants of the compiled program."""

    reads: tl.constexpr
    writes: tl.constexpr
    heads: tl.constexpr
    width: tl.constexpr
    shifts: tl.constexpr
    hidden: tl.constexpr
    layers: tl.constexpr
    recurrent: tl.constexpr
    columns: tl.constexpr  # units of a layer, padded
    given: tl.constexpr  # size of `given` in one step
    head_block: tl.constexpr
    hidden_block: tl.constexpr
    width_block: tl.constexpr
    slots_block: tl.constexpr  # all slots
    slot_block: tl.constexpr  # slots of the memory that are processed at once
    slot_split: tl.constexpr  # parts of a sum over slots
    shift_block: tl.constexpr
    min_sharpening: tl.constexpr


class Matrix(NamedTuple):
    """A weight matrix, and the division of its product with a vector among threads, as in `sizes.Product`."""

    rows: tl.constexpr
    columns: tl.constexpr
    block: tl.constexpr
    split: tl.constexpr
    chunk: tl.constexpr


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tanh(x):
    return 2 * sigmoid(2 * x) - 1


@triton.jit
def softplus(x):
    return tl.maximum(x, 0) + tl.log(1 + tl.exp(-tl.abs(x)))


@triton.jit
def held_within(x, limit):
    """Clamp to ±limit and propagate NaN, which `tl.minimum` does not."""
    return tl.where(x > limit, limit, tl.where(x < -limit, -limit, x))


@triton.jit
def clamped(at, mask):
    """Load a part of the interface vector, clamped to ±HEAD_LIMIT."""
    return held_within(tl.load(at, mask=mask, other=0.0), HEAD_LIMIT)


@triton.jit
def store_clamped_gradient(emitted, demitted, gradient, mask):
    """Store the gradient of clamped numbers: zero where they were clamped."""
    inside = tl.abs(tl.load(emitted, mask=mask, other=0.0)) <= HEAD_LIMIT
    tl.store(demitted, tl.where(inside, gradient, 0.0), mask=mask)


@triton.jit
def copy(source, target, count, BLOCK: tl.constexpr):
    for start in range(0, count, BLOCK):
        i = start + tl.arange(0, BLOCK)
        tl.store(target + i, tl.load(source + i, mask=i < count), mask=i < count)


@triton.jit
def fill(target, count, BLOCK: tl.constexpr):
    """Set to zero."""
    for start in range(0, count, BLOCK):
        i = start + tl.arange(0, BLOCK)
        tl.store(target + i, tl.zeros([BLOCK], target.dtype.element_ty), mask=i < count)


@triton.jit
def load_rows(weights, start, matrix: tl.constexpr):
    """Load a chunk of rows of a matrix, from `start`; zeros beyond its end."""
    row, column = start + tl.arange(0, matrix.chunk)[:, None], tl.arange(0, matrix.block)[None, :]
    inside = (row < matrix.rows) & (column < matrix.columns)
    return tl.load(weights + row * matrix.columns + column, mask=inside, other=0.0)


@triton.jit
def product(chunk, weights, vector, parts, matrix: tl.constexpr):
    """Store the sum over rows of `vector[row] * weights[row, :]` in parts; `total` adds them.

    `chunk` holds the first rows, loaded while the stage before was at work; others are loaded one chunk ahead.
    """
    SHAPE: tl.constexpr = [matrix.chunk // matrix.split, matrix.split, matrix.block]
    sums = tl.zeros([matrix.split, matrix.block], vector.dtype.element_ty)
    for start in range(0, matrix.rows, matrix.chunk):
        # Loads return in order: load the factors before rows that are needed later.
        row = start + tl.arange(0, matrix.chunk)
        factor = tl.load(vector + row, mask=row < matrix.rows, other=0.0)[:, None]
        ahead = load_rows(weights, start + matrix.chunk, matrix)
        sums += tl.sum(tl.reshape(factor * chunk.to(factor.dtype), SHAPE), 0)
        chunk = ahead
    part, column = tl.arange(0, matrix.split)[:, None], tl.arange(0, matrix.block)[None, :]
    tl.store(parts + part * matrix.columns + column, sums, mask=column < matrix.columns)


@triton.jit
def total(parts, at, mask, COUNT: tl.constexpr, STRIDE: tl.constexpr):
    """Return the sum of parts that are STRIDE apart."""
    sums = tl.load(parts + at, mask=mask, other=0.0)
    for i in tl.static_range(1, COUNT):
        sums += tl.load(parts + i * STRIDE + at, mask=mask, other=0.0)
    return sums


@triton.jit
def store_slot_sums(values, parts, s: tl.constexpr):
    """Store the sum over slots of slots x width in parts; `total` adds them."""
    SLOTS: tl.constexpr = s.slot_block // s.slot_split
    NEAR: tl.constexpr = SLOTS if SLOTS * s.width_block < 128 else (128 // s.width_block if s.width_block < 128 else 1)
    # Arranged as a warp holds them, so that no sum crosses warps: groups of NEAR adjacent slots.
    shaped = tl.reshape(values, [SLOTS // NEAR, s.slot_split, NEAR, s.width_block])
    part, m = tl.arange(0, s.slot_split)[:, None], tl.arange(0, s.width_block)[None, :]
    tl.store(parts + part * s.width + m, tl.sum(tl.sum(shaped, 2), 0), mask=m < s.width)


@triton.jit
def load_slots(memory, start, slots, s: tl.constexpr):
    """Load s.slot_block slots of the memory, from `start`; zeros beyond its end."""
    n, m = start + tl.arange(0, s.slot_block)[:, None], tl.arange(0, s.width_block)[None, :]
    return tl.load(memory + n * s.width + m, mask=(n < slots) & (m < s.width), other=0.0)


@triton.jit
def store_slots(memory, values, start, slots, s: tl.constexpr):
    n, m = start + tl.arange(0, s.slot_block)[:, None], tl.arange(0, s.width_block)[None, :]
    tl.store(memory + n * s.width + m, values, mask=(n < slots) & (m < s.width))


@triton.jit
def load_weighting(weights, start, slots, BLOCK: tl.constexpr):
    """Load a part of one head's weighting."""
    n = start + tl.arange(0, BLOCK)
    return tl.load(weights + n, mask=n < slots, other=0.0)


@triton.jit
def load_weightings(weights, slots, s: tl.constexpr):
    """Load the weightings of all heads, heads x slots."""
    h, n = tl.arange(0, s.head_block)[:, None], tl.arange(0, s.slots_block)[None, :]
    return tl.load(weights + h * slots + n, mask=(h < s.heads) & (n < slots), other=0.0)


@triton.jit
def store_weightings(weights, values, slots, s: tl.constexpr):
    h, n = tl.arange(0, s.head_block)[:, None], tl.arange(0, s.slots_block)[None, :]
    tl.store(weights + h * slots + n, values, mask=(h < s.heads) & (n < slots))


@triton.jit
def load_vector(at, s: tl.constexpr):
    m = tl.arange(0, s.width_block)
    return tl.load(at + m, mask=m < s.width, other=0.0)
