"""The Triton programs against the model's own loop: on a GPU, and without one in Triton's interpreter."""

import copy
import random
import subprocess
import sys
from typing import Any, NamedTuple

import pytest
import torch

from lightning_ntm import NTM, Batch, Stack

pytest.importorskip("triton")

from lightning_ntm.kernels.call import declared
from lightning_ntm.kernels.ntm.triton import refusals, sequence, sizes
from lightning_ntm.states import flatten, mapped, named, unflatten
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.training.loss import Objective, loss_of, loss_side_by_side

#: Of a network with an LSTM; without one the last two are missing.
STATE = ("memory.memory", "memory.weights", "memory.reads", "controller.hidden", "controller.cell")

SMALL = {"hidden_size": 6, "memory_slots": 7, "memory_width": 3, "memory_init": "learned"}
CUDA = torch.cuda.is_available()
#: Shares of what a GPU runs, for the interpreter, which is a hundred times as slow.
FLOAT32, FLOAT64 = (200, 40) if CUDA else (40, 14)


@pytest.fixture
def device():
    return "cuda" if CUDA else "cpu"


@pytest.fixture
def blocks(monkeypatch):
    """Sets how much of the memory and of a matrix a program holds at once: with less, small shapes have many blocks."""

    def set_blocks(held, ahead, warp):
        for name, value in (("HELD", held), ("AHEAD", ahead), ("WARP", warp)):
            monkeypatch.setattr(sizes, name, value)
        sizes._sizes.cache_clear()

    yield set_blocks
    sizes._sizes.cache_clear()


def small(device="cpu", **options):
    return NTM(4, 2, **{**SMALL, "backend": "triton", **options}).to(device)


class Case(NamedTuple):
    """A network and a call. Numbers are those of float32, so that they are the same in float64."""

    options: dict[str, Any]
    batch: int
    time: int
    own_state: bool = True  # or one that the caller gives
    used: tuple[str, ...] = ("logits", *STATE)  # in the loss
    of_inputs: bool = True  # whether they need a gradient
    frozen: float = 0  # share of the parameters
    wide: float = 0  # deviation of the heads' biases: with 20, many are beyond what heads may emit
    blocks: tuple[int, int, int] = (16, 8, 32)

    @classmethod
    def drawn(cls, seed, *, tiny_memory):
        """Draw one that the interpreter can afford.

        With `tiny_memory` it may start at the 1e-6 of `memory_init="constant"`, where gradients of cosines are 1e6: no
        float32 can follow them.
        """
        draw = random.Random(seed)
        shift = draw.choice([0, 1, 1, 2])
        batch, time = draw.choice([(1, 1), (1, 2), (1, 2), (1, 3), (2, 1)])
        memory, own_state = draw.choice(["constant", "learned", "random"]), draw.random() < 0.6
        options = {
            "hidden_size": draw.randint(1, 9),
            "memory_slots": draw.randint(2 * shift + 1, 20),
            "memory_width": draw.randint(1, 9),
            "num_read_heads": draw.choice([1, 1, 2]),
            "num_write_heads": draw.choice([1, 1, 2]),
            "max_shift": shift,
            "controller": draw.choice(["lstm", "feedforward"]),
            "num_layers": draw.choice([1, 1, 2]),
            "memory_init": memory,
            "head_init": draw.choice(["one_hot", "learned"]),
            "min_sharpening": draw.choice([1.0, 1.1, 3.0]),
            "gradient_limit": draw.choice([0.0, 0.0, 0.1, 1e-3]),
        }
        return cls(
            options,
            batch,
            time,
            own_state=own_state and (tiny_memory or memory != "constant"),
            used=draw.choice([("logits",), ("logits", STATE[0]), (*STATE[:2], STATE[-1]), cls._field_defaults["used"]]),
            of_inputs=draw.random() < 0.6,
            frozen=draw.choice([0, 0, 0.5]),
            wide=draw.choice([0, 0, 0, 15]),
            blocks=draw.choice([(16, 8, 32), (16, 8, 32), (1, 4, 8)]),
        )

    def network(self, device):
        torch.manual_seed(0)
        model = NTM(3, 2, **self.options)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)  # none is zero
                parameter.requires_grad_(torch.rand(()).item() >= self.frozen)
            model.heads.bias += self.wide * torch.randn_like(model.heads.bias)
        model.output.bias.requires_grad_()  # there is always something to learn
        return model.to(device)

    def inputs(self, device, dtype):
        generator = torch.Generator().manual_seed(1)
        return torch.randn(self.batch, self.time, 3, generator=generator).to(device, dtype)

    def state(self, model, dtype):
        generator = torch.Generator().manual_seed(2)
        start = model.initial_state(1)
        drawn = [torch.randn(self.batch, *part.shape[1:], generator=generator) for part in flatten(start)]
        drawn[1] = drawn[1].softmax(-1)  # the weightings
        return unflatten(start, [part.to(model.heads.weight.device, dtype).requires_grad_() for part in drawn])


