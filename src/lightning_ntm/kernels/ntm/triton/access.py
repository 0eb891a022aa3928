"""Reading and writing in one step (Graves et al. 2014, sections 3.1 and 3.2), each with its backward beside it."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, valid-type, untyped-decorator"

import triton
import triton.language as tl

from lightning_ntm.kernels.ntm.triton.addressing import unit_key
from lightning_ntm.kernels.ntm.triton.basics import (
    EPSILON,
    clamped,
    load_slots,
    load_vector,
    load_weighting,
    sigmoid,
    store_clamped_gradient,
    store_slot_sums,
    store_slots,
    tanh,
    total,
)


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
