"""A kernel runs a network whose parts are as the kernel computes them, and no other."""

import inspect
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.overrides import TorchFunctionMode

from lightning_ntm import (
    DNC,
    GRU,
    LSTM,
    NTM,
    RNN,
    SAM,
    SDNC,
    MemoryModel,
    StackRNN,
    TapeRNN,
    Transformer,
    models,
)
from lightning_ntm.kernels import plain
from lightning_ntm.kernels.ntm.triton import refusals as triton_kernel
from lightning_ntm.models.controllers import FeedForwardController, LSTMController
from lightning_ntm.models.ntm_memory import NTMMemory
from lightning_ntm.states import flatten, mapped

SIZES = {"hidden_size": 8, "memory_slots": 6, "memory_width": 4}
NETWORKS = {
    "NTM": lambda kind=NTM, **options: kind(3, 2, **SIZES, **options),
    "deep NTM": lambda kind=NTM, **options: kind(3, 2, num_layers=2, num_read_heads=2, **SIZES, **options),
    "feed-forward NTM": lambda kind=NTM, **options: kind(
        3, 2, controller="feedforward", num_layers=2, **SIZES, **options
    ),
    "DNC": lambda kind=DNC, **options: kind(3, 2, num_read_heads=2, **SIZES, **options),
    "LSTM": lambda kind=LSTM, **options: kind(3, 2, hidden_size=8, num_layers=2, **options),
}
#: The parts that kernels replace.
PARTS = ("controller", "memory", "controller.layers.0", "heads", "output")


