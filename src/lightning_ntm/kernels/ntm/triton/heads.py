"""The heads in one step: addressing, reading and writing, with the stages of `addressing.py` and `access.py`."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.access import (
    memory_backward,
    read,
    read_backward,
    write,
    write_backward,
    written_backward,
)
from lightning_ntm.kernels.ntm.triton.addressing import (
    content_weights,
    cosines,
    interpolate_and_content_backward,
    key_backward,
    moves_backward,
    sharpen,
    sharpen_backward,
    sharpening_of,
    shift,
    shift_backward,
    unit_key_backward,
)
from lightning_ntm.kernels.ntm.triton.basics import (
    clamped,
    held_within,
    load_rows,
    load_vector,
    load_weightings,
    sigmoid,
    softplus,
    store_clamped_gradient,
    store_weightings,
    total,
)


@triton.jit
def address(
    memory,
    emitted,
    cosine,
    content,
    weights,
    weights_after,
    next_weights,
    slots,
    NEXT: tl.constexpr,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the weightings of all heads; return the first rows of `next_weights`, which are loaded meanwhile."""
    h = tl.arange(0, s.head_block)
    is_head = h < s.heads
    cosines(memory, emitted, cosine, slots, s)
    tl.debug_barrier()
    strength = softplus(clamped(emitted + at.strengths + h, is_head))
    by_key = content_weights(load_weightings(cosine, slots, s), strength, slots, s)
    store_weightings(content, by_key, slots, s)
    tl.debug_barrier()
    gate = sigmoid(clamped(emitted + at.gates + h, is_head))
    shifted = shift(content, weights, gate, emitted + at.moves, slots, s)
    sharpening = sharpening_of(clamped(emitted + at.sharpenings + h, is_head), s)
    chunk = load_rows(next_weights, 0, NEXT)
    store_weightings(weights_after, sharpen(shifted, sharpening, slots, s), slots, s)
    tl.debug_barrier()
    return chunk


