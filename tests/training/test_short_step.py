"""Short steps give the bits of general ones, and are taken only where nothing could look at what they leave out."""

import json
from types import MethodType

import pytest
import torch
from hypothesis import given, settings, strategies as st
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import Precision
from test_side_by_side import alone, ntm, rows, same, together, without_times

from lightning_ntm import DNC, LSTM, NTM, Copy
from lightning_ntm.models.ntm_memory import NTMMemory
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training import EpisodeData, Run, SequenceLearner
from lightning_ntm.training.flat import Flat, FlatOptimizer
from lightning_ntm.training.loss import Objective, loss_of
from lightning_ntm.training.short_step import _HOOKS, ShortStep
from lightning_ntm.training.states import training_state

SMALL = {"hidden_size": 5, "memory_slots": 6, "memory_width": 3}


def general(monkeypatch):
    monkeypatch.setattr(SequenceLearner, "step_refusal", lambda learner: "a test asked for it.")


def train_both_ways(folder, monkeypatch, **varied):
    """Train as ever and with general steps, and see that weights and states are the same."""
    make = varied.get("make", ntm)
    alone(folder / "short", 1, **varied).fit()
    general(monkeypatch)
    alone(folder / "general", 1, **varied).fit()
    same(*(without_times(training_state(make(), folder / name / "last.ckpt")) for name in ("short", "general")))


def steps(folder):
    return json.loads((folder / "about.jsonl").read_text().splitlines()[-1])["steps"]


@pytest.mark.parametrize(
    "varied",
    [
        {
            "make": lambda: ntm(controller="feedforward"),
            "min_memory_slots": 3,
            "weight_noise": 0.01,
            "noise_warmup": 0.5,
        },
        {"make": lambda: ntm(memory_init="learned", head_init="learned", num_layers=2), "min_memory_slots": 3},
        {"make": lambda: DNC(4, 3, **SMALL), "optimizer": torch.optim.RMSprop, "loss": "sum"},
        {"optimizer": lambda p: torch.optim.Adam(p, lr=1e-2, foreach=True), "trainer": {"gradient_clip_val": None}},
        {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1), "trainer": {"gradient_clip_algorithm": "value"}},
        {"optimizer": torch.optim.NAdam, "trainer": {"precision": "64-true", "gradient_clip_val": 0.01}},
    ],
    ids=["slots and noise", "learned starts", "dnc", "adam", "sgd by value", "float64, clipped"],
)
def test_short_steps_give_the_bits_of_general_ones(tmp_path, monkeypatch, varied):
    train_both_ways(tmp_path, monkeypatch, **varied)
    assert steps(tmp_path / "short") == "short"
    assert steps(tmp_path / "general") == "general: a test asked for it."
    assert rows(tmp_path / "short") == rows(tmp_path / "general")


