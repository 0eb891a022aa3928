"""The loop as CUDA graphs against the loop itself: on a GPU, and on a CPU with a stand-in that records operations."""

import copy
import gc
import pickle
import random
import threading
import weakref
from typing import NamedTuple

import numpy as np
import pytest
import recorder
import torch
from torch import nn

from lightning_ntm import LSTM, NTM, MemoryModel
from lightning_ntm.kernels import choice, graphs
from lightning_ntm.states import flatten, unflatten
from lightning_ntm.testing import check_model

SMALL = {"hidden_size": 6, "memory_slots": 5, "memory_width": 4}
CONFIGURATIONS = [
    {},
    {"controller": "feedforward"},
    {"num_layers": 2, "num_read_heads": 2, "num_write_heads": 2, "gradient_limit": 0.01},
    {"memory_init": "learned", "head_init": "learned"},
    {"memory_init": "random"},
]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    for kind in (NTM, LSTM, Cell):
        monkeypatch.setattr(kind, "kernels", MemoryModel.common_kernels)  # so that `auto` takes the graphs
    if request.param == "cpu":
        monkeypatch.setattr(graphs, "Memory", recorder.Memory)
        monkeypatch.setattr(graphs, "_current_stream", lambda device: device)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        monkeypatch.setitem(choice._loaded, "lightning_ntm.kernels.graphs:refusal", graphs.obstacle)
    return request.param


@pytest.fixture
def captures(monkeypatch):
    """What was captured: the shapes of the inputs."""
    seen, capture = [], graphs.Graph

    class Counted(capture):
        def __init__(self, memory, model, inputs, state, tensors):
            seen.append(tuple(inputs.shape))
            super().__init__(memory, model, inputs, state, tensors)

    monkeypatch.setattr(graphs, "Graph", Counted)
    return seen


class State(NamedTuple):
    kept: torch.Tensor
    steps: torch.Tensor


class Cell(MemoryModel[State]):
    """A network of a user, with parts that a test can change."""

    def __init__(self, backend="auto", **options):
        super().__init__(3, 2, backend, **options)
        self.inner = nn.Linear(3 + 4, 4)
        self.outer = nn.Linear(4, 2)
        self.register_buffer("scale", torch.ones(4))
        self.dropout = nn.Dropout(0.5)
        self.extra, self.settings, self.tensor = same, {"gain": 1.0}, None
        self.eval()

    def initial_state(self, batch_size):
        return State(
            self.scale.new_zeros(batch_size, 4), torch.zeros(batch_size, dtype=torch.long, device=self.scale.device)
        )

    def step(self, x, state):
        kept = torch.tanh(self.inner(torch.cat([x, state.kept * self.scale], dim=-1)))
        kept = self.extra(self.dropout(kept) * self.settings["gain"])
        if self.tensor is not None:
            kept = kept * self.tensor
        return self.outer(kept), State(kept, state.steps + 1)


def same(hidden):
    return hidden


def halved(hidden):
    return hidden / 2


def synchronizing(hidden):
    return hidden * float(hidden.abs().max().item() > -1)


def counting(hidden):
    return hidden * OUTSIDE.to(hidden)


OUTSIDE = torch.ones(4, dtype=torch.float64, requires_grad=True)


def build(device, kind=NTM, **options):
    options = {**SMALL, **options} if kind is NTM else options
    arguments = () if issubclass(kind, Cell) else (3, 2)
    return kind(*arguments, **{"backend": "graphs", **options}).double().to(device)


def sequence(device, batch=3, time=4, **options):
    return torch.randn(batch, time, 3, dtype=torch.float64, device=device, **options)


