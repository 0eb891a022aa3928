"""Training that does not wait for a GPU, and networks that are evaluated where they are."""

import json
import math
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import safetensors.torch
import torch
from ramp import Constant, Ramp
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_ntm import NTM, Batch, Copy, DynamicNGrams, PrioritySort
from lightning_ntm.cli import main
from lightning_ntm.evaluation import open_run
from lightning_ntm.evaluation.device import HostCopy, chosen_device
from lightning_ntm.evaluation.evaluate import evaluate, evaluate_pieces
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.training import EpisodeData, Run, SequenceLearner, learner as learner_module, own_trainer, progress
from lightning_ntm.training.optimizer import default_optimizer
from lightning_ntm.training.safety import DivergenceError

CONFIG = """
seed: 3
task: {class_path: lightning_ntm.Copy, init_args: {bits: 3, max_length: 4}}
model: {class_path: lightning_ntm.NTM, init_args: {hidden_size: 8, memory_slots: 6, memory_width: 4}}
"""
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def late(monkeypatch):
    """Check steps as on a GPU."""
    monkeypatch.setattr(learner_module, "works_ahead", lambda device: True)


class Overflowing(NTM):
    """Its answer in call number `bad` of training is not finite."""

    calls, bad = 0, 0

    def forward(self, inputs, state=None):
        logits, state = super().forward(inputs, state)
        self.calls += self.training
        return logits * (math.inf if self.training and self.calls == self.bad else 1.0), state


