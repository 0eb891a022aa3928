"""The loss with all gradients in one call of a kernel, against the loss of the logits by autograd."""

import dataclasses
import random
from functools import partial

import numpy as np
import pytest
import recorder
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lightning_ntm import DNC, LSTM, NTM, Copy, Stack
from lightning_ntm.kernels import graphs, loss_graphs
from lightning_ntm.kernels.loss import CriterionOutput, Gradients, Results, run
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training import SequenceLearner
from lightning_ntm.training.data import TargetsError
from lightning_ntm.training.loss import Objective, fused_loss, loss_of, loss_side_by_side
from lightning_ntm.training.optimizer import clip, together, total_norm

SMALL = {"hidden_size": 6, "memory_slots": 7, "memory_width": 3}
LIMITED = {"gradient_limit": 1e-3}


def drawn(seed):
    """Arguments of a network, a state's slots, and a reduction."""
    draw = random.Random(seed)
    options = {
        "hidden_size": draw.randint(1, 9),
        "memory_slots": draw.randint(5, 12),
        "memory_width": draw.randint(1, 6),
        "num_read_heads": draw.choice([1, 2]),
        "num_write_heads": draw.choice([1, 2]),
        "max_shift": draw.choice([0, 1, 2]),
        "controller": draw.choice(["lstm", "feedforward"]),
        "num_layers": draw.choice([1, 2]),
        "memory_init": draw.choice(["constant", "learned", "random"]),
        "head_init": draw.choice(["one_hot", "learned"]),
        "min_sharpening": draw.choice([1.0, 1.2]),
        "gradient_limit": draw.choice([0.0, 0.1]),
    }
    return options, draw.choice([None, 5]), draw.choice(["mean", "sum"])


def episodes(answer, batch=3, time=5, dtype=torch.float64, **like):
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(batch, time, 4, generator=generator, dtype=dtype)
    mask = torch.rand(batch, time, generator=generator) < 0.6
    mask[:, -1] = True
    shape = (batch, time) if isinstance(answer, Symbols) else (batch, time, answer.size)
    targets = torch.randint(0, 2, shape, generator=generator)
    return Batch(inputs, targets if isinstance(answer, Symbols) else targets.to(dtype), mask)


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("answer", [Bits(2), Symbols(2), Numbers(2)], ids=str)
@pytest.mark.parametrize("seed", range(25))
def test_it_is_that_of_autograd(seed, answer):
    options, slots, reduction = drawn(seed)
    torch.manual_seed(seed)
    check_loss(NTM(4, 2, **options).double(), answer, slots, reduction)


