"""SAM and the sparse DNC against a direct transcription, slot by slot; what they save; what their users rely on."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.autograd.graph import saved_tensors_hooks

from lightning_ntm import DNC, NTM, SAM, SDNC
from lightning_ntm.models import FeedForwardController, SparseMemory
from lightning_ntm.states import flatten, mapped
from lightning_ntm.testing import check_model

VARIANTS = [
    (SAM, {}),
    (SAM, {"num_read_heads": 3, "num_nearest": 2, "controller": "feedforward"}),
    (SAM, {"memory_slots": 2, "memory_width": 1, "num_nearest": 1}),
    (SDNC, {"num_links": 3}),
    (SDNC, {"num_links": 2, "num_read_heads": 2, "num_nearest": 2, "num_layers": 2}),
    (SDNC, {"memory_slots": 2, "num_links": 2, "num_nearest": 2, "num_read_heads": 2}),
]
every_variant = pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)


def small(kind=SDNC, **options):
    links = {"num_links": 3} if kind is SDNC else {}
    return kind(4, 2, **{"hidden_size": 6, "memory_slots": 7, "memory_width": 3, "num_nearest": 3, **links, **options})


def trained(model, seed):
    """The network with weights as large as those after training, so that all of it matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
            parameter *= 1.5 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.7
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    exponentials = np.exp(np.array(x) - np.max(x))
    return exponentials / exponentials.sum()


def cosine(key, slot):
    return key @ slot / (np.sqrt(key @ key + 1e-12) * np.sqrt(slot @ slot + 1e-12))


def most(weights, count, candidates=None):
    """The slots of the largest weights: in steps of 2^-20, of equal ones the first candidates."""
    return sorted(candidates, key=lambda slot: -round(weights[slot] * 2**20))[:count]


class ByHand:
    """One sequence with dense weightings and a link matrix of slots times slots, from a state dict."""

    def __init__(self, model):
        self.model, self.slots, self.heads = model, model.memory_slots, model.num_read_heads
        self.weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        slots, width, self.links = self.slots, model.memory_width, model.memory.num_links
        self.memory, self.link = np.zeros((slots, width)), np.zeros((slots, slots))
        self.accessed, self.time = np.arange(slots) - slots, 0
        entries = model.num_nearest * (3 if self.links else 1)
        self.places = [[entry % slots for entry in range(entries)] for _ in range(self.heads)]
        self.looked, self.reads = np.zeros((self.heads, slots)), np.zeros((self.heads, width))
        # The slots that have a place in each row, in their order.
        self.rows, self.following = ([list(range(self.links)) for _ in range(slots)] for _ in range(2))
        self.last, self.precedence = list(range(self.links)), np.zeros(slots)
        self.hidden = np.zeros((len(model.controller.layers), 6))
        self.cell = self.hidden.copy()

    def run(self, inputs):
        return np.array([self.step(x) for x in inputs])

    def step(self, x):
        controlled = self.control(np.concatenate([x, self.reads.ravel()]))
        emitted, width = self.linear("heads", controlled), self.model.memory_width
        keys, emitted = emitted[: self.heads * width].reshape(self.heads, width), emitted[self.heads * width :]
        add, (alpha, gamma), emitted = emitted[:width], sigmoid(emitted[width : width + 2]), emitted[width + 2 :]
        strengths, modes = 1 + np.log1p(np.exp(emitted[: self.heads])), emitted[self.heads :]
        unused = int(self.accessed.argmin())
        written = np.zeros(self.slots)
        written[unused] += alpha * (1 - gamma)
        written += alpha * gamma * self.looked.mean(0)
        support = list(dict.fromkeys([*(slot for places in self.places for slot in places), unused]))
        self.memory[unused] = 0
        self.memory += np.outer(written, add)
        if self.links:
            self.connect(written, support)
        self.looked = np.array([self.read(h, keys[h], strengths[h], modes) for h in range(self.heads)])
        self.reads = self.looked @ self.memory
        self.accessed[written + self.looked.sum(0) > 0.005] = self.time
        self.time += 1
        return self.linear("output", np.concatenate([controlled, self.reads.ravel()]))

    def read(self, head, key, strength, modes):
        similarity = [cosine(key, slot) for slot in self.memory]
        order = sorted(range(self.slots), key=lambda slot: -round(similarity[slot] * 2**14))
        nearest = order[: self.model.num_nearest]
        content = np.zeros(self.slots)
        content[nearest] = softmax([strength * similarity[slot] for slot in nearest])
        if not self.links:
            self.places[head] = nearest
            return content
        before, places = self.looked[head], self.places[head]
        backward = self.sparse(self.link.T @ before, [j for i in places for j in self.rows[i]])
        forward = self.sparse(self.along(before, places), [i for j in places for i in self.following[j]])
        self.places[head] = [*backward[1], *nearest, *forward[1]]
        mixed = softmax(modes[3 * head : 3 * head + 3])
        return mixed[0] * backward[0] + mixed[1] * content + mixed[2] * forward[0]

    def along(self, before, places):
        """Forward weighting: only slots that are known to follow are reached."""
        found = np.zeros(self.slots)
        for j in dict.fromkeys(places):
            for i in self.following[j]:
                found[i] += self.link[i, j] * before[j]
        return found

    def sparse(self, weights, candidates):
        kept, found = most(weights, self.model.num_nearest, list(dict.fromkeys(candidates))), np.zeros(self.slots)
        found[kept] = weights[kept]
        return found, kept

    def connect(self, written, support):
        before = self.link.copy()
        for i in support:
            row = (1 - written[i]) * before[i] + written[i] * self.precedence
            row[i] = 0
            self.rows[i] = most(row, self.links, list(dict.fromkeys([*self.rows[i], *self.last])))
            self.link[i] = 0
            self.link[i, self.rows[i]] = row[self.rows[i]]
        for j in self.last:
            candidates = list(dict.fromkeys([*self.following[j], *support]))
            self.following[j] = most(self.link[:, j], self.links, candidates)
        precedence = (1 - written.sum()) * self.precedence + written
        self.last = most(precedence, self.links, list(dict.fromkeys([*self.last, *support])))
        self.precedence = np.zeros(self.slots)
        self.precedence[self.last] = precedence[self.last]

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