def results(model, case, backend, dtype):
    """Outputs, last state and every gradient, by name."""
    twin = copy.deepcopy(model).to(dtype)
    twin.backend = backend
    inputs = case.inputs(twin.heads.weight.device, dtype).requires_grad_(case.of_inputs)
    state = None if case.own_state else case.state(twin, dtype)
    logits, end = twin(inputs, state)
    found = {"logits": logits, **named(end)}
    generator = torch.Generator().manual_seed(3)
    shares = {name: torch.randn(part.shape, generator=generator).to(part) for name, part in found.items()}
    sum(
        (shares[name] * found[name]).sum() for name in case.used if name in found or "controller" not in name
    ).backward()
    leaves = {"inputs": inputs, **dict(twin.named_parameters()), **({} if state is None else named(state))}
    # What a loss does not reach has no gradient in the loop, and zeros from the kernel.
    for name, leaf in leaves.items():
        assert leaf.requires_grad or leaf.grad is None, name
        found[f"gradient of {name}"] = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return {name: part.detach().double() for name, part in found.items()}


def check(case, dtype, device):
    """Hold the kernel against the loop in float64."""
    # Gradients that nearly cancel have only the digits of what they are sums of: in float32, of the largest gradient.
    tolerance, cancelled = {torch.float32: (1e-5, 1), torch.float64: (1e-10, 1e-2)}[dtype]
    model = case.network(device)
    truth, mine = (results(model, case, *call) for call in (("reference", torch.float64), ("triton", dtype)))
    largest = {name: float(true.abs().max()) if true.numel() else 0.0 for name, true in truth.items()}
    most = max(size for name, size in largest.items() if name.startswith("gradient"))
    for name, size in largest.items():
        scale = max(size, cancelled * most) if name.startswith("gradient") else size
        error = float((mine[name] - truth[name]).abs().max()) if size else 0.0
        assert error <= tolerance * scale, f"{name} is off by {error:.1e}; the largest number is {size:.1e}"


@pytest.mark.parametrize("seed", range(FLOAT32))
def test_float32_is_that_of_the_loop_in_float64(seed, device, blocks):
    case = Case.drawn(seed, tiny_memory=False)
    blocks(*case.blocks)
    check(case, torch.float32, device)


@pytest.mark.parametrize("seed", range(1000, 1000 + FLOAT64))
def test_float64_is_that_of_the_loop(seed, device, blocks):
    case = Case.drawn(seed, tiny_memory=True)
    blocks(*case.blocks)
    check(case, torch.float64, device)


LARGER = [
    Case({"hidden_size": 13, "memory_slots": 37, "memory_width": 6, "memory_init": "learned"}, 1, 2, blocks=(1, 1, 4)),
    Case({"hidden_size": 33, "memory_slots": 5, "memory_width": 17, "memory_init": "random"}, 1, 2, blocks=(1, 2, 4)),
    Case({"hidden_size": 6, "memory_slots": 9, "memory_width": 5, "num_layers": 3, "num_write_heads": 3}, 1, 4, False),
    Case({"hidden_size": 3, "memory_slots": 7, "memory_width": 1, "max_shift": 3, "num_read_heads": 3}, 2, 3, False),
    Case({**SMALL, "controller": "feedforward", "num_layers": 3, "gradient_limit": 0.05, "min_sharpening": 1.3}, 3, 4),
    Case({"hidden_size": 1, "memory_slots": 1, "memory_width": 1, "max_shift": 0}, 2, 3, False),
]


