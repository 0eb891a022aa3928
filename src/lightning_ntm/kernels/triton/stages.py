"""The stages of one step of an NTM (Graves et al. 2014, section 3), each with its backward beside it.

Each function runs one stage for one sequence. Vectors and the memory stand in global memory, where the threads of
a program exchange them; `tl.debug_barrier` in `programs.py` separates a stage that stores from one that loads.
Numbers that a head emits are clamped and activated where they are used: `emitted` holds what the linear layer gave.

A name in capitals is a constant of the compiled program: sizes, and for each size its block, the next power of two.
"""

# Triton evaluates annotations as its own types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

EPSILON = tl.constexpr(1e-12)  # functional.EPSILON
HEAD_LIMIT = tl.constexpr(20.0)  # models.ntm.HEAD_LIMIT


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
def clamped(at, mask=None):
    """Load what the heads emitted, held within ±HEAD_LIMIT."""
    if mask is None:
        return tl.minimum(tl.maximum(tl.load(at), -HEAD_LIMIT), HEAD_LIMIT)
    else:
        return tl.minimum(tl.maximum(tl.load(at, mask=mask, other=0.0), -HEAD_LIMIT), HEAD_LIMIT)


@triton.jit
def store_emitted_gradient(emitted, demitted, gradient, mask=None):
    """Store the gradient of a clamped number: none where the clamp held it."""
    if mask is None:
        value = tl.load(emitted)
        tl.store(demitted, tl.where(tl.abs(value) <= HEAD_LIMIT, gradient, 0.0))
    else:
        value = tl.load(emitted, mask=mask, other=0.0)
        tl.store(demitted, tl.where(tl.abs(value) <= HEAD_LIMIT, gradient, 0.0), mask=mask)


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
def product(
    weights,
    vector,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROW_BLOCK: tl.constexpr,
    COLUMN_BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Return the sum over rows of `vector[row] * weights[row, :]`; the weights are ROWS x COLUMNS."""
    column = tl.arange(0, COLUMN_BLOCK)[None, :]
    total = tl.zeros([ROW_BLOCK, COLUMN_BLOCK], vector.dtype.element_ty)
    for start in tl.range(0, ROWS, ROW_BLOCK, loop_unroll_factor=UNROLL):
        row = start + tl.arange(0, ROW_BLOCK)
        factor = tl.load(vector + row, mask=row < ROWS, other=0.0)[:, None]
        inside = (row[:, None] < ROWS) & (column < COLUMNS)
        total += factor * tl.load(weights + row[:, None] * COLUMNS + column, mask=inside, other=0.0).to(total.dtype)
    return tl.sum(total, 0)


@triton.jit
def four_products(
    weights,
    vector,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROW_BLOCK: tl.constexpr,
    COLUMN_BLOCK: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Return `product` for each of four matrices whose rows stand side by side: all their loads are in flight."""
    column = tl.arange(0, COLUMN_BLOCK)[None, :]
    total_0 = tl.zeros([ROW_BLOCK, COLUMN_BLOCK], vector.dtype.element_ty)
    total_1 = tl.zeros([ROW_BLOCK, COLUMN_BLOCK], vector.dtype.element_ty)
    total_2 = tl.zeros([ROW_BLOCK, COLUMN_BLOCK], vector.dtype.element_ty)
    total_3 = tl.zeros([ROW_BLOCK, COLUMN_BLOCK], vector.dtype.element_ty)
    for start in tl.range(0, ROWS, ROW_BLOCK, loop_unroll_factor=UNROLL):
        row = start + tl.arange(0, ROW_BLOCK)
        factor = tl.load(vector + row, mask=row < ROWS, other=0.0)[:, None]
        inside = (row[:, None] < ROWS) & (column < COLUMNS)
        at = weights + row[:, None] * (4 * COLUMNS) + column
        total_0 += factor * tl.load(at, mask=inside, other=0.0).to(factor.dtype)
        total_1 += factor * tl.load(at + COLUMNS, mask=inside, other=0.0).to(factor.dtype)
        total_2 += factor * tl.load(at + 2 * COLUMNS, mask=inside, other=0.0).to(factor.dtype)
        total_3 += factor * tl.load(at + 3 * COLUMNS, mask=inside, other=0.0).to(factor.dtype)
    return tl.sum(total_0, 0), tl.sum(total_1, 0), tl.sum(total_2, 0), tl.sum(total_3, 0)


@triton.jit
def lstm_unit(enter, keep, candidate, leave, cell):
    """Return the activated gates, the next cell state and the output of LSTM units."""
    enter, keep, leave = sigmoid(enter), sigmoid(keep), sigmoid(leave)
    candidate = tanh(candidate)
    cell = keep * cell + enter * candidate
    return enter, keep, candidate, leave, cell, leave * tanh(cell)


@triton.jit
def lstm_unit_backward(enter, keep, candidate, leave, cell_before, cell, dhidden, dcell):
    """Return the gradients of the four sums before activation, and of the cell state before."""
    squashed = tanh(cell)
    dcell += dhidden * leave * (1 - squashed * squashed)
    denter = dcell * candidate * enter * (1 - enter)
    dkeep = dcell * cell_before * keep * (1 - keep)
    dcandidate = dcell * enter * (1 - candidate * candidate)
    dleave = dhidden * squashed * leave * (1 - leave)
    return denter, dkeep, dcandidate, dleave, dcell * keep


@triton.jit
def unit_key(key_at, WIDTH: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    """Return the key, the key of length one, and the length."""
    m = tl.arange(0, WIDTH_BLOCK)
    key = tanh(clamped(key_at + m, m < WIDTH))
    length = tl.sqrt(tl.sum(key * key, 0) + EPSILON)
    return key, key / length, length


@triton.jit
def load_slots(memory, start, slots, WIDTH: tl.constexpr, SLOT_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    """Load SLOT_BLOCK slots of the memory, from `start`; zeros beyond its end."""
    n, m = start + tl.arange(0, SLOT_BLOCK)[:, None], tl.arange(0, WIDTH_BLOCK)[None, :]
    return tl.load(memory + n * WIDTH + m, mask=(n < slots) & (m < WIDTH), other=0.0)


@triton.jit
def store_slots(
    memory, values, start, slots, WIDTH: tl.constexpr, SLOT_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr
):
    n, m = start + tl.arange(0, SLOT_BLOCK)[:, None], tl.arange(0, WIDTH_BLOCK)[None, :]
    tl.store(memory + n * WIDTH + m, values, mask=(n < slots) & (m < WIDTH))


@triton.jit
def load_weighting(weights, start, slots, BLOCK: tl.constexpr):
    n = start + tl.arange(0, BLOCK)
    return tl.load(weights + n, mask=n < slots, other=0.0)


@triton.jit
def load_vector(at, WIDTH: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    m = tl.arange(0, WIDTH_BLOCK)
    return tl.load(at + m, mask=m < WIDTH, other=0.0)


@triton.jit
def cosines(
    memory,
    emitted,
    cosine,
    slots,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Equation 6 for all heads: stores the cosine of each key to each slot."""
    for start in range(0, slots, SLOT_BLOCK):
        n = start + tl.arange(0, SLOT_BLOCK)
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        for head in tl.static_range(HEADS):
            _, unit, _ = unit_key(emitted + head * WIDTH, WIDTH, WIDTH_BLOCK)
            tl.store(cosine + head * slots + n, tl.sum(block * unit[None, :], 1) * scale, mask=n < slots)


@triton.jit
def content_weights(cosine, strength, slots, BLOCK: tl.constexpr):
    """Equation 5. A cosine is at most 1 and a strength at least 0: the largest exponent is known."""
    n = tl.arange(0, BLOCK)
    exponential = tl.where(n < slots, tl.exp(strength * (cosine - 1)), 0.0)
    return exponential / tl.sum(exponential, 0)


@triton.jit
def interpolate(previous, content, gate):
    """Equation 7."""
    return previous + gate * (content - previous)


@triton.jit
def load_moved(weights, offset, slots, BLOCK: tl.constexpr):
    """Load a weighting that is rotated by `offset` slots: what leaves at one end enters at the other."""
    n = tl.arange(0, BLOCK) - offset
    n = tl.where(n < 0, n + slots, n)
    n = tl.where(n >= slots, n - slots, n)
    return tl.load(weights + n, mask=tl.arange(0, BLOCK) < slots, other=0.0)


@triton.jit
def shift_total(moves, SHIFTS: tl.constexpr):
    """Return the sum of exponentials that the softmax over the shifts divides by."""
    total = tl.exp(clamped(moves))
    for i in range(1, SHIFTS):
        total += tl.exp(clamped(moves + i))
    return total


@triton.jit
def shift(weights, moves, slots, SIGN: tl.constexpr, SHIFTS: tl.constexpr, BLOCK: tl.constexpr):
    """Equation 8: the weighting moved by `i - SHIFTS // 2` slots with share i; with SIGN -1, its transpose."""
    total = shift_total(moves, SHIFTS)
    shifted = tl.zeros([BLOCK], weights.dtype.element_ty)
    for i in range(SHIFTS):
        share = tl.exp(clamped(moves + i)) / total
        shifted += share * load_moved(weights, SIGN * (i - SHIFTS // 2), slots, BLOCK)
    return shifted


@triton.jit
def moves_backward(
    gated, dshifted, along, moves, dmoves, slots, SHIFTS: tl.constexpr, BLOCK: tl.constexpr
):
    """Store the gradient of the logits of the shifts; `along` is the product of `dshifted` and what was shifted."""
    total = shift_total(moves, SHIFTS)
    for i in range(SHIFTS):
        share = tl.exp(clamped(moves + i)) / total
        dshare = tl.sum(dshifted * load_moved(gated, i - SHIFTS // 2, slots, BLOCK), 0)
        store_emitted_gradient(moves + i, dmoves + i, share * (dshare - along))


@triton.jit
def sharpen(shifted, sharpening, slots, BLOCK: tl.constexpr):
    """Equation 9, as a softmax of logarithms."""
    scaled = tl.where(tl.arange(0, BLOCK) < slots, sharpening * tl.log(shifted + EPSILON), float("-inf"))
    exponential = tl.exp(scaled - tl.max(scaled, 0))
    return exponential / tl.sum(exponential, 0)


@triton.jit
def sharpen_backward(shifted, sharpening, weights, dweights):
    """Return the gradients of what was shifted and of the sharpening."""
    dscaled = weights * (dweights - tl.sum(weights * dweights, 0))
    return sharpening * dscaled / (shifted + EPSILON), tl.sum(dscaled * tl.log(shifted + EPSILON), 0)


@triton.jit
def read(
    memory,
    weights,
    slots,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Equation 2 for one head."""
    total = tl.zeros([SLOT_BLOCK, WIDTH_BLOCK], memory.dtype.element_ty)
    for start in range(0, slots, SLOT_BLOCK):
        weight = load_weighting(weights, start, slots, SLOT_BLOCK)[:, None]
        total += weight * load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
    return tl.sum(total, 0)


@triton.jit
def erased(block, weights, erases, start, slots, SKIP: tl.constexpr, WRITES: tl.constexpr,
           WIDTH: tl.constexpr, SLOT_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr):  # fmt: skip
    """Return what the heads that write, but for head SKIP, leave of a block of slots. Equation 3."""
    m = tl.arange(0, WIDTH_BLOCK)
    for head in tl.static_range(WRITES):
        if head != SKIP:
            weight = load_weighting(weights + head * slots, start, slots, SLOT_BLOCK)[:, None]
            erase = sigmoid(clamped(erases + head * WIDTH + m, m < WIDTH))[None, :]
            block -= block * (weight * erase)
    return block


@triton.jit
def write(
    before,
    weights,
    erases,
    adds,
    after,
    slots,
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Equations 3 and 4: all heads erase, then all heads add."""
    m = tl.arange(0, WIDTH_BLOCK)
    for start in range(0, slots, SLOT_BLOCK):
        block = load_slots(before, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        block = erased(block, weights, erases, start, slots, -1, WRITES, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        for head in tl.static_range(WRITES):
            weight = load_weighting(weights + head * slots, start, slots, SLOT_BLOCK)[:, None]
            block += weight * tanh(clamped(adds + head * WIDTH + m, m < WIDTH))[None, :]
        store_slots(after, block, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)


@triton.jit
def read_backward(
    memory,
    dread,
    dweights,
    slots,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Store the gradient of one head's weighting; `memory_backward` adds that of the memory."""
    for start in range(0, slots, SLOT_BLOCK):
        n = start + tl.arange(0, SLOT_BLOCK)
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        tl.store(dweights + n, tl.sum(block * dread[None, :], 1), mask=n < slots)


@triton.jit
def write_backward(
    before,
    weights,
    erases,
    adds,
    dmemory,
    dweights,
    derases,
    dadds,
    slots,
    HEAD: tl.constexpr,
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Store the gradients of head HEAD's weighting and of what it emitted; the pointers are those of head 0."""
    m = tl.arange(0, WIDTH_BLOCK)
    erase = sigmoid(clamped(erases + HEAD * WIDTH + m, m < WIDTH))
    add = tanh(clamped(adds + HEAD * WIDTH + m, m < WIDTH))
    derase = tl.zeros([SLOT_BLOCK, WIDTH_BLOCK], before.dtype.element_ty)
    dadd = tl.zeros([SLOT_BLOCK, WIDTH_BLOCK], before.dtype.element_ty)
    for start in range(0, slots, SLOT_BLOCK):
        n = start + tl.arange(0, SLOT_BLOCK)
        left = load_slots(before, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        left = erased(left, weights, erases, start, slots, HEAD, WRITES, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        dblock = load_slots(dmemory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        weight = load_weighting(weights + HEAD * slots, start, slots, SLOT_BLOCK)[:, None]
        dforgotten = dblock * left
        derase -= dforgotten * weight
        dadd += dblock * weight
        dweight = tl.sum(dblock * add[None, :] - dforgotten * erase[None, :], 1)
        tl.store(dweights + HEAD * slots + n, dweight, mask=n < slots)
    at = HEAD * WIDTH + m
    store_emitted_gradient(erases + at, derases + at, tl.sum(derase, 0) * erase * (1 - erase), m < WIDTH)
    store_emitted_gradient(adds + at, dadds + at, tl.sum(dadd, 0) * (1 - add * add), m < WIDTH)


@triton.jit
def key_backward(
    memory,
    dcosine,
    key_at,
    dkey_at,
    slots,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Store the gradient of what one head emitted as its key."""
    m = tl.arange(0, WIDTH_BLOCK)
    total = tl.zeros([SLOT_BLOCK, WIDTH_BLOCK], memory.dtype.element_ty)
    for start in range(0, slots, SLOT_BLOCK):
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        total += (load_weighting(dcosine, start, slots, SLOT_BLOCK) * scale)[:, None] * block
    dunit = tl.sum(total, 0)
    key, unit, length = unit_key(key_at, WIDTH, WIDTH_BLOCK)
    dkey = (dunit - unit * tl.sum(unit * dunit, 0)) / length
    store_emitted_gradient(key_at + m, dkey_at + m, dkey * (1 - key * key), m < WIDTH)


@triton.jit
def memory_backward(
    memory,
    weights,
    emitted,
    erases,
    doutput,
    dgiven,
    cosine,
    dcosine,
    dafter,
    dbefore,
    slots,
    READS: tl.constexpr,
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Store the gradient of the memory before a step: what the writes kept, what was read, what keys met."""
    for start in range(0, slots, SLOT_BLOCK):
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        dblock = load_slots(dafter, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        of_writes = weights + READS * slots
        dblock = erased(dblock, of_writes, erases, start, slots, -1, WRITES, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        for head in tl.static_range(READS):
            weight = load_weighting(weights + head * slots, start, slots, SLOT_BLOCK)[:, None]
            at = head * WIDTH
            dread = load_vector(doutput + at, WIDTH, WIDTH_BLOCK) + load_vector(dgiven + at, WIDTH, WIDTH_BLOCK)
            dblock += weight * dread[None, :]
        for head in tl.static_range(READS + WRITES):
            _, unit, _ = unit_key(emitted + head * WIDTH, WIDTH, WIDTH_BLOCK)
            dproduct = load_weighting(dcosine + head * slots, start, slots, SLOT_BLOCK) * scale
            shrink = dproduct * load_weighting(cosine + head * slots, start, slots, SLOT_BLOCK) * scale
            dblock += dproduct[:, None] * unit[None, :] - shrink[:, None] * block
        store_slots(dbefore, dblock, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