@pytest.mark.parametrize("answer", [Bits(2), Symbols(2)], ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_that_of_a_dnc_is_that_of_autograd(seed, answer):
    options, slots, reduction = drawn(seed)
    torch.manual_seed(seed)
    names = ("hidden_size", "memory_slots", "memory_width", "num_read_heads", "controller", "num_layers")
    kind = DNC.mds if seed % 2 else DNC
    check_loss(kind(4, 2, **{name: options[name] for name in names}).double(), answer, slots, reduction)


def check_loss(model, answer, slots, reduction):
    batch, objective = episodes(answer), Objective(answer, reduction)
    start = None if slots is None else partial(model.initial_state, len(batch.inputs), slots=slots)
    short = fused_loss(model, objective, batch, start and start())
    found = gradients(short.loss, model)
    model.backend = "reference"
    assert fused_loss(model, objective, batch) is None
    long = loss_of(model, objective, batch, start and start())
    for mine, other in zip(short[:3], long[:3], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    assert torch.equal(short.errors, answer.errors(long.logits, batch))
    for mine, other in zip(found, gradients(long.loss, model), strict=True):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other, rtol=1e-10, atol=1e-10)


class Own(Bits):
    """An answer of a user, of which kernels know nothing."""

    constant = True


@pytest.mark.parametrize("kind", [NTM, DNC])
@pytest.mark.parametrize("answer", [Bits(20), Symbols(20, end=1), Numbers(20, tolerance=0.5)], ids=str)
def test_what_stands_in_other_steps_changes_nothing(answer, kind):
    torch.manual_seed(1)
    sizes = {"hidden_size": 5, "memory_slots": 6, "memory_width": 3}
    model, batch = kind(4, 20, **sizes).double(), episodes(answer, batch=11, time=9)
    if isinstance(answer, Symbols):
        targets = torch.randint(2, 20, batch.mask.shape, generator=torch.Generator().manual_seed(3))
        targets[:, 4], other = 1, -1  # the end of each answer, and what is no symbol
        batch = batch._replace(targets=targets, mask=batch.mask.index_fill(1, torch.tensor(4), 1))
    else:
        other = torch.nan
    other = batch.targets.masked_fill(~batch.mask if batch.targets.ndim == 2 else ~batch.mask.unsqueeze(-1), other)
    check_loss(model, answer, None, "mean")
    model.backend, objective = "cpu", Objective(answer)
    once, again = (fused_loss(model, objective, batch._replace(targets=each)) for each in (batch.targets, other))
    assert torch.equal(again.errors, answer.errors(again.logits, batch))
    torch.testing.assert_close(again.costs, answer.cost(again.logits, batch), rtol=1e-10, atol=1e-10)
    for mine, theirs in zip(gradients(once.loss, model), gradients(again.loss, model), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", [NTM, DNC])
def test_any_number_of_threads_gives_the_same_bits(kind):
    model = kind(4, 2, hidden_size=6, memory_slots=7, memory_width=3)
    batch, before, found = episodes(Bits(2), batch=19, dtype=torch.float32), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            loss = fused_loss(model, Objective(Bits(2)), batch)
            found.append([*loss, *gradients(loss.loss, model)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[0], other, strict=True))


def test_all_gradients_are_in_one_tensor_and_clipped_as_each_alone():
    model, batch = NTM(4, 2, **SMALL), episodes(Bits(2), dtype=torch.float32)
    fused_loss(model, Objective(Bits(2)), batch).loss.backward()
    found = [parameter.grad for parameter in model.parameters()]
    copies = [gradient.clone() for gradient in found]
    starts = [name for name, _ in model.named_parameters() if name.startswith("start")]
    assert len(together(found)) == 1 + len(starts)
    assert sum(part.numel() for part in together(found)) == sum(part.numel() for part in found)
    order = [part.data_ptr() for part in together(found[::-1])]
    assert order == [part.data_ptr() for part in together(found)[::-1]]  # not that of the addresses
    norm = total_norm(found, clipped=True, unread=False)
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm(copies))
    for size in (float(norm) * 3, float(norm) / 3):
        clip(found, size, norm)
        for mine, copy in zip(found, copies, strict=True):
            torch.testing.assert_close(mine, copy * min(1, size / float(norm)))


def test_a_symbol_that_does_not_exist_is_told():
    model, batch = NTM(4, 2, **SMALL), episodes(Symbols(2), dtype=torch.float32)
    batch.targets[:, -1] = 2
    with pytest.raises(TargetsError, match="targets must be symbols from 0 to 1"):
        fused_loss(model, Objective(Symbols(2), task="Mine"), batch)


@pytest.mark.parametrize("options", [{}, {"controller": "feedforward", "memory_init": "learned"}], ids=str)
def test_on_the_cpu_it_has_the_bits_of_autograd_unless_the_kernel_computes_the_loss(options):
    model, batch, objective = NTM(4, 2, **SMALL, **options), episodes(Bits(2), dtype=torch.float32), Objective(Own(2))
    short, long = fused_loss(model, objective, batch), objective.of(model(batch.inputs)[0], batch)
    assert short.errors is None
    assert all(torch.equal(mine, other) for mine, other in zip(short[:3], long[:3], strict=True))
    pairs = zip(gradients(short.loss, model), gradients(long.loss, model), strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs)


def test_a_factor_and_a_frozen_parameter_are_kept():
    model, batch, objective = NTM(4, 2, **SMALL).double(), episodes(Bits(2)), Objective(Bits(2))
    model.heads.weight.requires_grad_(False)
    halved = gradients(fused_loss(model, objective, batch).loss / 2, model)
    whole = gradients(fused_loss(model, objective, batch).loss, model)
    for half, one in zip(halved, whole, strict=True):
        assert (half is None and one is None) or torch.equal(2 * half, one)
    assert model.heads.weight.grad is None


@pytest.mark.parametrize(
    "options", [{}, {"gradient_limit": 1e-3}, {"gradient_limit": 1e-3, "controller": "feedforward"}]
)
@pytest.mark.parametrize("use", [lambda loss: loss / 4, lambda loss: 4 * loss, lambda loss: loss + loss], ids=range(3))
def test_a_multiple_of_the_loss_has_the_gradients_of_autograd(options, use):
    model, batch, objective = (
        NTM(4, 2, **SMALL, **options),
        episodes(Bits(2), time=9, dtype=torch.float32),
        Objective(Bits(2)),
    )
    short = gradients(use(fused_loss(model, objective, batch).loss), model)
    long = gradients(use(objective.of(model(batch.inputs)[0], batch).loss), model)
    for mine, other in zip(short, long, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"gradient_limit": 1e-3}], ids=str)