@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, marks=pytest.mark.gpu), torch.float64], ids=str)
@pytest.mark.parametrize("case", LARGER, ids=range(len(LARGER)))
def test_larger_shapes_that_fit_no_block(case, dtype, device, blocks):
    blocks(*case.blocks)
    check(case, dtype, device)


def test_the_weights_of_a_large_controller_are_held_by_more_threads(device):
    # Eight warps from 33 units on; the memory is no tensor of one block.
    check(Case({"hidden_size": 100, "memory_slots": 128, "memory_init": "learned"}, 1, 2), torch.float32, device)


@pytest.mark.parametrize("keep", [True, False], ids=["with gradients", "without"])
def test_a_sequence_in_pieces_equals_the_whole(keep, device):
    model, inputs = small(device, num_layers=2).double(), torch.randn(2, 5, 4).double().to(device)
    whole, end = model(inputs)
    with torch.set_grad_enabled(keep):
        first, state = model(inputs[:, :2])
        middle, state = model(inputs[:, 2:3], state)
        rest, streamed = model(inputs[:, 3:], state)
    # Not the same bits: the inputs of all steps are one matrix product.
    pieces = torch.cat([first, middle, rest], dim=1)
    torch.testing.assert_close((pieces, flatten(streamed)), (whole, flatten(end)), rtol=1e-12, atol=1e-12)
    assert pieces.requires_grad == keep