def test_members_take_short_steps_and_each_file_has_the_tensors_of_one(tmp_path):
    alone(tmp_path / "alone", 1).fit()
    run = together(tmp_path)
    run.fit()
    assert [steps(tmp_path / str(seed)) for seed in (1, 2, 3)] == ["short"] * 3
    sizes = [(tmp_path / name / "last.ckpt").stat().st_size for name in ("alone", "1")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    for member in run.members:
        assert all(p.untyped_storage().nbytes() == p.nbytes for p in member.learner.parameters())


def test_hooks_that_do_nothing_are_not_called_in_short_steps_and_are_there_again_afterwards(tmp_path, monkeypatch):
    unused = {}

    def look(learner):
        for part in (learner, *learner.trainer.callbacks):
            unused.update({(type(part).__name__, hook): part for hook in _HOOKS if getattr(part, hook) is None})

    monkeypatch.setattr(SequenceLearner, "on_validation_epoch_end", look)
    alone(tmp_path, 1).fit()
    assert {("SequenceLearner", "on_before_backward"), ("Recorder", "on_before_zero_grad")} <= unused.keys()
    assert not {("SequenceLearner", "on_after_backward"), ("Recorder", "on_train_batch_end")} & unused.keys()
    assert all(callable(getattr(part, hook)) for (_, hook), part in unused.items())


def some(parameters):
    return torch.optim.SGD(list(parameters)[:4], lr=0.1)


def hooked(parameters):
    optimizer = torch.optim.SGD(parameters, lr=0.1)

    def clamp(optimizer, *arguments):
        for p in optimizer.param_groups[0]["params"]:
            if p.ndim > 1:
                p.data.clamp_(-0.1, 0.1)

    optimizer.register_step_post_hook(clamp)
    return optimizer


def stepping(parameters):
    optimizer = torch.optim.SGD(parameters, lr=0.1)

    def signed(optimizer, closure):
        closure()
        for p in optimizer.param_groups[0]["params"]:
            p.data -= 0.01 * p.grad.sum().sign()

    optimizer.step = MethodType(signed, optimizer)
    return optimizer


def at(step, change):
    """Return a schedule of PyTorch's class that changes something at a step."""

    def scheduler(optimizer):
        def factor(number):
            if number == step:
                change(optimizer)
            return 1.0

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    return scheduler


def forget(optimizer):
    for state in optimizer.state.values():
        state["exp_avg"] = torch.zeros_like(state["exp_avg"])


def freeze(optimizer):
    for p in optimizer.param_groups[0]["params"]:
        p.requires_grad_(p.ndim > 1)


def halve(optimizer):
    for p in optimizer.param_groups[0]["params"]:
        p.register_hook(lambda gradient: gradient / 2)


@pytest.mark.parametrize(
    "varied",
    [
        {"optimizer": some},
        {"optimizer": lambda p: torch.optim.Adam(list(p)[2:], lr=0.01, foreach=True)},
        {"optimizer": hooked},
        {"optimizer": stepping},
        {"optimizer": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True), "scheduler": at(3, forget)},
        {"scheduler": at(3, freeze)},
        {"scheduler": at(3, halve)},
    ],
    ids=["some", "others", "hooked", "stepping", "state", "frozen", "gradients"],
)
def test_what_a_user_does_to_the_optimizer_and_the_parameters_is_done(tmp_path, monkeypatch, varied):
    train_both_ways(tmp_path, monkeypatch, **varied)


class Watching(Callback):
    def on_after_backward(self, trainer, module):
        for p in module.parameters():
            p.grad = torch.zeros_like(p)


class Rounding(Precision):
    pass


class Waiting(torch.optim.lr_scheduler.LambdaLR):
    pass


class Own(SequenceLearner):
    pass


def frozen():
    model = ntm()
    model.start_reads.requires_grad_(False)
    return model


def unused():
    model = ntm()
    model.extra = torch.nn.Parameter(torch.zeros(2))
    return model


@pytest.mark.parametrize(
    ("varied", "reason"),
    [
        ({"trainer": {"callbacks": [Watching()]}}, "general: Watching may use or change gradients."),
        ({"trainer": {"plugins": [Rounding()]}}, "general: Rounding may use or change gradients."),
        ({"scheduler": lambda o: Waiting(o, lambda _: 1.0)}, "general: Waiting may use or change gradients."),
        ({"trainer": {"accumulate_grad_batches": 2}}, "general: gradients are accumulated."),
        ({"make": lambda: LSTM(4, 3)}, "general: no kernel computes loss and gradients of such sequences in one call."),
        ({"make": lambda: ntm(backend="reference")}, "general: no kernel computes loss and gradients"),
        ({"make": frozen}, "general: start_reads is not trained, has hooks or another dtype."),
        ({"make": unused}, "general: extra is not used."),
    ],
    ids=["callback", "plugin", "scheduler", "accumulation", "lstm", "reference", "frozen", "unused"],
)
def test_what_a_short_step_cannot_serve_takes_the_general_way_and_the_folder_says_why(tmp_path, varied, reason):
    run = alone(tmp_path / "run", 1, **varied)
    before = [p.detach().clone() for p in run.learner.parameters()]
    run.fit()
    assert steps(tmp_path / "run").startswith(reason)
    if "callbacks" in varied.get("trainer", {}):  # its zeros were the gradients
        same(before, [p.detach() for p in run.learner.parameters()])


def test_a_learner_of_the_users_own_takes_the_general_way(tmp_path):
    data = EpisodeData(Copy(bits=3, max_length=4), 1, batch_size=4, validation_sequences=4)
    options = {"max_steps": 1, "enable_progress_bar": False, "accelerator": "cpu", "limit_val_batches": 0}
    Run(Own(ntm()), data, options, RunFolder(tmp_path / "run"), "").fit()
    assert steps(tmp_path / "run") == "general: the learner is a Own."


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_parameters_are_called(tmp_path, register):
    run, seen = alone(tmp_path / "run", 1), []
    getattr(run.learner.model.heads.bias, register)(lambda given: seen.append(given.shape))
    run.fit()
    assert len(seen) == 12
    assert steps(tmp_path / "run").startswith("general: heads.bias is not trained, has hooks")


