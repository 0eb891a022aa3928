"""Each equation of the memory against a direct transcription of the paper in float64 loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.func import vmap

from lightning_ntm import functional as fn

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(3, 11), st.integers(1, 5))


def draw(seed, *shape, low=-1.0, high=1.0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, shape))


def weighting(seed, *shape):
    return draw(seed, *shape, low=0.01).softmax(-1)


def content_by_hand(memory, key, strength):
    """Equations 5 and 6 for one head of one sequence, with our constant inside the roots."""
    similarity = []
    for slot in memory:
        dot = sum(k * m for k, m in zip(key, slot, strict=True))
        norms = math.sqrt(sum(k * k for k in key) + 1e-12) * math.sqrt(sum(m * m for m in slot) + 1e-12)
        similarity.append(dot / norms)
    exponentials = [math.exp(strength * value) for value in similarity]
    return [value / sum(exponentials) for value in exponentials]


def location_by_hand(previous, content, gate, moves, sharpening):
    """Equations 7, 8 and 9 for one head of one sequence."""
    slots, reach = len(previous), len(moves) // 2
    gated = [gate * c + (1 - gate) * p for c, p in zip(content, previous, strict=True)]
    moved = [0.0] * slots
    for i in range(slots):
        for j in range(slots):
            for offset in range(-reach, reach + 1):
                if (i - j - offset) % slots == 0:
                    moved[i] += gated[j] * moves[offset + reach]
    powers = [value**sharpening for value in moved]
    return [value / sum(powers) for value in powers]


def write_by_hand(memory, weights, erase, add):
    """Equations 3 and 4, all erases before all adds, for one sequence."""
    memory = [list(map(float, slot)) for slot in memory]
    for head in range(len(weights)):
        for i, slot in enumerate(memory):
            memory[i] = [m * (1 - float(weights[head][i]) * float(erase[head][j])) for j, m in enumerate(slot)]
    for head in range(len(weights)):
        for i, slot in enumerate(memory):
            memory[i] = [m + float(weights[head][i]) * float(add[head][j]) for j, m in enumerate(slot)]
    return memory


@given(SIZES, st.integers(0, 99))
def test_content_weights_are_those_of_equations_5_and_6(sizes, seed):
    batch, heads, slots, width = sizes
    memory, key = draw(seed, batch, slots, width), draw(seed + 1, batch, heads, width)
    strength = draw(seed + 2, batch, heads, low=0, high=9)
    computed = fn.content_weights(memory, key, strength)
    for b in range(batch):
        for h in range(heads):
            expected = content_by_hand(memory[b].tolist(), key[b, h].tolist(), float(strength[b, h]))
            assert computed[b, h].tolist() == pytest.approx(expected, rel=1e-9)


@given(SIZES, st.integers(0, 1), st.integers(0, 99))
def test_location_weights_are_those_of_equations_7_to_9(sizes, reach, seed):
    batch, heads, slots, _ = sizes
    previous, content = weighting(seed, batch, heads, slots), weighting(seed + 1, batch, heads, slots)
    gate, moves = draw(seed + 2, batch, heads, low=0), weighting(seed + 3, batch, heads, 2 * reach + 1)
    sharpening = draw(seed + 4, batch, heads, low=1, high=15)
    computed = fn.location_weights(previous, content, gate, moves, sharpening)
    for b in range(batch):
        for h in range(heads):
            expected = location_by_hand(
                previous[b, h].tolist(),
                content[b, h].tolist(),
                float(gate[b, h]),
                moves[b, h].tolist(),
                float(sharpening[b, h]),
            )
            assert computed[b, h].tolist() == pytest.approx(expected, rel=1e-6)


@given(SIZES, st.integers(0, 99))
def test_read_is_equation_2(sizes, seed):
    batch, heads, slots, width = sizes
    memory, weights = draw(seed, batch, slots, width), weighting(seed, batch, heads, slots)
    computed = fn.read(memory, weights)
    for b, h, m in np.ndindex(batch, heads, width):
        expected = sum(float(weights[b, h, i]) * float(memory[b, i, m]) for i in range(slots))
        assert float(computed[b, h, m]) == pytest.approx(expected)


@given(SIZES, st.integers(0, 99))
def test_write_is_equations_3_and_4(sizes, seed):
    batch, heads, slots, width = sizes
    memory, weights = draw(seed, batch, slots, width), weighting(seed, batch, heads, slots)
    erase, add = draw(seed + 1, batch, heads, width, low=0), draw(seed + 2, batch, heads, width)
    computed = fn.write(memory, weights, erase, add)
    for b in range(batch):
        expected = write_by_hand(memory[b], weights[b], erase[b], add[b])
        assert computed[b].numpy() == pytest.approx(np.array(expected))


@given(SIZES, st.integers(0, 99))
def test_every_weighting_is_non_negative_and_sums_to_1(sizes, seed):
    batch, heads, slots, width = sizes
    memory, key = draw(seed, batch, slots, width, high=30).float(), draw(seed, batch, heads, width).float()
    content = fn.content_weights(memory, key, draw(seed, batch, heads, low=0, high=20).float())
    previous, moves = weighting(seed, batch, heads, slots).float(), weighting(seed, batch, heads, 3).float()
    gate, sharpening = draw(seed, batch, heads, low=0).float(), draw(seed, batch, heads, low=1, high=21).float()
    for weights in (content, fn.location_weights(previous, content, gate, moves, sharpening)):
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(batch, heads))


@given(st.integers(3, 12), st.integers(0, 11), st.sampled_from([-1, 0, 1]))
def test_shift_moves_a_one_hot_weighting_and_wraps_around(slots, at, move):
    weights = torch.eye(slots)[at % slots][None]
    moves = torch.eye(3)[move + 1][None]
    assert fn.shift(weights, moves).argmax().item() == (at + move) % slots


@given(SIZES, st.integers(0, 99))
def test_a_shift_left_undoes_a_shift_right(sizes, seed):
    _, heads, slots, _ = sizes
    weights = weighting(seed, heads, slots)
    left, right = torch.eye(3, dtype=torch.float64)[[0, 2]]
    there = fn.shift(weights, right.expand(heads, 3))
    torch.testing.assert_close(fn.shift(there, left.expand(heads, 3)), weights)


@given(SIZES, st.integers(0, 99))
def test_gate_0_keeps_the_previous_weighting(sizes, seed):
    batch, heads, slots, _ = sizes
    previous, content = weighting(seed, batch, heads, slots), weighting(seed + 1, batch, heads, slots)
    kept = fn.interpolate(previous, content, torch.zeros(batch, heads, dtype=torch.float64))
    torch.testing.assert_close(kept, previous, rtol=0, atol=0)


def test_sharpening_a_diffuse_head_does_not_lose_its_weight():
    diffuse = torch.full((1, 128), 1 / 128)
    for sharpening in (1.0, 9.0, 20.0):
        sharpened = fn.sharpen(diffuse, torch.tensor([sharpening]))
        assert sharpened.sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        (fn.cosine_similarity, [(2, 3), (5, 3)]),
        (fn.content_weights, [(5, 3), (2, 3), (2,)]),
        (lambda p, c, g, s, y: fn.location_weights(p.softmax(-1), c.softmax(-1), g.sigmoid(), s.softmax(-1), 1 + y**2),
         [(2, 5), (2, 5), (2,), (2, 3), (2,)]),
        (fn.read, [(5, 3), (2, 5)]),
        (fn.write, [(5, 3), (2, 5), (2, 3), (2, 3)]),
    ],
    ids=["cosine_similarity", "content_weights", "location_weights", "read", "write"],
)  # fmt: skip
def test_gradients_and_second_gradients_are_right(equation, shapes):
    arguments = [draw(i, *shape).requires_grad_() for i, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(equation, arguments)
    assert torch.autograd.gradgradcheck(equation, arguments)


def test_zero_memory_zero_key_and_extreme_values_have_finite_gradients():
    memory, key = torch.zeros(1, 6, 3, requires_grad=True), torch.zeros(1, 2, 3, requires_grad=True)
    strength = torch.full((1, 2), 20.0, requires_grad=True)
    one_hot = torch.eye(6)[:2][None].clone().requires_grad_()
    gate = torch.tensor([[0.0, 1.0]], requires_grad=True)
    moves = torch.eye(3)[[0, 2]][None].clone().requires_grad_()
    sharpening = torch.full((1, 2), 21.0, requires_grad=True)
    content = fn.content_weights(memory, key, strength)
    fn.location_weights(one_hot, content, gate, moves, sharpening)[0, :, 1].sum().backward()
    for leaf in (memory, key, strength, one_hot, gate, moves, sharpening):
        assert torch.isfinite(leaf.grad).all()


@settings(max_examples=10)
@given(st.integers(0, 99))
def test_leading_axes_are_free(seed):
    memory, weights = draw(seed, 4, 2, 5, 3), weighting(seed, 4, 2, 1, 5)
    erase, add = draw(seed, 4, 2, 1, 3, low=0), draw(seed, 4, 2, 1, 3)
    torch.testing.assert_close(fn.write(memory, weights, erase, add), vmap(fn.write)(memory, weights, erase, add))
    moves = weighting(seed, 4, 2, 1, 3)
    torch.testing.assert_close(fn.shift(weights, moves)[1], fn.shift(weights[1], moves[1]))


def test_a_wrong_shape_is_caught_by_the_annotations():
    with pytest.raises(Exception, match="slots"):
        fn.read(torch.rand(1, 5, 3), torch.rand(1, 2, 4))
