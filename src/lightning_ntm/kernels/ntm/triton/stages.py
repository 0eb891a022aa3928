"""The stages of one step of an NTM (Graves et al. 2014, section 3), each with its backward beside it.

Each function runs one stage for one sequence, with all threads of a program. Stages exchange vectors through arrays
in global memory, which stay in the L1 cache: a store, a barrier and a load cost about 0.06 us on an H100, a sum across
warps by `tl.sum` three times as much. So `product` and `store_slot_sums` store a sum over rows in parts, and the next
stage adds the parts. `tl.debug_barrier` in `programs.py` separates a stage that stores from one that loads.

`emitted` is the interface vector as the linear layer returns it; stages clamp and activate its numbers where they use
them. The weightings of all heads are one tensor, heads x slots. A block is the next power of two of a size, as Triton
requires.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

from typing import NamedTuple

import triton
import triton.language as tl

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
def lstm_unit(input_gate, forget_gate, cell_gate, output_gate, cell):
    """Return the activated gates, the next cell state and the output of LSTM units."""
    input_gate, forget_gate, output_gate = sigmoid(input_gate), sigmoid(forget_gate), sigmoid(output_gate)
    cell_gate = tanh(cell_gate)
    cell = forget_gate * cell + input_gate * cell_gate
    return input_gate, forget_gate, cell_gate, output_gate, cell, output_gate * tanh(cell)


@triton.jit
def lstm_unit_backward(input_gate, forget_gate, cell_gate, output_gate, cell_before, cell, dhidden, dcell):
    """Return the gradients of the four sums before activation, and of the previous cell state."""
    squashed = tanh(cell)
    dcell += dhidden * output_gate * (1 - squashed * squashed)
    dinput_gate = dcell * cell_gate * input_gate * (1 - input_gate)
    dforget_gate = dcell * cell_before * forget_gate * (1 - forget_gate)
    dcell_gate = dcell * input_gate * (1 - cell_gate * cell_gate)
    doutput_gate = dhidden * squashed * output_gate * (1 - output_gate)
    return dinput_gate, dforget_gate, dcell_gate, doutput_gate, dcell * forget_gate


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


@triton.jit
def unit_key(key_at, s: tl.constexpr):
    """Return the key, the key of length one, and the length."""
    m = tl.arange(0, s.width_block)
    key = tanh(clamped(key_at + m, m < s.width))
    length = tl.sqrt(tl.sum(key * key, 0) + EPSILON)
    return key, key / length, length


@triton.jit
def cosines(memory, keys, cosine, slots, s: tl.constexpr):
    """Equation 6: store the cosine of each head's key to each slot."""
    for start in range(0, slots, s.slot_block):
        n = start + tl.arange(0, s.slot_block)
        block = load_slots(memory, start, slots, s)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        for head in tl.static_range(s.heads):
            _, unit, _ = unit_key(keys + head * s.width, s)
            tl.store(cosine + head * slots + n, tl.sum(block * unit[None, :], 1) * scale, mask=n < slots)


@triton.jit
def content_weights(cosine, strength, slots, s: tl.constexpr):
    """Equation 5. A cosine is at most 1 and a strength at least 0, so the largest exponent is at most the strength."""
    n = tl.arange(0, s.slots_block)[None, :]
    exponential = tl.where(n < slots, tl.exp(strength[:, None] * (cosine - 1)), 0.0)
    return exponential / tl.sum(exponential, 1)[:, None]


@triton.jit
def interpolate(previous, content, gate):
    """Equation 7."""
    return previous + gate * (content - previous)


@triton.jit
def interpolate_and_content_backward(previous, content, cosine, gate, strength, dgated):
    """Return the gradients of the previous weightings, the cosines, the gates and the strengths.

    All sums over slots are computed in one exchange.
    """
    of_content, of_previous, of_cosine, mean_cosine = four_sums(
        dgated * content, dgated * previous, dgated * content * cosine, content * cosine
    )
    dstrength = gate * (of_cosine - of_content * mean_cosine)
    dcosine = (strength * gate)[:, None] * content * (dgated - of_content[:, None])
    return (1 - gate)[:, None] * dgated, dcosine, of_content - of_previous, dstrength