class Adapter(nn.Module):
    """LoRA."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

    @property
    def weight(self):
        return self.base.weight

    @property
    def bias(self):
        return self.base.bias

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class Relu(FeedForwardController):
    def step(self, x, state):
        for layer in self.layers:
            x = layer(x).relu()
        return x, state


class Forgetful(NTMMemory):
    def step(self, interface, state):
        state = super().step(interface, state)
        return state._replace(memory=0.5 * state.memory)


def linear(part):
    return part if isinstance(part, nn.Linear) else part.layers[-1]


def replace(model, name, change):
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, change(model.get_submodule(name)))


def like(layer, kind=nn.Linear, **options):
    return kind(layer.in_features, layer.out_features, **options)


def set_forward(part):
    original = part.forward
    part.forward = lambda *given: original(*given)


def set_step(part):
    original = part.step
    part.step = lambda x, state: original(0.5 * x, state)


def every(tensor):
    return tensor * 0.5


#: What may be done to any part.
CHANGES = {
    "hook": lambda part: part.register_forward_hook(lambda m, given, out: None),
    "pre-hook": lambda part: part.register_forward_pre_hook(lambda m, given: None),
    "backward hook": lambda part: part.register_full_backward_hook(lambda m, gradients, given: None),
    "backward pre-hook": lambda part: part.register_full_backward_pre_hook(lambda m, gradients: None),
    "forward of an instance": set_forward,
}
#: What may be done to a linear layer.
LINEAR_CHANGES = {
    "hook that changes": lambda part: part.register_forward_hook(lambda m, given, out: every(out)),
    "prune": lambda part: prune.l1_unstructured(part, "weight", 0.5),
    "parametrize": lambda part: parametrize.register_parametrization(part, "weight", Doubled()),
    "parametrize the bias": lambda part: parametrize.register_parametrization(part, "bias", Doubled()),
    "weight_norm": lambda part: parametrizations.weight_norm(part),
    "old weight_norm": lambda part: torch.nn.utils.weight_norm(part),
    "spectral_norm": lambda part: parametrizations.spectral_norm(part),
}
#: What may be put in the place of a linear layer.
REPLACEMENTS = {
    "LoRA": Adapter,
    "subclass": lambda layer: like(layer, Noisy),
    "no bias": lambda layer: like(layer, bias=False),
}


def cases():
    for network in NETWORKS:
        parts = [part for part in PARTS if part not in ("heads", "memory") or network != "LSTM"]
        for part in parts:
            yield from ((network, part, name, change) for name, change in CHANGES.items())
        for part in parts:
            if part in ("controller", "memory"):
                yield network, part, "step of an instance", set_step
                continue
            yield from ((network, part, name, change) for name, change in LINEAR_CHANGES.items())
            for name, new in REPLACEMENTS.items():
                yield network, part, name, new


def kernel_of(model):
    return next(iter(model.kernels))


def train(make, backend, steps=2):
    """Results of some steps of training: changes of the weights are seen, and all that is trained learns."""
    torch.manual_seed(5)
    twin = make()
    twin.backend = backend
    inputs, seen = torch.randn(steps, 2, 2, 3, dtype=torch.float64), []
    optimizer = torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        logits, state = twin(inputs[step])
        state = flatten(state)
        (logits.square().sum() + sum(part.square().sum() for part in state)).backward()
        optimizer.step()
        seen += logits, *state
    return [*seen, *twin.parameters(), *(p.grad for p in twin.parameters() if p.grad is not None)]


def assert_refused(make, named):
    """`auto` gives what the loop gives, and a kernel that is asked for says what is in the way."""
    assert all(torch.equal(a, b) for a, b in zip(train(make, "auto"), train(make, "reference"), strict=True))
    model, inputs = make(), torch.zeros(3, 4, 3, dtype=torch.float64)
    model.backend = kernel_of(model)
    with pytest.raises(ValueError, match=rf"backend \(='{model.backend}'\) cannot run this call: .*{named}"):
        model(inputs)
    assert named in plain.changed(model, inputs, model.initial_state(3))


@pytest.mark.parametrize(
    ("network", "part", "name", "change"), list(cases()), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # PyTorch does not see tensors in a nested state
def test_a_changed_part_is_told_and_left_to_the_loop(network, part, name, change):
    def make():
        model = NETWORKS[network]().double()
        if name in REPLACEMENTS:
            replace(model, part, lambda layer: change(layer).double())
        else:
            change(model.get_submodule(part))
        return model

    assert_refused(make, part)


#: The other networks, with every way to run a sequence but the loop.
OTHERS = {
    "GRU": lambda: GRU(3, 2, hidden_size=8, num_layers=2),
    "RNN": lambda: RNN(3, 2, hidden_size=8, num_layers=2),
    "SAM": lambda: SAM(3, 2, **SIZES),
    "SDNC": lambda: SDNC(3, 2, num_links=3, **SIZES),
    "Stack-RNN": lambda: StackRNN(3, 2, hidden_size=8, memory_width=4),
    "Tape-RNN": lambda: TapeRNN(3, 2, hidden_size=8, memory_width=4),
    "Tape-RNN with jumps": lambda: TapeRNN(3, 2, hidden_size=8, memory_width=4, length_oracle=True),
    "Transformer": lambda: Transformer(3, 2, hidden_size=8, num_layers=1, num_heads=2),
}
EVERYTHING = {**CHANGES, **LINEAR_CHANGES, **REPLACEMENTS, "step of an instance": set_step}


def changeable(model, name):
    """The modules that can be changed so, by name."""
    for part, module in model.named_modules():
        linear = isinstance(module, nn.Linear) and (name != "parametrize the bias" or module.bias is not None)
        whole = name in CHANGES or (hasattr(module, "step") if name == "step of an instance" else linear)
        if part and whole and not isinstance(module, nn.ModuleList):
            yield part


def counted(model, part, backend):
    """How often a module is called in a sequence."""
    calls = []
    model.get_submodule(part).register_forward_hook(lambda module, given, out: calls.append(module))
    model.backend = backend
    model(torch.zeros(2, 4, 3, dtype=torch.float64))
    return len(calls)


def test_these_are_all_networks():
    shipped = {name for name, kind in vars(models).items() if isinstance(kind, type) and issubclass(kind, MemoryModel)}
    tested = {type(make()).__name__ for make in {**NETWORKS, **OTHERS}.values()}
    assert tested == {name for name in shipped if not inspect.isabstract(getattr(models, name))}


@pytest.mark.parametrize("network", OTHERS)
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_a_changed_part_of_any_network_is_as_in_the_loop(network, name):
    for part in changeable(OTHERS[network](), name):

        def make(part=part):
            model = OTHERS[network]().double()
            if name in REPLACEMENTS:
                replace(model, part, lambda layer: EVERYTHING[name](layer).double())
            else:
                EVERYTHING[name](model.get_submodule(part))
            return model

        torch.testing.assert_close(train(make, "auto"), train(make, "reference"), rtol=1e-9, atol=1e-9)
        assert counted(make(), part, "auto") == counted(make(), part, "reference"), part


def test_hooks_are_called():
    calls = []
    for make in NETWORKS.values():
        model = make()
        for part in (model.controller, model.controller.layers[0], model.output):
            part.register_forward_hook(lambda module, given, out: calls.append(module))
        model(torch.zeros(1, 4, 3))
    assert len(calls) == len(NETWORKS) * 3 * 4


def test_hooks_of_the_network_itself_leave_the_kernel_on():
    model, calls = NETWORKS["NTM"](backend="cpu"), []
    model.register_forward_hook(lambda module, given, out: calls.append("forward"))
    model.register_full_backward_hook(lambda module, gradients, given: calls.append("backward"))
    model(torch.zeros(1, 4, 3, requires_grad=True))[0].sum().backward()
    assert calls == ["forward", "backward"]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_hook_of_all_modules_is_called(network):
    seen = set()
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, out: seen.add(type(module).__name__))
    try:
        assert_refused(lambda: NETWORKS[network]().double(), "hooks of all modules")
    finally:
        handle.remove()
    assert "Linear" in seen


class Doubling(TorchFunctionMode):
    """Doubles what linear layers return."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        return 2 * result if function is nn.functional.linear else result