def test_gradients_through_pieces_are_those_of_the_whole(device):
    model, inputs = small(device).double(), torch.randn(2, 4, 4).double().to(device)
    gradients = []
    for lengths in ([4], [1, 3]):
        state, loss = model.initial_state(2), 0
        for piece in inputs.split(lengths, dim=1):
            logits, state = model(piece, state)
            loss = loss + logits.square().sum()
        gradients.append(torch.autograd.grad(loss + state.memory.memory.sum(), list(model.parameters())))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_checkpoints_change_no_gradients(device):
    model, inputs, found = small(device).double(), torch.randn(1, 3, 4).double().to(device), []
    for every in (0, 2):
        model.checkpoint_every = every
        logits, state = model(inputs)
        loss = logits.square().sum() + state.memory.memory.sum()
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Deterministic behavior was enabled")  # of matrix products on a GPU
@pytest.mark.parametrize(
    "options", [{"num_layers": 2}, {"controller": "feedforward", "num_layers": 2, "gradient_limit": 0.1}], ids=str
)
@pytest.mark.parametrize("used", [("logits",), ("memory.memory",), Case._field_defaults["used"]], ids=str)
def test_what_memory_held_before_does_not_matter(options, used, device):
    case = Case({**SMALL, "num_read_heads": 2, "num_write_heads": 2, **options}, 1, 2, used=used)
    model = case.network(device)
    clean = results(model, case, "triton", torch.float32)
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills new tensors with NaN
    try:
        assert torch.empty(3, device=device).isnan().all()
        poisoned = results(model, case, "triton", torch.float32)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(poisoned, clean, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, in the interpreter
def test_a_nan_stays_in_its_sequence(device):
    model = small(device)
    inputs = torch.randn(3, 3, 4, device=device)
    inputs[1, 1, 2] = float("nan")
    inputs.requires_grad_()
    logits, state = model(inputs)
    assert logits[1, 0].isfinite().all()
    assert logits[1, 1:].isnan().all()
    assert all(part[1].isnan().all() for part in flatten(state))
    (logits.square().sum() + state.memory.memory.sum()).backward()
    assert inputs.grad[1].isnan().all()
    for part in (logits, *flatten(state), inputs.grad):
        assert part[[0, 2]].isfinite().all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("limit", [0.0, 0.1])
def test_a_nan_is_not_limited_to_a_number(limit, device):
    model = small(device, gradient_limit=limit)
    state = model.initial_state(1)
    logits, end = model(torch.randn(1, 2, 4, device=device))
    end.memory.weights[..., 0].mul(float("nan")).sum().backward()  # of the last step alone
    assert model.heads.weight.grad.isnan().any()
    with torch.no_grad():
        model.heads.bias[:] = float("nan")
    logits, end = model(torch.randn(1, 1, 4, device=device), state)
    assert all(part.isnan().all() for part in (logits, *flatten(end.memory)))


def test_tensors_may_be_parts_of_others(device):
    model = small(device)
    inputs = torch.randn(2, 3, 4, device=device)
    state = [part.detach().contiguous() for part in flatten(Case({}, 2, 1).state(model, torch.float32))]
    apart = [part.mT.contiguous().mT for part in state]  # other strides
    apart = [torch.stack([part, part], dim=1)[:, 0] for part in apart]
    outcomes = []
    for x, parts in ((inputs, state), (inputs.mT.contiguous().mT, apart)):
        leaves = [x.requires_grad_(), *(part.requires_grad_() for part in parts)]
        logits, end = model(x, unflatten(model.initial_state(1), parts))
        loss = logits.mT.square().sum() + end.memory.memory.mT.flatten(1)[:, ::2].sum() + end.controller.hidden.sum()
        outcomes.append(
            [logits, *flatten(end), *torch.autograd.grad(loss, [*leaves, *model.parameters()], allow_unused=True)]
        )
    torch.testing.assert_close(*outcomes, rtol=1e-6, atol=1e-6)


def test_twice_backward_needs_no_new_forward(device):
    model = small(device)
    loss = model(torch.randn(2, 3, 4, device=device))[0].square().sum()
    loss.backward(retain_graph=True)
    once = [parameter.grad.clone() for parameter in model.parameters()]
    small(device)(torch.randn(3, 2, 4, device=device))[0].sum().backward()  # other memory is taken meanwhile
    loss.backward()
    for parameter, gradient in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


@pytest.mark.parametrize("options", [{}, {"controller": "feedforward", "num_layers": 2}], ids=str)
def test_networks_side_by_side_are_each_what_it_is_alone(options, device):
    networks, results = [small(device, **options) for _ in range(3)], []
    inputs = torch.randn(3, 2, 2, 4, device=device)
    call = [network_tensors(network, x) for network, x in zip(networks, inputs, strict=True)]
    together = [torch.stack(parts).detach().requires_grad_() for parts in zip(*call, strict=True)]
    for tensors in (*([part.detach()[None].requires_grad_() for part in each] for each in call), together):
        layers = (len(tensors) - 6) // 2
        weights, biases = tensors[6 : 6 + layers], tensors[6 + layers :]
        options = sizes.Options.of(networks[0].replaced_numbers(), device)
        found = sequence.recurrence(tensors[0], tensors[1:6], weights, biases, options)
        sum(part.square().sum() for part in found).backward()
        results.append([*(part.detach() for part in found), *(tensor.grad for tensor in tensors)])
    for i, alone in enumerate(results[:3]):
        for mine, part in zip(results[3], alone, strict=True):
            if CUDA:  # where a batch of matrix products may be computed in another order than one
                torch.testing.assert_close(mine[i], part[0], rtol=1e-5, atol=1e-5)
            else:
                assert torch.equal(mine[i], part[0])


def network_tensors(model, inputs):
    call = declared(model, model.initial_state(len(inputs)))
    return [inputs, *(part.contiguous() for part in call.state), *call.weights, *call.biases]


def in_fewer_bits(model, inputs, how):
    """Logits, last state and gradients of a network, in bfloat16 by autocast or by its parameters."""
    twin = copy.deepcopy(model)
    if how == "parameters":
        twin, inputs = twin.bfloat16(), inputs.bfloat16()
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=how == "autocast"):
        logits, state = twin(inputs)
    assert {part.dtype for part in flatten(state)} == {torch.promote_types(twin.heads.weight.dtype, torch.float32)}
    assert logits.dtype == (torch.bfloat16 if how else model.heads.weight.dtype)
    state = flatten(state)
    (logits.square().sum() + sum(part.square().sum() for part in state)).backward()
    return [part.detach().double() for part in (logits, *state, *(p.grad for p in twin.parameters()))]