@triton.jit
def four_sums(a, b, c, d):
    """Return the sums over slots of four tensors heads x slots."""
    ac, bd = tl.split(tl.sum(tl.join(tl.join(a, b), tl.join(c, d)), 1))
    a, b = tl.split(ac)
    c, d = tl.split(bd)
    return a, b, c, d


@triton.jit
def wrapped(n, slots):
    """Wrap slot indices around: memory slots form a circle."""
    n = tl.where(n < 0, n + slots, n)
    return tl.where(n >= slots, n - slots, n)


@triton.jit
def shift_total(moves, mask, s: tl.constexpr):
    """Return the sums of exponentials that the softmax over the shifts divides by."""
    sums = tl.exp(clamped(moves, mask))
    for i in range(1, s.shifts):
        sums += tl.exp(clamped(moves + i, mask))
    return sums


@triton.jit
def shift(content, previous, gate, moves, slots, s: tl.constexpr):
    """Equations 7 and 8: the gated weightings, shifted by `i - s.shifts // 2` slots with weight i."""
    h, n = tl.arange(0, s.head_block), tl.arange(0, s.slots_block)[None, :]
    inside = (h[:, None] < s.heads) & (n < slots)
    sums = shift_total(moves + h * s.shifts, h < s.heads, s)
    shifted = tl.zeros([s.head_block, s.slots_block], content.dtype.element_ty)
    for i in range(s.shifts):
        share = tl.exp(clamped(moves + h * s.shifts + i, h < s.heads)) / sums
        at = h[:, None] * slots + wrapped(n - (i - s.shifts // 2), slots)
        before = tl.load(previous + at, mask=inside, other=0.0)
        gated = interpolate(before, tl.load(content + at, mask=inside, other=0.0), gate[:, None])
        shifted += share[:, None] * gated
    return shifted


@triton.jit
def shift_backward(dshifted, moves, slots, s: tl.constexpr):
    """Return the gradient of the gated weightings; `moves_backward` stores that of the shift weights."""
    h, n = tl.arange(0, s.head_block), tl.arange(0, s.slots_block)[None, :]
    inside = (h[:, None] < s.heads) & (n < slots)
    sums = shift_total(moves + h * s.shifts, h < s.heads, s)
    dgated = tl.zeros([s.head_block, s.slots_block], dshifted.dtype.element_ty)
    for i in range(s.shifts):
        share = tl.exp(clamped(moves + h * s.shifts + i, h < s.heads)) / sums
        at = h[:, None] * slots + wrapped(n + (i - s.shifts // 2), slots)
        dgated += share[:, None] * tl.load(dshifted + at, mask=inside, other=0.0)
    return dgated


@triton.jit
def moves_backward(content, previous, gate, dshifted, moves, dmoves, slots, s: tl.constexpr):
    """Store the gradients of the logits of the shifts; all sums over slots are computed in one exchange."""
    i, h = tl.arange(0, s.shift_block)[:, None, None], tl.arange(0, s.head_block)[None, :, None]
    n = tl.arange(0, s.slots_block)[None, None, :]
    inside = (h < s.heads) & (n < slots) & (i < s.shifts)
    at = h * slots + wrapped(n - (i - s.shifts // 2), slots)
    before = tl.load(previous + at, mask=inside, other=0.0)
    gated = interpolate(before, tl.load(content + at, mask=inside, other=0.0), gate[None, :, None])
    dshares = tl.sum(dshifted[None, :, :] * gated, 2)
    i, h = tl.arange(0, s.shift_block)[:, None], tl.arange(0, s.head_block)[None, :]
    inside = (h < s.heads) & (i < s.shifts)
    shares = tl.where(inside, tl.exp(clamped(moves + h * s.shifts + i, inside)), 0.0)
    shares = shares / tl.where(h < s.heads, tl.sum(shares, 0)[None, :], 1.0)
    dlogits = shares * (dshares - tl.sum(shares * dshares, 0)[None, :])
    store_clamped_gradient(moves + h * s.shifts + i, dmoves + h * s.shifts + i, dlogits, inside)


@triton.jit
def sharpen(shifted, sharpening, slots, s: tl.constexpr):
    """Equation 9, as a softmax of logarithms."""
    n = tl.arange(0, s.slots_block)[None, :]
    scaled = tl.where(n < slots, sharpening[:, None] * tl.log(shifted + EPSILON), float("-inf"))
    exponential = tl.exp(scaled - tl.max(scaled, 1)[:, None])
    return exponential / tl.sum(exponential, 1)[:, None]


@triton.jit
def sharpen_backward(shifted, sharpening, weights, dweights):
    """Return the gradients of the shifted weightings and of the sharpening."""
    logs, weighted = tl.log(shifted + EPSILON), weights * dweights
    mean, of_logs, mean_log, _ = four_sums(weighted, weighted * logs, weights * logs, weights)
    dscaled = weights * (dweights - mean[:, None])
    return sharpening[:, None] * dscaled / (shifted + EPSILON), of_logs - mean * mean_log


@triton.jit
def read(memory, weights, parts, slots, s: tl.constexpr):
    """Equation 2 for one head, in parts."""
    sums = tl.zeros([s.slot_block, s.width_block], memory.dtype.element_ty)
    for start in range(0, slots, s.slot_block):
        weight = load_weighting(weights, start, slots, s.slot_block)[:, None]
        sums += weight * load_slots(memory, start, slots, s)
    store_slot_sums(sums, parts, s)


@triton.jit
def read_backward(memory, dread, dweights, slots, s: tl.constexpr):
    """Store the gradient of one head's weighting; `memory_backward` adds that of the memory."""
    for start in range(0, slots, s.slot_block):
        n = start + tl.arange(0, s.slot_block)
        block = load_slots(memory, start, slots, s)
        tl.store(dweights + n, tl.sum(block * dread[None, :], 1), mask=n < slots)


@triton.jit
def erased(block, weights, erases, start, slots, SKIP: tl.constexpr, s: tl.constexpr):
    """Equation 3: return a block of slots after the erases of all write heads except head SKIP."""
    m = tl.arange(0, s.width_block)
    for head in tl.static_range(s.writes):
        if head != SKIP:
            weight = load_weighting(weights + head * slots, start, slots, s.slot_block)[:, None]
            erase = sigmoid(clamped(erases + head * s.width + m, m < s.width))[None, :]
            block -= block * (weight * erase)
    return block


@triton.jit
def write(before, weights, erases, adds, after, slots, s: tl.constexpr):
    """Equations 3 and 4: all heads erase, then all heads add."""
    m = tl.arange(0, s.width_block)
    for start in range(0, slots, s.slot_block):
        block = load_slots(before, start, slots, s)
        block = erased(block, weights, erases, start, slots, -1, s)
        for head in tl.static_range(s.writes):
            weight = load_weighting(weights + head * slots, start, slots, s.slot_block)[:, None]
            block += weight * tanh(clamped(adds + head * s.width + m, m < s.width))[None, :]
        store_slots(after, block, start, slots, s)


@triton.jit
def write_backward(
    before,
    weights,
    erases,
    adds,
    dmemory,
    dweights,
    derase_parts,
    dadd_parts,
    slots,
    HEAD: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of head HEAD's weighting and, in parts, of its erase and add vectors.

    All pointers except those of the parts are those of the first write head.
    """
    m = tl.arange(0, s.width_block)
    erase = sigmoid(clamped(erases + HEAD * s.width + m, m < s.width))[None, :]
    add = tanh(clamped(adds + HEAD * s.width + m, m < s.width))[None, :]
    derase = tl.zeros([s.slot_block, s.width_block], before.dtype.element_ty)
    dadd = tl.zeros([s.slot_block, s.width_block], before.dtype.element_ty)
    for start in range(0, slots, s.slot_block):
        n = start + tl.arange(0, s.slot_block)
        left = load_slots(before, start, slots, s)
        left = erased(left, weights, erases, start, slots, HEAD, s)
        dblock = load_slots(dmemory, start, slots, s)
        weight = load_weighting(weights + HEAD * slots, start, slots, s.slot_block)[:, None]
        dforgotten = dblock * left
        derase -= dforgotten * weight
        dadd += dblock * weight
        tl.store(dweights + HEAD * slots + n, tl.sum(dblock * add - dforgotten * erase, 1), mask=n < slots)
    store_slot_sums(derase, derase_parts, s)
    store_slot_sums(dadd, dadd_parts, s)


@triton.jit
def written_backward(derase_parts, dadd_parts, erases, adds, derases, dadds, s: tl.constexpr):
    """Store the gradients of the erase and add vectors of one head before activation."""
    m = tl.arange(0, s.width_block)
    inside = m < s.width
    erase, add = sigmoid(clamped(erases + m, inside)), tanh(clamped(adds + m, inside))
    derase = total(derase_parts, m, inside, s.slot_split, s.width) * erase * (1 - erase)
    dadd = total(dadd_parts, m, inside, s.slot_split, s.width) * (1 - add * add)
    store_clamped_gradient(erases + m, derases + m, derase, inside)
    store_clamped_gradient(adds + m, dadds + m, dadd, inside)


@triton.jit
def unit_key_backward(memory, dcosine, parts, slots, s: tl.constexpr):
    """Store the gradient of one head's unit key, in parts."""
    sums = tl.zeros([s.slot_block, s.width_block], memory.dtype.element_ty)
    for start in range(0, slots, s.slot_block):
        block = load_slots(memory, start, slots, s)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        sums += (load_weighting(dcosine, start, slots, s.slot_block) * scale)[:, None] * block
    store_slot_sums(sums, parts, s)


@triton.jit
def key_backward(parts, key_at, dkey_at, s: tl.constexpr):
    """Store the gradient of the key of one head before activation."""
    m = tl.arange(0, s.width_block)
    dunit = total(parts, m, m < s.width, s.slot_split, s.width)
    key, unit, length = unit_key(key_at, s)
    dkey = (dunit - unit * tl.sum(unit * dunit, 0)) / length
    store_clamped_gradient(key_at + m, dkey_at + m, dkey * (1 - key * key), m < s.width)


@triton.jit
def memory_backward(
    memory,
    weights,
    keys,
    erases,
    dreads,
    dreads_by_controller,
    cosine,
    dcosine,
    dafter,
    dbefore,
    slots,
    s: tl.constexpr,
):
    """Store the gradient of the memory before a step, through the writes, the reads and the cosines."""
    for start in range(0, slots, s.slot_block):
        block = load_slots(memory, start, slots, s)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        dblock = load_slots(dafter, start, slots, s)
        of_writes = weights + s.reads * slots
        dblock = erased(dblock, of_writes, erases, start, slots, -1, s)
        for head in tl.static_range(s.reads):
            weight = load_weighting(weights + head * slots, start, slots, s.slot_block)[:, None]
            dread = load_vector(dreads + head * s.width, s)
            dread += load_vector(dreads_by_controller + head * s.width, s)
            dblock += weight * dread[None, :]
        for head in tl.static_range(s.reads + s.writes):
            _, unit, _ = unit_key(keys + head * s.width, s)
            dproduct = load_weighting(dcosine + head * slots, start, slots, s.slot_block) * scale
            shrink = dproduct * load_weighting(cosine + head * slots, start, slots, s.slot_block) * scale
            dblock += dproduct[:, None] * unit[None, :] - shrink[:, None] * block
        store_slots(dbefore, dblock, start, slots, s)