@pytest.mark.parametrize("network", NETWORKS)
def test_a_mode_that_changes_functions_is_followed(network):
    model, inputs = NETWORKS[network](), torch.randn(2, 3, 3)
    truth = NETWORKS[network](backend="reference")
    truth.load_state_dict(model.state_dict())
    with torch.device("cpu"):  # this mode sets the device of new tensors only
        assert model.backend_for(inputs) != "reference"
    with Doubling():
        assert model.backend_for(inputs) == "reference"
        torch.testing.assert_close(model(inputs)[0], truth(inputs)[0])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", ["step", "unroll", "recur", "_control", "_answer"])
@pytest.mark.parametrize("how", ["subclass", "mixin", "instance"])
def test_another_method_is_told_and_left_to_the_loop(network, method, how):
    kind = LSTM if network == "LSTM" else NTM
    if not hasattr(kind, method):
        pytest.skip("the network has no such method")
    original = getattr(kind, method)

    def other(self, *given):
        return original(self, *(0.5 * given[0], *given[1:]))

    class Mixin:
        pass

    setattr(Mixin, method, other)
    bases = {"subclass": (kind,), "mixin": (Mixin, kind), "instance": (kind,)}[how]
    kind = type("Other", bases, {method: other} if how == "subclass" else {})

    def make():
        model = NETWORKS[network](kind).double()
        if how == "instance":
            setattr(model, method, other.__get__(model))
        return model

    assert_refused(make, method)


def test_a_subclass_that_changes_nothing_else_keeps_the_kernel():
    class Started(NTM):
        def initial_state(self, *batch, slots=None):
            return mapped(lambda part: part + 1, super().initial_state(*batch, slots=slots))

    model = NETWORKS["NTM"](Started)
    assert model.backend_for(torch.zeros(1, 2, 3)) == "cpu"


@pytest.mark.parametrize("network", ["NTM", "deep NTM", "feed-forward NTM"])
def test_a_memory_of_another_class_is_told_and_left_to_the_loop(network):
    def make():
        model = NETWORKS[network]().double()
        memory = model.memory
        heads = {"num_read_heads": memory.num_read_heads, "num_write_heads": memory.num_write_heads}
        model.memory = Forgetful(memory.memory_slots, memory.memory_width, **heads).double()
        return model

    assert_refused(make, "memory is a Forgetful, not a NTMMemory")


