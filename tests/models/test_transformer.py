"""The Transformer against a transcription of its equations, step by step and head by head, and its cache."""

import math
import pickle

import numpy as np
import pytest
import torch

from lightning_ntm import Stack, Transformer
from lightning_ntm.models import positions as encodings
from lightning_ntm.states import flatten, mapped
from lightning_ntm.testing import check_model

POSITIONS = ["none", "sinusoidal", "alibi", "rope", "relative"]
every_position = pytest.mark.parametrize("positions", POSITIONS)
every_causal = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def small(**options):
    sizes = {"hidden_size": 12, "num_heads": 3, "num_layers": 2, "feedforward_size": 5, "memory_slots": 4}
    return Transformer(3, 2, **{**sizes, **options})


def drawn(**options):
    torch.manual_seed(0)
    model = small(**options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


def sinusoid(position, size):
    frequencies = [10000 ** (-2 * i / size) for i in range(size // 2)]
    return np.array([math.sin(position * f) for f in frequencies] + [math.cos(position * f) for f in frequencies])


def rotated(vector, position):
    after = np.empty_like(vector)
    for i in range(len(vector) // 2):
        angle = position * 10000 ** (-2 * i / len(vector))
        matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        after[2 * i : 2 * i + 2] = matrix @ vector[2 * i : 2 * i + 2]
    return after


class ByHand:
    """One sequence; each step attends to the steps that `seen` lists."""

    def __init__(self, model, slots):
        self.model, self.slots, self.size = model, slots, model.hidden_size // model.num_heads
        self.weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}

    def seen(self, step, steps):
        return range(max(0, step - self.slots + 1), step + 1) if self.model.causal else range(steps)

    def run(self, inputs):
        hidden = [self.weights["embedding.weight"] @ x * math.sqrt(self.model.hidden_size) for x in inputs]
        if self.model.positions == "sinusoidal":
            hidden = [h + sinusoid(t, self.model.hidden_size) for t, h in enumerate(hidden)]
        for layer in range(self.model.num_layers):
            hidden = self.layer(f"layers.{layer}.", hidden)
        return np.array([self.linear("output", h) for h in hidden])

    def linear(self, name, x):
        return self.weights[f"{name}.weight"] @ x + self.weights.get(f"{name}.bias", 0)

    def norm(self, name, x):
        centred = (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
        return centred * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def layer(self, name, hidden):
        projected = [np.split(self.linear(f"{name}attention", h), 3) for h in hidden]
        after = []
        for step, h in enumerate(hidden):
            heads = [self.head(name, head, step, projected) for head in range(self.model.num_heads)]
            h = self.norm(f"{name}attended_norm", h + self.linear(f"{name}mixed", np.concatenate(heads)))
            wide = np.maximum(self.linear(f"{name}widened", h), 0)
            after.append(self.norm(f"{name}output_norm", h + self.linear(f"{name}narrowed", wide)))
        return after

    def head(self, name, head, step, projected):
        own = slice(head * self.size, (head + 1) * self.size)
        seen = self.seen(step, len(projected))
        logits = [self.logit(name, head, step, other, projected[step][0][own], projected[other][1][own])
                  for other in seen]  # fmt: skip
        weights = np.exp(np.array(logits) - max(logits))
        values = np.array([projected[other][2][own] for other in seen])
        return weights @ values / weights.sum()

    def logit(self, name, head, step, other, query, key):
        positions, distance, scale = self.model.positions, step - other, 1 / math.sqrt(self.size)
        own = slice(head * self.size, (head + 1) * self.size)
        if positions == "rope":
            return scale * rotated(query, step) @ rotated(key, other)
        if positions == "alibi":
            slope = [2**-4, 2**-8, 2**-2][head]  # of three heads: those of two, then the first of four
            nearness = -abs(distance) + (0.5 if distance > 0 and not self.model.causal else 0)
            return scale * query @ key + slope * nearness
        if positions == "relative":
            vector = (self.weights[f"{name}distance.weight"] @ sinusoid(distance, self.model.hidden_size))[own]
            content = (query + self.weights[f"{name}content_bias"][own]) @ key
            return scale * (content + (query + self.weights[f"{name}distance_bias"][own]) @ vector)
        return scale * query @ key


@every_position
@every_causal
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_outputs_are_those_of_the_equations(positions, causal, backend):
    model, inputs = drawn(positions=positions, causal=causal, backend=backend), torch.randn(2, 9, 3).double()
    logits, _ = model(inputs)
    for i, sequence in enumerate(inputs.numpy()):
        np.testing.assert_allclose(logits[i].detach(), ByHand(model, 4).run(sequence), rtol=0, atol=1e-10)


@every_position
@pytest.mark.parametrize("slots", [1, 3, 4, 20])
def test_a_streamed_sequence_is_the_whole_one(positions, slots):
    model, inputs = drawn(positions=positions), torch.randn(2, 11, 3).double()
    expected = np.array([ByHand(model, slots).run(sequence) for sequence in inputs.numpy()])
    state, parts = model.initial_state(2, slots=slots), []
    for size in (2, 1, 5, 3):
        logits, state = model(inputs[:, sum(part.shape[1] for part in parts) :][:, :size], state)
        parts.append(logits)
    np.testing.assert_allclose(torch.cat(parts, dim=1).detach(), expected, rtol=0, atol=1e-10)
    assert state.steps.tolist() == [11, 11]
    assert state.keys.shape == (2, 2, slots, 12)
    _, at_once = model(inputs, model.initial_state(2, slots=slots))
    torch.testing.assert_close(state, at_once, rtol=0, atol=1e-10)


@every_position
@pytest.mark.parametrize("time", [3, 9])
def test_a_sequence_without_a_state_is_that_from_the_first(positions, time):
    model, inputs = drawn(positions=positions), torch.randn(2, time, 3).double()
    torch.testing.assert_close(model(inputs), model(inputs, model.initial_state(2)), rtol=0, atol=1e-12)


def test_sequences_of_one_batch_may_have_seen_different_numbers_of_steps():
    model, inputs = drawn(positions="rope"), torch.randn(2, 6, 3).double()
    _, one = model(inputs[:1, :1])
    _, five = model(inputs[1:, :5])
    both = mapped(lambda *parts: torch.cat(parts), one, five)
    logits, state = model(torch.stack([inputs[0, 1:2], inputs[1, 5:]]), both)
    torch.testing.assert_close(logits[0], model(inputs[:1, :2])[0][0, 1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(logits[1], model(inputs[1:])[0][0, 5:], rtol=0, atol=1e-12)
    assert state.steps.tolist() == [2, 6]


@every_position
def test_keeps_the_promises_of_a_model(positions):
    check_model(small(positions=positions))
    check_model(small(positions=positions, memory_slots=50, checkpoint_every=2))


@every_position
@every_causal
def test_gradients_are_those_of_finite_differences(positions, causal):
    model = drawn(positions=positions, causal=causal, num_layers=1, backend="reference")
    names, inputs = [name for name, _ in model.named_parameters()], torch.randn(2, 3, 3).double()

    def run(*tensors):
        return torch.func.functional_call(model, dict(zip(names, tensors, strict=True)), (inputs,))[0]

    parameters = tuple(parameter.detach().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(run, parameters, fast_mode=True)


def test_the_loop_can_be_differentiated_twice():
    model, inputs = drawn(backend="reference"), torch.randn(1, 3, 3).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: model(x)[0], inputs, fast_mode=True)


@every_causal
def test_networks_side_by_side_are_those_alone(causal):
    members, inputs = [small(positions="relative", causal=causal) for _ in range(2)], torch.randn(2, 3, 5, 3)
    for backend in ("torch", "reference"):
        logits, _ = Stack(members, backend=backend)(inputs)
        for i, member in enumerate(members):
            torch.testing.assert_close(logits[i], member(inputs[i])[0], rtol=1e-4, atol=1e-5)


def test_a_bidirectional_network_ignores_the_padding():
    model, inputs = drawn(causal=False), torch.randn(4, 6, 3).double()
    lengths = [4, 6, 1, 4]
    inputs[0, 4:] = math.nan
    logits, state = model(inputs, lengths=torch.tensor(lengths))
    for i, length in enumerate(lengths):
        torch.testing.assert_close(logits[i, :length], model(inputs[i : i + 1, :length])[0][0], rtol=0, atol=1e-12)
        assert not logits[i, length:].any()
    assert state.steps.tolist() == [0] * 4


@every_position
def test_a_bidirectional_network_keeps_the_promises_that_it_can(positions):
    model = small(positions=positions, causal=False)
    assert model.reads_ahead
    check_model(model)


def test_a_step_of_a_bidirectional_network_is_refused_where_it_is_overridden():
    class Doubled(Transformer):
        def step(self, x, state):
            logits, state = super().step(x, state)
            return 2 * logits, state

    with pytest.raises(ValueError, match=r"^a Transformer without causal reads whole sequences"):
        Doubled(3, 2, causal=False)(torch.zeros(1, 2, 3))


class Halved(torch.nn.LayerNorm):
    def forward(self, x):
        return 0.5 * super().forward(x)


class Zeros(torch.nn.Module):
    def forward(self, x):
        return 0 * x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("name", ["attended_norm", "output_norm"])
def test_layer_norms_are_modules(name, backend, dtype):
    model, inputs = small(backend=backend).to(dtype), torch.randn(2, 4, 3, dtype=dtype)
    expected, calls = model(inputs)[0], []
    norm = getattr(model.layers[-1], name)
    hook = norm.register_forward_hook(lambda module, given, found: calls.append(found.dtype))
    back = norm.register_full_backward_hook(lambda module, gradients, given: calls.append("backward"))
    logits, _ = model(inputs)
    logits.sum().backward()
    assert calls == [torch.float32, "backward"]
    assert torch.equal(logits, expected)
    assert norm.weight.grad.dtype == dtype
    hook.remove()
    back.remove()
    for other in (
        Halved(12),
        torch.nn.RMSNorm(12),
        torch.nn.LayerNorm(12, elementwise_affine=False),
        torch.nn.Identity(),
    ):
        setattr(model.layers[-1], name, other.to(dtype))
        assert isinstance(model(inputs)[0], torch.Tensor)
    model.layers[-1].output_norm = Zeros()
    torch.testing.assert_close(model(inputs)[0], model.output.bias.expand(2, 4, 2))


def test_a_call_in_half_precision_leaves_the_parameters_for_other_threads(monkeypatch):
    model, plain, seen = small().bfloat16(), torch.nn.functional.layer_norm, []

    def norm(*arguments, **options):
        seen.extend(parameter.dtype for parameter in model.parameters())
        return plain(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "layer_norm", norm)
    model(torch.randn(2, 4, 3, dtype=torch.bfloat16))
    assert set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_half_networks_side_by_side_are_those_alone(backend):
    members = [small(memory_slots=50).bfloat16() for _ in range(2)]
    inputs = torch.randn(2, 3, 5, 3, dtype=torch.bfloat16)
    logits, _ = Stack(members, backend=backend)(inputs)
    for i, member in enumerate(members):
        torch.testing.assert_close(logits[i], member(inputs[i])[0], rtol=0.05, atol=0.05)


def test_a_bidirectional_network_says_that_it_does_not_stream():
    model = small(causal=False)
    with pytest.raises(ValueError, match=r"^a Transformer without causal reads whole sequences: it has no single st"):
        model.step(torch.zeros(1, 3), model.initial_state(1))
    with pytest.raises(ValueError, match=r"^state cannot be given to a Transformer without causal, which reads whole"):
        model(torch.zeros(1, 2, 3), model.initial_state(1))
    with pytest.raises(ValueError, match=r"^slots \(=9\) cannot be given without causal: each step sees the whole"):
        model.initial_state(1, slots=9)


def test_half_precision_stays_close_and_keeps_its_state_in_float32():
    model, inputs = small(), torch.randn(2, 6, 3)
    half = pickle.loads(pickle.dumps(model)).bfloat16()
    logits, state = half(inputs)
    assert logits.dtype == torch.bfloat16
    assert {part.dtype for part in state[:2]} == {torch.float32}
    torch.testing.assert_close(logits.float(), model(inputs)[0], atol=0.1, rtol=0.1)


@every_causal
def test_a_network_can_be_pickled(causal):
    model, inputs = small(causal=causal), torch.randn(2, 3, 3)
    again = pickle.loads(pickle.dumps(model))
    assert all(map(torch.equal, flatten(again(inputs)), flatten(model(inputs))))


@every_causal
def test_a_trace_has_the_outputs_and_the_last_layer(causal):
    model, inputs = small(causal=causal), torch.randn(2, 3, 3)
    trace = model.trace(inputs)
    torch.testing.assert_close(trace["logits"], model(inputs)[0].detach())
    torch.testing.assert_close(model.output(trace["hidden"]).detach(), trace["logits"])


def test_slopes_are_those_of_the_paper():
    assert encodings.slopes(8) == [2.0**-i for i in range(1, 9)]
    assert encodings.slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 10}, "hidden_size (=10) must be a multiple of num_heads (=3)."),
        ({"hidden_size": 9}, "hidden_size (=9) must be even with positions=sinusoidal."),
        (
            {"hidden_size": 9, "positions": "rope"},
            "hidden_size (=9) must be an even multiple of num_heads (=3) with positions=rope.",
        ),
        ({"num_heads": 0}, "num_heads (=0) must be at least 1."),
        ({"num_layers": 0}, "num_layers (=0) must be between 1 and 1000."),
        ({"memory_slots": 0}, "memory_slots (=0) must be at least 1."),
        ({"causal": False, "checkpoint_every": 2}, "checkpoint_every (=2) must be 0 without causal."),
    ],
)
def test_what_is_out_of_range_is_named(options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        small(**options)
    assert str(error.value) == message


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("steps", [10**6, 10**9])
def test_rotations_do_not_drift_in_long_streams(steps, backend):
    model, inputs = drawn(positions="rope", backend=backend).float(), torch.randn(2, 20, 3)
    start = model.initial_state(2)
    far = start._replace(steps=torch.full_like(start.steps, steps))
    logits, expected = (model(inputs, state)[0][:, 8:] for state in (far, start))  # what saw the empty slots is before
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("positions", ["rope", "sinusoidal"])
def test_far_positions_are_exact_in_single_precision(positions):
    model, inputs = drawn(positions=positions), torch.randn(2, 20, 3)
    start = model.initial_state(2)
    start = start._replace(steps=torch.full_like(start.steps, 10**7))
    expected, _ = model(inputs.double(), start)
    single = start._replace(keys=start.keys.float(), values=start.values.float())
    torch.testing.assert_close(model.float()(inputs, single)[0].double(), expected, rtol=0, atol=2e-6)
