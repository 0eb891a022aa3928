"""The stages of one step of an NTM (Graves et al. 2014, section 3), each with its backward beside it.

Each function runs one stage for one sequence, with all threads of a program. Stages exchange vectors through arrays
in global memory, which stay in the nearest cache: a store and a load with a barrier between cost about 0.06 us on an
H100, a sum across warps by `tl.sum` three times as much. So a sum over rows is stored in parts, by `product` or
`store_slot_sums`, and whoever needs it adds the parts. `tl.debug_barrier` in `programs.py` separates a stage that
stores from one that loads.

Numbers that heads emit are clamped and activated where they are used: `emitted` holds what the linear layer gave.
Weightings of all heads are one tensor, heads x slots. A name in capitals is a constant of the compiled program: a
size, or its block, the next power of two.
"""

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
def clamped(at, mask):
    """Load what heads emitted, held within ±HEAD_LIMIT."""
    return tl.minimum(tl.maximum(tl.load(at, mask=mask, other=0.0), -HEAD_LIMIT), HEAD_LIMIT)


@triton.jit
def store_clamped_gradient(emitted, demitted, gradient, mask):
    """Store the gradient of clamped numbers: none where the clamp held them."""
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
def load_rows(weights, start, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    """Load CHUNK rows of a matrix, from `start`; zeros beyond its end."""
    row, column = start + tl.arange(0, CHUNK)[:, None], tl.arange(0, BLOCK)[None, :]
    return tl.load(weights + row * COLUMNS + column, mask=(row < ROWS) & (column < COLUMNS), other=0.0)


@triton.jit
def product(
    chunk,
    weights,
    vector,
    parts,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Store the sum over rows of `vector[row] * weights[row, :]` in SPLIT parts; `total` adds them.

    `chunk` holds the first CHUNK rows, loaded while the stage before was at work; others are loaded one chunk ahead.
    """
    sums = tl.zeros([SPLIT, BLOCK], vector.dtype.element_ty)
    for start in range(0, ROWS, CHUNK):
        # Loads return in their order: the factors are not to wait for rows that are needed later.
        row = start + tl.arange(0, CHUNK)
        factor = tl.load(vector + row, mask=row < ROWS, other=0.0)[:, None]
        ahead = load_rows(weights, start + CHUNK, ROWS, COLUMNS, CHUNK, BLOCK)
        sums += tl.sum(tl.reshape(factor * chunk.to(factor.dtype), [CHUNK // SPLIT, SPLIT, BLOCK]), 0)
        chunk = ahead
    part, column = tl.arange(0, SPLIT)[:, None], tl.arange(0, BLOCK)[None, :]
    tl.store(parts + part * COLUMNS + column, sums, mask=column < COLUMNS)


@triton.jit
def total(parts, at, mask, COUNT: tl.constexpr, STRIDE: tl.constexpr):
    """Return the sum of parts that stand STRIDE apart."""
    sums = tl.load(parts + at, mask=mask, other=0.0)
    for i in tl.static_range(1, COUNT):
        sums += tl.load(parts + i * STRIDE + at, mask=mask, other=0.0)
    return sums


@triton.jit
def store_slot_sums(values, parts, WIDTH: tl.constexpr, COUNT: tl.constexpr):
    """Store the sum over slots of slots x width in COUNT parts; `total` adds them."""
    SLOTS: tl.constexpr = values.shape[0]
    BLOCK: tl.constexpr = values.shape[1]
    NEAR: tl.constexpr = SLOTS // COUNT if SLOTS // COUNT * BLOCK < 128 else (128 // BLOCK if BLOCK < 128 else 1)
    FAR: tl.constexpr = SLOTS // (COUNT * NEAR)
    # As a warp holds them, so that no sum crosses warps: NEAR slots beside each other, and that FAR times.
    sums = tl.sum(tl.sum(tl.reshape(values, [FAR, COUNT, NEAR, BLOCK]), 2), 0)
    part, m = tl.arange(0, COUNT)[:, None], tl.arange(0, BLOCK)[None, :]
    tl.store(parts + part * WIDTH + m, sums, mask=m < WIDTH)


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
def load_slots(memory, start, slots, WIDTH: tl.constexpr, SLOT_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    """Load SLOT_BLOCK slots of the memory, from `start`; zeros beyond its end."""
    n, m = start + tl.arange(0, SLOT_BLOCK)[:, None], tl.arange(0, WIDTH_BLOCK)[None, :]
    return tl.load(memory + n * WIDTH + m, mask=(n < slots) & (m < WIDTH), other=0.0)


@triton.jit
def store_slots(memory, values, start, slots, WIDTH: tl.constexpr, SLOT_BLOCK: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    n, m = start + tl.arange(0, SLOT_BLOCK)[:, None], tl.arange(0, WIDTH_BLOCK)[None, :]
    tl.store(memory + n * WIDTH + m, values, mask=(n < slots) & (m < WIDTH))


@triton.jit
def load_weighting(weights, start, slots, BLOCK: tl.constexpr):
    """Load a part of one head's weighting."""
    n = start + tl.arange(0, BLOCK)
    return tl.load(weights + n, mask=n < slots, other=0.0)


@triton.jit
def load_weightings(weights, slots, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr, SLOTS_BLOCK: tl.constexpr):
    """Load the weightings of all heads, heads x slots."""
    h, n = tl.arange(0, HEAD_BLOCK)[:, None], tl.arange(0, SLOTS_BLOCK)[None, :]
    return tl.load(weights + h * slots + n, mask=(h < HEADS) & (n < slots), other=0.0)


@triton.jit
def store_weightings(weights, values, slots, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr, SLOTS_BLOCK: tl.constexpr):
    h, n = tl.arange(0, HEAD_BLOCK)[:, None], tl.arange(0, SLOTS_BLOCK)[None, :]
    tl.store(weights + h * slots + n, values, mask=(h < HEADS) & (n < slots))


@triton.jit
def load_vector(at, WIDTH: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    m = tl.arange(0, WIDTH_BLOCK)
    return tl.load(at + m, mask=m < WIDTH, other=0.0)


@triton.jit
def unit_key(key_at, WIDTH: tl.constexpr, WIDTH_BLOCK: tl.constexpr):
    """Return the key, the key of length one, and the length."""
    m = tl.arange(0, WIDTH_BLOCK)
    key = tanh(clamped(key_at + m, m < WIDTH))
    length = tl.sqrt(tl.sum(key * key, 0) + EPSILON)
    return key, key / length, length


@triton.jit
def cosines(
    memory,
    keys,
    cosine,
    slots,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Equation 6: store the cosine of each head's key to each slot."""
    for start in range(0, slots, SLOT_BLOCK):
        n = start + tl.arange(0, SLOT_BLOCK)
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        for head in tl.static_range(HEADS):
            _, unit, _ = unit_key(keys + head * WIDTH, WIDTH, WIDTH_BLOCK)
            tl.store(cosine + head * slots + n, tl.sum(block * unit[None, :], 1) * scale, mask=n < slots)


@triton.jit
def content_weights(cosine, strength, slots, SLOTS_BLOCK: tl.constexpr):
    """Equation 5. A cosine is at most 1 and a strength at least 0: the largest exponent is known."""
    n = tl.arange(0, SLOTS_BLOCK)[None, :]
    exponential = tl.where(n < slots, tl.exp(strength[:, None] * (cosine - 1)), 0.0)
    return exponential / tl.sum(exponential, 1)[:, None]


@triton.jit
def interpolate(previous, content, gate):
    """Equation 7."""
    return previous + gate * (content - previous)


@triton.jit
def interpolate_and_content_backward(previous, content, cosine, gate, strength, dgated):
    """Return the gradients of the previous weightings, the cosines, the gates and the strengths.

    All sums over slots are of products of what is known at once: they are made in one exchange.
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
    """Slots before the first are the last ones, and those after the last the first."""
    n = tl.where(n < 0, n + slots, n)
    return tl.where(n >= slots, n - slots, n)


@triton.jit
def shift_total(moves, mask, SHIFTS: tl.constexpr):
    """Return the sums of exponentials that the softmax over the shifts divides by."""
    sums = tl.exp(clamped(moves, mask))
    for i in range(1, SHIFTS):
        sums += tl.exp(clamped(moves + i, mask))
    return sums


@triton.jit
def shift(
    content,
    previous,
    gate,
    moves,
    slots,
    HEADS: tl.constexpr,
    SHIFTS: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
):
    """Equations 7 and 8: the gated weightings, moved by `i - SHIFTS // 2` slots with share i."""
    h, n = tl.arange(0, HEAD_BLOCK), tl.arange(0, SLOTS_BLOCK)[None, :]
    inside = (h[:, None] < HEADS) & (n < slots)
    sums = shift_total(moves + h * SHIFTS, h < HEADS, SHIFTS)
    shifted = tl.zeros([HEAD_BLOCK, SLOTS_BLOCK], content.dtype.element_ty)
    for i in range(SHIFTS):
        share = tl.exp(clamped(moves + h * SHIFTS + i, h < HEADS)) / sums
        at = h[:, None] * slots + wrapped(n - (i - SHIFTS // 2), slots)
        before = tl.load(previous + at, mask=inside, other=0.0)
        gated = interpolate(before, tl.load(content + at, mask=inside, other=0.0), gate[:, None])
        shifted += share[:, None] * gated
    return shifted


@triton.jit
def shift_backward(
    dshifted,
    moves,
    slots,
    HEADS: tl.constexpr,
    SHIFTS: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
):
    """Return the gradient of the gated weightings; `moves_backward` stores that of the shares."""
    h, n = tl.arange(0, HEAD_BLOCK), tl.arange(0, SLOTS_BLOCK)[None, :]
    inside = (h[:, None] < HEADS) & (n < slots)
    sums = shift_total(moves + h * SHIFTS, h < HEADS, SHIFTS)
    dgated = tl.zeros([HEAD_BLOCK, SLOTS_BLOCK], dshifted.dtype.element_ty)
    for i in range(SHIFTS):
        share = tl.exp(clamped(moves + h * SHIFTS + i, h < HEADS)) / sums
        at = h[:, None] * slots + wrapped(n + (i - SHIFTS // 2), slots)
        dgated += share[:, None] * tl.load(dshifted + at, mask=inside, other=0.0)
    return dgated


@triton.jit
def moves_backward(
    content,
    previous,
    gate,
    dshifted,
    moves,
    dmoves,
    slots,
    HEADS: tl.constexpr,
    SHIFTS: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    SHIFT_BLOCK: tl.constexpr,
    SLOTS_BLOCK: tl.constexpr,
):
    """Store the gradients of the logits of the shifts; all their sums over slots are made in one exchange."""
    i, h = tl.arange(0, SHIFT_BLOCK)[:, None, None], tl.arange(0, HEAD_BLOCK)[None, :, None]
    n = tl.arange(0, SLOTS_BLOCK)[None, None, :]
    inside = (h < HEADS) & (n < slots) & (i < SHIFTS)
    at = h * slots + wrapped(n - (i - SHIFTS // 2), slots)
    before = tl.load(previous + at, mask=inside, other=0.0)
    gated = interpolate(before, tl.load(content + at, mask=inside, other=0.0), gate[None, :, None])
    dshares = tl.sum(dshifted[None, :, :] * gated, 2)
    i, h = tl.arange(0, SHIFT_BLOCK)[:, None], tl.arange(0, HEAD_BLOCK)[None, :]
    inside = (h < HEADS) & (i < SHIFTS)
    shares = tl.where(inside, tl.exp(clamped(moves + h * SHIFTS + i, inside)), 0.0)
    shares = shares / tl.where(h < HEADS, tl.sum(shares, 0)[None, :], 1.0)
    dlogits = shares * (dshares - tl.sum(shares * dshares, 0)[None, :])
    store_clamped_gradient(moves + h * SHIFTS + i, dmoves + h * SHIFTS + i, dlogits, inside)


@triton.jit
def sharpen(shifted, sharpening, slots, SLOTS_BLOCK: tl.constexpr):
    """Equation 9, as a softmax of logarithms."""
    n = tl.arange(0, SLOTS_BLOCK)[None, :]
    scaled = tl.where(n < slots, sharpening[:, None] * tl.log(shifted + EPSILON), float("-inf"))
    exponential = tl.exp(scaled - tl.max(scaled, 1)[:, None])
    return exponential / tl.sum(exponential, 1)[:, None]


@triton.jit
def sharpen_backward(shifted, sharpening, weights, dweights):
    """Return the gradients of what was shifted and of the sharpening."""
    logs, weighted = tl.log(shifted + EPSILON), weights * dweights
    mean, of_logs, mean_log, _ = four_sums(weighted, weighted * logs, weights * logs, weights)
    dscaled = weights * (dweights - mean[:, None])
    return sharpening[:, None] * dscaled / (shifted + EPSILON), of_logs - mean * mean_log


@triton.jit
def read(
    memory,
    weights,
    parts,
    slots,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Equation 2 for one head, in parts."""
    sums = tl.zeros([SLOT_BLOCK, WIDTH_BLOCK], memory.dtype.element_ty)
    for start in range(0, slots, SLOT_BLOCK):
        weight = load_weighting(weights, start, slots, SLOT_BLOCK)[:, None]
        sums += weight * load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
    store_slot_sums(sums, parts, WIDTH, PARTS)


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
def erased(
    block,
    weights,
    erases,
    start,
    slots,
    SKIP: tl.constexpr,
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
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
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Store the gradients of head HEAD's weighting and, in parts, of its erase and add vectors.

    All pointers are those of the first head that writes, but for those of the parts.
    """
    m = tl.arange(0, WIDTH_BLOCK)
    erase = sigmoid(clamped(erases + HEAD * WIDTH + m, m < WIDTH))[None, :]
    add = tanh(clamped(adds + HEAD * WIDTH + m, m < WIDTH))[None, :]
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
        tl.store(dweights + HEAD * slots + n, tl.sum(dblock * add - dforgotten * erase, 1), mask=n < slots)
    store_slot_sums(derase, derase_parts, WIDTH, PARTS)
    store_slot_sums(dadd, dadd_parts, WIDTH, PARTS)


@triton.jit
def written_backward(
    derase_parts,
    dadd_parts,
    erases,
    adds,
    derases,
    dadds,
    WIDTH: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Store the gradients of what one head emitted as erase and add vectors."""
    m = tl.arange(0, WIDTH_BLOCK)
    inside = m < WIDTH
    erase, add = sigmoid(clamped(erases + m, inside)), tanh(clamped(adds + m, inside))
    derase = total(derase_parts, m, inside, PARTS, WIDTH) * erase * (1 - erase)
    dadd = total(dadd_parts, m, inside, PARTS, WIDTH) * (1 - add * add)
    store_clamped_gradient(erases + m, derases + m, derase, inside)
    store_clamped_gradient(adds + m, dadds + m, dadd, inside)


@triton.jit
def unit_key_backward(
    memory,
    dcosine,
    parts,
    slots,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Store the gradient of one head's unit key, in parts."""
    sums = tl.zeros([SLOT_BLOCK, WIDTH_BLOCK], memory.dtype.element_ty)
    for start in range(0, slots, SLOT_BLOCK):
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        sums += (load_weighting(dcosine, start, slots, SLOT_BLOCK) * scale)[:, None] * block
    store_slot_sums(sums, parts, WIDTH, PARTS)


@triton.jit
def key_backward(parts, key_at, dkey_at, WIDTH: tl.constexpr, WIDTH_BLOCK: tl.constexpr, PARTS: tl.constexpr):
    """Store the gradient of what one head emitted as its key."""
    m = tl.arange(0, WIDTH_BLOCK)
    dunit = total(parts, m, m < WIDTH, PARTS, WIDTH)
    key, unit, length = unit_key(key_at, WIDTH, WIDTH_BLOCK)
    dkey = (dunit - unit * tl.sum(unit * dunit, 0)) / length
    store_clamped_gradient(key_at + m, dkey_at + m, dkey * (1 - key * key), m < WIDTH)


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
    READS: tl.constexpr,
    WRITES: tl.constexpr,
    WIDTH: tl.constexpr,
    SLOT_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """Store the gradient of the memory before a step: what the writes left, what was read, what keys met."""
    for start in range(0, slots, SLOT_BLOCK):
        block = load_slots(memory, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        scale = 1 / tl.sqrt(tl.sum(block * block, 1) + EPSILON)
        dblock = load_slots(dafter, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        of_writes = weights + READS * slots
        dblock = erased(dblock, of_writes, erases, start, slots, -1, WRITES, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
        for head in tl.static_range(READS):
            weight = load_weighting(weights + head * slots, start, slots, SLOT_BLOCK)[:, None]
            dread = load_vector(dreads + head * WIDTH, WIDTH, WIDTH_BLOCK)
            dread += load_vector(dreads_by_controller + head * WIDTH, WIDTH, WIDTH_BLOCK)
            dblock += weight * dread[None, :]
        for head in tl.static_range(READS + WRITES):
            _, unit, _ = unit_key(keys + head * WIDTH, WIDTH, WIDTH_BLOCK)
            dproduct = load_weighting(dcosine + head * slots, start, slots, SLOT_BLOCK) * scale
            shrink = dproduct * load_weighting(cosine + head * slots, start, slots, SLOT_BLOCK) * scale
            dblock += dproduct[:, None] * unit[None, :] - shrink[:, None] * block
        store_slots(dbefore, dblock, start, slots, WIDTH, SLOT_BLOCK, WIDTH_BLOCK)