@pytest.mark.parametrize(
    ("network", "make"),
    [
        ("NTM", lambda: LSTMController(7, 8, 2)),
        ("NTM", lambda: LSTMController(7, 4, 2, skip=True)),
        ("NTM", lambda: FeedForwardController(7, 8)),
        ("NTM", lambda: LSTMController(9, 8)),
        ("feed-forward NTM", lambda: Relu(7, 8, 2)),
        ("feed-forward NTM", lambda: LSTMController(7, 8, 2)),
        ("LSTM", lambda: LSTMController(3, 8, 2)),
        ("LSTM", lambda: LSTMController(3, 8, 3, skip=True)),
        ("LSTM", lambda: FeedForwardController(3, 16)),
    ],
)
def test_another_controller_runs_as_in_the_loop_or_fails_as_there(network, make):
    model, inputs = NETWORKS[network](), torch.randn(2, 4, 3)
    model.controller = make()
    model.backend = "reference"
    try:
        expected = model(inputs)[0]
    except (RuntimeError, ValueError, TypeError) as error:
        expected = error
    for backend in ("auto", kernel_of(model)):
        model.backend = backend
        if isinstance(expected, Exception):
            with pytest.raises((RuntimeError, ValueError, TypeError)):
                model(inputs)
        elif model.backend_for(inputs) == kernel_of(model):
            torch.testing.assert_close(model(inputs)[0], expected)
        elif backend == "auto":
            assert torch.equal(model(inputs)[0], expected)


def test_a_controller_that_ends_in_a_crash_does_not():
    # Heads and output fit, and the kernel would read beyond the state.
    model = NTM(9, 2, hidden_size=9, memory_slots=6, memory_width=4)
    model.controller = LSTMController(13, 9, 2, skip=True)
    model.heads = nn.Linear(18, model.heads.out_features)
    model.output = nn.Linear(22, 2)
    with pytest.raises((ValueError, RuntimeError)):
        model(torch.zeros(2, 4, 9))
    model.start_hidden, model.start_cell = (nn.Parameter(torch.zeros(2, 9)) for _ in range(2))
    assert model(torch.zeros(2, 4, 9))[0].shape == (2, 4, 2)
    model.backend = "cpu"
    with pytest.raises(ValueError, match=r"cannot run this call: controller.layers.1.weight has shape"):
        model(torch.zeros(2, 4, 9))


@pytest.mark.parametrize("name", ["num_read_heads", "num_write_heads", "max_shift", "memory_width", "input_size"])
def test_a_size_that_was_changed_is_not_read_beyond(name):
    model = NETWORKS["NTM"]()
    inputs = torch.zeros(2, 4, 3 + (name == "input_size"))
    part = model if name == "input_size" else model.memory
    setattr(part, name, getattr(part, name) + 1)
    model.backend = "cpu"
    with pytest.raises((ValueError, RuntimeError)):
        model(inputs)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("part", PARTS)
def test_tensors_that_are_elsewhere_or_of_another_kind_are_told(network, part):
    if part == "memory" or (network == "LSTM" and part == "heads"):
        pytest.skip("the network has no tensors there")
    inputs, told = torch.zeros(2, 4, 3), "(the inputs|output|heads|controller.layers|state)"
    for change in (nn.Module.double, lambda module: module.to("meta")):
        model = NETWORKS[network]()
        change(model.get_submodule(part))
        model.backend = kernel_of(model)
        with pytest.raises(ValueError, match=f"cannot run this call: {told}"):
            model(inputs)
    model, state = NETWORKS[network](), NETWORKS[network]().initial_state(2)
    model.backend = kernel_of(model)
    with pytest.raises(ValueError, match=r"cannot run this call: state[.\w]+ is on meta, the inputs are on cpu"):
        model(inputs, mapped(lambda part: part.to("meta"), state))


class Tagged(torch.Tensor):
    pass


@pytest.mark.parametrize("network", NETWORKS)
def test_a_subclass_of_tensor_is_left_to_the_loop(network):
    model, inputs = NETWORKS[network]().double(), torch.zeros(3, 4, 3, dtype=torch.float64)
    layer = model.controller.layers[0]
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Tagged))
    told = plain.changed(model, inputs, model.initial_state(3))
    assert re.match(r"(controller\.layers\.0\.weight|state\.[a-z.]+) is a Tagged", told)
    model = NETWORKS[network]().double()
    logits, _ = model(torch.zeros(3, 4, 3, dtype=torch.float64).as_subclass(Tagged))
    assert type(logits) is Tagged


