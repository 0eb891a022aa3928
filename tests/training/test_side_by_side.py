"""Runs that train side by side are the runs that each is alone."""

import copy
import itertools
import json
import os
import shutil
import signal
from typing import NamedTuple

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Timer
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from lightning_ntm import LSTM, NTM, Copy, MemoryModel, StackRNN, TapeRNN
from lightning_ntm.records import RunFolder
from lightning_ntm.training import EpisodeData, Run, SequenceLearner
from lightning_ntm.training.safety import DivergenceError, InterruptionError, LostFolderError
from lightning_ntm.training.side_by_side import module
from lightning_ntm.training.side_by_side.loop import logits_of, refusal
from lightning_ntm.training.side_by_side.member import Member, OwnRandomStates
from lightning_ntm.training.side_by_side.module import Members
from lightning_ntm.training.side_by_side.run import SideBySideRun
from lightning_ntm.training.side_by_side.states import joined
from lightning_ntm.training.states import training_state

TASK = Copy(bits=3, max_length=4)
OPTIONS = {
    "max_steps": 12,
    "log_every_n_steps": 3,
    "val_check_interval": 4,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "gradient_clip_val": 1.0,
    "accelerator": "cpu",
}


def ntm(**options):
    return NTM(4, 3, hidden_size=8, memory_slots=6, memory_width=4, **options)


def parts(seed, make=ntm, optimizer=None, scheduler=None, decay_after=0.5, **varied):
    L.seed_everything(seed, verbose=False)
    learner = SequenceLearner(
        make(), optimizer or (lambda p: torch.optim.Adam(p, lr=1e-2)), scheduler, decay_after=decay_after, **varied
    )
    return learner, EpisodeData(TASK, seed, batch_size=4, batches_per_epoch=5, validation_sequences=30)


def alone(folder, seed, *, resume=False, stop_when_solved=0, keep_weights_every=0, trainer=None, **varied):
    options = {**OPTIONS, **(trainer or {})}
    return Run(
        *parts(seed, **varied), options, RunFolder(folder), f"seed: {seed}\n", resume=resume,
        stop_when_solved=stop_when_solved, keep_weights_every=keep_weights_every,
    )  # fmt: skip


def together(
    folder, seeds=(1, 2, 3), *, resume=False, stop_when_solved=0, keep_weights_every=0, trainer=None, **varied
):
    options = {**OPTIONS, **(trainer or {})}
    said = {seed: [] for seed in seeds}
    members = [
        Member(
            *parts(seed, **varied), options, RunFolder(folder / str(seed)), f"seed: {seed}\n", resume=resume,
            stop_when_solved=stop_when_solved, keep_weights_every=keep_weights_every, tell=said[seed].append,
        )
        for seed in seeds
    ]  # fmt: skip
    run = SideBySideRun(members, options)
    run.said = said
    return run


def rows(folder):
    return [{key: value for key, value in row.items() if "second" not in key} for row in RunFolder(folder).rows()]


def without_times(state):
    """Return a training state without times, and without the state of Python's generator, which beartype uses."""
    callbacks = state["callbacks"]
    recorded = {**callbacks["Recorder"], "seconds": 0, "interval_seconds": 0}
    return {
        **state,
        "callbacks": {**callbacks, "Recorder": recorded, "RandomStates": callbacks["RandomStates"] | {"python": 0}},
    }


def same(one, other, path=""):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for place, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{path}.{place}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


def same_runs(one, other, make=ntm):
    """Compare all files of two runs, bit by bit, but for times."""
    assert rows(one) == rows(other)
    assert (one / "best.safetensors").read_bytes() == (other / "best.safetensors").read_bytes()
    states = [without_times(training_state(make(), path / "last.ckpt")) for path in (one, other)]
    same(*states)
    results = [{**json.loads((path / "result.json").read_text()), "seconds": 0} for path in (one, other)]
    assert results[0] == results[1]
    for name in ("config.yaml", "measures.json"):
        assert (one / name).read_text() == (other / name).read_text()