def test_a_second_backward_gives_the_gradients_again(options):
    model, batch, objective = NTM(4, 2, **SMALL, **options), episodes(Bits(2), dtype=torch.float32), Objective(Bits(2))
    loss = fused_loss(model, objective, batch).loss
    once = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    again = gradients(loss, model)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    with pytest.raises(RuntimeError, match="first gradients"):
        torch.autograd.grad(fused_loss(model, objective, batch).loss, model.heads.weight, create_graph=True)


def test_a_weight_that_changed_before_a_second_backward_is_told():
    model, batch = NTM(4, 2, **SMALL), episodes(Bits(2), dtype=torch.float32)
    loss = fused_loss(model, Objective(Bits(2)), batch).loss
    loss.backward(retain_graph=True)
    with torch.no_grad():
        model.heads.weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def hooked(model):
    model.register_forward_hook(lambda *_: None)


def hooked_inside(model):
    model.heads.register_forward_hook(lambda *_: None)


def with_a_forward(model):
    model.forward = partial(type(model).forward, model)


def checkpoints(model):
    model.checkpoint_every = 2


def compiled(model):
    model.compile(backend="eager")


@pytest.mark.parametrize("change", [hooked, hooked_inside, with_a_forward, checkpoints, compiled])
def test_what_looks_at_a_network_is_left_to_autograd(change):
    model, batch, objective = NTM(4, 2, **SMALL), episodes(Bits(2), dtype=torch.float32), Objective(Bits(2))
    assert model.loss_refusal(batch.inputs) is None
    change(model)
    assert fused_loss(model, objective, batch) is None
    assert model.loss_refusal(batch.inputs).endswith(".")