@pytest.mark.parametrize("how", ["autocast", "parameters"])
@pytest.mark.parametrize("options", [{}, {"controller": "feedforward", "num_layers": 2}], ids=str)
def test_bfloat16_is_nearer_to_float64_than_the_loop(options, how, device):
    model = small(device, hidden_size=16, num_read_heads=2, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())  # so that what is measured is the rounding of what is computed
    inputs = torch.randn(2, 4, 4, device=device).bfloat16().float()
    mine = in_fewer_bits(model, inputs, how)
    model.backend = "reference"
    loop, truth = in_fewer_bits(model, inputs, how), in_fewer_bits(model.double(), inputs.double(), None)
    # bfloat16 keeps 8 bits of each number.
    for one, true in zip(mine, truth, strict=True):
        assert one.shape == true.shape
        assert not one.numel() or (one - true).abs().max() <= 0.03 * true.abs().max().clamp(min=0.1)
    mine, loop = (
        sum(((one - true) ** 2).sum() for one, true in zip(found, truth, strict=True)) for found in (mine, loop)
    )
    assert mine < loop


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_gradients_of_half_parameters_are_in_their_dtype(dtype, device):
    model = small(device).to(dtype)
    inputs = torch.randn(2, 2, 4, device=device, dtype=dtype, requires_grad=True)
    logits, state = model(inputs)
    (logits.float().square().sum() + state.memory.memory.sum()).backward()
    leaves = [inputs, *model.parameters()]
    assert logits.dtype == dtype
    assert all(leaf.grad.dtype == dtype and leaf.grad.isfinite().all() for leaf in leaves)
    assert all(leaf.grad.any() for leaf in leaves)


def test_without_gradients_the_numbers_are_the_same(device):
    model, inputs = small(device, num_layers=2), torch.randn(2, 3, 4, device=device)
    with_gradients = model(inputs)
    with torch.no_grad():
        without = model(inputs)
    model.requires_grad_(False)
    frozen = model(inputs)
    for logits, state in (without, frozen):
        assert not logits.requires_grad
        assert torch.equal(logits, with_gradients[0])
        assert all(torch.equal(a, b) for a, b in zip(flatten(state), flatten(with_gradients[1]), strict=True))


def test_extreme_weights_stay_finite(device):
    model = small(device)
    with torch.no_grad():
        model.heads.weight.mul_(1e4)
    logits, state = model(torch.randn(2, 5, 4, device=device))
    logits.square().sum().backward()
    for tensor in (logits, *flatten(state), *(p.grad for p in model.parameters())):
        assert torch.isfinite(tensor).all()
    torch.testing.assert_close(state.memory.weights.sum(-1), torch.ones(2, 2, device=device))


def test_a_second_derivative_is_refused(device):
    inputs = torch.randn(1, 2, 4, device=device, requires_grad=True)
    with pytest.raises(RuntimeError, match=r'computes first gradients, .* set backend="reference"'):
        torch.autograd.grad(small(device)(inputs)[0].sum(), inputs, create_graph=True)