@pytest.mark.parametrize(
    "varied",
    [
        {},
        {
            "make": lambda: ntm(controller="feedforward"),
            "min_memory_slots": 3,
            "weight_noise": 0.01,
            "noise_warmup": 0.5,
        },
        {"make": lambda: LSTM(4, 3, hidden_size=8), "loss": "sum"},
        {"make": lambda: TapeRNN(4, 3, hidden_size=8, memory_slots=5, length_oracle=True)},
        {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), "trainer": {"gradient_clip_val": None}},
        {"scheduler": lambda o: StepLR(o, 5)},
        {"trainer": {"gradient_clip_algorithm": "value", "gradient_clip_val": 0.001, "log_every_n_steps": 1}},
        {"trainer": {"precision": "64-true", "max_steps": -1, "max_epochs": 2, "val_check_interval": None}},
    ],
    ids=["ntm", "slots and noise", "lstm", "jumps", "sgd", "scheduler", "clipped by value", "float64 and epochs"],
)
def test_each_run_is_the_one_that_it_is_alone(varied, tmp_path):
    together(tmp_path, **varied).fit()
    for seed in (1, 2, 3):
        alone(tmp_path / "alone" / str(seed), seed, **varied).fit()
        same_runs(tmp_path / str(seed), tmp_path / "alone" / str(seed), varied.get("make", ntm))
    noted = RunFolder(tmp_path / "2").notes()
    assert [note["side_by_side"] for note in noted] == [3]


class PlainState(NamedTuple):
    """The sum of what was seen, and the number of steps."""

    total: torch.Tensor
    steps: torch.Tensor


class Plain(MemoryModel):
    """A network without a kernel, and with what prevents that several run at once."""

    def __init__(
        self, *, noisy=False, counts=False, chooses=False, mixes=False, hooked=False, clamps=False, own=False,
        inner=False,
    ):  # fmt: skip
        super().__init__(4, 3)
        self.noisy, self.counts, self.chooses, self.mixes = noisy, counts, chooses, mixes
        self.clamps = clamps
        self.layer = nn.Linear(8, 3)
        self.factors = [float(torch.rand(()))] if own else [1.0]
        if inner:
            self.layer.register_forward_hook(lambda *call: None)
        self.register_buffer("scale", torch.full((4,), 0.5))
        if hooked:
            self.register_forward_hook(lambda *call: None)

    def initial_state(self, *batch):
        return PlainState(torch.zeros(*batch, 4), torch.zeros(*batch, 1))

    def step(self, x, state):
        if self.noisy:
            x = F.dropout(x, 0.1, self.training)
        if self.counts:
            self.scale.add_(1)
        if self.chooses and float(x.sum()) < 0:
            x = -x
        if self.mixes and torch._C._functorch.maybe_current_level() is not None:
            x = 2 * x
        if self.clamps:
            with torch.no_grad():
                self.layer.bias.clamp_(-1e-3, 1e-3)
        total = torch.tanh(self.factors[0] * state.total * self.scale + x)
        return self.layer(torch.cat([x, total], dim=-1)), PlainState(total, state.steps + 1)


def test_networks_that_draw_random_numbers_later_end_before_a_step_is_taken(tmp_path):
    run = together(tmp_path, make=Plain)
    for member in run.members:
        member.learner.model.noisy = True
    with pytest.raises(ValueError, match=r"side by side any longer: Plain draws random numbers\."):
        run.fit()


@pytest.mark.parametrize("changing", ["counts", "clamps", "noisy"])
def test_networks_that_are_refused_stay_as_they_were(changing):
    models = [Plain(**{changing: True}) for _ in range(2)]
    with torch.no_grad():
        for model in models:
            model.layer.bias.fill_(0.5)
    inputs = [torch.rand(2, 5, 4), torch.rand(2, 3, 4)]
    before, random = [copy.deepcopy(dict(model.state_dict())) for model in models], torch.get_rng_state()
    assert refusal(models, inputs)
    same(before, [dict(model.state_dict()) for model in models])
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("make", "varied"),
    [
        (Plain, {}),
        (lambda: ntm(backend="reference"), {"min_memory_slots": 3, "weight_noise": 0.01}),
        (lambda: ntm(backend="reference"), {"trainer": {"precision": "64-true"}}),
        (lambda: StackRNN(4, 3, hidden_size=6, memory_slots=5, controller="gru"), {"loss": "sum"}),
        (lambda: TapeRNN(4, 3, hidden_size=6, memory_slots=5, controller="lstm"), {}),
    ],
    ids=["own network", "slots and noise", "float64", "StackRNN", "TapeRNN"],
)
def test_networks_without_a_kernel_run_at_once(make, varied, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(
        module, "logits_of", lambda models, *call: called.append(len(models)) or logits_of(models, *call)
    )
    together(tmp_path, make=make, **varied).fit()
    assert called == [3] * 12
    for seed in (1, 2, 3):
        alone(tmp_path / "alone" / str(seed), seed, make=make, **varied).fit()
        mine, other = (rows(path) for path in (tmp_path / str(seed), tmp_path / "alone" / str(seed)))
        assert [row.keys() for row in mine] == [row.keys() for row in other]
        for row, same_row in zip(mine, other, strict=True):
            assert row == pytest.approx(same_row, rel=1e-4, abs=1e-5)
        states = [training_state(make(), path / str(seed) / "last.ckpt") for path in (tmp_path, tmp_path / "alone")]
        for name, weight in states[0]["state_dict"].items():
            torch.testing.assert_close(weight, states[1]["state_dict"][name], rtol=1e-3, atol=1e-4)


def test_each_run_has_random_numbers_of_its_own():
    members, alone = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        members.append(OwnRandomStates())
        alone.append(torch.rand(4).tolist())
    drawn = [[], []]
    for _ in range(4):
        for member, numbers in zip(members, drawn, strict=True):
            with member.installed():
                numbers.append(torch.rand(1).item())
    assert drawn == alone
    resumed = OwnRandomStates()
    resumed.load_state_dict(members[1].state_dict())
    with resumed.installed():
        following = torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(5)[4:], following)