def results(model, inputs, state=None, backend=None):
    """Outputs, last state and every gradient, those of inputs and of a given state included."""
    before, model.backend = model.backend, backend or model.backend
    inputs = inputs.detach().clone().requires_grad_()
    given = [part.detach().clone().requires_grad_(part.is_floating_point()) for part in flatten(state or ())]
    logits, end = model(inputs, unflatten(state, given) if state else None)
    end = flatten(end)
    model.backend = before
    total = sum((part * (1 + index)).square().sum() for index, part in enumerate((logits, *end)))
    leaves = [t for t in (inputs, *given, *model.parameters()) if t.requires_grad]
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return [logits, *end, *(torch.zeros_like(t) if g is None else g for t, g in zip(leaves, found, strict=True))]


def assert_same(mine, reference):
    # The kernels are those of the loop; cuBLAS may take another for another workspace.
    for one, other in zip(mine, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, check_stride=False)


def assert_equals_loop(model, inputs, state=None):
    assert_same(results(model, inputs, state), results(model, inputs, state, "reference"))


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
def test_equals_the_loop_call_after_call(device, options, captures):
    model = build(device, **options)
    for _ in range(3):
        assert_equals_loop(model, sequence(device))
    assert captures == [(3, 4, 3)]
    for _ in range(2):
        state = model(sequence(device), None)[1]
        assert_equals_loop(model, sequence(device), state)


@pytest.mark.parametrize("kind", [LSTM, Cell])
def test_equals_the_loop_of_any_model(device, kind, captures):
    model = build(device, kind)
    for inputs in (sequence(device), sequence(device), sequence(device, 1, 1), sequence(device)):
        assert_equals_loop(model, inputs)
    assert captures == [(3, 4, 3), (1, 1, 3)]


@pytest.mark.parametrize("kind", [NTM, LSTM, Cell])
def test_a_model_keeps_its_promises(device, kind):
    check_model(build(device, kind, backend="auto"))


def test_without_gradients(device, captures):
    model = build(device)
    inputs, other = sequence(device), sequence(device)
    expected = [result.detach() for result in results(model, inputs, backend="reference")[:6]]
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        for numbers in (other, inputs):
            with mode():
                logits, end = model(numbers)
        assert logits.requires_grad == (mode is torch.enable_grad)
        assert_same([logits, *flatten(end)], expected)
    assert len(captures) == 3
    assert_equals_loop(model, inputs)


def test_parameters_that_need_no_gradient_get_none(device):
    model = build(device)
    model.heads.requires_grad_(False)
    model(sequence(device))[0].sum().backward()
    assert model.heads.weight.grad is None
    assert model.output.weight.grad is not None
    assert_equals_loop(model, sequence(device))
    model.heads.requires_grad_(True)
    assert_equals_loop(model, sequence(device))
    model.requires_grad_(False)
    assert not model(sequence(device))[0].requires_grad
    assert_equals_loop(model, sequence(device))


