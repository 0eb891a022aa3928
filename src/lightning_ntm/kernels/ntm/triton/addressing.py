"""Addressing in one step (Graves et al. 2014, section 3.3): each stage with its backward beside it."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.basics import (
    EPSILON,
    clamped,
    load_slots,
    load_weighting,
    softplus,
    store_clamped_gradient,
    store_slot_sums,
    tanh,
    total,
)


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
def sharpening_of(raw, s: tl.constexpr):
    """Return the sharpening of heads from a part of the interface vector."""
    # Without a dtype the least sharpening would be rounded to float32.
    return tl.full((), s.min_sharpening, raw.dtype) + softplus(raw)


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