def run(
    path, steps=6, bad=0, optimizer=default_optimizer, callbacks=(), task=None, varied=None, resume=False, **trainer
):
    torch.manual_seed(3)
    task = task or Copy(bits=3, max_length=4)
    model = Overflowing(task.input_size, task.output_size, hidden_size=8, memory_slots=6, memory_width=4)
    model.bad = bad
    learner = SequenceLearner(model, optimizer, **(varied or {}))
    data = EpisodeData(task, 3, batch_size=4, batches_per_epoch=50, validation_sequences=5)
    quiet = {"enable_model_summary": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    options = {"max_steps": steps, "log_every_n_steps": 100, "gradient_clip_val": 1.0, "accelerator": "cpu", **quiet}
    return Run(learner, data, {**options, "callbacks": [*callbacks], **trainer}, RunFolder(path), CONFIG, resume=resume)


class Reads(TorchDispatchMode, L.Callback):
    """Counts what would wait for a GPU, from the start of each batch to its end."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")

    def __init__(self):
        super().__init__()
        self.steps, self.found, self.patch = 0, [], pytest.MonkeyPatch()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype is torch.bool for i in args[1])
        if name in self.waiting or by_mask:
            self.found.append(name)
        return function(*args, **(kwargs or {}))

    def on_train_batch_start(self, *_):
        for name in ("cpu", "numpy"):  # of a tensor on the CPU no operator is called
            self.patch.setattr(torch.Tensor, name, self._counted(name))
        self.__enter__()

    def on_train_batch_end(self, *_):
        self.__exit__(None, None, None)
        self.patch.undo()
        self.steps += 1

    def _counted(self, name):
        called = getattr(torch.Tensor, name)
        return lambda *args, **options: self.found.append(name) or called(*args, **options)


RECIPES = [
    (default_optimizer, {}),
    (default_optimizer, {"weight_noise": 0.1, "min_memory_slots": 3, "loss": "sum"}),
    (torch.optim.Adam, {}),
]


@pytest.mark.parametrize(("optimizer", "varied"), RECIPES)
@pytest.mark.parametrize("clip", [1.0, None])
def test_a_training_step_reads_nothing_from_the_device(tmp_path, late, optimizer, varied, clip):
    reads = Reads()
    trainer = {"limit_val_batches": 0, "gradient_clip_val": clip, "enable_checkpointing": False}
    training = run(tmp_path / "a", optimizer=optimizer, callbacks=[reads], varied=varied, **trainer)
    training.fit()
    assert (reads.steps, reads.found) == (6, [])


def test_on_the_cpu_each_step_is_checked_before_it_is_taken(tmp_path):
    reads = Reads()
    run(tmp_path / "a", callbacks=[reads], limit_val_batches=0).fit()
    assert len(reads.found) >= 2 * reads.steps


@pytest.mark.parametrize("varied", [{}, {"weight_noise": 0.1}])
@pytest.mark.parametrize("clip", [1.0, None])
def test_steps_that_are_checked_late_are_the_same(tmp_path, monkeypatch, varied, clip):
    trainer = {"precision": "64-true", "gradient_clip_val": clip, "log_every_n_steps": 2, "val_check_interval": 3}
    runs = []
    for name, later in (("now", False), ("late", True)):
        monkeypatch.setattr(learner_module, "works_ahead", lambda device, later=later: later)
        runs.append(run(tmp_path / name, varied=varied, **trainer))
        runs[-1].fit()
    now, late = (
        [{key: value for key, value in row.items() if "second" not in key} for row in one.folder.rows()] for one in runs
    )
    assert len(now) == len(late)
    for one, other in zip(now, late, strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)  # the norm is summed in another order
    torch.testing.assert_close(dict(runs[0].learner.state_dict()), dict(runs[1].learner.state_dict()))


class Saving(L.Callback):
    """Saves the state after each batch."""

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(trainer.default_root_dir + "/saved.ckpt")


#: What comes after a bad third step: another step, the end, a row of measurements, a validation, a checkpoint.
AFTERWARDS = {
    "step": {},
    "end": {"steps": 3},
    "row": {"log_every_n_steps": 3},
    "validation": {"val_check_interval": 3},
    "checkpoint": {"callbacks": [Saving()]},
    "noise": {"varied": {"weight_noise": 0.1}},
}


@pytest.mark.parametrize("after", AFTERWARDS)
@pytest.mark.parametrize("bad", [3, 1])
def test_a_step_that_was_not_finite_is_undone(tmp_path, late, after, bad):
    trainer = AFTERWARDS[after]
    training = run(tmp_path / "a", bad=bad, **trainer)
    with pytest.raises(DivergenceError, match=rf"step {bad} \(batch {bad - 1}\): the loss is (inf|nan), the largest"):
        training.fit()
    before = run(tmp_path / "before", **{**trainer, "steps": max(1, bad - 1), "callbacks": []})
    if bad > 1:
        before.fit()
    kept = safetensors.torch.load_file(tmp_path / "a" / "nonfinite.safetensors")
    last = before.learner.model.state_dict()
    assert all(torch.equal(kept[name], last[name]) for name in last)
    assert all(torch.equal(now, last[name]) for name, now in training.learner.model.state_dict().items())
    state = before.trainer.optimizers[0].state_dict()["state"] if bad > 1 else {}
    assert same(training.trainer.optimizers[0].state_dict()["state"], state)
    told = json.loads((tmp_path / "a" / "nonfinite.json").read_text())
    assert (told["step"], told["batch"]) == (bad, bad - 1)
    assert training.folder.rows() == []
    for state in (training.folder.last, tmp_path / "a" / "saved.ckpt"):
        assert not state.exists() or torch.load(state, weights_only=True)["global_step"] < bad
    assert not training.folder.best.exists()


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_the_gradients_that_are_told_are_those_of_the_bad_step(tmp_path, monkeypatch):
    told = []
    for name, later in (("now", False), ("late", True)):
        monkeypatch.setattr(learner_module, "works_ahead", lambda device, later=later: later)
        training = run(tmp_path / name, bad=3)
        model = training.learner.model
        model.output.bias.register_hook(lambda gradient, model=model: torch.full_like(gradient, model.calls))
        with pytest.raises(DivergenceError):
            training.fit()
        told.append(json.loads((tmp_path / name / "nonfinite.json").read_text()))
    assert told[0] == told[1]
    assert told[0]["gradients"]["output.bias"] == 3


def test_a_step_that_was_not_finite_is_undone_below_the_noise_of_the_next(tmp_path, late):
    training = run(tmp_path / "a", bad=3, varied={"weight_noise": 0.1})
    model = training.learner.model

    def save(*_):
        if model.training and model.calls == 4:
            training.trainer.save_checkpoint(tmp_path / "under-way.ckpt")

    model.register_forward_hook(save)
    with pytest.raises(DivergenceError, match=r"step 3 \(batch 2\)"):
        training.fit()
    assert not (tmp_path / "under-way.ckpt").exists()
    before = run(tmp_path / "before", steps=2, varied={"weight_noise": 0.1})
    before.fit()
    assert same(dict(model.state_dict()), dict(before.learner.model.state_dict()))


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_gradient_whose_square_overflows_is_clipped_or_ends_the_run(tmp_path, late, clip):
    training = run(tmp_path / "a", gradient_clip_val=clip)
    training.learner.model.output.bias.register_hook(lambda gradient: 1e25 * gradient)
    with nullcontext() if clip else pytest.raises(DivergenceError, match="step 1"):
        training.fit()
    assert all(torch.isfinite(p).all() for p in training.learner.parameters())
    assert not clip or 1e20 < training.learner.gradient_norm < math.inf


def test_a_learner_is_trained_again_after_a_step_that_failed(tmp_path, late):
    training = run(tmp_path / "a", bad=4)
    training.learner.model.register_forward_hook(fail_in_call(5))
    with pytest.raises(RuntimeError, match="it failed"):
        training.fit()
    with torch.no_grad():
        for p in training.learner.parameters():
            p.zero_()
    again = L.Trainer(max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0,
                      enable_model_summary=False, enable_progress_bar=False)  # fmt: skip
    again.fit(training.learner, datamodule=training.data)
    assert again.global_step == 2


def fail_in_call(number):
    def hook(model, *_):
        if model.calls == number:
            model.calls += 100
            raise RuntimeError("it failed")

    return hook


def test_numbers_are_copied_to_the_host():
    copy = HostCopy(torch.tensor([[1.0, math.inf], [2.0, 3.0]]))
    assert copy.arrived()
    assert copy.read() == [1.0, math.inf, 2.0, 3.0]


def test_the_bar_shows_a_cost_once_it_can_be_read_without_waiting(monkeypatch):
    class Late(HostCopy):
        asked = 0

        def arrived(self):
            self.asked += 1
            return self.asked > 2

    monkeypatch.setattr(progress, "HostCopy", Late)
    bar, shown = progress.CostBar("a"), []
    bar.bar = SimpleNamespace(move=lambda step: shown.append(step), describe=shown.append)
    batch = Copy(bits=3).sample(np.random.default_rng(0), 4, length=2)
    wrong = {"logits": 1 - 2 * batch.targets, "costs": torch.zeros(4), "errors": None}
    for step in range(10, 14):
        trainer, module = Mock(spec=L.Trainer, global_step=step), Mock(spec=SequenceLearner, answer=Bits(3))
        module.measured, module.episodes = partial(SequenceLearner.measured, module), lambda batch: batch
        bar.on_train_batch_end(trainer, module, wrong, batch, 0)
    assert shown == [10, 11, 12, "6.00 wrong bits", 13]


class Away(torch.Tensor):
    """Stands for a tensor on a device."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)


class Near(Ramp):
    """Its optimum is computed from tensors on the CPU."""

    def optimal_logits(self, batch):
        assert {type(part) for part in batch} == {torch.Tensor}
        return super().optimal_logits(batch)


def test_a_task_is_asked_for_the_optimum_with_tensors_on_the_cpu(monkeypatch):
    learner = SequenceLearner(Constant())
    monkeypatch.setattr(own_trainer, "current_datamodule", lambda trainer: SimpleNamespace(task=Near()))
    batch = Near().sample(None, 3)
    away = Batch(*(part.as_subclass(Away) for part in batch))
    assert torch.equal(learner._optimal_logits(away).cpu(), learner._optimal_logits(batch))


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True), ("mps", False)])
def test_batches_for_a_gpu_are_in_pinned_memory(device, pinned):
    data = EpisodeData(Copy(), validation_sequences=2)
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1)
    assert data.train_dataloader().pin_memory is pinned
    assert data.val_dataloader().pin_memory is pinned