def test_a_training_is_that_of_the_loop(device, captures):
    trained = []
    for backend in ("auto", "reference"):
        torch.manual_seed(1)
        model = build("cpu", backend=backend).to(device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(8):
            inputs = torch.randn(3, 4, 3, dtype=torch.float64).to(device)
            optimizer.zero_grad()
            logits, _ = model(inputs)
            loss = logits.square().mean()  # it, and what it was computed by, lives until the next is there
            loss.backward()
            optimizer.step()
        trained.append([loss, *model.parameters()])
    assert captures == [(3, 4, 3)]
    assert_same(*trained)


def test_gradients_add_up(device):
    model, first, second = build(device), sequence(device), sequence(device)
    for inputs in (first, second):
        model(inputs)[0].square().sum().backward()
    mine = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.backend = "reference"
    for inputs in (first, second):
        model(inputs)[0].square().sum().backward()
    assert_same(mine, [parameter.grad for parameter in model.parameters()])


def test_what_was_returned_stays_as_it_was(device):
    model = build(device)
    logits, end = model(sequence(device))
    logits.sum().backward()
    held = [logits, *flatten(end), *(parameter.grad for parameter in model.parameters())]
    values = [tensor.detach().clone() for tensor in held]
    model.zero_grad()
    for _ in range(2):
        model(sequence(device))[0].square().sum().backward()
    assert all(torch.equal(now, then) for now, then in zip(held, values, strict=True))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_backwards_may_come_after_other_calls_in_any_order(device, order):
    model = build(device)
    calls = [sequence(device), sequence(device), sequence(device, time=6)]
    expected = [results(model, inputs, backend="reference")[6:] for inputs in calls]
    leaves = [inputs.clone().requires_grad_() for inputs in calls]
    outputs = [model(leaf) for leaf in leaves]
    for index in order:
        logits, end = outputs[index]
        total = sum((part * (1 + i)).square().sum() for i, part in enumerate((logits, *flatten(end))))
        assert_same(torch.autograd.grad(total, [leaves[index], *model.parameters()]), expected[index])


def test_backward_through_a_sequence_in_pieces(device):
    model, inputs = build(device), sequence(device, time=9)

    def gradients(backend):
        model.backend, state, logits = backend, None, []
        for piece in inputs.split(3, dim=1):
            answered, state = model(piece, state)
            logits.append(answered)
        return torch.autograd.grad(torch.cat(logits, dim=1).square().sum(), list(model.parameters()))

    assert_same(gradients("graphs"), gradients("reference"))


def test_backward_twice_needs_its_graph_retained(device):
    model = build(device)
    parameters = list(model.parameters())
    loss = model(sequence(device))[0].square().sum()
    once = torch.autograd.grad(loss, parameters, retain_graph=True)
    assert_same(torch.autograd.grad(loss, parameters, retain_graph=True), once)
    model(sequence(device))[0].sum().backward()
    assert_same(torch.autograd.grad(loss, parameters), once)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, parameters)


def test_a_parameter_that_changed_before_the_backward_is_an_error_as_in_the_loop(device):
    model = build(device)
    loss = model(sequence(device))[0].square().sum()
    with torch.no_grad():
        model.heads.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_derivative_is_an_error(device):
    model, inputs = build(device), sequence(device, requires_grad=True)
    for cost in (model(inputs)[0].square().sum(), model(inputs)[0].sum()):
        with pytest.raises(RuntimeError, match='set backend="reference"'):
            torch.autograd.grad(cost, inputs, create_graph=True)


@pytest.mark.parametrize("part", range(6))
def test_backward_from_one_output_alone(device, part):
    model, inputs, found = build(device, memory_init="learned"), sequence(device), {}
    model(inputs)[0].sum().backward()  # leaves other gradients in the memory of the graph
    for backend in ("graphs", "reference"):
        model.backend = backend
        leaf = inputs.clone().requires_grad_()
        logits, end = model(leaf)
        leaves = [leaf, *model.parameters()]
        gradients = torch.autograd.grad([logits, *flatten(end)][part].square().sum(), leaves, allow_unused=True)
        found[backend] = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, gradients, strict=True)]
    assert_same(found["graphs"], found["reference"])


def swap_storage(model):
    model.inner.weight.data = model.inner.weight.data * 2


def swap_parameter(model):
    model.inner.weight = nn.Parameter(model.inner.weight.detach() * 2)


def load(model):
    model.load_state_dict({name: tensor * 2 for name, tensor in model.state_dict().items()}, assign=True)


def freeze(model):
    model.inner.weight.requires_grad_(False)


def tie(model):
    model.inner.bias = nn.Parameter(model.outer.weight[0].detach().clone())
    model.scale = model.inner.bias.detach()


