"""The NTM against a direct transcription of the paper, and what its users rely on."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_ntm import NTM, functional as fn
from lightning_ntm.states import flatten, mapped
from lightning_ntm.testing import check_model

VARIANTS = [
    {},
    {"controller": "feedforward"},
    {"num_layers": 2},
    {"controller": "feedforward", "num_layers": 3},
    {"num_read_heads": 2, "num_write_heads": 3},
    {"max_shift": 0},
    {"max_shift": 3, "min_sharpening": 1.25},
    {"memory_init": "learned", "head_init": "learned"},
    {"memory_init": "random"},
    {"hidden_size": 1, "memory_slots": 1, "memory_width": 1, "max_shift": 0},
]


def runs_here(kernel):
    return NTM(1, 1, memory_slots=3, backend=kernel).backend_for(torch.zeros(1, 1, 1)) == kernel


#: The tests that define the mathematics run over all of them. Without a GPU Triton has its interpreter; many steps are
#: too much for it.
FAST = ("reference", "cpu")
BACKENDS = (*FAST, *filter(runs_here, ["triton"]))


def small(**options):
    sizes = {"hidden_size": 6, "memory_slots": 7, "memory_width": 3}
    return NTM(4, 2, **{**sizes, **options})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


class ByHand:
    """The paper's section 3 for one sequence, head by head and slot by slot, from a state dict."""

    def __init__(self, model):
        self.model = model
        self.weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        start = [part[0].detach().numpy().copy() for part in flatten(model.initial_state(1))]
        self.memory, self.head_weights, self.reads, *of_lstm = start
        self.hidden, self.cell = of_lstm or (None, None)

    def run(self, inputs):
        return np.array([self.step(x) for x in inputs])

    def step(self, x):
        model = self.model
        controlled = self.control(np.concatenate([x, self.reads.ravel()]))
        emitted = self.linear("heads", controlled).clip(-20, 20)
        heads = model.num_read_heads + model.num_write_heads
        writes, width = model.num_write_heads, model.memory_width
        take = iter(emitted)
        keys = [[np.tanh(next(take)) for _ in range(width)] for _ in range(heads)]
        adds = [[np.tanh(next(take)) for _ in range(width)] for _ in range(writes)]
        gates = [sigmoid(next(take)) for _ in range(heads)]
        erases = [[sigmoid(next(take)) for _ in range(width)] for _ in range(writes)]
        strengths = [np.log1p(np.exp(next(take))) for _ in range(heads)]
        sharpenings = [model.min_sharpening + np.log1p(np.exp(next(take))) for _ in range(heads)]
        shifts = [softmax(np.array([next(take) for _ in range(2 * model.max_shift + 1)])) for _ in range(heads)]
        before = self.memory
        for head in range(heads):
            content = self.look_up(before, np.array(keys[head]), strengths[head])
            gated = gates[head] * content + (1 - gates[head]) * self.head_weights[head]
            moved = sum(
                share * np.roll(gated, offset)
                for share, offset in zip(shifts[head], range(-model.max_shift, model.max_shift + 1), strict=True)
            )
            powers = moved ** sharpenings[head]
            self.head_weights[head] = powers / powers.sum()
        self.reads = np.array([self.head_weights[head] @ before for head in range(model.num_read_heads)])
        self.memory = before.copy()
        for kind, write in itertools.product(("erase", "add"), range(writes)):
            weights = self.head_weights[model.num_read_heads + write][:, None]
            self.memory = (
                self.memory * (1 - weights * np.array(erases[write]))
                if kind == "erase"
                else self.memory + weights * np.array(adds[write])
            )
        return self.linear("output", np.concatenate([controlled, self.reads.ravel()]))

    def control(self, below):
        for layer in range(len(self.model.controller.layers)):
            name = f"controller.layers.{layer}"
            if self.hidden is None:
                below = np.tanh(self.linear(name, below))
                continue
            enter, keep, candidate, leave = np.split(self.linear(name, np.concatenate([below, self.hidden[layer]])), 4)
            self.cell[layer] = sigmoid(keep) * self.cell[layer] + sigmoid(enter) * np.tanh(candidate)
            self.hidden[layer] = below = sigmoid(leave) * np.tanh(self.cell[layer])
        return below

    def look_up(self, memory, key, strength):
        norms = np.sqrt((memory**2).sum(1) + 1e-12) * np.sqrt((key**2).sum() + 1e-12)
        return softmax(strength * (memory @ key) / norms)

    def linear(self, name, x):
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_sequence_is_what_the_paper_says(options, backend):
    model = small(**options, backend=backend).double()
    inputs = torch.randn(2, 4, 4, dtype=torch.float64)
    logits, state = model(inputs)
    for b in range(2):
        by_hand = ByHand(model)
        # Sharpening adds 1e-12 inside the logarithm, which moves a nearly empty slot's weight.
        np.testing.assert_allclose(logits[b].detach(), by_hand.run(inputs[b].numpy()), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(state.memory.memory[b].detach(), by_hand.memory, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_keeps_the_promises_of_a_model(options, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)  # test_triton.py has what takes the interpreter long
    check_model(small(**options))


# Those of the loop are autograd's, but for the limit of what a weighting gets; the kernel's are its own.
@pytest.mark.parametrize(
    ("options", "backend"), [*((options, "cpu") for options in VARIANTS), ({}, "reference")], ids=str
)
def test_gradients_of_a_sequence_are_right(options, backend):
    model = small(**{"hidden_size": 2, "memory_width": 2, "backend": backend, **options}).double()
    inputs = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    parameters = tuple(model.parameters())

    def run(inputs, *_):
        logits, state = model(inputs)
        return logits, state.memory.memory

    # A memory of 1e-6 everywhere has cosine gradients of 1e6: the differences need a small step.
    assert torch.autograd.gradcheck(run, (inputs, *parameters), eps=1e-7, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_flows_back_into_a_weighting_is_limited_number_by_number(backend):
    limit = 0.02
    limited, exact = small(gradient_limit=limit, backend=backend).double(), small(backend="reference").double()
    exact.load_state_dict(limited.state_dict())
    inputs, flowed = torch.randn(3, 6, 4).double(), []
    state, logits = exact.initial_state(3), []
    for x in inputs.unbind(dim=1):
        out, state = exact.step(x, state)
        state.memory.weights.register_hook(lambda gradient: flowed.append(gradient) or gradient.clamp(-limit, limit))
        logits.append(out)
    torch.stack(logits, dim=1).square().sum().backward()
    limited(inputs)[0].square().sum().backward()
    assert any((gradient.abs() > limit).any() for gradient in flowed)
    assert any((gradient.abs() < limit).any() for gradient in flowed)
    for mine, other in zip(limited.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("backend", FAST)
def test_every_parameter_gets_a_gradient(backend):
    for options in VARIANTS[:-1]:
        model = small(**options, backend=backend)
        logits, _ = model(torch.randn(2, 4, 4))
        logits.square().sum().backward()
        without = [name for name, p in model.named_parameters() if p.numel() and (p.grad is None or not p.grad.any())]
        assert not without, options


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_flow_into_a_given_state_and_from_the_returned_one(backend):
    model = small(backend=backend)
    state = mapped(lambda part: part.detach().clone().requires_grad_(), model.initial_state(2))
    _, end = model(torch.randn(2, 3, 4), state)
    (end.memory.memory.sum() + end.controller.hidden.sum()).backward()
    assert all(part.grad is not None and torch.isfinite(part.grad).all() for part in flatten(state))


def test_a_trained_network_can_be_given_more_memory():
    model = small(memory_slots=7)
    larger = small(memory_slots=50)
    larger.load_state_dict(model.state_dict())
    inputs = torch.randn(1, 3, 4)
    # Content weighting sees 50 slots instead of 7: close, not equal.
    torch.testing.assert_close(larger(inputs)[0], model(inputs)[0], atol=0.5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"memory_init": "random"}, {"memory_init": "learned", "head_init": "learned"}])
def test_a_sequence_may_have_fewer_slots(options, backend):
    model, inputs = small(**options, backend=backend).double(), torch.randn(2, 3, 4).double()
    whole, _ = model(inputs)
    of_fewer = small(**options, memory_slots=5).double()
    first = {"start_memory": lambda start: start[:5], "start_heads": lambda start: start[:, :5]}
    of_fewer.load_state_dict({n: first.get(n, lambda whole: whole)(t) for n, t in model.state_dict().items()})
    logits, state = model(inputs, model.initial_state(2, slots=5))
    expected, end = of_fewer(inputs)
    torch.testing.assert_close((logits, flatten(state)), (expected, flatten(end)))
    assert state.memory.memory.shape == (2, 5, 3)
    torch.testing.assert_close(model(inputs, state)[0], of_fewer(inputs, end)[0])
    assert torch.equal(model(inputs)[0], whole)
    assert model.memory_slots == 7
    with pytest.raises(AttributeError):
        model.memory_slots = 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sequence_may_have_more_slots(backend):
    model, larger, inputs = small(backend=backend), small(memory_slots=50, backend=backend), torch.randn(2, 5, 4)
    larger.load_state_dict(model.state_dict())
    logits, state = model(inputs, model.initial_state(2, slots=50))
    expected, end = larger(inputs)
    assert torch.equal(logits, expected)
    assert all(torch.equal(mine, other) for mine, other in zip(flatten(state), flatten(end), strict=True))


def test_a_number_of_slots_that_does_not_fit_is_told():
    model = small()
    for slots, message in (
        (0, r"slots \(=0\) must be at least 1"),
        (2, r"max_shift \(=1\).* at most slots \(=2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.initial_state(2, slots=slots)
    for options in ({"memory_init": "random"}, {"head_init": "learned"}):
        with pytest.raises(ValueError, match=r"slots \(=8\) must be at most 7: with memory_init=.* and head_init="):
            small(**options).initial_state(2, slots=8)
        with pytest.raises(ValueError, match=r"slots \(=9\) must be at most 7"):
            small(**options)(torch.zeros(2, 3, 4), small(memory_slots=9).initial_state(2))
    state = model.initial_state(2)
    narrow = state._replace(memory=state.memory._replace(weights=state.memory.weights[..., :5]))
    with pytest.raises(ValueError, match=r"state.memory.weights must have shape \(2, 2, 7\), got \(2, 2, 5\)"):
        model(torch.zeros(2, 3, 4), narrow)
    flat = state._replace(memory=state.memory._replace(memory=torch.zeros(2)))
    with pytest.raises(ValueError, match=r"state.memory.memory must have shape \(2, 7, 3\), got \(2,\)"):
        model(torch.zeros(2, 3, 4), flat)


def test_a_state_dict_restores_everything_the_network_does():
    for options in VARIANTS:
        model, other = small(**options), small(**options)
        other.load_state_dict(copy.deepcopy(model.state_dict()))
        inputs = torch.randn(2, 4, 4)
        torch.testing.assert_close(other(inputs), model(inputs), rtol=0, atol=0)


def test_state_and_buffers_follow_the_module():
    model = small(memory_init="random").to("meta", torch.float64)
    assert all(part.device.type == "meta" and part.dtype == torch.float64 for part in flatten(model.initial_state(2)))


@pytest.mark.parametrize("backend", FAST)
def test_padding_changes_neither_outputs_nor_gradients_of_what_is_not_padded(backend):
    model = small(backend=backend).double()
    inputs = torch.randn(2, 4, 4, dtype=torch.float64)
    gradients = []
    for padding in (0, 3):
        model.zero_grad()
        logits, _ = model(F.pad(inputs, (0, 0, 0, padding)))
        logits[:, :4].square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("backend", FAST)
def test_checkpoints_change_neither_outputs_nor_gradients(backend):
    model = small(backend=backend).double()
    inputs = torch.randn(2, 7, 4, dtype=torch.float64)
    results = []
    for every in (0, 1, 3, 7, 9):
        twin = copy.deepcopy(model)
        twin.checkpoint_every = every
        logits, state = twin(inputs)
        (logits.square().sum() + state.memory.memory.sum()).backward()
        results.append([logits, *flatten(state), *(p.grad for p in twin.parameters())])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_the_trace_tells_all_that_addressing_computes():
    model = small(num_read_heads=2, num_write_heads=1)
    trace = model.trace(torch.randn(2, 5, 4))
    heads = {"key": (3, 3), "strength": (3,), "gate": (3,), "shift": (3, 3), "sharpening": (3,)}
    shapes = {
        **heads,
        "erase": (1, 3),
        "add": (1, 3),
        "content_weights": (3, 7),
        "gated_weights": (3, 7),
        "shifted_weights": (3, 7),
        "read_weights": (2, 7),
        "write_weights": (1, 7),
        "reads": (2, 3),
        "memory": (7, 3),
    }
    assert {name: tuple(trace[name].shape) for name in shapes} == {n: (2, 5, *s) for n, s in shapes.items()}
    torch.testing.assert_close(trace["read_weights"].sum(-1), torch.ones(2, 5, 2))
    weights = torch.cat([trace["read_weights"], trace["write_weights"]], dim=2)
    gate = trace["gate"][:, 1:, :, None]
    gated = gate * trace["content_weights"][:, 1:] + (1 - gate) * weights[:, :-1]
    torch.testing.assert_close(trace["gated_weights"][:, 1:], gated)
    torch.testing.assert_close(fn.sharpen(trace["shifted_weights"], trace["sharpening"]), weights)


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_seeds_can_be_stacked(limit):
    networks = [small(backend="reference", gradient_limit=limit) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(networks)
    inputs = torch.randn(3, 2, 5, 4)

    def run(parameters, buffers, inputs):
        return torch.func.functional_call(networks[0], (parameters, buffers), (inputs,))[0]

    def loss(*stacked):
        return run(*stacked).square().sum()

    stacked = torch.func.vmap(run)(parameters, buffers, inputs)
    torch.testing.assert_close(stacked[1], networks[1](inputs[1])[0])
    gradients = torch.func.vmap(torch.func.grad(loss))(parameters, buffers, inputs)
    networks[1](inputs[1])[0].square().sum().backward()
    for name, weights in networks[1].named_parameters():
        torch.testing.assert_close(gradients[name][1], weights.grad)


def test_autocast_computes_in_fewer_bits_and_stays_close():
    model = small(num_read_heads=2)
    inputs = torch.randn(2, 6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        logits, state = model(inputs)
        logits.float().square().sum().backward()
    assert state.memory.memory.dtype == torch.float32
    # bfloat16 keeps 8 bits of each number.
    torch.testing.assert_close(logits.float(), model(inputs)[0], atol=0.1, rtol=0.1)


@pytest.mark.parametrize("backend", FAST)
def test_extreme_weights_stay_finite(backend):
    model = small(backend=backend)
    with torch.no_grad():
        model.heads.weight.mul_(1e4)
    logits, state = model(torch.randn(2, 30, 4))
    logits.square().sum().backward()
    for tensor in (logits, *flatten(state), *(p.grad for p in model.parameters())):
        assert torch.isfinite(tensor).all()
    torch.testing.assert_close(state.memory.weights.sum(-1), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_slots": 0}, r"memory_slots \(=0\) must be at least 1"),
        ({"memory_width": -1}, r"memory_width \(=-1\) must be at least 1"),
        ({"hidden_size": 0}, r"hidden_size \(=0\) must be at least 1"),
        ({"num_layers": 0}, r"num_layers \(=0\) must be between 1 and 1000"),
        ({"num_read_heads": 0}, r"num_read_heads \(=0\) must be at least 1"),
        ({"num_write_heads": 0}, r"num_write_heads \(=0\) must be at least 1"),
        ({"max_shift": 4}, r"max_shift \(=4\).*memory_slots \(=7\)"),
        ({"lookup_bias": float("nan")}, r"lookup_bias \(=nan\) must be between -20 and 20"),
        ({"append_bias": -21.0}, r"append_bias \(=-21.0\) must be between -20 and 20"),
        ({"follow_bias": 20.5}, r"follow_bias \(=20.5\) must be between -20 and 20"),
        ({"min_sharpening": 0.9}, r"min_sharpening \(=0.9\) must be between 1 and 20"),
        ({"min_sharpening": float("nan")}, r"min_sharpening \(=nan\) must be between 1 and 20"),
        ({"gradient_limit": -1.0}, r"gradient_limit \(=-1.0\) must be at least 0"),
        ({"max_shift": -1}, r"max_shift \(=-1\) must be at least 0"),
    ],
)
def test_an_argument_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_wrong_shapes_are_told_with_those_expected():
    model = small()
    with pytest.raises(ValueError, match=r"\(batch, time, 4\).*got \(3, 5, 8\)"):
        model(torch.zeros(3, 5, 8))
    with pytest.raises(ValueError, match=r"at least one step, got \(3, 0, 4\)"):
        model(torch.zeros(3, 0, 4))
    with pytest.raises(ValueError, match=r"state.memory.memory must have shape \(3, 7, 3\), got \(2, 7, 3\)"):
        model(torch.zeros(3, 5, 4), model.initial_state(2))
    with pytest.raises(ValueError, match=r"backend \(='cuda'\) must be one of auto, reference, cpu, triton, graphs"):
        small(backend="cuda")


@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_how_heads_begin(bias):
    model = NTM(3, 2, num_read_heads=2, max_shift=2, memory_slots=8, stay_bias=bias, lookup_bias=2.5, append_bias=3)
    model.heads.weight.data.zero_()
    seen = {name: values[0, 0] for name, values in model.trace(torch.zeros(1, 1, 3)).items()}
    close = {"rtol": 0, "atol": 0.03}  # biases begin at 0.01 times a normal number
    torch.testing.assert_close(seen["gate"], torch.tensor([2.5 - bias, 2.5 - bias, -bias - 3]).sigmoid(), **close)
    torch.testing.assert_close(seen["sharpening"], 1 + F.softplus(torch.full((3,), bias)), **close)
    torch.testing.assert_close(seen["strength"], F.softplus(torch.tensor([5.0, 5.0, 0.0])), **close)
    torch.testing.assert_close(seen["erase"], torch.full((1, 20), 0.5), **close)
    still = torch.tensor([0.0, 0.0, bias, 0.0, 0.0]).softmax(0)
    onward = torch.tensor([0.0, 0.0, 0.0, 3.0, 0.0]).softmax(0)
    torch.testing.assert_close(seen["shift"], torch.stack([still, still, onward]), **close)


def test_read_heads_can_begin_by_moving_on():
    model = NTM(3, 2, memory_slots=8, stay_bias=0, append_bias=2, follow_bias=1.5)
    model.heads.weight.data.zero_()
    seen = {name: values[0, 0] for name, values in model.trace(torch.zeros(1, 1, 3)).items()}
    shifts = torch.tensor([[0.0, 0.0, 1.5], [0.0, 0.0, 2.0]]).softmax(1)
    torch.testing.assert_close(seen["shift"], shifts, rtol=0, atol=0.03)
    torch.testing.assert_close(seen["gate"], torch.tensor([0.0, -2.0]).sigmoid(), rtol=0, atol=0.03)
    NTM(3, 2, memory_slots=8, max_shift=0, follow_bias=2)  # no such shift


def test_read_heads_can_begin_with_shifts_alone():
    seen = NTM(3, 2, memory_slots=8, stay_bias=0, lookup_bias=-20).trace(torch.eye(3)[None])
    assert seen["gate"][..., 0].max() < 1e-6 < 1e-3 < seen["gate"][..., 1].min()