def assert_runs(make):
    model = make()
    assert model.backend_for(torch.zeros(3, 4, 3, dtype=torch.float64)) == kernel_of(model)
    torch.testing.assert_close(train(make, kernel_of(model)), train(make, "reference"))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("frozen", ["controller", "heads", "output", "start_hidden", "all but start_reads"])
def test_a_frozen_part_runs_in_the_kernel(network, frozen):
    if network == "DNC" and frozen == "all but start_reads":
        pytest.skip("the network has no such parameter")

    def make():
        model = NETWORKS[network]().double()
        for name, parameter in model.named_parameters():
            but = frozen.startswith("all but") and name in ("start_reads", "start_cell")
            parameter.requires_grad_(not name.startswith(frozen) if not frozen.startswith("all") else but)
        return model

    assert_runs(make)


@pytest.mark.parametrize("network", ["deep NTM", "feed-forward NTM", "LSTM"])
@pytest.mark.parametrize("what", ["weight", "bias"])
def test_tied_weights_run_in_the_kernel(network, what):
    kind = {"controller": "feedforward" if network == "feed-forward NTM" else "lstm", "num_layers": 3, **SIZES}

    def make():
        model = (LSTM(3, 2, hidden_size=8) if network == "LSTM" else NTM(3, 2, **kind)).double()
        first = int(network != "LSTM" or what == "weight")
        setattr(model.controller.layers[2], what, getattr(model.controller.layers[first], what))
        return model

    assert_runs(make)


def test_the_triton_kernel_is_told_the_same(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    model, inputs = NETWORKS["NTM"](), torch.zeros(2, 4, 3)
    model.backend = "triton"
    assert triton_kernel.refusal(model, inputs, model.initial_state(2)) is None
    model.heads.register_forward_hook(lambda module, given, out: None)
    assert triton_kernel.refusal(model, inputs, model.initial_state(2)) == "heads has hooks."


def test_a_call_by_torch_func_with_other_parameters_uses_them():
    model, inputs = NETWORKS["NTM"](), torch.randn(2, 4, 3)
    other = {name: 2 * p.detach() for name, p in model.named_parameters()}
    results = []
    for model.backend in ("cpu", "reference"):
        results.append(torch.func.functional_call(model, other, (inputs,))[0])
    torch.testing.assert_close(*results)


def resize(tensor):
    tensor.untyped_storage().resize_(4)


def test_tensors_that_were_resized_are_refused_and_not_read_beyond_their_ends():
    model = NTM(3, 2, hidden_size=4, memory_slots=5, memory_width=3)
    inputs = torch.rand(8, 6, 3)
    resize(inputs)
    with pytest.raises(RuntimeError, match="out of bounds"):
        model(inputs)
    logits, _ = model(torch.rand(8, 6, 3))
    resize(model.heads.weight)
    with pytest.raises(RuntimeError, match="resized between the forward and the backward"):
        logits.sum().backward()
    with pytest.raises(RuntimeError, match="out of bounds"):
        model(torch.rand(8, 6, 3))
    model.backend = "cpu"
    with pytest.raises(ValueError, match=r"heads\.weight is a Parameter that cannot be read by its address"):
        model(torch.rand(8, 6, 3))


def test_numbers_with_the_negative_bit_are_read_as_they_are():
    inputs, gradient = torch.rand(2, 4, 3, dtype=torch.float64), torch.rand(2, 4, 2, dtype=torch.float64)
    results = []
    for backend in ("auto", "reference"):
        torch.manual_seed(0)
        model = NTM(3, 2, hidden_size=4, memory_slots=5, memory_width=3, backend=backend).double()
        logits, _ = model(inputs)
        torch.autograd.backward(logits, torch._neg_view(gradient))
        negated, _ = model(torch._neg_view(inputs))
        model.heads.weight.data = torch._neg_view(model.heads.weight.data)
        results.append([model.heads.weight.grad, negated, model(inputs)[0]])
    torch.testing.assert_close(*results)