CHANGES = {
    "in place": lambda model: model.inner.weight.data.mul_(2),
    "storage": swap_storage,
    "parameter": swap_parameter,
    "load": load,
    "freeze": freeze,
    "tie": tie,
    "buffer": lambda model: setattr(model, "scale", model.scale * 2),
    "attribute": lambda model: setattr(model, "extra", halved),
    "nested": lambda model: model.settings.update(gain=3.0),
    "plain tensor": lambda model: setattr(model, "tensor", model.scale * 3),
    "plain tensor with a gradient": lambda model: setattr(model, "tensor", model.inner.bias + model.inner.weight[:, 0]),
    "module": lambda model: setattr(model, "dropout", nn.Tanh()),
    "precision": lambda model: model.float().double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_model_is_seen(device, change):
    model, inputs = build(device, Cell), sequence(device)
    assert_equals_loop(model, inputs)
    CHANGES[change](model)
    for _ in range(2):
        assert_equals_loop(model, inputs)


def test_numbers_of_slots_and_of_the_memory_are_seen(device):
    model, inputs = build(device), sequence(device)
    for slots, limit, least in ((5, 0.0, 1), (3, 0.0, 1), (5, 0.001, 1), (5, 0.0, 1.5), (5, 0.0, 1)):
        model.memory.gradient_limit, model.memory.min_sharpening = limit, least
        assert_equals_loop(model, inputs, model.initial_state(len(inputs), slots=slots))


def test_hooks_of_tensors_run_once(device):
    model, calls = build(device, Cell), []
    handle = model.inner.weight.register_hook(lambda gradient: calls.append(1) or gradient * 3)
    model.outer.weight.register_post_accumulate_grad_hook(lambda parameter: calls.append(2))
    model(sequence(device))[0].sum().backward()
    assert sorted(calls) == [1, 2]
    assert_equals_loop(model, sequence(device))
    handle.remove()
    assert_equals_loop(model, sequence(device))


def test_what_cannot_be_captured_is_told_by_name_and_warned_of_once_in_auto(device):
    inputs = sequence(device)
    for backend in ("graphs", "auto"):
        model = build(device, Cell, backend=backend)
        assert_equals_loop(model, inputs)
        model.extra = synchronizing
        for _ in range(2):
            if backend == "graphs":
                with pytest.raises(ValueError, match=r"backend \(='graphs'\) cannot run this call: .*not permitted"):
                    model(inputs)
        model.backend = "auto"
        model(inputs), model(inputs)
        if backend == "auto":
            with pytest.warns(UserWarning, match="not permitted when stream is capturing"):
                model(inputs)
        for _ in range(2):
            assert_equals_loop(model, inputs)  # warnings are errors here
        model.extra = halved
        model.backend = "graphs"
        assert_equals_loop(model, inputs)


def test_a_step_with_random_numbers_is_left_to_the_loop(device):
    model, inputs = build(device, Cell), sequence(device)
    state = torch.cuda.get_rng_state if device == "cuda" else torch.get_rng_state
    before = state()
    assert_equals_loop(model, inputs)
    model.train()
    with pytest.raises(ValueError, match="random numbers"):
        model(inputs)
    assert device == "cpu" or torch.equal(state(), before)


class Counting(Cell):
    """Counts its steps in a buffer."""

    def __init__(self, backend):
        super().__init__(backend)
        self.register_buffer("count", torch.zeros(()))

    def step(self, x, state):
        self.count += 1
        return super().step(x, state)


def test_a_step_that_is_not_pure_is_told(device):
    with pytest.raises(ValueError, match="changes tensors of the model"):
        build(device, Counting)(sequence(device))


def test_a_gradient_for_a_tensor_outside_of_the_model_is_not_lost(device):
    model = build(device, Cell)
    model.extra = counting
    with pytest.raises(ValueError, match="not part of the model"):
        model(sequence(device))


def test_attributes_whose_changes_cannot_be_told(device):
    model = build(device, Cell)
    for attribute, reason in ((lambda hidden: hidden, "changes cannot be told"), (threading.Lock(), "cannot be told")):
        model.settings["other"] = attribute
        with pytest.raises(ValueError, match=reason):
            model(sequence(device))


def test_copies_and_pickles_have_graphs_of_their_own(device):
    model, inputs = build(device, Cell), sequence(device)
    assert_equals_loop(model, inputs)
    expected = results(model, inputs)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            twin.inner.weight.mul_(2)
        assert_equals_loop(twin, inputs)
        assert not torch.equal(results(twin, inputs)[0], expected[0])
    assert_same(results(model, inputs), expected)


def test_graphs_go_with_their_model(device):
    model = build(device, Cell)
    results(model, sequence(device))
    (kept,) = graphs._models[model].values()
    graph = weakref.ref(next(iter(kept.graphs.values())))
    reference = weakref.ref(model)
    del model, kept
    gc.collect()
    assert reference() is None
    assert graph() is None


def test_auto_captures_the_third_call_of_a_shape(device, captures):
    model = build(device, Cell, backend="auto")
    for time in (1, 2, 3, 1, 2, 1):
        assert_equals_loop(model, sequence(device, time=time))
    assert captures == [(3, 1, 3)]
    with torch.no_grad():
        for _ in range(3):
            model(sequence(device, time=2))
    assert captures == [(3, 1, 3), (3, 2, 3)]
    model.backend = "reference"
    for _ in range(4):
        model(sequence(device, time=3))
    assert len(captures) == 2


def test_the_least_recently_used_graph_goes_once_it_is_idle(device, captures, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 2)
    monkeypatch.setattr(graphs, "IDLE_CALLS", 4)
    model = build(device, Cell, backend="auto")
    for time in (1, 2, 3) * 5:  # all three are in use: the third is left to the loop
        assert_equals_loop(model, sequence(device, time=time))
    assert captures == [(3, 1, 3), (3, 2, 3)]
    for _ in range(6):
        assert_equals_loop(model, sequence(device, time=3))
    assert captures == [(3, 1, 3), (3, 2, 3), (3, 3, 3)]
    (kept,) = graphs._models[model].values()
    assert len(kept.graphs) == 2


def test_by_name_the_least_recently_used_graph_goes_at_once(device, captures, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 2)
    model = build(device, Cell)
    for time in (1, 2, 1, 3, 1, 2):
        assert_equals_loop(model, sequence(device, time=time))
    assert captures == [(3, 1, 3), (3, 2, 3), (3, 3, 3), (3, 2, 3)]


def test_a_backward_after_its_graph_has_gone(device, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 1)
    model, inputs = build(device), sequence(device)
    expected = results(model, inputs, backend="reference")[-1]
    logits, end = model(inputs)
    loss = sum((part * (1 + index)).square().sum() for index, part in enumerate((logits, *flatten(end))))
    for time in (1, 2, 3):
        results(model, sequence(device, time=time))
    gc.collect()
    assert_same(torch.autograd.grad(loss, [list(model.parameters())[-1]]), [expected])


def test_counts_are_bounded(device, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_COUNTED", 3)
    model = build(device, Cell, backend="auto")
    for time in range(1, 9):
        model(sequence(device, time=time))
    (kept,) = graphs._models[model].values()
    assert len(kept.others) == 3


def test_threads_do_not_get_each_other_s_numbers(device):
    model = build(device, Cell)
    calls = [sequence(device, time=time) for time in (2, 2, 3, 3)]
    expected = [results(model, inputs, backend="reference") for inputs in calls]
    failures = []

    def work(inputs, truth):
        try:
            for _ in range(10):
                assert_same(results(model, inputs, backend="graphs"), truth)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=call) for call in zip(calls, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures[0]


def test_checkpoints_are_left_to_the_loop(device, captures):
    model, inputs = build(device, Cell, backend="auto", checkpoint_every=2), sequence(device, time=6)
    for _ in range(4):
        assert_equals_loop(model, inputs)
    assert model.backend_for(inputs) == "reference"
    model.checkpoint_every = 0
    for _ in range(4):
        outside = torch.utils.checkpoint.checkpoint(model, inputs, use_reentrant=False)
        outside[0].sum().backward()
    assert not captures
    with torch.no_grad():
        for _ in range(3):
            model(inputs)
    assert len(captures) == 1


def with_hook(model, call):
    handle = model.inner.register_forward_hook(lambda module, given, output: None)
    try:
        return call()
    finally:
        handle.remove()


def transformed(model, call):
    return torch.func.vmap(lambda scale: call()[0] * scale)(torch.ones(2, device=model.scale.device))


def dual(model, call):
    with torch.autograd.forward_ad.dual_level():
        return call()


def saved_elsewhere(model, call):
    with torch.autograd.graph.save_on_cpu():
        return call()


def in_autocast(model, call):
    with torch.autocast(model.scale.device.type, torch.bfloat16):
        return call()


def in_anomaly_mode(model, call):
    with torch.autograd.detect_anomaly(check_nan=False):
        return call()


def traced(model, call):
    with recorder.Graph(recorder.Memory("cpu")):
        return call()


OBSTACLES = {
    "hooks of modules": with_hook,
    "torch.func": transformed,
    "forward-mode": dual,
    "hooks for saved tensors": saved_elsewhere,
    "autocast": in_autocast,
    "anomaly detection": in_anomaly_mode,
    "being traced": traced,
}


@pytest.mark.parametrize("reason", OBSTACLES)
@pytest.mark.filterwarnings("ignore:Anomaly Detection:UserWarning")
def test_what_it_cannot_run_is_told_and_left_to_the_loop_in_auto(device, reason, captures):
    model, inputs = build(device, Cell), sequence(device)
    with pytest.raises(ValueError, match=rf"backend \(='graphs'\) cannot run this call: .*{reason}"):
        OBSTACLES[reason](model, lambda: model(inputs))
    model.backend = "auto"
    for _ in range(4):
        OBSTACLES[reason](model, lambda: model(inputs))
    assert not captures
    model.backend = "graphs"
    assert_equals_loop(model, inputs)


def test_unusual_inputs_are_told(device):
    model = build(device, Cell)
    with pytest.raises(ValueError, match="the batch is empty"):
        model(sequence(device, batch=0))
    with torch.inference_mode():
        inputs = sequence(device)
    with pytest.raises(ValueError, match="inference mode"):
        model(inputs)
    with torch.no_grad():
        model(inputs)
        with pytest.raises(ValueError, match="a subclass of Tensor"):
            model(sequence(device).as_subclass(Marked))


class Marked(torch.Tensor):
    """A subclass that does nothing."""


def test_a_call_during_a_backward_is_left_to_the_loop(device):
    model, inputs, found = build(device, Cell), sequence(device), []
    leaf = torch.ones(1, device=device, requires_grad=True)
    doubled = leaf * 2
    doubled.register_hook(lambda gradient: found.append(graphs.obstacle(model, inputs, model.initial_state(3))))
    doubled.sum().backward()
    assert found == ["it is called during a backward."]


def test_offered_by_every_model_after_its_own_kernels():
    assert list(NTM(3, 2).all_kernels)[-1] == list(Cell().all_kernels)[-1] == "graphs"
    assert list(Cell.kernels) == []
    with pytest.raises(ValueError, match=r"backend \(='graph'\) must be one of auto, reference, graphs"):
        Cell("graph")


def test_without_a_gpu_it_says_so():
    model = Cell("graphs").double()
    with pytest.raises(ValueError, match=r"backend \(='graphs'\) cannot run this call: it needs tensors on a CUDA"):
        model(sequence("cpu"))
    model.backend = "auto"
    assert model.backend_for(sequence("cpu")) == "reference"
    for _ in range(4):
        model(sequence("cpu"))
    assert model not in graphs._models


def test_backend_for_names_it(device):
    model = build(device, Cell, backend="auto")
    assert model.backend_for(sequence(device)) == "graphs"
    with torch.autocast(device, torch.bfloat16):
        assert model.backend_for(sequence(device)) == "reference"


class Outer(Cell):
    """Has a model as a part."""

    def __init__(self, backend):
        super().__init__(backend)
        self.inside = Cell("graphs")

    def step(self, x, state):
        logits, state = super().step(x, state)
        return logits + self.inside(x.unsqueeze(1))[0].squeeze(1), state


def test_a_model_within_a_model(device):
    model = build(device, Outer)
    for _ in range(2):
        assert_equals_loop(model, sequence(device))


@pytest.mark.gpu
def test_streams_do_not_get_each_other_s_numbers():
    model = build("cuda", Cell)
    streams = [torch.cuda.Stream() for _ in range(3)]
    calls = [sequence("cuda", batch=500, time=20) for _ in streams]
    expected = [results(model, inputs, backend="reference") for inputs in calls]
    torch.cuda.synchronize()
    found = {}
    for repeat in range(5):
        for index, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                found[repeat, index] = results(model, calls[index])
    torch.cuda.synchronize()
    for (_, index), result in found.items():
        assert_same(result, expected[index])


@pytest.mark.gpu
@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: float(torch.rand(()))])
def test_a_step_that_draws_numbers_of_any_generator_is_left_to_the_loop(draw):
    model, inputs = build("cuda", Cell, backend="graphs"), sequence("cuda")
    model.extra = lambda kept: kept * draw()
    with pytest.raises(ValueError, match=r"random numbers|cannot be told"):
        model(inputs)


