"""What holds for every network of the package in the precisions and on the devices that PyTorch has."""

import copy
import io

import jaxtyping
import numpy as np
import pytest
import torch

from lightning_ntm import DNC, GRU, LSTM, NTM, RNN, SAM, SDNC, Stack, StackRNN, TapeRNN, Transformer
from lightning_ntm.explorer.network import why_not
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.ntm_memory import NTMMemory
from lightning_ntm.states import flatten

SIZES = {"hidden_size": 8, "memory_slots": 6, "memory_width": 4}
NETWORKS = {
    "NTM": lambda: NTM(3, 2, **SIZES),
    "DNC": lambda: DNC(3, 2, **SIZES),
    "SAM": lambda: SAM(3, 2, **SIZES),
    "SDNC": lambda: SDNC(3, 2, num_links=3, **SIZES),
    "LSTM": lambda: LSTM(3, 2, hidden_size=8),
    "GRU": lambda: GRU(3, 2, hidden_size=8, num_layers=2),
    "RNN": lambda: RNN(3, 2, hidden_size=8, num_layers=2),
    "Stack-RNN": lambda: StackRNN(3, 2, hidden_size=8, memory_width=4),
    "Stack-RNN with a GRU": lambda: StackRNN(3, 2, hidden_size=8, memory_width=4, controller="gru"),
    "Tape-RNN": lambda: TapeRNN(3, 2, hidden_size=8, memory_width=4),
    "Tape-RNN with jumps": lambda: TapeRNN(3, 2, hidden_size=8, memory_width=4, length_oracle=True),
    "Transformer": lambda: Transformer(3, 2, hidden_size=8, num_layers=1, num_heads=2),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
every_half = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


@every_network
@every_half
def test_half_precision_is_near_and_has_finite_gradients(make, dtype):
    model, inputs = make(), torch.randn(3, 5, 3)
    half = copy.deepcopy(model).to(dtype)
    logits, state = half(inputs.to(dtype))
    logits.float().square().sum().backward()
    assert (logits.float() - model(inputs)[0]).abs().max() < 0.05
    assert {part.dtype for part in flatten(state)} <= {torch.float32, torch.int64}
    assert all(p.grad is None or p.grad.isfinite().all() for p in half.parameters())


@every_network
@every_half
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_autocast_is_near_and_keeps_the_kernel(make, dtype, backend):
    model, inputs = make(), torch.randn(3, 5, 3)
    model.backend = backend
    kernel = model.backend_for(inputs)
    with torch.autocast("cpu", dtype):
        assert model.backend_for(inputs) == kernel
        logits, _ = model(inputs)
    logits.float().square().sum().backward()
    assert logits.dtype == dtype
    assert (logits.float() - model(inputs)[0]).abs().max() < 0.1


@every_network
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_sequence_goes_on_under_autocast(make, backend):
    model, inputs = make(), torch.randn(3, 5, 3)
    model.backend = backend
    with torch.autocast("cpu", torch.bfloat16):
        _, state = model(inputs)
        logits, _ = model(inputs, state)
    assert {part.dtype for part in flatten(state)} <= {torch.float32, torch.int64}
    assert (logits.float() - model(inputs, model(inputs)[1])[0]).abs().max() < 0.1


@every_network
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_an_empty_batch_has_logits_of_no_sequence(make, backend):
    model, inputs = make(), torch.randn(0, 5, 3, requires_grad=True)
    model.backend = backend
    logits, state = model(inputs)
    logits.sum().backward()
    rest, _ = model(inputs, state)
    padded, _ = model(inputs, lengths=torch.zeros(0, dtype=torch.int64))
    step, _ = model.step(inputs[:, 0], model.initial_state(0))
    assert logits.shape == rest.shape == padded.shape == model.trace(inputs)["logits"].shape == (0, 5, 2)
    assert step.shape == (0, 2)


def twice(found):
    logits, *more = found
    return (2 * logits, *more)


@every_network
def test_another_step_is_run_and_traced(make):
    plain, inputs = make(), torch.randn(3, 5, 3)
    expected = 2 * plain(inputs)[0].detach()
    kind = type(plain)
    doubled = type("Doubled", (kind,), {"step": lambda self, x, state: twice(kind.step(self, x, state))})
    of_class, of_instance = copy.deepcopy(plain), copy.deepcopy(plain)
    of_class.__class__ = doubled
    of_instance.step = lambda x, state: twice(plain.step(x, state))
    for model in (of_class, of_instance):
        for backend in ("auto", "reference"):
            model.backend = backend
            torch.testing.assert_close(model(inputs)[0].detach(), expected)
            assert model.backend_for(inputs) == "reference"
        torch.testing.assert_close(model.trace(inputs)["logits"], expected)


@pytest.mark.parametrize("name", ["NTM", "DNC", "SAM", "SDNC", "Stack-RNN", "Tape-RNN"])
def test_another_step_of_a_memory_is_run_and_traced(name):
    inputs = torch.randn(3, 5, 3)

    def reversed_state(state):
        return state._replace(**{state._fields[0]: state[0].flip(-1)})

    def of_class(memory):
        kind = type(memory)
        step = {"step": lambda self, interface, state: reversed_state(kind.step(self, interface, state))}
        memory.__class__ = type("Reversing", (kind,), step)

    def of_instance(memory):
        before = memory.step
        memory.step = lambda interface, state: reversed_state(before(interface, state))

    def by_hook(memory):
        memory.register_forward_hook(lambda module, given, state: reversed_state(state))

    for change in (of_class, of_instance, by_hook):
        model = NETWORKS[name]()
        change(model.memory)
        logits = model(inputs)[0].detach()
        torch.testing.assert_close(model.trace(inputs)["logits"], logits)


@pytest.mark.parametrize(
    ("name", "part", "method"),
    [
        *((name, "memory", "reads") for name in ("NTM", "DNC", "SAM", "Stack-RNN", "Tape-RNN")),
        *((name, "controller", "recur") for name in ("NTM", "LSTM", "GRU", "RNN", "Stack-RNN", "Tape-RNN")),
    ],
)
def test_another_method_of_a_part_is_run(name, part, method):
    model, inputs = NETWORKS[name](), torch.randn(3, 5, 3)
    before, own = model(inputs)[0].detach(), getattr(getattr(model, part), method)
    calls = []
    setattr(getattr(model, part), method, lambda *given: calls.append(1) or own(*given))
    torch.testing.assert_close(model(inputs)[0].detach(), before)
    assert calls
    assert why_not(model)


def test_what_observes_another_step_itself_is_not_replaced():
    class Doubled(NTM):
        def step(self, x, state):
            return twice(super().step(x, state))

        def observe(self, x, state):
            return twice(super().observe(x, state))

    model, inputs = Doubled(3, 2, **SIZES), torch.randn(3, 5, 3)
    traced = model.trace(inputs)
    torch.testing.assert_close(traced["logits"], model(inputs)[0].detach())
    assert "read_weights" in traced


@every_network
def test_shapes_are_found_on_the_meta_device(make):
    logits, _ = make().to("meta")(torch.zeros(3, 5, 3, device="meta"))
    assert (logits.shape, logits.device.type) == ((3, 5, 2), "meta")


@every_network
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("parameters", [torch.float32, torch.float64], ids=str)
def test_inputs_in_a_narrower_dtype_are_those_numbers(make, backend, parameters):
    model, inputs = make().to(parameters), torch.randint(2, (3, 5, 3))
    model.backend = backend
    expected, _ = model(inputs.to(parameters))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        logits, _ = model(inputs.to(dtype))
        torch.testing.assert_close(logits, expected)  # another backend may run it


@every_network
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_inputs_of_more_bits_are_refused(make, backend):
    model = make()
    model.backend = backend
    says = r"^inputs must be in torch.float32, the dtype of the network's weights, got torch.float64\.$"
    with pytest.raises(TypeError, match=says):
        model(torch.zeros(3, 5, 3, dtype=torch.float64))
    with pytest.raises(TypeError, match=says):
        model.step(torch.zeros(3, 3, dtype=torch.float64), model.initial_state(3))


@every_network
def test_states_are_loaded_by_default(make):
    written, (_, state) = io.BytesIO(), make()(torch.randn(3, 5, 3))
    torch.save({"state": state, "step": 7}, written)
    written.seek(0)
    found = torch.load(written)["state"]  # as weights only
    assert type(found) is type(state)
    assert all(torch.equal(*pair) for pair in zip(flatten(found), flatten(state), strict=True))


@pytest.fixture
def _unannotated():
    """The checks of annotations, which users do not have, come before those of the package."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_unannotated")
@pytest.mark.parametrize("slots", [40.0, 40.5, True, "40"], ids=str)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("LSTM", "GRU", "RNN")])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_slots_are_a_whole_number(name, slots, side_by_side):
    network = Stack([NETWORKS[name]()]) if side_by_side else NETWORKS[name]()
    with pytest.raises(TypeError, match=f"^slots must be a whole number, not {type(slots).__name__} "):
        network.initial_state(2, slots=slots)
    assert flatten(network.initial_state(2, slots=np.int64(40)))[0].shape[-2] == 40


@pytest.mark.usefixtures("_unannotated")
@pytest.mark.parametrize(
    ("length", "error", "says"),
    [
        (7.5, TypeError, r"length must be a whole number, not float \(7.5\)"),
        (True, TypeError, "length must be a whole number, not bool"),
        (torch.tensor([7.5, 3]), TypeError, "length must be a whole number or a tensor of int64, not of torch.float32"),
        (
            torch.tensor([True, False]),
            TypeError,
            "length must be a whole number or a tensor of int64, not of torch.bool",
        ),
        (torch.tensor([7, 3, 2]), ValueError, r"length must have shape \(2,\), got \(3,\)"),
        (-1, ValueError, r"length \(=-1\) must be at least 0"),
    ],
    ids=str,
)
def test_the_length_of_a_tape_is_a_whole_number(length, error, says):
    with pytest.raises(error, match=f"^{says}"):
        TapeRNN(3, 2, length_oracle=True).initial_state(2, length=length)


@pytest.mark.usefixtures("_unannotated")
@pytest.mark.parametrize("length", [3, np.int64(3), torch.tensor(3), torch.tensor([3, 3], dtype=torch.int32)], ids=str)
def test_the_length_of_a_tape_may_be_of_any_type_of_whole_numbers(length):
    state = TapeRNN(3, 2, length_oracle=True).initial_state(2, length=length)
    torch.testing.assert_close(state.memory.length, torch.tensor([3, 3]))


OTHERS = [torch.float64, torch.float32]


@every_network
@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_assigned_parameters_say_what_the_state_is_like(make, dtype):
    inputs = torch.randn(3, 20, 3, dtype=dtype)
    given, other = make().to(dtype), make().to(*[one for one in OTHERS if one != dtype])
    with torch.device("meta"):
        empty = make()
    for network in (other, empty):
        network.load_state_dict(given.state_dict(), assign=True)
        assert {part.dtype for part in flatten(network(inputs)[1])} <= {dtype, torch.int64}
        assert network.backend_for(inputs) == given.backend_for(inputs)
        torch.testing.assert_close(network(inputs)[0], given(inputs)[0], rtol=0, atol=0)
        Stack([network, given])  # neither in buffers do they differ
        assert next(network.to("meta").to_empty(device="cpu").parameters()).device.type == "cpu"


@every_network
def test_parameters_of_a_call_say_what_the_state_is_like(make):
    network, inputs = make(), torch.randn(3, 20, 3, dtype=torch.float64)
    parameters = {name: tensor.double() for name, tensor in network.state_dict().items()}
    logits, state = torch.func.functional_call(network, parameters, (inputs,))
    assert {part.dtype for part in flatten(state)} <= {torch.float64, torch.int64}
    torch.testing.assert_close(logits, copy.deepcopy(network).double()(inputs)[0])


@pytest.mark.parametrize("name", ["NTM", "DNC", "SAM", "SDNC", "Stack-RNN", "Tape-RNN"])
def test_a_new_memory_is_like_the_network(name):
    network, inputs = NETWORKS[name]().double(), torch.randn(3, 20, 3, dtype=torch.float64)
    expected = network(inputs)[0]
    network.memory = NETWORKS[name]().memory
    torch.testing.assert_close(network(inputs)[0], expected, rtol=0, atol=0)


def test_a_memory_in_a_network_of_ones_own_follows_assigned_parameters():
    class Own(MemoryModel):
        def __init__(self):
            super().__init__(3, 2)
            self.memory = NTMMemory(6, 4)
            self.heads, self.output = torch.nn.Linear(3, self.memory.interface_size), torch.nn.Linear(4, 2)

        def initial_state(self, *batch):
            return self.memory.initial_state(*batch)

        def step(self, x, state):
            state = self.memory(self.heads(x), state)
            return self.output(self.memory.reads(state)), state

    network, inputs = Own(), torch.randn(3, 5, 3, dtype=torch.float64)
    network.load_state_dict(Own().double().state_dict(), assign=True)
    assert network(inputs)[1].memory.dtype == torch.float64


def test_a_memory_with_an_initial_state_of_its_own_takes_only_what_it_declares():
    class Full(NTMMemory):
        def initial_state(self, *batch, slots=None):
            return super().initial_state(*batch, slots=slots)

    assert not Full.takes_like
    assert NTM(3, 2, memory=Full(6, 4))(torch.randn(3, 5, 3))[0].shape == (3, 5, 2)