ANSWERS = {
    "bits": (Bits(3), lambda shape: torch.randint(2, (*shape, 3)).float()),
    "symbols": (Symbols(3), lambda shape: torch.randint(3, shape)),
    "numbers": (Numbers(3), lambda shape: torch.randn(*shape, 3)),
}


def drawn(answer, batch, time):
    kind, targets = ANSWERS[answer]
    mask = torch.rand(batch, time) < 0.7
    mask[0, 0] = True
    found = targets((batch, time))
    inputs = torch.randn(batch, time, 4, dtype=torch.float64)
    return kind, Batch(inputs, found.double() if found.is_floating_point() else found, mask)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_gradients_are_those_of_autograd_through_the_loop(data):
    torch.manual_seed(data.draw(st.integers(0, 999)))
    batch, time, slots = (data.draw(st.integers(1, most)) for most in (5, 7, 3))
    answer = data.draw(st.sampled_from(list(ANSWERS)))
    choices = {"controller": data.draw(st.sampled_from(["lstm", "feedforward"])), "num_layers": time % 2 + 1}
    if kind_of_ntm := data.draw(st.booleans()):
        choices["memory_init"] = data.draw(st.sampled_from(["constant", "learned", "random"]))
        choices["head_init"] = data.draw(st.sampled_from(["one_hot", "learned"]))
        choices["gradient_limit"] = data.draw(st.sampled_from([0.0, 0.01]))
        choices["min_sharpening"] = data.draw(st.sampled_from([1.0, 1.2]))
    models = [(NTM if kind_of_ntm else DNC)(4, 3, **SMALL, **choices).double() for _ in range(2)]
    kind, episodes = drawn(answer, batch, time)
    objective = Objective(kind, data.draw(st.sampled_from(["mean", "sum"])))
    expected = []
    for model in models:
        model.backend = "reference"
        loss = loss_of(model, objective, episodes, model.initial_state(batch, slots=slots + 2)).loss
        loss.backward()
        expected.append((loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}))
        model.backend = "cpu"
        model.zero_grad()
    short = ShortStep(models, [model.prepared_loss(episodes.inputs, objective) for model in models])
    found = short.losses([episodes, episodes], [slots + 2] * 2, [None] * 2)
    short.backward()
    for model, one, (loss, gradients) in zip(models, found, expected, strict=True):
        torch.testing.assert_close(one.loss, loss, rtol=1e-10, atol=1e-12)
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad, gradients[name], rtol=1e-8, atol=1e-10)


def short_of(model, objective):
    return ShortStep([model], [model.prepared_loss(torch.zeros(1, 1, 4), objective)])


def test_a_parameter_that_was_replaced_or_inputs_of_another_kind_are_left_to_the_general_way():
    model, objective = NTM(4, 3, **SMALL), Objective(Bits(3))
    episodes = Batch(torch.zeros(2, 3, 4), torch.zeros(2, 3, 3), torch.ones(2, 3, dtype=torch.bool))
    short = short_of(model, objective)
    assert short.losses([episodes], [None], [None]) is not None
    assert short.losses([episodes._replace(inputs=torch.zeros(2, 3, 4).double())], [None], [None]) is None
    assert short.losses([episodes._replace(inputs=torch.zeros(2, 3, 5))], [None], [None]) is None
    assert not short.taken
    with torch.no_grad():
        assert short.losses([episodes], [None], [None]) is None
    model.heads.bias.data = torch.zeros_like(model.heads.bias)
    assert short.losses([episodes], [None], [None]) is None


def test_a_start_that_is_not_the_one_for_kernels_goes_through_autograd():
    class Other(NTM):
        def initial_state(self, *batch, slots=None):
            state = super().initial_state(*batch, slots=slots)
            return state._replace(memory=state.memory._replace(memory=state.memory.memory + 1))

    model = Other(4, 3, **SMALL)
    assert not short_of(model, Objective(Bits(3))).starts[0].simple
    assert short_of(NTM(4, 3, **SMALL), Objective(Bits(3))).starts[0].simple
    own = NTM(4, 3, hidden_size=5, memory=NTMMemory(memory_slots=6, memory_width=3))
    assert own.kernel_start(2, None) is None


