"""Each equation of the DNC against a direct transcription in float64 loops, and numbers computed by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.func import grad, vmap

from lightning_ntm import functional as fn

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 11), st.integers(1, 5))


def draw(seed, *shape, low=-1.0, high=1.0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, shape))


def fractions(seed, *shape):
    return draw(seed, *shape, low=0.0)


def weighting(seed, *shape):
    """Weightings whose sums are below 1."""
    return draw(seed, *shape, low=0.01).softmax(-1) * fractions(seed + 99, *shape[:-1], 1)


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def allocation_by_hand(usage):
    order = sorted(range(len(usage)), key=lambda slot: usage[slot] + 1e-6 * slot)
    weights, product = [0.0] * len(usage), 1.0
    for slot in order:
        weights[slot] = (1 - usage[slot]) * product
        product *= usage[slot]
    return weights


def masked_content_by_hand(memory, key, strength, mask):
    similarity = []
    for slot in memory:
        dot = sum(k * m * x * m for k, x, m in zip(key, slot, mask, strict=True))
        norms = [math.sqrt(sum((v * m) ** 2 for v, m in zip(of, mask, strict=True)) + 1e-12) for of in (key, slot)]
        similarity.append(dot / (norms[0] * norms[1]))
    exponentials = [math.exp(strength * value) for value in similarity]
    return [value / sum(exponentials) for value in exponentials]


@given(SIZES, st.integers(0, 99))
def test_retention_is_what_no_head_frees(sizes, seed):
    batch, heads, slots, _ = sizes
    gates, weights = fractions(seed, batch, heads), weighting(seed + 1, batch, heads, slots)
    computed = fn.retention(gates, weights)
    for b in range(batch):
        for i in range(slots):
            expected = math.prod(1 - float(gates[b, h] * weights[b, h, i]) for h in range(heads))
            assert float(computed[b, i]) == pytest.approx(expected, rel=1e-12)


def test_usage_by_hand():
    usage = fn.update_usage(tensor(0.5, 0.0, 1.0, 0.2), tensor(0.5, 0.4, 0.3, 0.0), tensor(1.0, 0.5, 0.25, 0.0))
    # (u + w - u w) psi: 0.75, 0.4 * 0.5, 1 * 0.25, 0
    assert usage.tolist() == pytest.approx([0.75, 0.2, 0.25, 0.0])


@given(SIZES, st.integers(0, 99))
def test_usage_is_written_then_freed(sizes, seed):
    batch, _, slots, _ = sizes
    before, written, kept = (fractions(seed + i, batch, slots) for i in range(3))
    torch.testing.assert_close(fn.update_usage(before, written, kept), (before + written - before * written) * kept)


def test_usage_stays_within_0_and_1_in_float32():
    numbers = np.random.default_rng(0)
    usage = torch.zeros(5000)
    for _ in range(50):
        written = torch.from_numpy(numbers.choice([0, 1e-7, 0.3, 1 - 6e-8, 1], 5000).astype(np.float32))
        usage = fn.update_usage(usage, written, torch.ones(5000))
        assert usage.min() >= 0
        assert usage.max() <= 1


def test_allocation_by_hand():
    # In the order of usage: slot 1 (0.1), slot 2 (0.5), slot 0 (0.8).
    weights = fn.allocation_weights(tensor(0.8, 0.1, 0.5))
    assert weights.tolist() == pytest.approx([0.2 * 0.1 * 0.5, 0.9, 0.5 * 0.1])


@given(SIZES, st.integers(0, 99))
def test_allocation_is_that_of_the_sorted_usage(sizes, seed):
    batch, _, slots, _ = sizes
    usage = fractions(seed, batch, slots)
    usage[:, 0] = 0  # exactly unused, and exactly used
    usage[:, -1] = 1
    computed = fn.allocation_weights(usage)
    for b in range(batch):
        assert computed[b].tolist() == pytest.approx(allocation_by_hand(usage[b].tolist()), rel=1e-12)


@pytest.mark.parametrize("slots", [2, 3, 7, 8, 9, 64, 100])
def test_allocation_of_any_number_of_slots_is_at_most_a_whole_write(slots):
    usage = fractions(slots, 50, slots)
    weights = fn.allocation_weights(usage)
    assert (weights >= 0).all()
    # What is not allocated is the product of all usages.
    torch.testing.assert_close(weights.sum(-1), 1 - usage.prod(-1))


def test_unused_memory_is_allocated_in_the_order_of_the_slots():
    assert fn.allocation_weights(torch.zeros(2, 5))[0].tolist() == [1, 0, 0, 0, 0]
    assert fn.allocation_weights(torch.ones(5)).tolist() == [0, 0, 0, 0, 0]
    assert fn.allocation_weights(tensor(1, 1, 0, 0)).tolist() == [0, 0, 1, 0]


def test_rounding_does_not_choose_among_slots_of_one_usage():
    usage, noise = torch.full((64,), 0.004), 1e-9 * torch.from_numpy(np.random.default_rng(0).normal(size=64)).float()
    assert not torch.equal(usage + noise, usage)
    torch.testing.assert_close(fn.allocation_weights(usage + noise), fn.allocation_weights(usage), rtol=1e-5, atol=0)
    assert fn.allocation_weights(usage + noise)[0] == pytest.approx(0.996)


@pytest.mark.parametrize("usage", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 1.0, 0.5), (1e-30, 1e-30, 1e-30)])
def test_gradients_of_allocation_are_exact_where_slots_are_unused_or_full(usage):
    leaf = torch.tensor(usage, requires_grad=True)
    fn.allocation_weights(leaf).backward(torch.tensor([2.0, 3.0, 5.0]))
    # In the order a, b, c: (1 - a) with 1, (1 - b) a, (1 - c) a b.
    order = sorted(range(3), key=lambda slot: usage[slot])
    a, b, c = (usage[slot] for slot in order)
    g, h, k = ((2.0, 3.0, 5.0)[slot] for slot in order)
    expected = [0.0] * 3
    for slot, value in zip(
        order, (-g + h * (1 - b) + k * (1 - c) * b, -h * a + k * (1 - c) * a, -k * a * b), strict=True
    ):
        expected[slot] = value
    assert leaf.grad.tolist() == pytest.approx(expected)


def test_write_weights_by_hand():
    allocation, content = tensor(1, 0, 0), tensor(0.2, 0.3, 0.5)
    weights = fn.write_weights(allocation, content, torch.tensor(0.75).double(), torch.tensor(0.5).double())
    assert weights.tolist() == pytest.approx([0.5 * (0.75 + 0.25 * 0.2), 0.5 * 0.25 * 0.3, 0.5 * 0.25 * 0.5])
    assert fn.write_weights(allocation, content, tensor(0.4)[0], tensor(0)[0]).tolist() == [0, 0, 0]


def test_deallocation_erases_what_is_freed():
    memory = tensor(1, 2, 3, 4).view(2, 2)
    assert fn.deallocate(memory, tensor(0.5, 0)).tolist() == [[0.5, 1], [0, 0]]


@given(SIZES, st.integers(0, 99))
def test_links_are_those_of_the_paper(sizes, seed):
    batch, _, slots, _ = sizes
    link, weights = fractions(seed, batch, slots, slots), weighting(seed + 1, batch, slots)
    precedence = weighting(seed + 2, batch, slots)
    computed = fn.update_link(link, weights, precedence)
    for b in range(batch):
        for i in range(slots):
            for j in range(slots):
                expected = (1 - weights[b, i] - weights[b, j]) * link[b, i, j] + weights[b, i] * precedence[b, j]
                assert float(computed[b, i, j]) == pytest.approx(0 if i == j else float(expected), abs=1e-12)


def test_precedence_by_hand():
    precedence = fn.update_precedence(tensor(0.5, 0.5, 0), tensor(0, 0.25, 0.5))
    assert precedence.tolist() == pytest.approx([0.125, 0.125 + 0.25, 0.5])


def test_links_lead_from_slot_to_slot_in_the_order_of_the_writes():
    link, precedence = torch.zeros(4, 4), torch.zeros(4)
    for slot in (2, 0, 3):
        written = torch.eye(4)[slot]
        link = fn.update_link(link, written, precedence)
        precedence = fn.update_precedence(precedence, written)
    here = torch.eye(4)[[0]]  # one head
    assert fn.forward_weights(link, here).argmax().item() == 3
    assert fn.backward_weights(link, here).argmax().item() == 2
    assert not fn.forward_weights(link, torch.eye(4)[[3]]).any()  # nothing was written after it
    assert not fn.backward_weights(link, torch.eye(4)[[2]]).any()
    assert link.sum().item() == 2


def test_forward_and_backward_weights_by_hand():
    link, weights = tensor(0, 2, 3, 0).view(2, 2), tensor(5, 7).view(1, 2)
    assert fn.forward_weights(link, weights).tolist() == [[14, 15]]  # L w
    assert fn.backward_weights(link, weights).tolist() == [[21, 10]]  # L^T w


def test_read_modes_are_backward_content_forward():
    backward, content, forward = (torch.eye(3)[[i]] for i in range(3))
    weights = fn.read_weights(backward, content, forward, torch.tensor([[0.5, 0.3, 0.2]]))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.3, 0.2]]))


@given(SIZES, st.integers(0, 99))
def test_masked_content_weights_are_those_of_masked_keys_and_slots(sizes, seed):
    batch, heads, slots, width = sizes
    memory, key = draw(seed, batch, slots, width), draw(seed + 1, batch, heads, width)
    strength, mask = draw(seed + 2, batch, heads, low=1, high=9), fractions(seed + 3, batch, heads, width)
    computed = fn.masked_content_weights(memory, key, strength, mask)
    for b in range(batch):
        for h in range(heads):
            one = memory[b].tolist(), key[b, h].tolist(), float(strength[b, h]), mask[b, h].tolist()
            assert computed[b, h].tolist() == pytest.approx(masked_content_by_hand(*one), rel=1e-9)
    torch.testing.assert_close(
        fn.masked_content_weights(memory, key, strength, torch.ones_like(mask)),
        fn.content_weights(memory, key, strength),
    )


def test_a_mask_leaves_the_value_out_of_the_comparison():
    memory = tensor(1, 0, 9, 0, 1, -9).view(2, 3)  # two columns of key, one of value
    similarity = fn.masked_cosine_similarity(tensor(1, 0, -9)[None], memory, tensor(1, 1, 0)[None])
    assert similarity[0].tolist() == pytest.approx([1, 0], abs=1e-9)


def test_sharpening_of_link_weights_by_hand():
    sharpened = fn.sharpen_link_weights(tensor(0.1, 0.2, 0.0)[None], tensor(2))
    assert sharpened[0].tolist() == pytest.approx([0.2, 0.8, 0])  # (1/4, 1, 0) over their sum
    sharpened = fn.sharpen_link_weights(tensor(0.1, 0.2, 0.3)[None], tensor(1))
    assert sharpened[0].tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 2])


@given(SIZES, st.integers(0, 99))
def test_sharpened_link_weights_are_powers_over_their_sum(sizes, seed):
    batch, heads, slots, _ = sizes
    weights, sharpness = weighting(seed, batch, heads, slots), draw(seed + 1, batch, heads, low=1, high=9)
    computed = fn.sharpen_link_weights(weights, sharpness)
    powers = (weights / weights.amax(-1, keepdim=True)) ** sharpness[..., None]
    torch.testing.assert_close(computed, powers / powers.sum(-1, keepdim=True), rtol=0, atol=1e-11)


def test_without_links_there_is_nothing_to_sharpen_and_gradients_are_finite():
    weights, sharpness = torch.zeros(1, 2, 5, requires_grad=True), torch.tensor([[1.0, 21.0]], requires_grad=True)
    sharpened = fn.sharpen_link_weights(weights, sharpness)
    assert not sharpened.any()
    sharpened[..., 1].sum().backward()
    assert torch.isfinite(weights.grad).all()
    assert torch.isfinite(sharpness.grad).all()
    almost = fn.sharpen_link_weights(torch.tensor([[0.0, 1e-5, 0.0]]), torch.tensor([3.0]))
    assert almost.sum().item() == pytest.approx(1)


EQUATIONS = {
    "retention": (lambda f, w: fn.retention(f.sigmoid(), w.softmax(-1)), [(3,), (3, 5)]),
    "update_usage": (lambda *p: fn.update_usage(*(x.sigmoid() for x in p)), [(5,)] * 3),
    "allocation_weights": (lambda u: fn.allocation_weights(u.sigmoid()), [(2, 5)]),
    "write_weights": (
        lambda a, c, g, w: fn.write_weights(a, c, g.sigmoid(), w.sigmoid()),
        [(2, 5), (2, 5), (2,), (2,)],
    ),
    "deallocate": (fn.deallocate, [(5, 3), (5,)]),
    "update_link": (fn.update_link, [(5, 5), (5,), (5,)]),
    "update_precedence": (fn.update_precedence, [(5,), (5,)]),
    "forward_weights": (fn.forward_weights, [(5, 5), (2, 5)]),
    "backward_weights": (fn.backward_weights, [(5, 5), (2, 5)]),
    "read_weights": (lambda *p: fn.read_weights(*p[:3], p[3].softmax(-1)), [(2, 5)] * 3 + [(2, 3)]),
    "masked_cosine_similarity": (fn.masked_cosine_similarity, [(2, 3), (5, 3), (2, 3)]),
    "masked_content_weights": (fn.masked_content_weights, [(5, 3), (2, 3), (2,), (2, 3)]),
    "sharpen_link_weights": (lambda w, s: fn.sharpen_link_weights(w.softmax(-1), 1 + s**2), [(2, 5), (2,)]),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_gradients_and_second_gradients_are_right(name):
    equation, shapes = EQUATIONS[name]
    arguments = [draw(i, *shape).requires_grad_() for i, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(equation, arguments)
    assert torch.autograd.gradgradcheck(equation, arguments)


@pytest.mark.parametrize("name", EQUATIONS)
def test_leading_axes_are_free_and_vmap_maps_values_and_gradients(name):
    equation, shapes = EQUATIONS[name]
    stacked = [draw(i, 4, 2, *shape) for i, shape in enumerate(shapes)]
    whole = equation(*stacked)
    torch.testing.assert_close(vmap(vmap(equation))(*stacked), whole)
    torch.testing.assert_close(equation(*(part[1, 0] for part in stacked)), whole[1, 0])
    found = vmap(grad(lambda *p: equation(*p).square().sum()))(*stacked)
    leaf = stacked[0].clone().requires_grad_()
    equation(leaf, *stacked[1:]).square().sum().backward()
    torch.testing.assert_close(found, leaf.grad)