def test_the_time_of_the_loop_is_divided_among_the_runs(tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("lightning_ntm.training.recorder.time.perf_counter", lambda: float(next(clock)))
    run = together(tmp_path)
    run.fit()
    counted = [member.record.recorder.seconds for member in run.members]
    whole = RunFolder(tmp_path / "1").rows()[-1]["seconds"]
    assert counted == pytest.approx([whole] * 3, rel=0.2)  # of the clock that all ask
    assert 12 < sum(counted) < next(clock)
    rate = RunFolder(tmp_path / "1").rows()[0]["steps_per_second"]
    assert 3 / rate == pytest.approx(3 * RunFolder(tmp_path / "1").rows()[0]["seconds"], rel=1e-2)


def test_each_run_tells_what_it_validated(tmp_path):
    run = together(tmp_path)
    run.fit()
    assert run.said[2][0] == "2: means over sequences in validation"
    assert [line[:14] for line in run.said[2][1:]] == ["step       4  ", "step       8  ", "step      12  "]
    assert run.said[1] != run.said[2]
    assert all(member.done for member in run.members)


class Interrupted(Members):
    """A signal arrives after a step, or in the validation that follows a step."""

    after, validating = 0, False

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.after and not self.validating:
            os.kill(os.getpid(), signal.SIGTERM)
        super().on_train_batch_end(trainer, *args)

    def on_validation_start(self, trainer, module):
        if trainer.global_step == self.after and self.validating:
            os.kill(os.getpid(), signal.SIGTERM)
        super().on_validation_start(trainer, module)


@pytest.mark.parametrize(("step", "validating"), [(6, False), (8, False), (8, True)])
def test_an_interrupted_training_goes_on_to_the_same_numbers(step, validating, tmp_path, monkeypatch):
    own = {"after": step, "validating": validating, "state_key": "Members"}
    with monkeypatch.context() as patched:
        patched.setattr("lightning_ntm.training.side_by_side.run.Members", type("Members", (Interrupted,), own))
        run = together(tmp_path, min_memory_slots=3)
        with pytest.raises(InterruptionError, match="SIGTERM"):
            run.fit()
    assert not any(member.left for member in run.members)
    # One is taken out and resumed alone; the others go on together.
    alone(tmp_path / "3", 3, resume=True, min_memory_slots=3).fit()
    together(tmp_path, (1, 2), resume=True, min_memory_slots=3).fit()
    for seed in (1, 2, 3):
        assert training_state(ntm(), tmp_path / str(seed) / "last.ckpt")["global_step"] == 12
        alone(tmp_path / "alone" / str(seed), seed, min_memory_slots=3).fit()
        same_runs(tmp_path / str(seed), tmp_path / "alone" / str(seed))


def test_runs_that_stand_at_different_steps_join(tmp_path):
    for seed, step in ((1, 8), (2, 4)):
        alone(tmp_path / str(seed), seed, trainer={"max_steps": step}, decay_after=1.0).fit()
        (tmp_path / str(seed) / "result.json").unlink()
    run = together(tmp_path, (1, 2), resume=True, decay_after=1.0)
    trained, train = [], run._train
    run._train = lambda members, until: trained.append((len(members), until)) or train(members, until)
    run.fit()
    assert trained == [(1, 8), (2, None)]
    for seed in (1, 2):
        alone(tmp_path / "alone" / str(seed), seed, decay_after=1.0).fit()
        assert rows(tmp_path / str(seed)) == rows(tmp_path / "alone" / str(seed))


def test_a_stop_by_validations_needs_validations(tmp_path):
    with pytest.raises(ValueError, match=r"^stop_when_solved \(=2\) needs validations"):
        together(tmp_path, stop_when_solved=2, trainer={"limit_val_batches": 0})


def test_a_run_that_is_solved_leaves_and_the_others_go_on(tmp_path, monkeypatch):
    validated = SequenceLearner.validated

    def solved(learner, batch):
        right = learner.trainer.datamodule.seed == 2 and learner.trainer.global_step >= 4
        return validated(learner, batch) | {"validation_perfect": torch.tensor(float(right))}

    monkeypatch.setattr(SequenceLearner, "validated", solved)
    run = together(tmp_path, stop_when_solved=2)
    run.fit()
    assert [json.loads((tmp_path / str(seed) / "result.json").read_text())["step"] for seed in (1, 2, 3)] == [12, 8, 12]
    assert all(member.done for member in run.members)
    for seed in (1, 2, 3):
        alone(tmp_path / "alone" / str(seed), seed, stop_when_solved=2).fit()
        same_runs(tmp_path / str(seed), tmp_path / "alone" / str(seed))


def diverging(monkeypatch, seed, batch_number):
    """Make the loss of one seed NaN in one batch."""
    step = SequenceLearner.training_step

    def spoiled(learner, batch, number):
        output = step(learner, batch, number)
        if learner._seed == seed and learner._batch_number() == batch_number:
            output["loss"] = output["loss"] * float("nan")
            learner.latest_loss = output["loss"].detach()
        return output

    monkeypatch.setattr(SequenceLearner, "training_step", spoiled)


@pytest.mark.parametrize("batch_number", [5, 7])  # within an interval; before a validation
def test_a_run_that_diverges_leaves_and_the_others_go_on(batch_number, tmp_path, monkeypatch):
    diverging(monkeypatch, 2, batch_number)
    run = together(tmp_path)
    run.fit()
    assert [member.done for member in run.members] == [True, False, True]
    assert isinstance(run.members[1].end, DivergenceError)
    with pytest.raises(DivergenceError):
        alone(tmp_path / "alone" / "2", 2).fit()
    kept = [RunFolder(folder) for folder in (tmp_path / "2", tmp_path / "alone" / "2")]
    assert rows(kept[0].path) == rows(kept[1].path)
    for name in ("nonfinite.json", "nonfinite.safetensors", "best.safetensors"):
        assert (kept[0].path / name).read_bytes() == (kept[1].path / name).read_bytes()
    assert not kept[0].result.exists()
    kept[0].lock()()
    for seed in (1, 3):
        alone(tmp_path / "alone" / str(seed), seed).fit()
        same_runs(tmp_path / str(seed), tmp_path / "alone" / str(seed))


def test_a_step_that_one_run_skips_is_skipped_by_that_run_alone(tmp_path, monkeypatch):
    diverging(monkeypatch, 2, 5)
    together(tmp_path, on_nonfinite="skip").fit()
    for seed in (1, 2, 3):
        alone(tmp_path / "alone" / str(seed), seed, on_nonfinite="skip").fit()
        same_runs(tmp_path / str(seed), tmp_path / "alone" / str(seed))


class Vandal(Members):
    """Removes the folder of a member in training."""

    state_key = "Members"

    def on_validation_end(self, trainer, module):
        super().on_validation_end(trainer, module)
        if trainer.global_step == 4 and len(self.members) == 3:
            shutil.rmtree(self.members[0].folder.path)
            self.members[0].callbacks[0].next_check = 0.0


def test_a_run_that_loses_its_folder_leaves_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_ntm.training.side_by_side.run.Members", Vandal)
    run = together(tmp_path)
    run.fit()
    assert [member.done for member in run.members] == [False, True, True]
    assert isinstance(run.members[0].end, LostFolderError)
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("varied", "reason"),
    [
        ({"trainer": {"callbacks": [Timer(duration={"seconds": 1})]}}, r"--trainer\.callbacks"),
        ({"trainer": {"accumulate_grad_batches": 2}}, r"--trainer\.accumulate_grad_batches"),
        ({"trainer": {"max_time": "00:00:01:00"}}, r"--trainer\.max_time"),
        (
            {"stop_when_solved": 1, "trainer": {"min_steps": 8}},
            r"when it is solved, but not before --trainer\.min_steps",
        ),
        (
            {"stop_when_solved": 1, "trainer": {"min_epochs": 2}},
            r"when it is solved, but not before --trainer\.min_epochs",
        ),
        ({"trainer": {"precision": "bf16-true"}}, r"--trainer\.precision"),
        ({"trainer": {"fast_dev_run": True}}, r"--trainer\.fast_dev_run"),
        ({"make": lambda: Plain(noisy=True)}, "no kernel runs the network, and Plain draws random numbers"),
        ({"make": lambda: Plain(counts=True)}, "no kernel runs the network, and Plain changes its parameters or"),
        (
            {"make": lambda: TapeRNN(4, 3, length_oracle=True, controller="gru")},
            "no kernel runs the network, and TapeRNN must see each",
        ),
        ({"make": lambda: Plain(clamps=True)}, "no kernel runs the network, and "),
        ({"make": lambda: Plain(own=True)}, r"no kernel runs the network, and member 1 has factors \(="),
        ({"make": lambda: Plain(inner=True)}, "no kernel runs the network, and Plain has a forward or hooks"),
        ({"make": lambda: Plain(chooses=True)}, r"no kernel runs the network, and torch\.func\.vmap cannot run Plain"),
        ({"make": lambda: Plain(mixes=True)}, "no kernel runs the network, and Plain computes other numbers at once"),
        ({"make": lambda: Plain(hooked=True)}, "no kernel runs the network, and Plain has a forward or hooks"),
        ({"optimizer": lambda p: torch.optim.LBFGS(p)}, "LBFGS may not treat each parameter by itself"),
        ({"scheduler": lambda o: ReduceLROnPlateau(o)}, "ReduceLROnPlateau may depend on more than the step"),
    ],
)
def test_what_is_trained_alone_says_why(varied, reason, tmp_path):
    with pytest.raises(ValueError, match=f"cannot be trained side by side: .*{reason}"):
        together(tmp_path, **varied)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_as_it_is(tmp_path):
    alone(tmp_path / "2", 2).fit()
    before = {path.name: path.read_bytes() for path in (tmp_path / "2").iterdir()}
    with pytest.raises(ValueError, match=r"run folder .* exists"):
        together(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "2").iterdir()} == before
    RunFolder(tmp_path / "1").lock()()