class Elsewhere(Constant):
    """On a device without numbers; answers as if they had been there."""

    def __init__(self):
        super().__init__()
        self.to("meta")

    def forward(self, inputs, state=None):
        assert inputs.device.type == "meta"
        return torch.full((*inputs.shape[:2], 1), math.log(4.0)), None

    def trace(self, inputs, state=None):
        return {"logits": self.forward(inputs)[0]}


def test_a_network_is_evaluated_on_the_device_it_is_on():
    asked = {"difficulty": {"length": 4}, "pieces": 2, "sequences": 3}
    here, there = (evaluate_pieces(model, Ramp(), **asked) for model in (Constant(), Elsewhere()))
    assert here == there
    here, there = (trace_episode(model, Ramp(), {"length": 4}) for model in (Constant(), Elsewhere()))
    assert all((here[name] == there[name]).all() for name in there)


@pytest.mark.parametrize(
    ("count", "name", "expected"),
    [(0, "auto", "cpu"), (2, "auto", "cuda"), (0, "cpu", "cpu"), (2, "cpu", "cpu"), (2, "cuda:1", "cuda:1")],
)
def test_a_device_is_chosen_by_its_name(monkeypatch, count, name, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert chosen_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("count", "name", "has"),
    [
        (0, "cuda:3", "no CUDA device; allowed: auto, cpu."),
        (0, "gpu", "no CUDA device; allowed: auto, cpu."),
        (1, "cuda:1", "1 CUDA device; allowed: auto, cpu, cuda, cuda:0."),
        (2, "cuda:-1", "2 CUDA devices; allowed: auto, cpu, cuda, cuda:0, cuda:1."),
    ],
)
def test_a_device_that_is_not_there_is_told_in_one_line(monkeypatch, capsys, tmp_path, count, name, has):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=rf"^device \(='{name}'\) is not available: this machine has {has}$"):
        open_run(tmp_path, device=name)
    for verb in ("evaluate", "figure"):
        assert main([verb, str(tmp_path), "--device", name]) == 2
        expected = f"ntm: error: --device (='{name}') is not available: this machine has {has}\n"
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize("verb", ["evaluate", "figure"])
def test_the_command_puts_the_network_on_the_device(tmp_path, monkeypatch, verb, capsys):
    run(tmp_path / "a", steps=1).fit()
    placed, to = [], NTM.to
    monkeypatch.setattr(NTM, "to", lambda self, device: placed.append(device) or to(self, device))
    assert main([verb, str(tmp_path / "a"), "--device", "cpu"]) == 0
    assert placed == [torch.device("cpu")]