def trained_parameters():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 5), (5,), (2, 7))]


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.AdamW, torch.optim.RAdam, torch.optim.Adamax])
def test_an_optimizer_has_a_state_for_each_parameter_and_can_load_one_between_steps(kind):
    def trained(flat_steps):
        parameters = trained_parameters()
        optimizer = kind(parameters, lr=0.1, foreach=True)
        flat = Flat([parameters[:2], parameters[2:]])
        stepper, saved = FlatOptimizer(optimizer, flat), None
        assert stepper.suits()
        for step in range(6):
            flat.install()
            flat.gradients.copy_(torch.arange(len(flat.gradients)).cos() * (step + 1))
            if step == 3:
                saved = optimizer.state_dict()
                optimizer.load_state_dict(saved)
            if step in flat_steps:
                stepper.enter()
                assert optimizer.param_groups[0]["params"] == [stepper.whole]
            optimizer.step()
            stepper.leave()
            assert optimizer.param_groups[0]["params"] == parameters
        return [p.detach().clone() for p in parameters], optimizer.state_dict()

    one = trained(())
    same(one, trained(range(6)))
    same(one, trained((0, 2, 4)))
    same(one, trained((1, 5)))


def test_a_parameter_that_missed_a_step_is_not_updated_as_part_of_all():
    def trained(*, flat_steps):
        parameters = trained_parameters()
        optimizer, flat = torch.optim.Adam(parameters, lr=0.1, foreach=True), Flat([parameters])
        stepper = FlatOptimizer(optimizer, flat)
        for step in range(5):
            flat.install()
            flat.gradients.fill_(0.1 + step)
            if step == 2:
                parameters[1].grad = None
            if flat_steps:
                stepper.enter()
                assert (optimizer.param_groups[0]["params"] == parameters) == (step >= 2)
            optimizer.step()
            stepper.leave()
        return [p.detach().clone() for p in parameters], optimizer.state_dict()

    same(trained(flat_steps=False), trained(flat_steps=True))


def test_gradients_that_do_not_lie_in_the_tensor_are_left_to_the_optimizer():
    parameters = trained_parameters()
    optimizer, flat = torch.optim.SGD(parameters, lr=1.0, foreach=True), Flat([parameters])
    stepper, before = FlatOptimizer(optimizer, flat), [p.detach().clone() for p in parameters]
    flat.install()
    parameters[1].grad = None
    stepper.enter()
    assert optimizer.param_groups[0]["params"] == parameters
    flat.gradients.fill_(1)
    optimizer.step()
    assert torch.equal(parameters[0], before[0] - 1)
    assert torch.equal(parameters[1], before[1])


def test_other_optimizers_are_left_as_they_are():
    for make in (
        lambda p: torch.optim.Adam(p, fused=True),
        lambda p: torch.optim.Adagrad(p, foreach=True),
        lambda p: torch.optim.SGD(p, foreach=False),
        lambda p: torch.optim.SGD([{"params": p[:1]}, {"params": p[1:]}], foreach=True),
    ):
        parameters = trained_parameters()
        assert not FlatOptimizer(make(parameters), Flat([parameters])).suits()


def test_released_parameters_have_tensors_of_their_own():
    parameters = trained_parameters()
    before = [p.detach().clone() for p in parameters]
    flat = Flat([parameters])
    flat.install()
    flat.gradients.fill_(2)
    flat.release()
    flat.values.zero_()
    flat.gradients.zero_()
    for p, value in zip(parameters, before, strict=True):
        assert torch.equal(p, value)
        assert (p.grad == 2).all()
        assert p.untyped_storage().nbytes() == p.nbytes


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        (lambda p: torch.optim.Adam(p, capturable=True), "If capturable=True"),
        (lambda p: torch.optim.SGD(p, lr=0.1, differentiable=True), "a leaf Variable"),
        (lambda p: torch.optim.LBFGS(p, line_search_fn="foo"), "only 'strong_wolfe' is supported"),
        (lambda p: torch.optim.LBFGS(p, history_size=0), ""),
    ],
    ids=["capturable", "differentiable", "line search", "history"],
)
def test_an_optimizer_that_cannot_take_a_step_is_refused_before_the_folder_is_made(tmp_path, optimizer, reason):
    with pytest.raises(ValueError, match=f"cannot take a step with these settings: .*{reason}"):
        alone(tmp_path / "run", 1, optimizer=optimizer).fit()
    assert not (tmp_path / "run").exists()