class Seeing(TorchFunctionMode):
    """Sees functions of PyTorch."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Called(NTM):
    """Is called in a way of its own."""

    def __call__(self, *call):
        return super().__call__(*call)


def test_what_looks_at_operations_is_left_to_autograd():
    model, batch, objective = NTM(4, 2, **SMALL), episodes(Bits(2), dtype=torch.float32), Objective(Bits(2))
    with torch.no_grad():
        assert fused_loss(model, objective, batch) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert fused_loss(model, objective, batch) is None
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        assert fused_loss(model, objective, batch) is None
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly(check_nan=False):
        assert fused_loss(model, objective, batch) is None
    assert fused_loss(model, objective, batch._replace(inputs=batch.inputs.clone().requires_grad_())) is None
    assert fused_loss(model, objective, batch._replace(targets=batch.targets.clone().requires_grad_())) is None
    with Seeing():
        assert fused_loss(model, objective, batch) is None
    with torch.device("cpu"):
        assert fused_loss(model, objective, batch) is not None
    assert fused_loss(torch.compile(model, backend="eager"), objective, batch) is None
    assert fused_loss(LSTM(4, 2, hidden_size=3), objective, batch) is None
    assert fused_loss(Called(4, 2, **SMALL), objective, batch) is None
    assert fused_loss(model, objective, batch) is not None


def test_wrong_targets_are_told():
    model, batch, objective = (
        NTM(4, 2, **SMALL),
        episodes(Bits(2), dtype=torch.float32),
        Objective(Bits(2), task="Mine"),
    )
    with pytest.raises(TargetsError, match=r"Mine: targets must have shape \(batch, time, 2\), got \(3, 5, 1\)"):
        fused_loss(model, objective, batch._replace(targets=batch.targets[..., :1]))


@dataclasses.dataclass(frozen=True)
class Doubled(Bits):
    """Costs that are not those of the class whose gradient is known in closed form."""

    def cost(self, logits, batch):
        return 2 * super().cost(logits, batch)


@dataclasses.dataclass(frozen=True)
class Constant(Doubled):
    """Says that it is constant."""

    constant = True


def test_the_answer_of_a_user_is_left_to_autograd_unless_it_says_that_it_is_constant():
    model, batch = NTM(4, 2, **SMALL).double(), episodes(Bits(2))
    assert fused_loss(model, Objective(Doubled(2)), batch) is None
    once = gradients(fused_loss(model, Objective(Bits(2)), batch).loss, model)
    twice = gradients(fused_loss(model, Objective(Constant(2)), batch).loss, model)
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(two, 2 * one)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("answer", [Bits(2), Symbols(2)], ids=str)
def test_networks_side_by_side_have_the_sum_of_their_losses(answer, reduction):
    members, objective = [NTM(4, 2, **SMALL).double() for _ in range(2)], Objective(answer, reduction)
    batch = episodes(answer, batch=4)
    batches = Batch(*(part.unflatten(0, (2, 2)) for part in batch))
    together = loss_side_by_side(Stack(members), objective, batches)
    alone = [loss_of(member, objective, Batch(*(part[i] for part in batches))) for i, member in enumerate(members)]
    torch.testing.assert_close(together.loss, sum(one.loss for one in alone))
    torch.testing.assert_close(together.costs, torch.stack([one.costs for one in alone]))


class Owner(nn.Module):
    """Has graphs."""


def criterion(logits, inputs):
    return CriterionOutput(logits.square().sum(), logits.square().sum(1), 2 * logits)


def product(criterion, episodes, tensors):
    (inputs,), (state, weight) = episodes, tensors
    evaluated = criterion(logits := inputs @ weight + state, inputs)
    return Results(
        evaluated.loss, evaluated.costs, logits, Gradients([evaluated.gradient, inputs.mT @ evaluated.gradient])
    )


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    if request.param == "cpu":
        monkeypatch.setattr(graphs, "Memory", recorder.Memory)
        monkeypatch.setattr(graphs, "_current_stream", lambda device: device)
        monkeypatch.setattr(graphs, "can_capture", lambda device: True)
    return request.param


def replayed(owner, inputs, state, weight):
    program = loss_graphs.replayed(owner, partial(product), criterion, [inputs], [state], [weight])
    return program, run(program, criterion, [inputs], (state, weight))


def test_a_shape_that_repeats_is_captured_and_each_call_has_its_own_numbers(device):
    owner, weight = Owner(), torch.randn(3, 2, device=device, requires_grad=True)
    for call in range(6):
        inputs, state = torch.randn(4, 3, device=device), torch.randn(4, 2, device=device, requires_grad=True)
        program, found = replayed(owner, inputs, state, weight)
        assert isinstance(program, partial) == (call < 2)
        expected = (inputs @ weight + state).square().sum()
        mine = torch.autograd.grad(found.loss, (state, weight))
        torch.testing.assert_close(found.loss, expected)
        torch.testing.assert_close(mine, torch.autograd.grad(expected, (state, weight)))
        with torch.no_grad():
            weight += 1  # is read where it is


def test_losses_may_be_followed_by_their_backwards_in_any_order(device):
    owner, weight = Owner(), torch.randn(3, 2, device=device, requires_grad=True)
    calls = [(torch.randn(4, 3, device=device), torch.randn(4, 2, device=device)) for _ in range(6)]
    losses = [replayed(owner, *call, weight)[1].loss for call in calls]
    for (inputs, state), loss in reversed(list(zip(calls, losses, strict=True))):
        expected = (inputs @ weight + state).square().sum()
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, weight), torch.autograd.grad(expected, weight))


def test_another_weight_judge_or_shape_is_another_graph(device):
    owner, weight = Owner(), torch.randn(3, 2, device=device, requires_grad=True)
    inputs, state = torch.randn(4, 3, device=device), torch.randn(4, 2, device=device)
    for _ in range(3):
        program, _ = replayed(owner, inputs, state, weight)
    assert not isinstance(program, partial)
    assert isinstance(replayed(owner, inputs, state, weight.detach().clone().requires_grad_())[0], partial)
    assert isinstance(replayed(owner, inputs[:3], state[:3], weight)[0], partial)
    assert isinstance(loss_graphs.replayed(owner, partial(product), print, [inputs], [state], [weight]), partial)
    assert replayed(owner, inputs, state, weight)[0] is program


def test_equal_objectives_share_a_graph(device):
    weight, inputs = torch.randn(3, 2, device=device, requires_grad=True), torch.randn(4, 3, device=device)
    owner, state = Owner(), torch.randn(4, 2, device=device)
    for _ in range(3):
        evaluated = Objective(Bits(2)).with_gradient
        program = loss_graphs.replayed(owner, partial(unjudged), evaluated, [inputs], [state], [weight])
    assert not isinstance(program, partial)


@pytest.mark.parametrize("first", [4, 5])
def test_losses_of_two_shapes_may_come_before_one_backward(device, first):
    owner, weight = Owner(), torch.randn(3, 2, device=device, requires_grad=True)

    def call(batch):
        inputs, state = torch.randn(batch, 3, device=device), torch.randn(batch, 2, device=device)
        program, found = replayed(owner, inputs, state, weight)
        return program, found.loss, (inputs @ weight + state).square().sum()

    for batch in (4, 4, 4, 5, 5, 5):
        call(batch)
    one, other = call(first), call(9 - first)
    assert not isinstance(one[0], partial)
    assert not isinstance(other[0], partial)
    (mine,) = torch.autograd.grad(one[1] + other[1], weight)
    torch.testing.assert_close(mine, *torch.autograd.grad(one[2] + other[2], weight))


def unjudged(_, *call):
    return product(criterion, *call)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"controller": "feedforward", "memory_init": "learned"}], ids=str)
def test_a_training_on_a_gpu_replays_graphs_and_learns_the_same(options):
    task = Copy(bits=3, max_length=4)
    batches = [task.sample(np.random.default_rng(i), 4, length=4) for i in range(8)]
    results = []
    for backend in ("auto", "reference"):
        torch.manual_seed(0)
        model = NTM(4, 3, **SMALL, backend=backend, **options).cuda()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for batch in batches:
            batch = Batch(*(part.cuda() for part in batch))
            optimizer.zero_grad()
            loss_of(model, Objective(task.answer), batch).loss.backward()
            optimizer.step()
        results.append([parameter.detach().clone() for parameter in model.parameters()])
        captured = [entry for each in graphs._models.get(model, {}).values() for entry in each.graphs.values()]
        assert bool(captured) == (backend == "auto")
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


class Forwarded(SequenceLearner):
    """A learner of a user."""

    def forward(self, inputs, slots=None):
        return 2 * super().forward(inputs, slots)


def test_a_learner_that_looks_is_left_to_autograd(monkeypatch):
    monkeypatch.setattr(SequenceLearner, "holds_whole_gradients", lambda self: True)
    monkeypatch.setattr(SequenceLearner, "_scales_loss", lambda self: False)
    monkeypatch.setattr(SequenceLearner, "_task", None)
    inputs, network = torch.zeros(1, 2, 4), NTM(4, 2, **SMALL)
    learner = SequenceLearner(network)
    assert learner.loss_refusal(inputs) is None
    learner.forward = learner.forward  # as strategies of Lightning do it
    assert learner.loss_refusal(inputs) is None
    del learner.forward
    assert "methods of its own" in Forwarded(network).loss_refusal(inputs)
    with monkeypatch.context() as patched:
        patched.setattr(SequenceLearner, "forward", Forwarded.forward)
        assert "methods of its own" in learner.loss_refusal(inputs)
    learner.register_forward_hook(lambda *_: None)
    assert "hooks" in learner.loss_refusal(inputs)