@pytest.mark.gpu
def test_auto_takes_it_for_a_model_without_kernels():
    model, inputs = build("cuda", Cell, backend="auto"), sequence("cuda")
    expected = [model(inputs)[0] for _ in range(4)]
    assert model.backend_for(inputs) == "graphs"
    assert graphs._models[model]
    assert_same(expected[1:], expected[:1] * 3)


@pytest.mark.gpu
def test_within_another_capture_it_is_left_to_the_loop():
    model, inputs = build("cuda", Cell, backend="auto"), sequence("cuda")
    with torch.no_grad():
        for _ in range(4):
            expected = model(inputs)[0]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = model(inputs)[0]
        graph.replay()
    assert_same([logits], [expected])


@pytest.mark.gpu
def test_memory_is_given_back_and_shared_by_shapes():
    def held():
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    before = held()
    model = build("cuda", memory_slots=128, memory_width=20)
    inputs = sequence("cuda", 32, 30)
    model(inputs)[0].sum().backward()
    model.zero_grad()
    one = held()
    for time in range(20, 30):
        model(inputs[:, :time])[0].sum().backward()
    model.zero_grad()
    eleven = held()
    del model
    none = held()
    assert one - none > 20e6, f"a graph holds {one - none} bytes"
    assert eleven - none < 3 * (one - none), f"one graph holds {one - none} bytes, eleven hold {eleven - none}"
    assert none < before + 8e6, f"{none} bytes are held without a model, {before} were before"