class Strict(L.Callback):
    """Raises where PyTorch waits for the GPU, from the third batch to the last: programs are compiled before."""

    def __init__(self):
        self.devices = set()

    def on_train_batch_start(self, trainer, module, batch, index):
        self.devices |= {module.device.type, batch.inputs.device.type}
        if index == 2:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_epoch_end(self, *_):
        torch.cuda.set_sync_debug_mode("default")


@gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize(("optimizer", "varied"), RECIPES)
def test_a_training_step_does_not_wait_for_the_gpu(tmp_path, optimizer, varied):
    strict = Strict()
    training = run(tmp_path / "a", 20, 0, optimizer, [strict], varied=varied, accelerator="gpu", limit_val_batches=0)
    try:
        training.fit()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert strict.devices == {"cuda"}


@gpu
@pytest.mark.parametrize("after", AFTERWARDS)
def test_a_step_that_was_not_finite_is_undone_on_the_gpu(tmp_path, after):
    training = run(tmp_path / "a", bad=3, **AFTERWARDS[after], accelerator="gpu")
    with pytest.raises(DivergenceError, match=r"step 3 \(batch 2\): the loss is (inf|nan)"):
        training.fit()
    assert all(torch.isfinite(p).all() for p in training.learner.parameters())
    kept = safetensors.torch.load_file(tmp_path / "a" / "nonfinite.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())


@gpu
@pytest.mark.parametrize("task", [Copy(bits=3, max_length=4), DynamicNGrams(n=3, length=12), PrioritySort(items=18)])
def test_training_and_evaluation_on_the_gpu_measure_what_they_do_on_the_cpu(tmp_path, task):
    rows = []
    for accelerator in ("cpu", "gpu"):
        training = run(tmp_path / accelerator, task=task, accelerator=accelerator, log_every_n_steps=1)
        training.fit()
        rows.append(training.folder.rows())
        model = training.learner.model.to("cuda" if accelerator == "gpu" else "cpu")
        rows[-1].append(evaluate(model, task, task.difficulty, sequences=20))
    for one, other in zip(*rows, strict=True):
        for name in one:
            if "second" not in name:
                assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=gpu)])
def test_a_run_is_resumed(tmp_path, accelerator):
    # The end of a run, 4 steps or 6, changes no learning rate.
    varied = {"weight_noise": 0.1, "min_memory_slots": 3, "decay_after": 1.0}
    whole = run(tmp_path / "whole", varied=varied, accelerator=accelerator)
    whole.fit()
    run(tmp_path / "parts", 4, varied=varied, accelerator=accelerator).fit()
    parts = run(tmp_path / "parts", varied=varied, resume=True, accelerator=accelerator)
    parts.fit()
    states = [one.learner.state_dict() for one in (whole, parts)]
    torch.testing.assert_close(*map(dict, states), rtol=1e-4, atol=1e-5)  # a GPU may add in any order
