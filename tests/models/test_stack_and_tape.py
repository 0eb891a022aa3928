"""Stack-RNN and Tape-RNN against transcriptions of their equations, cell by cell, and what their users rely on."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tests.forked import scripted

from lightning_ntm import NTM, Stack, StackRNN, TapeRNN, functional as fn
from lightning_ntm.kernels.cells.cpu import refusal as cells_refusal
from lightning_ntm.models import GRUController, StackMemory, TapeMemory
from lightning_ntm.states import flatten, mapped
from lightning_ntm.testing import check_model
from lightning_ntm.training.side_by_side.loop import refusal

SMALL = {"hidden_size": 4, "memory_slots": 5, "memory_width": 3}
VARIANTS = [
    (StackRNN, {}),
    (StackRNN, {"num_stacks": 2, "controller": "lstm"}),
    (StackRNN, {"memory_slots": 1, "memory_width": 1, "hidden_size": 1}),
    (TapeRNN, {}),
    (TapeRNN, {"num_tapes": 2, "controller": "gru", "num_layers": 2}),
    (TapeRNN, {"write_hidden_size": 0}),
    (TapeRNN, {"length_oracle": True, "num_tapes": 2, "write_hidden_size": 3}),
    (TapeRNN, {"memory_slots": 2, "memory_width": 1, "hidden_size": 1}),
]
every_variant = pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=str)
both = pytest.mark.parametrize("kind", [StackRNN, TapeRNN])
ORACLE = {"length_oracle": True}
with_oracle = pytest.mark.parametrize(
    ("kind", "options"), [(StackRNN, {}), (TapeRNN, {}), (TapeRNN, ORACLE)], ids=["StackRNN", "TapeRNN", "oracle"]
)
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1])
ACTIONS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def small(kind, **options):
    return kind(4, 2, **{**SMALL, **options})


def drawn(kind, **options):
    """A network in float64 with weights that are large enough for decided actions."""
    torch.manual_seed(0)
    model = small(kind, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def strings(batch, time):
    """Inputs of sequences with strings of 0, 1, 2, ... symbols; an episode may have no step after its string."""
    inputs = torch.randn(batch, time, 4).double()
    return inputs.masked_fill(torch.arange(time)[:, None] < torch.arange(batch)[:, None, None], 0)


def softmax(x):
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


class ByHand:
    """The equations for one sequence, memory by memory and cell by cell, with an Elman network as the controller."""

    def __init__(self, model, slots, length=0):
        self.model, self.slots, self.length = model, slots, length
        self.weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        self.count = getattr(model, "num_stacks", None) or model.num_tapes
        self.memories = np.zeros((self.count, slots, model.memory_width))
        self.hidden = np.zeros(model.controller.hidden_size)

    def linear(self, name, x):
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]

    def run(self, inputs):
        return np.array([self.step(x) for x in inputs])

    def step(self, x):
        shown = np.concatenate([x, *[memory[0] for memory in self.memories]])
        self.hidden = np.tanh(self.linear("controller.layers.0", np.concatenate([shown, self.hidden])))
        actions, vectors = self.interface()
        each = zip(self.memories, actions, vectors, strict=True)
        update = self.update_stack if isinstance(self.model, StackRNN) else self.update_tape
        self.memories = np.array([update(memory, softmax(a), v) for memory, a, v in each])
        return self.linear("output", self.hidden)

    def interface(self):
        emitted = self.linear("heads", self.hidden)
        width, count = self.model.memory_width, self.count
        if getattr(self.model, "write_hidden_size", 0):
            written = self.hidden
            for layer in range(3):
                written = self.linear(f"writer.{layer}", np.maximum(written, 0) if layer else written)
        else:
            emitted, written = emitted[: -count * width], emitted[-count * width :]
        return emitted.reshape(count, -1), written.reshape(count, width)

    def update_stack(self, stack, actions, pushed):
        push, pop, noop = actions
        after = np.zeros_like(stack)
        for i in range(self.slots):
            above = pushed if i == 0 else stack[i - 1]
            below = stack[i + 1] if i + 1 < self.slots else 0
            after[i] = push * above + pop * below + noop * stack[i]
        return after

    def update_tape(self, tape, actions, written):
        after, tape = np.zeros_like(tape), tape.copy()
        tape[0] = written
        for weight, move in zip(actions, (0, -1, 1, -self.length, self.length), strict=False):
            for i in range(self.slots):
                after[i] += weight * tape[(i + move) % self.slots]
        return after


@pytest.mark.parametrize(
    ("kind", "options"), [(kind, options) for kind, options in VARIANTS if "controller" not in options], ids=str
)
@pytest.mark.parametrize("slots", [None, 7])
@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_outputs_and_memories_are_those_of_the_equations(kind, options, slots, backend):
    model, inputs = drawn(kind, backend=backend, **options), torch.randn(2, 9, 4).double()
    inputs[:, :6, -1] = 0  # the length of the input is 6
    logits, state = model(inputs, model.initial_state(2, slots=slots) if slots else None)
    for i, sequence in enumerate(inputs.numpy()):
        hand = ByHand(model, slots or model.memory_slots, length=6)
        np.testing.assert_allclose(logits[i].detach(), hand.run(sequence), rtol=0, atol=1e-10)
        np.testing.assert_allclose(state.memory[0][i].detach(), hand.memories, rtol=0, atol=1e-10)


@every_variant
def test_keeps_the_promises_of_a_model(kind, options):
    if not options.get("length_oracle"):
        check_model(small(kind, **options))


@every_variant
def test_gradients_are_those_of_finite_differences(kind, options):
    model, inputs = drawn(kind, **{**options, "backend": "reference"}), torch.randn(2, 4, 4).double()
    names = [name for name, _ in model.named_parameters()]
    start = model.initial_state(2)
    state = start._replace(memory=start.memory._replace(**{start.memory._fields[0]: torch.randn_like(start.memory[0])}))

    def run(*tensors):
        parameters = dict(zip(names, tensors, strict=False))
        logits, end = torch.func.functional_call(model, parameters, (inputs, state))
        return logits, end.memory[0]

    parameters = tuple(parameter.detach().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(run, parameters, fast_mode=True)


#: Options of both networks, then those of one.
PROGRAMS = [
    *((kind, options) for kind in (StackRNN, TapeRNN) for options in ({}, {"memory_slots": 40}, {"hidden_size": 33})),
    *(
        (StackRNN, options)
        for options in ({"num_stacks": 2}, {"memory_slots": 1}, {"memory_slots": 2, "num_stacks": 3})
    ),
    *((TapeRNN, options) for options in ({"num_tapes": 3}, {"memory_slots": 2}, {"write_hidden_size": 0})),
    (TapeRNN, {"write_hidden_size": 19, "num_tapes": 2, "memory_width": 1}),
    *((TapeRNN, {**ORACLE, **options}) for options in ({}, {"memory_slots": 40, "hidden_size": 33})),
    *((TapeRNN, {**ORACLE, **options}) for options in ({"num_tapes": 3}, {"memory_slots": 2, "memory_width": 1})),
    (TapeRNN, {**ORACLE, "write_hidden_size": 0, "num_tapes": 2, "memory_width": 17}),
]


@pytest.mark.parametrize(("kind", "options"), PROGRAMS, ids=str)
@pytest.mark.parametrize("begun", [False, True])
def test_the_native_program_has_the_numbers_and_gradients_of_the_loop(kind, options, begun):
    model, inputs = drawn(kind, **options), strings(11, 9)
    empty = model.initial_state(11)
    assert_same_as_the_loop(model, inputs, empty if begun else None)


def assert_same_as_the_loop(model, inputs, empty):
    """Compare the programs from cells and hidden units that are drawn, or without a state."""
    start = [torch.randn_like(part) for part in (empty.memory[0], empty.controller.hidden)] if empty else []
    found = []
    for model.backend in ("reference", "cpu"):
        leaves = [part.clone().requires_grad_() for part in (inputs, *start)]
        logits, end = model(leaves[0], state_of(empty, *leaves[1:]) if empty else None)
        ends = [part for part in flatten(end) if part.is_floating_point()]
        loss = logits.square().sum() + sum(part.pow(3).sum() for part in ends)
        with torch.no_grad():
            again, last = model(inputs, state_of(empty, *start) if empty else None)
        gradients = torch.autograd.grad(loss, [*leaves, *model.parameters()])
        found.append([logits, again, *flatten(end), *flatten(last), *gradients])
    for expected, mine in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-10 * max(1, float(expected.detach().abs().max())))


@given(
    lengths=st.lists(st.integers(-30, 30) | INT64, min_size=1, max_size=10),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(2, 20), st.integers(1, 18), st.integers(1, 3)),
    writer=st.sampled_from([0, 1, 17]),
)
def test_the_native_program_jumps_by_any_length_as_the_loop_does(lengths, sizes, writer):
    time, hidden, slots, width, tapes = sizes
    options = {"hidden_size": hidden, "memory_width": width, "num_tapes": tapes, "write_hidden_size": writer}
    model = drawn(TapeRNN, **ORACLE, **options)
    with torch.no_grad():
        for parameter in model.parameters():  # with larger weights of many units, a rounding grows beyond 1e-10
            parameter.div_(parameter.shape[-1] ** 0.5)
    empty = model.initial_state(len(lengths), slots=slots, length=torch.tensor(lengths))
    assert_same_as_the_loop(model, strings(len(lengths), time), empty)


def state_of(like, cells, hidden):
    """Return a state with other cells and hidden units."""
    memory = like.memory._replace(**{like.memory._fields[0]: cells})
    return type(like)(memory, type(like.controller)(hidden))


@with_oracle
def test_the_native_program_computes_in_float32_with_any_number_of_threads(kind, options):
    torch.manual_seed(0)
    model, inputs, threads = small(kind, **options), strings(19, 7).float().requires_grad_(), torch.get_num_threads()
    model.backend = "reference"
    expected, _ = model(inputs)
    model.backend = "cpu"
    try:
        answers = []
        for count in (1, 3):
            torch.set_num_threads(count)
            logits, _ = model(inputs)
            answers.append([logits, *torch.autograd.grad(logits.square().sum(), [inputs, *model.parameters()])])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(answers[0][0], expected, rtol=0, atol=1e-5)
    assert all(map(torch.equal, *answers))


@with_oracle
def test_the_native_program_runs_what_it_can(kind, options):
    inputs, hooked, layers = torch.zeros(1, 2, 4), small(kind, **options), small(kind, num_layers=2, **options)
    assert small(kind, **options).backend_for(inputs) == "cpu"
    hooked.heads.register_forward_hook(lambda *_: None)
    for model in (layers, small(kind, controller="gru", **options), hooked):
        assert model.backend_for(inputs) == "reference"
    layers.backend = "cpu"
    with pytest.raises(ValueError, match=r"cannot run this call: the controller has 2 layers, not 1"):
        layers(inputs)
    written = small(TapeRNN, **options)
    written.writer[1] = torch.nn.Identity()
    assert written.backend_for(inputs) == "reference"
    empty = small(kind, **options)(torch.zeros(0, 2, 4))[0]
    assert empty.shape == (0, 2, 2)


@pytest.mark.parametrize("oracle", [False, True])
def test_a_memory_with_jumps_but_without_their_actions_is_left_to_the_loop(oracle):
    model, inputs = small(TapeRNN, length_oracle=oracle), torch.zeros(1, 2, 4)
    model.memory.length_oracle = not oracle
    assert model.backend_for(inputs) == "reference"
    with pytest.raises(ValueError, match=r"^actions must have \d weights"):
        model(inputs)
    model.backend = "cpu"
    numbers = "8 numbers, not 6" if oracle else "6 numbers, not 8"
    with pytest.raises(ValueError, match=rf"the interface vector of the memory has {numbers}\."):
        model(inputs)


class Length(torch.Tensor):
    """Lengths with behaviour of their own."""


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (torch.ones(3, dtype=torch.int64).as_subclass(Length), "is a Length that cannot be read by its address"),
        (torch.ones(2, dtype=torch.int64), r"has shape \(2,\), not \(3,\)"),
        (torch.ones(3, dtype=torch.int64, device="meta"), "is on meta, the inputs are on cpu"),
        (torch.ones(3, dtype=torch.int64).to_sparse(), "is a Tensor that cannot be read by its address"),
        (torch.ones(3), "is torch.float32, not torch.int64"),
    ],
    ids=["subclass", "shape", "device", "sparse", "dtype"],
)
def test_the_native_program_refuses_lengths_that_are_not_plain(length, reason):
    model, inputs = small(TapeRNN, **ORACLE), torch.zeros(3, 2, 4)
    state = model.initial_state(3)
    state = state._replace(memory=state.memory._replace(length=length))
    assert re.search(rf"^state\.memory\.length {reason}\.$", cells_refusal(model, inputs, state))


def test_a_change_of_the_lengths_after_a_call_does_not_change_its_gradients():
    model, inputs, found = drawn(TapeRNN, **ORACLE, backend="cpu"), strings(3, 5).requires_grad_(), []
    for change in (0, 1):
        start = model.initial_state(3, length=torch.tensor([1, 2, 3]))
        logits, end = model(inputs, start)
        for state in (start, end):
            state.memory.length.add_(change)
        (first,) = torch.autograd.grad(logits.pow(3).sum(), inputs, create_graph=True)
        found.append([first, *torch.autograd.grad(first.square().sum(), [inputs])])
    assert all(map(torch.equal, *found))


@with_oracle
def test_second_derivatives_behind_the_native_program_are_those_of_the_loop(kind, options):
    model, inputs = drawn(kind, backend="cpu", **options), strings(3, 3).requires_grad_()
    found = []
    for model.backend in ("reference", "cpu"):
        (first,) = torch.autograd.grad(model(inputs)[0].pow(3).sum(), inputs, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [inputs, *model.parameters()], allow_unused=True))
    for expected, mine in zip(*found, strict=True):
        assert (mine is None) == (expected is None)
        if mine is not None:
            torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@both
def test_the_loop_can_be_differentiated_twice(kind):
    model, inputs = drawn(kind, backend="reference"), torch.randn(1, 3, 4).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: model(x)[0], inputs, fast_mode=True)


@given(actions=ACTIONS, slots=st.integers(1, 6))
def test_decided_actions_are_those_of_a_stack(actions, slots):
    stack, kept = torch.zeros(slots, 1), []
    for number, action in enumerate(actions, start=1):
        stack = fn.update_stack(stack, torch.eye(3)[action], torch.tensor([float(number)]))
        kept = {0: [number, *kept], 1: kept[1:], 2: kept}[action][:slots]
        assert stack[:, 0].tolist() == kept + [0] * (slots - len(kept))


@given(
    actions=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    slots=st.integers(2, 6),
    jump=st.integers(-9, 9) | INT64,
)
def test_decided_actions_are_those_of_a_tape_with_a_head(actions, slots, jump):
    tape, cells, head = torch.zeros(slots, 1), [0] * slots, 0
    for number, action in enumerate(actions, start=1):
        written = torch.tensor([float(number)])
        tape = fn.update_tape(tape, torch.eye(5)[action], written, torch.tensor(jump))
        cells[head] = number
        head = (head + [0, -1, 1, -jump, jump][action]) % slots
        assert tape[:, 0].tolist() == cells[head:] + cells[:head]


@both
def test_more_slots_at_test_change_nothing_before_the_memory_is_full(kind):
    model, inputs = drawn(kind), torch.randn(2, 4, 4).double()
    few, _ = model(inputs)
    many, state = model(inputs, model.initial_state(2, slots=50))
    if kind is StackRNN:
        torch.testing.assert_close(few, many, rtol=0, atol=1e-12)
    assert model.memory.slots_of(state.memory) == 50
    assert model.memory_slots == 5


@both
@pytest.mark.parametrize("slots", [2, 9, 34, 35, 70])
@pytest.mark.parametrize("time", [16, 17, 40])
def test_a_sequence_without_a_state_is_that_from_the_first(kind, slots, time):
    model, inputs = drawn(kind, memory_slots=slots), torch.randn(2, time, 4).double()
    torch.testing.assert_close(model(inputs), model(inputs, model.initial_state(2)), rtol=0, atol=1e-12)


def test_the_length_of_the_input_is_counted_for_each_sequence():
    model, inputs = drawn(TapeRNN, length_oracle=True), torch.randn(2, 6, 4).double()
    inputs[..., -1] = 1
    inputs[0, :2, -1] = inputs[1, :4, -1] = 0
    whole, state = model(inputs)
    assert state.memory.length.tolist() == [2, 4]
    assert model.trace(inputs)["moves"][:, 0].tolist() == [[0, -1, 1, -2, 2], [0, -1, 1, -4, 4]]
    start = model.initial_state(2, length=torch.tensor([2, 4]))
    first, state = model(inputs[:, :1], start)
    rest, _ = model(inputs[:, 1:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, rtol=0, atol=1e-12)
    alone, _ = model(inputs[:1])
    torch.testing.assert_close(alone, whole[:1], rtol=0, atol=1e-12)
    padded, _ = model(inputs, lengths=torch.tensor([5, 6]))
    torch.testing.assert_close(padded[0, :5], whole[0, :5], rtol=0, atol=1e-12)


def test_members_of_a_stack_are_told_the_length_too():
    members, inputs = [drawn(TapeRNN, length_oracle=True) for _ in range(2)], torch.randn(2, 3, 6, 4).double()
    inputs[..., :4, -1] = 0
    stack = Stack(members)
    assert stack.backend_for(inputs) == "cpu"
    logits, state = stack(inputs)
    assert state.memory.length.tolist() == [[4] * 3] * 2
    torch.testing.assert_close(logits[1], members[1](inputs[1])[0], rtol=0, atol=1e-12)
    stack.backend = "reference"
    torch.testing.assert_close(stack(inputs)[0], logits, rtol=0, atol=1e-12)


@both
def test_a_trace_has_what_happened(kind):
    model, inputs = drawn(kind), torch.randn(2, 5, 4).double()
    trace, (_, end) = model.trace(inputs), model(inputs)
    name, vectors = ("stack", "pushed") if kind is StackRNN else ("tape", "written")
    torch.testing.assert_close(trace[f"{name}s"][:, -1], end.memory[0])
    assert trace[f"{name}_actions"].shape == (2, 5, 1, 3)
    torch.testing.assert_close(trace[f"{name}_actions"].sum(-1), torch.ones(2, 5, 1).double())
    assert trace[vectors].shape == (2, 5, 1, 3)


@both
def test_a_network_and_its_state_can_be_pickled(kind):
    model, inputs = small(kind), torch.randn(2, 3, 4)
    logits, state = model(inputs)
    again, kept = pickle.loads(pickle.dumps((model, mapped(torch.Tensor.detach, state))))
    torch.testing.assert_close(again(inputs)[0], logits)
    assert type(kept) is type(state)
    assert all(map(torch.equal, flatten(kept), flatten(state)))


@both
def test_a_controller_of_your_own_is_taken(kind):
    own = GRUController(4 + 3, 6)
    model = kind(4, 2, memory_width=3, controller=own)
    assert model.controller is own
    check_model(model)
    with pytest.raises(ValueError, match=r"^hidden_size \(=7\) cannot be given with a controller of your own\.$"):
        kind(4, 2, memory_width=3, controller=own, hidden_size=7)


@pytest.mark.parametrize("memory", [StackMemory(6, 3), TapeMemory(6, 3, num_tapes=2)], ids=["stack", "tape"])
def test_an_ntm_takes_the_memory(memory):
    check_model(NTM(4, 2, memory=memory))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (StackRNN, {"memory_slots": 0}, "memory_slots (=0) must be at least 1."),
        (StackRNN, {"num_stacks": 0}, "num_stacks (=0) must be at least 1."),
        (TapeRNN, {"memory_slots": 1}, "memory_slots (=1) must be at least 2."),
        (TapeRNN, {"num_tapes": 0}, "num_tapes (=0) must be at least 1."),
        (TapeRNN, {"memory_width": 0}, "memory_width (=0) must be at least 1."),
        (TapeRNN, {"write_hidden_size": -1}, "write_hidden_size (=-1) must be at least 0."),
        (
            TapeRNN,
            {"length_oracle": True, "checkpoint_every": 2},
            "checkpoint_every (=2) cannot be given with length_oracle, which reads whole sequences.",
        ),
    ],
)
def test_what_is_out_of_range_is_named(kind, options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        kind(3, 2, **options)
    assert str(error.value) == message


def test_starts_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"^slots \(=1\) must be at least 2\.$"):
        small(TapeRNN).initial_state(2, slots=1)
    with pytest.raises(ValueError, match=r"^slots \(=0\) must be at least 1\.$"):
        small(StackRNN).initial_state(2, slots=0)
    with pytest.raises(ValueError, match=r"^length \(=3\) cannot be given without length_oracle\.$"):
        small(TapeRNN).initial_state(2, length=3)


def test_jumps_are_by_the_length_of_a_sequence_without_its_padding():
    torch.manual_seed(0)
    model = TapeRNN(3, 2, length_oracle=True, hidden_size=6, memory_slots=7)
    with torch.no_grad():
        model.heads.weight.normal_(0, 6)
    inputs, lengths = torch.rand(5, 9, 3), [9, 4, 3, 6, 5]
    inputs[..., -1] = 0
    inputs[0, 7, -1] = inputs[3, 2, -1] = inputs[4, 0, -1] = 1  # the ends of the strings; that of 4 is empty
    padding = torch.arange(9) >= torch.tensor(lengths)[:, None]
    for filled in (0.0, 1.0, math.nan):
        padded = inputs.masked_fill(padding[..., None], filled)
        logits, state = model(padded, lengths=torch.tensor(lengths))
        assert state.memory.length.tolist() == [7, 4, 3, 2, 0]
        for i, length in enumerate(lengths):
            alone, end = model(inputs[i : i + 1, :length])
            torch.testing.assert_close(logits[i, :length], alone[0])
            assert not logits[i, length:].any()
            torch.testing.assert_close(state.memory.tapes[i], end.memory.tapes[0])
    told = model.initial_state(5, length=4)
    logits, state = model(inputs.masked_fill(padding[..., None], 0), told, torch.tensor(lengths))
    assert state.memory.length.tolist() == [4] * 5
    torch.testing.assert_close(logits[3, :6], model(inputs[3:4, :6], model.initial_state(1, length=4))[0][0])


def test_networks_that_read_ahead_are_not_run_in_parts():
    models = [TapeRNN(3, 2, length_oracle=oracle, controller="gru", hidden_size=4) for oracle in (True, False)]
    assert [model.reads_ahead for model in models] == [True, False]
    inputs = [torch.rand(1, 4, 3), torch.rand(1, 6, 3)]
    for one in inputs:
        one[..., -1] = 0
    assert "must see each sequence as a whole" in refusal([models[0], models[0]], inputs)
    assert refusal([models[1], copy.deepcopy(models[1])], inputs) is None


#: In a process of its own: the checking of annotations in this one cannot be traced.
COMPILED = """
import torch
from lightning_ntm import TapeRNN
model, inputs = TapeRNN(3, 2, length_oracle=True, hidden_size=4), torch.rand(2, 5, 3)
inputs[..., -1] = 0
inputs[:, 3, -1] = 1
compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
torch.testing.assert_close(compiled(inputs)[0], model(inputs)[0])
"""


def test_a_tape_with_jumps_is_compiled_in_one_graph():
    scripted(COMPILED)


@pytest.mark.parametrize(
    ("actions", "jump", "message"),
    [
        (5, None, "actions must have 3 weights without a jump, got 5."),
        (3, torch.tensor(1), "actions must have 5 weights with a jump, got 3."),
        (4, torch.tensor(1), "actions must have 5 weights with a jump, got 4."),
    ],
)
def test_a_tape_takes_as_many_actions_as_there_are(actions, jump, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        fn.update_tape(torch.zeros(4, 2), torch.ones(actions) / actions, torch.zeros(2), jump)
    assert str(error.value) == message