@pytest.mark.gpu
def test_after_a_capture_that_failed_pytorch_is_as_before():
    model, inputs = build("cuda", Cell), sequence("cuda")
    stream = torch.cuda.current_stream()
    model.extra = synchronizing
    for time in range(1, 5):
        with pytest.raises(ValueError, match="cannot run this call"):
            model(inputs[:, :time])
    model.extra = same
    assert_equals_loop(model, inputs)
    assert torch.cuda.current_stream() == stream
    other = build("cuda")
    for _ in range(2):
        assert_equals_loop(other, sequence("cuda"))
    pinned = torch.zeros(1000).pin_memory()
    assert pinned.cuda(non_blocking=True).sum().item() == 0
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        doubled = inputs * 2
    graph.replay()
    assert torch.equal(doubled, inputs * 2)


@pytest.mark.gpu
def test_precision_of_products_is_seen():
    model, inputs = LSTM(64, 64, hidden_size=64, backend="graphs").cuda(), torch.randn(8, 5, 64, device="cuda")
    before, found = torch.backends.cuda.matmul.fp32_precision, []
    try:
        for precision in ("ieee", "tf32"):
            torch.backends.cuda.matmul.fp32_precision = precision
            with torch.no_grad():
                found.append(model(inputs)[0])
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    assert not torch.equal(*found)