@triton.jit
def read_and_write(
    memory, memory_after, weights, emitted, output, given_next, parts, slots, at: tl.constexpr, s: tl.constexpr
):
    """Store the reads, as output and as recurrent input, and the memory after the step."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    m = tl.arange(0, s.width_block)
    for head in tl.static_range(s.reads):
        read(memory, weights + head * slots, parts + head * OF_HEAD, slots, s)
    write(memory, weights + s.reads * slots, emitted + at.erases, emitted + at.adds, memory_after, slots, s)
    tl.debug_barrier()
    for head in tl.static_range(s.reads):
        found = total(parts + head * OF_HEAD, m, m < s.width, s.slot_split, s.width)
        tl.store(output + s.hidden + head * s.width + m, found, mask=m < s.width)
        tl.store(given_next + head * s.width + m, found, mask=m < s.width)
    tl.debug_barrier()


@triton.jit
def read_and_write_backward(
    memory,
    weights,
    emitted,
    doutput,
    dgiven,
    dmemory,
    dweights,
    parts,
    slots,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the weightings and, in parts, of the written vectors."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    for head in tl.static_range(s.reads):
        dread = load_vector(doutput + s.hidden + head * s.width, s) + load_vector(dgiven + head * s.width, s)
        read_backward(memory, dread, dweights + head * slots, slots, s)
    for head in tl.static_range(s.writes):
        write_backward(
            memory,
            weights + s.reads * slots,
            emitted + at.erases,
            emitted + at.adds,
            dmemory,
            dweights + s.reads * slots,
            parts + 2 * head * OF_HEAD,
            parts + (2 * head + 1) * OF_HEAD,
            slots,
            head,
            s,
        )


@triton.jit
def sharpen_and_shift_backward(
    emitted,
    demitted,
    content,
    weights,
    weights_after,
    dweights,
    dprevious,
    dshifted,
    parts,
    slots,
    LIMIT: tl.constexpr,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the shifted weightings, and of `emitted` for writing, sharpening and shifting."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    h = tl.arange(0, s.head_block)
    is_head = h < s.heads
    # Before the barrier: saved arrays are loaded from distant caches.
    gate = sigmoid(clamped(emitted + at.gates + h, is_head))
    shifted = shift(content, weights, gate, emitted + at.moves, slots, s)
    raw = clamped(emitted + at.sharpenings + h, is_head)
    weighting = load_weightings(weights_after, slots, s)
    tl.debug_barrier()
    for head in tl.static_range(s.writes):
        written_backward(
            parts + 2 * head * OF_HEAD,
            parts + (2 * head + 1) * OF_HEAD,
            emitted + at.erases + head * s.width,
            emitted + at.adds + head * s.width,
            demitted + at.erases + head * s.width,
            demitted + at.adds + head * s.width,
            s,
        )
    dweighting = load_weightings(dweights, slots, s) + load_weightings(dprevious, slots, s)
    if LIMIT > 0:
        # As an argument, or without a dtype, it would be rounded to float32.
        dweighting = held_within(dweighting, tl.full((), LIMIT, dweighting.dtype))
    dmoved, dsharpening = sharpen_backward(shifted, sharpening_of(raw, s), weighting, dweighting)
    store_weightings(dshifted, dmoved, slots, s)
    places = at.sharpenings + h
    store_clamped_gradient(emitted + places, demitted + places, dsharpening * sigmoid(raw), is_head)
    moves_backward(content, weights, gate, dmoved, emitted + at.moves, demitted + at.moves, slots, s)


@triton.jit
def content_backward(
    emitted,
    demitted,
    cosine,
    content,
    weights,
    dprevious,
    dshifted,
    dcosine,
    next_weights,
    slots,
    NEXT: tl.constexpr,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the cosines, of the weightings before the step, of gates and of key strengths.

    Return the first rows of `next_weights`, which are loaded meanwhile.
    """
    h = tl.arange(0, s.head_block)
    is_head = h < s.heads
    cosines_t = load_weightings(cosine, slots, s)
    tl.debug_barrier()
    gate = sigmoid(clamped(emitted + at.gates + h, is_head))
    raw = clamped(emitted + at.strengths + h, is_head)
    previous, by_key = load_weightings(weights, slots, s), load_weightings(content, slots, s)
    dgated = shift_backward(dshifted, emitted + at.moves, slots, s)
    chunk = load_rows(next_weights, 0, NEXT)
    dbefore, dcosines, dgate, dstrength = interpolate_and_content_backward(
        previous, by_key, cosines_t, gate, softplus(raw), dgated
    )
    store_weightings(dprevious, dbefore, slots, s)
    store_weightings(dcosine, dcosines, slots, s)
    places = at.gates + h
    store_clamped_gradient(emitted + places, demitted + places, dgate * gate * (1 - gate), is_head)
    places = at.strengths + h
    store_clamped_gradient(emitted + places, demitted + places, dstrength * sigmoid(raw), is_head)
    tl.debug_barrier()
    return chunk


@triton.jit
def memory_and_keys_backward(
    memory,
    weights,
    emitted,
    demitted,
    cosine,
    dcosine,
    doutput,
    dgiven,
    dafter,
    dbefore,
    parts,
    slots,
    at: tl.constexpr,
    s: tl.constexpr,
):
    """Store the gradients of the memory before the step and of the keys before activation."""
    OF_HEAD: tl.constexpr = s.slot_split * s.width
    for head in tl.static_range(s.heads):
        unit_key_backward(memory, dcosine + head * slots, parts + head * OF_HEAD, slots, s)
    dreads = doutput + s.hidden
    memory_backward(
        memory, weights, emitted, emitted + at.erases, dreads, dgiven, cosine, dcosine, dafter, dbefore, slots, s
    )
    tl.debug_barrier()
    for head in tl.static_range(s.heads):
        key_backward(parts + head * OF_HEAD, emitted + head * s.width, demitted + head * s.width, s)