def refused(model, inputs, message):
    with pytest.raises(ValueError, match=rf"^backend \(='triton'\) cannot run this call: {message}$"):
        model(inputs)
    model.backend = "auto"
    assert model.backend_for(inputs) != "triton"


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda device: small(device), (0, 2, 4), r"the batch is empty\."),
        (lambda device: small(device, hidden_size=1025), (1, 1, 4), r"hidden_size \(=1025\) must be at most 1024\."),
        (lambda device: small(device, memory_width=257), (1, 1, 4), r"memory_width \(=257\) must be at most 256\."),
        (
            lambda device: small(device, memory_slots=4097),
            (1, 1, 4),
            r"memory_slots \(=4097\) must be at most 4096\.",
        ),
        (
            lambda device: small(device, memory_slots=1025, max_shift=8, num_read_heads=2),
            (1, 1, 4),
            r"3 heads with max_shift \(=8\) and memory_slots \(=1025\) are too many at once\.",
        ),
        (
            lambda device: small(device).double(),
            (1, 1, 4),
            r"the inputs are torch.float32, the parameters are torch.float64\.",
        ),
        (
            lambda device: small(device).half(),
            (1, 1, 4),
            r"the inputs are torch.float32, the parameters are torch.float16\.",
        ),
    ],
)
def test_what_it_cannot_run_is_told(make, shape, message, device):
    refused(make(device), torch.zeros(shape, device=device), message)


def test_states_of_other_dtypes_are_told(device):
    model, inputs = small(device), torch.zeros(1, 1, 4, device=device)
    state = model.initial_state(1)

    def reason(state):
        return refusals.refusal(model, inputs, state)

    assert reason(state) is None
    halves, doubles = mapped(torch.Tensor.half, state), mapped(torch.Tensor.double, state)
    assert reason(halves) == "it keeps a state in float32 or float64, this one is torch.float16."
    mixed = state._replace(controller=doubles.controller)
    first = "state.controller.hidden is torch.float64, state.memory.memory is torch.float32."
    assert reason(mixed) == first
    assert reason(doubles) == "the state is torch.float64, the parameters are torch.float32."