@pytest.mark.parametrize("other", [{"epoch": 9}, {"lr_schedulers": []}])
def test_states_of_other_progress_are_not_joined(other, tmp_path):
    alone(tmp_path / "1", 1).fit()
    state = training_state(ntm(), tmp_path / "1" / "last.ckpt")
    with pytest.raises(ValueError, match="not have the same progress"):
        joined([state, state | other])
    (optimizer,) = state["optimizer_states"]
    changed = {**optimizer, "param_groups": [optimizer["param_groups"][0] | {"lr": 1.0}]}
    with pytest.raises(ValueError, match="not have the same settings"):
        joined([state, state | {"optimizer_states": [changed]}])


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    alone(tmp_path / "1", 1, optimizer=lambda p: torch.optim.Adam(p, lr=2e-2)).fit()
    with pytest.raises(ValueError, match=r"initial_lr \(=0.02\) of the optimizer, not 0.01"):
        together(tmp_path, (1,), resume=True)
    RunFolder(tmp_path / "1").lock()()


def test_each_run_keeps_the_weights_of_its_steps(tmp_path):
    together(tmp_path, seeds=(1, 2), keep_weights_every=4).fit()
    for seed in (1, 2):
        alone(tmp_path / "alone" / str(seed), seed, keep_weights_every=4).fit()
        mine, other = (RunFolder(path).weights_by_step() for path in (tmp_path / str(seed), tmp_path / f"alone/{seed}"))
        assert list(mine) == list(other) != []
        assert all(mine[step].read_bytes() == other[step].read_bytes() for step in mine)


def test_networks_with_other_parameters_are_refused(tmp_path):
    members = [
        Member(*parts(seed, make=make), OPTIONS, RunFolder(tmp_path / str(seed)), "seed: 1\n")
        for seed, make in ((1, ntm), (2, lambda: ntm(controller="feedforward")))
    ]
    with pytest.raises(ValueError, match="side by side: their networks have different parameters"):
        SideBySideRun(members, OPTIONS)
    assert not list(tmp_path.iterdir())