CONFIGURATIONS = st.builds(
    dict,
    num_read_heads=st.integers(1, 3),
    memory_slots=st.integers(4, 12),
    memory_width=st.integers(1, 5),
    num_nearest=st.integers(1, 4),
    controller=st.sampled_from(["lstm", "feedforward"]),
)


@settings(max_examples=20)
@given(CONFIGURATIONS, st.integers(0, 4), st.sampled_from(["reference", "sparse"]), st.integers(0, 10**6))
def test_is_the_paper_s_network(options, links, backend, seed):
    kind, more = (SDNC, {"num_links": links}) if links else (SAM, {})
    model = trained(small(kind, **options, **more, backend=backend).double(), seed)
    inputs = torch.randn(2, 14, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits, state = model(inputs)
    for number in range(2):
        by_hand = ByHand(model)
        # Two ways to sum the same numbers in float64, over fourteen steps.
        np.testing.assert_allclose(logits[number].detach(), by_hand.run(inputs[number].numpy()), rtol=0, atol=1e-10)
        memory = state.memory
        looked = torch.zeros(model.num_read_heads, model.memory_slots, dtype=torch.float64)
        looked.scatter_add_(-1, memory.read_places[number], memory.read_entries[number].detach())
        for mine, other in (
            (memory.memory[number], by_hand.memory), (looked, by_hand.looked), (memory.reads[number], by_hand.reads),
            (memory.accessed[number], by_hand.accessed),
        ):  # fmt: skip
            np.testing.assert_allclose(mine.detach(), other, rtol=0, atol=1e-10)
        if links:
            of = memory.links
            link = torch.zeros(model.memory_slots, model.memory_slots, dtype=torch.float64)
            link.scatter_(-1, of.places[number], of.weights[number].detach())
            np.testing.assert_allclose(link, by_hand.link, rtol=0, atol=1e-10)
            assert of.following[number].tolist() == by_hand.following


@every_variant
def test_keeps_the_promises_of_a_network(kind, options):
    torch.manual_seed(0)
    check_model(small(kind, **options))
    check_model(trained(small(kind, **options), 1).double())


def of_numbers(kind, options):
    """The network as a function of inputs, parameters and the memory that it begins with."""
    model = trained(small(kind, **{"hidden_size": 3, **options}).double(), 3)
    _, start = model(torch.randn(1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    start = mapped(torch.Tensor.detach, start)
    inputs = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def run(inputs, memory, *parameters):
        tensors = dict(zip(names, parameters, strict=True))
        state = start._replace(memory=start.memory._replace(memory=memory))
        logits, end = torch.func.functional_call(model, tensors, (inputs, state))
        return logits, *(part for part in flatten(end) if part.is_floating_point())

    memory = start.memory.memory.clone().requires_grad_()
    return run, (inputs, memory, *(parameter.detach().requires_grad_() for parameter in parameters))


@pytest.mark.parametrize("backend", ["reference", "sparse"])
@every_variant
def test_gradients_are_right(kind, options, backend):
    torch.manual_seed(0)
    # The fast mode compares along one direction through all inputs and outputs.
    assert torch.autograd.gradcheck(*of_numbers(kind, {**options, "backend": backend}), fast_mode=True)


def test_second_gradients_are_those_of_the_loop():
    torch.manual_seed(0)
    assert torch.autograd.gradgradcheck(
        *of_numbers(SDNC, {"backend": "reference", "controller": "feedforward"}), fast_mode=True
    )
    model, inputs = small(), torch.randn(1, 3, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match='backend="reference"'):
        torch.autograd.grad(model(inputs)[0].square().sum(), inputs, create_graph=True)


@every_variant
def test_a_graph_can_be_used_twice_and_in_part(kind, options):
    torch.manual_seed(0)
    model = trained(small(kind, **options), 1)
    inputs = torch.randn(2, 6, 4, requires_grad=True)
    loss = model(inputs)[0].square().sum()
    first = torch.autograd.grad(loss, [inputs, model.heads.weight], retain_graph=True)
    again = torch.autograd.grad(loss, [inputs, model.heads.weight], retain_graph=True)
    (alone,) = torch.autograd.grad(loss, inputs)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(first[0], alone)


def test_the_state_that_was_passed_in_is_not_changed():
    model, inputs = small(), torch.randn(2, 6, 4)
    _, state = model(inputs)
    before = mapped(torch.clone, state)
    model(inputs, state)
    assert all(map(torch.equal, flatten(state), flatten(before)))


def saved_by(model, steps, slots):
    """Numbers that a sequence saves for the backward, each storage once."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        logits, _ = model(torch.randn(1, steps, 4), model.initial_state(1, slots=slots))
    logits.sum().backward()
    return sum(sizes.values())


@pytest.mark.parametrize("kind", [SAM, SDNC])
def test_what_is_saved_for_the_backward_does_not_grow_with_the_slots(kind):
    model = small(kind)
    few, many = (saved_by(model, 20, slots) for slots in (64, 4096))
    assert many == few
    model.backend = "reference"
    assert saved_by(model, 20, 4096) > 5 * few


def test_writes_go_to_the_least_recently_accessed_slot_and_where_was_read():
    memory = SparseMemory(5, 2, num_nearest=1)
    state = memory.initial_state()
    on, off = 50.0, -50.0

    def step(state, key, add, write, reuse):
        return memory.step(torch.tensor([*key, *add, write, reuse, on]), state)

    state = step(state, [1.0, 0], [1.0, 0], on, off)
    state = step(state, [1.0, 0], [0, 1.0], on, off)
    assert state.memory[:2].round().tolist() == [[1, 0], [0, 1]]
    assert state.read_places.tolist() == [[0]]
    state = step(state, [0.0, 1], [2.0, 0], on, on)  # added to the slot that was read
    assert state.memory[0].round().tolist() == [3, 0]
    for number in range(3):  # slots 2 to 4; slot 1 is read in each step, slot 0 is then the longest ago
        state = step(state, [0.0, 1], [5.0 + number, 0], on, off)
    state = step(state, [0.0, 1], [9.0, 0], on, off)
    assert state.memory[:, 0].round().tolist() == [9, 0, 5, 6, 7]


def test_heads_read_along_links():
    memory = SparseMemory(6, 2, num_nearest=1, num_links=2)
    on, off, state = 50.0, -50.0, memory.initial_state()

    def step(state, modes, write=off, key=(1.0, 0.0), add=(0.0, 0.0)):
        return memory.step(torch.tensor([*key, *add, write, off, on, *modes]), state)

    backward, content, forward = [on, off, off], [off, on, off], [off, off, on]
    for add in ([1.0, 0], [0, 1.0], [-1.0, 0]):
        state = step(state, content, on, add=add)
    at = []
    state = step(state, content)  # the first
    for modes in (forward, forward, backward):
        at.append(state.read_places[0, state.read_entries[0].argmax()].item())
        state = step(state, modes)
    at.append(state.read_places[0, state.read_entries[0].argmax()].item())
    assert at == [0, 1, 2, 1]


@every_variant
def test_runs_with_more_slots_than_it_was_made_with_and_streams(kind, options):
    torch.manual_seed(0)
    model, inputs = small(kind, **options), torch.randn(2, 6, 4)
    start = model.initial_state(2, slots=40)
    logits, state = model(inputs, start)
    assert state.memory.memory.shape[-2] == 40
    first, middle = model(inputs[:, :3], start)
    rest, end = model(inputs[:, 3:], middle)
    torch.testing.assert_close(torch.cat([first, rest], 1), logits)
    torch.testing.assert_close(end.memory.memory, state.memory.memory)


def test_a_trace_has_weightings_of_all_slots():
    model = small(num_read_heads=2)
    seen = model.trace(torch.randn(2, 5, 4))
    assert seen["read_weights"].shape == (2, 5, 2, 7)
    assert seen["write_weights"].shape == (2, 5, 1, 7)
    torch.testing.assert_close((seen["read_weights"][..., None] * seen["memory"][:, :, None]).sum(-2), seen["reads"])


def test_an_ntm_takes_a_sparse_memory():
    check_model(NTM(4, 2, memory=SparseMemory(7, 3, num_links=2), hidden_size=6))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (SAM, {"num_read_heads": 8}, r"num_read_heads \(=8\) must be at most memory_slots \(=7\)\."),
        (SAM, {"num_nearest": 8}, r"num_nearest \(=8\) must be at most memory_slots \(=7\)\."),
        (SAM, {"num_nearest": 0}, r"num_nearest \(=0\) must be at least 1\."),
        (SAM, {"memory_slots": 1}, r"memory_slots \(=1\) must be at least 2\."),
        (SAM, {"memory_width": 0}, r"memory_width \(=0\) must be at least 1\."),
        (SDNC, {"num_links": 8}, r"num_links \(=8\) must be at most memory_slots \(=7\)\."),
        (SDNC, {"num_links": 0}, r"num_links \(=0\) must be at least 1\."),
        (SDNC, {"backend": "cpu"}, r"backend \(='cpu'\) must be one of auto, reference, sparse, graphs\."),
    ],
)
def test_an_argument_out_of_its_range_is_told(kind, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        small(kind, **options)


def test_states_that_do_not_fit_are_told():
    model, x = small(), torch.zeros(2, 1, 4)
    with pytest.raises(TypeError, match=r"^state must be of type SparseState, as .*, got DNCState\.$"):
        model(x, DNC(4, 2).initial_state(2))
    with pytest.raises(TypeError, match=r"^state.memory.links must be of type SparseLinks, as .*, got NoLinks\.$"):
        model(x, small(SAM, num_nearest=9, memory_slots=9).initial_state(2))
    with pytest.raises(ValueError, match=r"^num_nearest \(=3\) must be at most slots \(=2\)\.$"):
        model.initial_state(1, slots=2)
    with pytest.raises(ValueError, match=r"^slots \(=1\) must be at least 2\.$"):
        model.initial_state(1, slots=1)


def test_a_network_that_was_changed_runs_the_loop():
    model, inputs = small(), torch.randn(1, 2, 4)
    assert model.backend_for(inputs) == "sparse"
    for part in (model.memory, model.output):
        handle = part.register_forward_hook(lambda *_: None)
        assert model.backend_for(inputs) == "reference"
        handle.remove()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert model.backend_for(inputs) == "reference"
    handle.remove()
    assert model.backend_for(inputs) == "sparse"


@pytest.mark.parametrize("kind", [SAM, SDNC])
def test_every_option_is_described(kind):
    for name in inspect.signature(kind).parameters:
        assert f"\n    {name}: " in inspect.getdoc(kind)


class Narrow(SAM):
    """Has a constructor of its own, without the sizes of a controller."""

    def __init__(self, controller):
        super().__init__(4, 2, memory_slots=7, memory_width=3, controller=controller)


def test_a_subclass_with_another_constructor_takes_a_controller():
    controller = FeedForwardController(4 + 3, 5, 1)
    assert Narrow(controller).controller is controller
    with pytest.raises(ValueError, match=r"input_size \(=9\) must be 7"):
        Narrow(FeedForwardController(9, 5, 1))