def test_tensors_elsewhere_are_told(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    refused(small(), torch.zeros(1, 1, 4), r"it needs tensors on a CUDA device, the inputs are on cpu\.")
    meta = torch.zeros(1, 1, 4, device="meta")
    refused(small("meta"), meta, r"it needs tensors on a CUDA device, the inputs are on meta\.")


def test_without_triton_it_says_so(device, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    message = r"Triton is not installed; it comes with PyTorch for CUDA\."
    refused(small(device), torch.zeros(1, 1, 4, device=device), message)


def test_the_interpreter_runs_only_when_it_is_asked_for_by_name():
    model, inputs = small("cpu"), torch.zeros(1, 1, 4, dtype=torch.bfloat16)
    model.bfloat16()  # which the C++ kernel refuses
    assert model.backend_for(inputs) == ("reference" if CUDA else "triton")
    model.backend = "auto"
    assert model.backend_for(inputs) == "reference"


def test_transformed_calls_are_left_to_the_loop(device):
    networks, inputs = [small(device) for _ in range(2)], torch.randn(2, 1, 2, 4, device=device)
    stacked = torch.func.stack_module_state(networks)

    def run(parameters, buffers, inputs):
        return torch.func.functional_call(networks[0], (parameters, buffers), (inputs,))[0]

    with pytest.raises(ValueError, match=r"cannot run this call: it cannot be transformed by torch.func\."):
        torch.func.vmap(run)(*stacked, inputs)
    networks[0].backend = "auto"
    logits = torch.func.vmap(run)(*stacked, inputs)
    torch.testing.assert_close(logits[1], networks[1](inputs[1])[0], rtol=1e-4, atol=1e-5)


COMPILED = """
import torch
from lightning_ntm import NTM, Batch, Stack
from lightning_ntm.kernels.ntm.triton import refusals

device = "cuda" if torch.cuda.is_available() else "cpu"
NTM.kernels = {"triton": NTM.kernels["triton"]}
NTM.common_kernels = {}
model = NTM(3, 2, hidden_size=4, memory_slots=5, memory_width=3, memory_init="learned", backend="triton").to(device)
inputs = torch.randn(2, 2, 3, device=device)
alone, _ = model(inputs)
refusals._interpreted = lambda model, inputs: True  # so that `auto` asks for more than the device
model.backend = "auto"
assert model.backend_for(inputs) == "triton"
logits, _ = torch.compile(model, backend="eager", fullgraph=True)(inputs)
torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(torch.__version__ < "2.13", reason="older ones cannot trace `is_autocast_available`")
def test_compiled_calls_are_left_to_the_loop():
    # In a process of its own: the checking of annotations in this one cannot be traced.
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def on_gpu(batch, time, **options):
    torch.manual_seed(0)
    return small("cuda", **options), torch.randn(batch, time, 4, device="cuda")


def outcome(model, inputs):
    model.zero_grad()
    logits, state = model(inputs)
    state = flatten(state)
    (logits.square().sum() + sum(part.square().sum() for part in state)).backward()
    return [logits, *state, *(parameter.grad.clone() for parameter in model.parameters())]


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.gpu)], ids=str
)
def test_the_loss_with_its_gradients_is_that_of_autograd(dtype, side_by_side, device):
    answer, stacked = Bits(2), (2,) if side_by_side else ()
    members = [small(device).to(dtype) for _ in range(2)]
    model = Stack(members, "triton") if side_by_side else members[0]
    inputs, targets = torch.randn(*stacked, 2, 2, 4), torch.randint(0, 2, (*stacked, 2, 2, 2))
    mask = torch.ones(*stacked, 2, 2, dtype=torch.bool)
    batch = Batch(*(part.to(device) for part in (inputs.to(dtype), targets.to(dtype), mask)))
    loss_of_all, found = loss_side_by_side if side_by_side else loss_of, []
    for hooked in (False, True):
        if hooked:  # then the gradients are those of autograd
            model.register_forward_hook(lambda *_: None)
        model.zero_grad()
        loss = loss_of_all(model, Objective(answer), batch)
        loss.loss.backward()
        found.append([loss.loss.detach(), loss.logits, *(p.grad.clone() for p in model.parameters())])
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for mine, other in zip(*found, strict=True):
        assert mine.dtype == other.dtype
        assert (mine - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.gpu
def test_auto_takes_it_on_a_gpu():
    model, inputs = on_gpu(2, 3, backend="auto")
    assert model.backend_for(inputs) == "triton"
    logits, _ = model(inputs)
    model.backend = "triton"
    assert torch.equal(model(inputs)[0], logits)


@pytest.mark.gpu
def test_it_runs_on_the_stream_that_is_current():
    model, inputs = on_gpu(3, 5)
    expected = outcome(model, inputs)
    late, stream = torch.zeros_like(inputs), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a tenth of a second: on another stream the inputs would still be zeros
        late.copy_(inputs)
        found = outcome(model, late)
    stream.synchronize()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.gpu
def test_results_do_not_change_from_run_to_run():
    model, inputs = on_gpu(70, 30, hidden_size=100, memory_slots=128, memory_width=20, num_read_heads=2)
    runs = [outcome(model, inputs) for _ in range(5)]
    for run in runs[1:]:
        assert all(torch.equal(one, other) for one, other in zip(run, runs[0], strict=True))


@pytest.mark.gpu
def test_a_sequence_does_not_depend_on_others_of_its_batch():
    model, inputs = on_gpu(300, 5)
    truth = copy.deepcopy(model).double()
    truth.backend = "reference"
    together = outcome(model, inputs)
    for one, other in zip(together, outcome(truth, inputs.double()), strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max().clamp(min=1)
    for i in (0, 131, 299):
        alone = model(inputs[i : i + 1])[0][0]
        torch.testing.assert_close(together[0][i], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_nothing_waits_for_the_gpu():
    model, inputs = on_gpu(3, 5, num_layers=2)
    outcome(model, inputs)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        outcome(model, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_a_large_memory_and_many_steps():
    case = Case({"memory_slots": 1024, "memory_width": 64, "memory_init": "learned"}, 4, 40, own_state=False)
    # Forty steps: each adds its rounding.
    model = case.network("cuda")
    truth, mine = (results(model, case, *call) for call in (("reference", torch.float64), ("triton", torch.float32)))
    for name, true in truth.items():
        assert (mine[name] - true).abs().max() <= 1e-4 * true.abs().max(), name
