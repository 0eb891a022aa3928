"""The DNC against a direct transcription of the paper, what other implementations get wrong, what its users rely on."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from lightning_ntm import DNC, LSTM, NTM, Stack
from lightning_ntm.models import DNCMemory, FeedForwardController
from lightning_ntm.states import flatten, mapped, named
from lightning_ntm.testing import check_model

MDS = {"masking": True, "deallocation": True, "sharpening": True}
VARIANTS = [
    {},
    {"controller": "feedforward"},
    {"num_layers": 2, "num_read_heads": 4},
    {"masking": True},
    {"masking": True, "mask_floor": 0.1},
    {"deallocation": True},
    {"sharpening": True},
    {**MDS, "num_read_heads": 3},
    {"hidden_size": 1, "memory_slots": 2, "memory_width": 1, "num_read_heads": 2},
]
every_variant = pytest.mark.parametrize("options", VARIANTS, ids=str)


def small(**options):
    return DNC(4, 2, **{"hidden_size": 6, "memory_slots": 7, "memory_width": 3, **options})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


def cosine(key, slot):
    return key @ slot / (np.sqrt(key @ key + 1e-12) * np.sqrt(slot @ slot + 1e-12))


class ByHand:
    """The paper's Methods for one sequence, head by head and slot by slot, from a state dict."""

    def __init__(self, model):
        self.model, self.slots, self.heads = model, model.memory_slots, model.num_read_heads
        self.weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        slots, width, layers = self.slots, model.memory_width, len(model.controller.layers)
        self.memory, self.link = np.zeros((slots, width)), np.zeros((slots, slots))
        self.usage, self.precedence, self.written = np.zeros(slots), np.zeros(slots), np.zeros(slots)
        self.looked, self.reads = np.zeros((self.heads, slots)), np.zeros((self.heads, width))
        self.hidden = np.zeros((layers, self.weights["controller.layers.0.bias"].size // 4))
        self.cell = self.hidden.copy()

    def run(self, inputs):
        return np.array([self.step(x) for x in inputs])

    def step(self, x):
        controlled = self.control(np.concatenate([x, self.reads.ravel()]))
        p = self.interpret(self.linear("heads", controlled))
        freed = np.ones(self.slots)
        for head in range(self.heads):
            freed *= 1 - p["free"][head] * self.looked[head]
        self.usage = (self.usage + self.written - self.usage * self.written) * freed
        content = self.look_up(p["write_key"], p["write_strength"], p["write_mask"])
        mixed = p["allocation_gate"] * self.allocate() + (1 - p["allocation_gate"]) * content
        self.written = p["write_gate"] * mixed
        if self.model.deallocation:
            self.memory = self.memory * freed[:, None]
        self.memory = self.memory * (1 - np.outer(self.written, p["erase"])) + np.outer(self.written, p["add"])
        self.connect()
        self.precedence = (1 - self.written.sum()) * self.precedence + self.written
        for head in range(self.heads):
            self.read(head, p)
        return self.linear("output", np.concatenate([controlled, self.reads.ravel()]))

    def read(self, head, p):
        forward, backward = self.link @ self.looked[head], self.link.T @ self.looked[head]
        if self.model.sharpening:
            forward = self.sharpen(forward, p["forward_sharpness"][head])
            backward = self.sharpen(backward, p["backward_sharpness"][head])
        content = self.look_up(p["read_keys"][head], p["read_strengths"][head], p["read_masks"][head])
        modes = p["modes"][head]
        self.looked[head] = modes[0] * backward + modes[1] * content + modes[2] * forward
        self.reads[head] = self.looked[head] @ self.memory

    def interpret(self, emitted):
        take, heads, width, floor = iter(emitted), self.heads, self.model.memory_width, self.model.mask_floor

        def numbers(count, function=lambda x: x):
            return np.array([function(next(take)) for _ in range(count)])

        def mask(x):
            return floor + (1 - floor) * sigmoid(x)

        def oneplus(x):
            return 1 + np.log1p(np.exp(x))

        p = {"read_keys": [numbers(width) for _ in range(heads)], "write_key": numbers(width), "add": numbers(width)}
        p |= {"erase": numbers(width, sigmoid), "free": numbers(heads, sigmoid)}
        p |= {"allocation_gate": numbers(1, sigmoid)[0], "write_gate": numbers(1, sigmoid)[0]}
        p |= {"read_masks": [np.ones(width)] * heads, "write_mask": np.ones(width)}
        if self.model.masking:
            p |= {"read_masks": [numbers(width, mask) for _ in range(heads)], "write_mask": numbers(width, mask)}
        p |= {"read_strengths": numbers(heads, oneplus), "write_strength": numbers(1, oneplus)[0]}
        if self.model.sharpening:
            p |= {"forward_sharpness": numbers(heads, oneplus), "backward_sharpness": numbers(heads, oneplus)}
        p["modes"] = [softmax(numbers(3)) for _ in range(heads)]
        assert not list(take)
        return p

    def look_up(self, key, strength, mask):
        return softmax(np.array([strength * cosine(key * mask, slot * mask) for slot in self.memory]))

    def allocate(self):
        weights, product = np.zeros(self.slots), 1.0
        for slot in np.argsort(self.usage + 1e-6 * np.arange(self.slots), kind="stable"):
            weights[slot] = (1 - self.usage[slot]) * product
            product *= self.usage[slot]
        return weights

    def connect(self):
        before = self.link.copy()
        for i in range(self.slots):
            for j in range(self.slots):
                kept = (1 - self.written[i] - self.written[j]) * before[i, j]
                self.link[i, j] = 0 if i == j else kept + self.written[i] * self.precedence[j]

    def sharpen(self, weights, sharpness):
        if not weights.any():
            return weights
        powers = (weights / weights.max()) ** sharpness
        return powers / powers.sum()

    def control(self, below):
        for layer in range(len(self.hidden)):
            name = f"controller.layers.{layer}"
            if isinstance(self.model.controller, FeedForwardController):
                below = np.tanh(self.linear(name, below))
                continue
            gates = np.split(self.linear(name, np.concatenate([below, self.hidden[layer]])), 4)
            input_gate, forget_gate, output_gate = (sigmoid(gates[number]) for number in (0, 1, 3))
            self.cell[layer] = forget_gate * self.cell[layer] + input_gate * np.tanh(gates[2])
            self.hidden[layer] = below = output_gate * np.tanh(self.cell[layer])
        return below

    def linear(self, name, x):
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]


def trained(model, seed):
    """The network with weights as large as those after training, so that all of it matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
            parameter *= 1.5 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.7
    return model


CONFIGURATIONS = st.builds(
    dict,
    num_read_heads=st.integers(1, 4),
    memory_slots=st.integers(4, 12),
    memory_width=st.integers(1, 6),
    hidden_size=st.integers(1, 8),
    num_layers=st.integers(1, 2),
    controller=st.sampled_from(["lstm", "feedforward"]),
    masking=st.booleans(),
    deallocation=st.booleans(),
    sharpening=st.booleans(),
)


@settings(max_examples=60)
@given(CONFIGURATIONS, st.integers(0, 10**6))
def test_is_the_paper_s_network(options, seed):
    model = trained(small(**options, mask_floor=0.1 if options["masking"] else 0.0).double(), seed)
    inputs = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits, state = model(inputs)
    for number in range(2):
        by_hand = ByHand(model)
        # Two ways to sum the same numbers in float64, over twelve steps.
        np.testing.assert_allclose(logits[number].detach(), by_hand.run(inputs[number].numpy()), rtol=0, atol=1e-10)
        memory = state.memory
        for mine, other in (
            (memory.memory, by_hand.memory), (memory.usage, by_hand.usage), (memory.link, by_hand.link),
            (memory.precedence, by_hand.precedence), (memory.write_weights, by_hand.written),
            (memory.read_weights, by_hand.looked), (memory.reads, by_hand.reads),
        ):  # fmt: skip
            np.testing.assert_allclose(mine[number].detach(), other, rtol=0, atol=1e-10)


@every_variant
def test_keeps_the_promises_of_a_network(options):
    check_model(small(**options))
    check_model(trained(small(**options), 1).double())


def of_numbers(options):
    """The network as a function of inputs and parameters, and these; it begins with numbers in its memory.

    In an empty memory a slot has no direction, and so no derivative.
    """
    model = trained(small(**{"hidden_size": 3, "memory_slots": 4, "memory_width": 2, **options}).double(), 3)
    _, start = model(torch.randn(1, 4, 4, dtype=torch.float64))
    start = mapped(torch.Tensor.detach, start)
    inputs = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def run(inputs, *parameters):
        tensors = dict(zip(names, parameters, strict=True))
        logits, end = torch.func.functional_call(model, tensors, (inputs, start))
        return logits, end.memory.memory, end.memory.link, end.memory.usage

    return run, (inputs, *(parameter.detach().requires_grad_() for parameter in parameters))


@every_variant
def test_gradients_are_right(options):
    # The fast mode compares along one direction through all inputs and outputs.
    assert torch.autograd.gradcheck(*of_numbers(options), fast_mode=True)


@pytest.mark.parametrize("options", [{}, {**MDS, "num_read_heads": 2}], ids=str)
def test_second_gradients_are_right(options):
    assert torch.autograd.gradgradcheck(*of_numbers(options), fast_mode=True)


@every_variant
def test_has_finite_gradients_from_an_empty_memory(options):
    model = small(**options)
    inputs = torch.randn(3, 9, 4, requires_grad=True)
    logits, state = model(inputs)
    (logits.square().sum() + sum(part.square().sum() for part in flatten(state))).backward()
    assert torch.isfinite(inputs.grad).all()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        # The mask of the write head compares with nothing where a slot has one number.
        assert parameter.grad.any() or model.memory_width == 1, name


@every_variant
def test_usage_links_and_weightings_stay_within_their_bounds(options):
    model = trained(small(**options), 5)
    seen = model.trace(3 * torch.randn(4, 100, 4))
    for name in ("usage", "allocation_weights", "precedence", "link", "write_weights", "read_weights", "retention"):
        assert seen[name].min() >= -1e-6, name
        assert seen[name].max() <= 1 + 1e-5, name
    sums = [
        seen[name].sum(-1) for name in ("write_weights", "read_weights", "precedence", "allocation_weights", "link")
    ]
    assert max(float(of.max()) for of in (*sums, seen["link"].sum(-2))) <= 1 + 1e-5
    assert not seen["link"].diagonal(dim1=-2, dim2=-1).any()
    assert torch.isfinite(seen["logits"]).all()


# What other implementations get wrong, or do otherwise than the paper.


def heads_emit(model, **numbers):
    """Make the network's interface vector constant: by name, what the heads are to get before any activation."""
    reads, width = model.num_read_heads, model.memory_width
    sizes = {"read_key": reads * width, "write_key": width, "add": width, "erase": width, "free_gates": reads}
    sizes |= {"allocation_gate": 1, "write_gate": 1}
    sizes |= {"read_mask": reads * width, "write_mask": width} if model.masking else {}
    sizes |= {"read_strength": reads, "write_strength": 1}
    sizes |= {"forward_sharpness": reads, "backward_sharpness": reads} if model.sharpening else {}
    sizes |= {"read_modes": 3 * reads}
    parts = [torch.as_tensor(numbers.pop(name, 0.0)).expand(size) for name, size in sizes.items()]
    assert not numbers
    with torch.no_grad():
        model.heads.weight.zero_()
        model.heads.bias.copy_(torch.cat(parts))
    return model


ON, OFF = 50.0, -50.0


def test_the_interface_vector_has_the_size_of_the_paper():
    for reads, width in ((1, 20), (4, 16), (3, 5)):
        assert DNCMemory(8, width, num_read_heads=reads).interface_size == width * reads + 3 * width + 5 * reads + 3
        masked = DNCMemory(8, width, num_read_heads=reads, masking=True, sharpening=True, deallocation=True)
        assert masked.interface_size == width * reads + 3 * width + 5 * reads + 3 + width * (reads + 1) + 2 * reads


@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
def test_what_was_read_reaches_the_controller_in_the_next_step(controller):
    model = small(controller=controller)
    _, state = model(torch.randn(1, 3, 4))
    other = state._replace(memory=state.memory._replace(reads=state.memory.reads + 1))
    x = torch.randn(1, 4)
    inner = [
        model.controller(torch.cat([x, model.memory.reads(of.memory)], -1), of.controller) for of in (state, other)
    ]
    assert not torch.allclose(inner[0][0], inner[1][0])
    hidden = [model.observe(x, of)[0] for of in (state, other)]
    assert not torch.allclose(*hidden)
    reads = model(torch.randn(1, 3, 4))[1].memory.reads
    assert reads.any()  # and they are not always zero


def test_sequences_are_batch_first_in_and_out():
    logits, _ = small()(torch.randn(3, 5, 4))
    assert logits.shape == (3, 5, 2)


def test_a_sequence_begins_with_zeros_and_not_with_random_numbers():
    state = small().initial_state(2)
    assert not any(part.any() for part in flatten(state))
    model, inputs = small(), torch.randn(2, 5, 4)
    assert torch.equal(model(inputs)[0], model(inputs)[0])


def test_a_sequence_leaves_nothing_behind_on_the_network():
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = torch.randn(2, 5, 4)
    first = model(inputs)[0]
    model(torch.randn(3, 4, 4))
    assert torch.equal(model(inputs)[0], first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_strengths_and_sharpness_are_at_least_1():
    model = heads_emit(small(sharpening=True), read_strength=OFF, write_strength=OFF, forward_sharpness=OFF)
    seen = model.trace(torch.randn(1, 2, 4))
    assert seen["read_strength"].eq(1).all()
    assert seen["write_strength"].eq(1).all()
    assert seen["forward_sharpness"].eq(1).all()
    assert seen["backward_sharpness"].allclose(torch.tensor(1 + np.log(2)).float())


def test_keys_and_write_vectors_are_not_squashed_and_nothing_is_clamped():
    model = heads_emit(small(), add=30.0, read_key=-40.0, write_key=25.0, read_strength=60.0, write_gate=ON,
                       allocation_gate=ON)  # fmt: skip
    seen = model.trace(torch.randn(1, 2, 4))
    assert seen["add"].eq(30).all()
    assert seen["read_key"].eq(-40).all()
    assert seen["write_key"].eq(25).all()
    assert seen["read_strength"].allclose(torch.tensor(61.0))
    assert seen["memory"].max() > 20
    with torch.no_grad():
        model.output.bias.fill_(100.0)
    assert model(torch.randn(1, 1, 4))[0].min() > 20


def test_a_state_beyond_20_is_kept():
    model = small()
    state = model.initial_state(1)
    with torch.no_grad():
        model.controller.layers[0].bias[6:12] = ON  # the forget gates
    state = state._replace(controller=state.controller._replace(cell=torch.full((1, 1, 6), 100.0)))
    assert model.step(torch.zeros(1, 4), state)[1].controller.cell.min() > 90


def test_each_head_reads_by_itself():
    model = heads_emit(small(num_read_heads=2), read_key=[1.0, 0, 0, 0, 1, 0], read_strength=ON, write_gate=OFF,
                       read_modes=[OFF, ON, OFF] * 2)  # fmt: skip
    state = model.initial_state(1)
    memory = torch.zeros(1, 7, 3)
    memory[0, 2], memory[0, 5] = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    _, state = model.step(torch.zeros(1, 4), state._replace(memory=state.memory._replace(memory=memory)))
    assert state.memory.read_weights.argmax(-1).tolist() == [[2, 5]]
    torch.testing.assert_close(state.memory.reads[0], memory[0, [2, 5]])


def with_links(model, looks_at=1):
    """A state in which slots 0, 1 and 2 were written in this order, and all heads have just read slot 1."""
    state = model.initial_state(1)
    link = torch.zeros(1, 7, 7)
    link[0, 1, 0] = link[0, 2, 1] = 1
    weights = torch.zeros(1, model.num_read_heads, 7)
    weights[..., looks_at] = 1
    memory = torch.randn(1, 7, 3)
    return state._replace(memory=state.memory._replace(memory=memory, link=link, read_weights=weights))


@pytest.mark.parametrize("sharpening", [False, True])
@pytest.mark.parametrize(("mode", "slot"), [(0, 0), (2, 2)])
def test_the_first_mode_reads_backward_and_the_third_forward(mode, slot, sharpening):
    modes = [OFF] * 3
    modes[mode] = ON
    model = heads_emit(small(sharpening=sharpening), read_modes=modes, write_gate=OFF)
    _, state = model.step(torch.zeros(1, 4), with_links(model))
    torch.testing.assert_close(state.memory.read_weights[0, 0], torch.eye(7)[slot])


def test_the_second_mode_reads_by_content():
    model = heads_emit(small(), read_modes=[OFF, ON, OFF], write_gate=OFF)
    seen = model.observe(torch.zeros(1, 4), with_links(model))[2]
    torch.testing.assert_close(seen["read_weights"], seen["content_weights"])


@pytest.mark.parametrize("sharpening", [False, True])
def test_empty_links_lead_nowhere(sharpening):
    model = heads_emit(small(sharpening=sharpening), read_modes=[ON, OFF, ON], write_gate=OFF)
    seen = model.trace(torch.randn(2, 4, 4))
    for name in ("forward_weights", "backward_weights", "read_weights"):
        assert seen[name].abs().max() < 1e-12, name


def test_the_gradient_reaches_writes_through_usage():
    memory = DNCMemory(5, 3)
    state = memory.initial_state()
    written = torch.tensor([0.6, 0.1, 0.0, 0.0, 0.0], requires_grad=True)
    interface = torch.zeros(memory.interface_size)
    after = memory.step(interface, state._replace(write_weights=written))
    (through_usage,) = torch.autograd.grad(after.usage.sum() + after.write_weights[2], written)
    assert through_usage.abs().min() > 0.1


def test_links_take_the_precedence_of_the_step_before():
    model = heads_emit(small(), write_gate=ON, allocation_gate=ON, add=1.0)
    seen = model.trace(torch.randn(1, 3, 4))
    assert not seen["link"][0, 0].any()  # the first write follows none
    expected = torch.zeros(7, 7)
    expected[1, 0] = 1
    torch.testing.assert_close(seen["link"][0, 1], expected)
    expected[2, 1] = 1
    torch.testing.assert_close(seen["link"][0, 2], expected)


def test_writes_look_up_the_memory_before_them_and_reads_the_memory_after():
    model = heads_emit(small(), write_gate=ON, allocation_gate=ON, add=[1.0, 2, 3], read_key=[1.0, 2, 3],
                       write_key=[1.0, 2, 3], read_strength=ON)  # fmt: skip
    seen = model.trace(torch.randn(1, 1, 4))
    torch.testing.assert_close(seen["write_content_weights"], torch.full((1, 1, 7), 1 / 7))
    assert seen["content_weights"][0, 0, 0, 0] > 0.99


@pytest.mark.parametrize("deallocation", [False, True])
def test_freed_slots_are_erased_with_deallocation_only(deallocation):
    model = heads_emit(small(deallocation=deallocation), free_gates=ON, write_gate=OFF)
    state = with_links(model)
    _, after = model.step(torch.zeros(1, 4), state)
    kept = state.memory.memory.clone()
    if deallocation:
        kept[:, 1] = 0
    torch.testing.assert_close(after.memory.memory, kept)


def test_a_mask_has_its_floor():
    model = heads_emit(small(masking=True, mask_floor=0.1), read_mask=OFF, write_mask=ON)
    seen = model.trace(torch.randn(1, 1, 4))
    assert seen["read_mask"].allclose(torch.tensor(0.1))
    assert seen["write_mask"].allclose(torch.tensor(1.0))


def test_each_change_acts_by_itself():
    torch.manual_seed(0)
    inputs, plain = torch.randn(2, 8, 4), trained(small(), 0)
    for name in MDS:
        model = trained(small(**{name: True}), 0)
        assert [option for option in MDS if getattr(model, option)] == [name]
        if name == "deallocation":  # alone among the three it adds no parameters
            assert not torch.allclose(model(inputs)[0], plain(inputs)[0])
    mds = DNC.mds(4, 2, hidden_size=6, memory_slots=7, memory_width=3, mask_floor=0.1)
    assert type(mds) is DNC
    assert all(getattr(mds, option) for option in MDS)
    assert mds.mask_floor == 0.1
    with pytest.raises(TypeError, match="masking"):
        DNC.mds(4, 2, masking=False)


# What users rely on.


@every_variant
def test_runs_with_more_and_fewer_slots_than_it_was_made_with(options):
    model, inputs = small(**options), torch.randn(2, 6, 4)
    for slots in (model.num_read_heads + 2, 30):
        logits, state = model(inputs, model.initial_state(2, slots=slots))
        assert state.memory.link.shape == (2, slots, slots)
        first, middle = model(inputs[:, :3], model.initial_state(2, slots=slots))
        rest, end = model(inputs[:, 3:], middle)
        torch.testing.assert_close(torch.cat([first, rest], 1), logits)
        torch.testing.assert_close(end.memory.memory, state.memory.memory)


def test_unused_slots_of_a_larger_memory_change_little():
    model = heads_emit(small(), write_gate=ON, allocation_gate=ON, add=1.0, read_modes=[ON, OFF, OFF])
    inputs = torch.randn(1, 5, 4)
    torch.testing.assert_close(model(inputs)[0], model(inputs, model.initial_state(1, slots=50))[0])


@every_variant
def test_a_stack_runs_networks_side_by_side(options):
    members, inputs = [small(**options) for _ in range(3)], torch.randn(3, 2, 5, 4)
    stack = Stack(members)
    logits, state = stack(inputs)
    for member, x, expected in zip(members, inputs, logits, strict=True):
        torch.testing.assert_close(member(x)[0], expected, rtol=1e-4, atol=1e-5)
    streamed, _ = stack(inputs, state)
    assert streamed.shape == (3, 2, 5, 2)
    logits.square().sum().backward()
    for number, member in enumerate(members):
        member(inputs[number])[0].square().sum().backward()
        torch.testing.assert_close(
            stack.networks.heads.weight.grad[number], member.heads.weight.grad, rtol=1e-3, atol=1e-4
        )


def test_an_ntm_takes_the_memory_of_a_dnc():
    model = NTM(4, 2, memory=DNCMemory(7, 3, num_read_heads=2, **MDS), hidden_size=6)
    check_model(model)
    assert "usage" in model.trace(torch.randn(1, 3, 4))


def test_takes_a_controller_of_one_s_own():
    model = DNC(4, 2, controller=FeedForwardController(4 + 2 * 3, 5), memory_slots=7, memory_width=3, num_read_heads=2)
    check_model(model)


@every_variant
def test_a_trace_has_all_that_addressing_computed(options):
    model, inputs = small(**options), torch.randn(2, 5, 4)
    slots, heads, width = model.memory_slots, model.num_read_heads, model.memory_width
    seen = model.trace(inputs)
    shapes = {
        "usage": (slots,), "allocation_weights": (slots,), "link": (slots, slots), "precedence": (slots,),
        "read_modes": (heads, 3), "read_weights": (heads, slots), "write_weights": (1, slots), "free_gates": (heads,),
        "forward_weights": (heads, slots), "backward_weights": (heads, slots), "content_weights": (heads, slots),
        "memory": (slots, width), "reads": (heads, width), "add": (1, width), "retention": (slots,),
    }  # fmt: skip
    assert {name: tuple(seen[name].shape[2:]) for name in shapes} == shapes
    assert ("read_mask" in seen) == model.masking
    assert ("forward_sharpness" in seen) == model.sharpening
    torch.testing.assert_close(seen["read_modes"].sum(-1), torch.ones(2, 5, heads))
    state = model(inputs)[1]
    for name, part in named(state.memory).items():
        torch.testing.assert_close(seen[name][:, -1].reshape(part.shape), part)


@every_variant
def test_runs_in_half_precision_with_a_state_in_float32(options):
    logits, state = small(**options).bfloat16()(torch.randn(2, 4, 4, dtype=torch.bfloat16))
    assert logits.dtype == torch.bfloat16
    assert all(part.dtype == torch.float32 for part in flatten(state))


def test_weights_are_saved_and_loaded():
    model, other, inputs = small(**MDS), small(**MDS), torch.randn(2, 5, 4)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(inputs)[0], other(inputs)[0])
    assert "memory._like" not in model.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_read_heads": 8}, r"num_read_heads \(=8\) must be at most memory_slots \(=7\)\."),
        ({"num_read_heads": 0}, r"num_read_heads \(=0\) must be at least 1\."),
        ({"memory_slots": 1}, r"memory_slots \(=1\) must be at least 2\."),
        ({"memory_width": 0}, r"memory_width \(=0\) must be at least 1\."),
        ({"hidden_size": 0}, r"hidden_size \(=0\) must be at least 1\."),
        ({"num_layers": 0}, r"num_layers \(=0\) must be between 1 and 1000\."),
        ({"masking": True, "mask_floor": 1.5}, r"mask_floor \(=1.5\) must be between 0 and 1\."),
        ({"masking": True, "mask_floor": float("nan")}, r"mask_floor \(=nan\) must be between 0 and 1\."),
        ({"mask_floor": 0.1}, r"mask_floor \(=0.1\) must be 0 without masking=True\."),
        ({"backend": "triton"}, r"backend \(='triton'\) must be one of auto, reference, cpu, graphs\."),
        ({"checkpoint_every": -1}, r"checkpoint_every \(=-1\) must be at least 0\."),
        (
            {"controller": FeedForwardController(4, 5), "hidden_size": 100},
            r"controller.input_size \(=4\) must be 7: the inputs of the network and what its memory reads\.",
        ),
        (
            {"controller": FeedForwardController(7, 5)},
            r"hidden_size \(=6\) cannot be given with a controller of your own\.",
        ),
    ],
)
def test_an_argument_out_of_its_range_is_told(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        small(**options)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (1, r"slots \(=1\) must be at least 2\."),
        (-3, r"slots \(=-3\) must be at least 2\."),
        (2, r"num_read_heads \(=3\) must be at most slots \(=2\)\."),
    ],
)
def test_too_few_slots_of_a_sequence_are_told(slots, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        small(num_read_heads=3).initial_state(1, slots=slots)


def test_a_state_of_another_network_is_told():
    model, x = small(), torch.zeros(2, 1, 4)
    with pytest.raises(TypeError, match=r"^state must be of type DNCState, as .*, got NTMState\.$"):
        model(x, NTM(4, 2).initial_state(2))
    with pytest.raises(TypeError, match=r"^state must be of type DNCState, as .*, got LSTMState\.$"):
        model(x, LSTM(4, 2).initial_state(2))
    with pytest.raises(TypeError, match=r"^state must be of type NTMState, as .*, got DNCState\.$"):
        NTM(4, 2)(x, model.initial_state(2))
    with pytest.raises(TypeError, match=r"^state.controller must be of type LSTMControllerState, as .*, got FeedForw"):
        model(x, small(controller="feedforward").initial_state(2))
    with pytest.raises(TypeError, match=r"^state.memory must be of type DNCMemoryState, as .*, got NTMMemoryState"):
        model(x, model.initial_state(2)._replace(memory=NTM(4, 2).initial_state(2).memory))
    with pytest.raises(ValueError, match=r"^state.memory.memory must have shape \(2, 7, 3\), got \(2, 7, 5\)\.$"):
        model(x, small(memory_width=5).initial_state(2))
    with pytest.raises(ValueError, match=r"^state.memory.read_weights must have shape \(2, 1, 7\), got \(2, 3, 7\)\.$"):
        model(x, small(num_read_heads=3).initial_state(2))
    with pytest.raises(ValueError, match=r"^state.memory.memory must have shape \(2, 7, 3\), got \(3, 7, 3\)\.$"):
        model(x, model.initial_state(3))
    link = torch.zeros(2, 7, 6)
    with pytest.raises(ValueError, match=r"^state.memory.link must have shape \(2, 7, 7\), got \(2, 7, 6\)\.$"):
        model(x, model.initial_state(2)._replace(memory=model.initial_state(2).memory._replace(link=link)))


def test_a_state_of_a_single_slot_is_told():
    model = small()
    memory = model.initial_state(2).memory
    state = model.initial_state(2)._replace(memory=memory._replace(memory=memory.memory[:, :1]))
    with pytest.raises(ValueError, match=r"^slots \(=1\) must be at least 2\.$"):
        model(torch.zeros(2, 1, 4), state)


def test_sizes_are_properties_and_every_option_is_described():
    model = small(num_read_heads=2)
    assert (model.memory_slots, model.memory_width, model.num_read_heads) == (7, 3, 2)
    with pytest.raises(AttributeError):
        model.memory_slots = 9
    for name in inspect.signature(DNC).parameters:
        assert f"\n    {name}: " in inspect.getdoc(DNC)
