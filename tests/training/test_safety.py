"""What goes wrong in a run, and what is left of it."""

import io
import json
import math
import os
import pickle
import resource
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tests.torture import disks, folders, runs

from lightning_ntm import NTM, Copy
from lightning_ntm.evaluation import open_run, replay
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.curricula import Fixed
from lightning_ntm.training import EpisodeData, Run, SequenceLearner
from lightning_ntm.training.safety import DivergenceError, LostFolderError

CONFIG = """
seed: 3
task: {class_path: lightning_ntm.Copy, init_args: {bits: 3, max_length: 4}}
model: {class_path: lightning_ntm.NTM, init_args: {hidden_size: 8, memory_slots: 6, memory_width: 4}}
data: {batch_size: 4}
"""


class Overflowing(NTM):
    """Its third answer is not finite."""

    calls = 0

    def forward(self, inputs, state=None):
        logits, state = super().forward(inputs, state)
        self.calls += self.training
        return logits * (math.inf if self.training and self.calls == 3 else 1.0), state


def run(path, on_nonfinite="stop", resume=False, precision="32-true", trainer=None, curriculum=None, **varied):
    torch.manual_seed(3)
    learner = SequenceLearner(
        Overflowing(4, 3, hidden_size=8, memory_slots=6, memory_width=4),
        on_nonfinite=on_nonfinite,
        **varied,
    )
    sizes = {"batch_size": 4, "batches_per_epoch": 5, "validation_sequences": 5}
    data = EpisodeData(Copy(bits=3, max_length=4), 3, curriculum=curriculum, **sizes)
    options = {"max_steps": 4, "log_every_n_steps": 2, "enable_model_summary": False, "enable_progress_bar": False}
    options |= {"precision": precision, **(trainer or {})}
    chosen = "curriculum: {class_path: lightning_ntm.tasks.curricula.Fixed, init_args: {value: 3}}"
    config = CONFIG.replace("{batch_size: 4}", f"{{batch_size: 4, {chosen}}}") if curriculum else CONFIG
    return Run(learner, data, options, RunFolder(path), config, resume=resume)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_loss_that_is_not_finite_ends_the_run_and_the_step_can_be_seen_again(tmp_path, precision):
    with pytest.raises(DivergenceError, match=r"step 3 \(batch 2\): the loss is (inf|nan), the largest gradients are"):
        run(tmp_path / "a", precision=precision).fit()
    model, batch, _ = replay(tmp_path / "a")
    assert batch.inputs.shape[0] == 4
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_step_is_seen_again_with_the_difficulty_that_a_curriculum_chose(tmp_path):
    with pytest.raises(DivergenceError):
        run(tmp_path / "a", curriculum=Fixed(3)).fit()
    _, batch, _ = replay(tmp_path / "a")
    expected = Fixed(3).batch(Copy(bits=3, max_length=4), 3, 2, 4)
    assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))
    assert batch.mask.sum() == 12


def test_a_step_is_seen_again_with_the_memory_it_had(tmp_path):
    training = run(tmp_path / "a", min_memory_slots=3)
    lent = []
    training.learner.model.register_forward_hook(
        lambda model, _, out: lent.append(model.memory.slots_of(out[1].memory))
    )
    with pytest.raises(DivergenceError):
        training.fit()
    model, _, state = replay(tmp_path / "a")
    assert model.memory.slots_of(state.memory) == lent[-1] < 6


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_a_step_is_seen_again_with_the_noise_its_weights_had(tmp_path, precision):
    training = run(tmp_path / "a", precision=precision, weight_noise=0.1)
    model, seen = training.learner.model, []
    model.register_forward_hook(lambda model, *_: seen.append(model.heads.weight.detach().clone()))
    with pytest.raises(DivergenceError):
        training.fit()
    again = replay(tmp_path / "a")[0].heads.weight
    torch.testing.assert_close(again, seen[-1].to(again), atol=1e-6, rtol=0)
    assert (model.heads.weight - seen[-1]).abs().max() > 0.1  # what it is left with has none


class Failing(NTM):
    """Saves the state in the third call of training, and fails."""

    calls = 0

    def forward(self, inputs, state=None):
        answered = super().forward(inputs, state)
        self.calls += self.training
        if self.training and self.calls == 3:
            self.save()
            raise RuntimeError("it failed")
        return answered


def test_no_checkpoint_of_a_batch_under_way_has_its_noise_and_none_is_left_on_the_network(tmp_path):
    torch.manual_seed(3)
    model = Failing(4, 3, hidden_size=8, memory_slots=6, memory_width=4)
    model.output.bias.requires_grad_(False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    learner = SequenceLearner(model, lambda p: torch.optim.SGD(p, lr=0.0), weight_noise=0.3)
    data = EpisodeData(Copy(bits=3, max_length=4), 3, batch_size=4, batches_per_epoch=5, validation_sequences=5)
    options = {"max_steps": 4, "enable_model_summary": False, "enable_progress_bar": False}
    training, noisy = Run(learner, data, options, RunFolder(tmp_path / "a"), CONFIG), []

    def save():
        noisy.extend(name for name, p in model.named_parameters() if not torch.equal(p, before[name]))
        training.trainer.save_checkpoint(tmp_path / "under-way.ckpt")

    model.save = save
    with pytest.raises(RuntimeError, match="it failed"):
        training.fit()
    assert set(noisy) == {*before} - {"output.bias"}  # what is not trained has no noise
    saved = torch.load(tmp_path / "under-way.ckpt", weights_only=True)["state_dict"]
    for name, p in model.named_parameters():
        assert torch.equal(saved[f"model.{name}"], before[name])
        assert torch.equal(p, before[name])


class Steep(NTM):
    """Its gradients are finite, and their squares are not."""

    def forward(self, inputs, state=None):
        logits, state = super().forward(inputs, state)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: 1e25 * gradient)
        return logits, state


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_gradient_whose_square_overflows_is_clipped_or_ends_the_run(tmp_path, clip):
    torch.manual_seed(3)
    learner = SequenceLearner(Steep(4, 3, hidden_size=8, memory_slots=6, memory_width=4))
    data = EpisodeData(Copy(bits=3, max_length=4), 3, batch_size=4, batches_per_epoch=5, validation_sequences=5)
    options = {"max_steps": 4, "gradient_clip_val": clip, "enable_model_summary": False, "enable_progress_bar": False}
    training = Run(learner, data, options, RunFolder(tmp_path / "a"), CONFIG)
    if clip is None:
        with pytest.raises(DivergenceError):
            training.fit()
        return
    training.fit()
    assert 1e20 < learner.gradient_norm < math.inf
    assert torch.nn.utils.get_total_norm([p.grad for p in learner.parameters()]) == pytest.approx(clip)


def test_or_the_step_is_left_out(tmp_path):
    skipping = run(tmp_path / "a", "skip")
    assert skipping.fit()["step"] == 4
    assert [row.get("skipped_steps") for row in RunFolder(tmp_path / "a").rows() if "train_loss" in row] == [None, 1]
    assert all(torch.isfinite(p).all() for p in skipping.learner.parameters())


def losses_of(training):
    """Return the list of what the loss of each batch will be."""
    found, outputs = [], training.learner.outputs

    def noted(loss, batch):
        found.append(loss.loss.item())
        return outputs(loss, batch)

    training.learner.outputs = noted
    return found


def trained(path):
    return [row for row in RunFolder(path).rows() if "train_loss" in row]


IN_PAIRS = {"accumulate_grad_batches": 2, "log_every_n_steps": 1, "max_steps": 3}  # batches 0, 1; 2, 3; 4


def test_of_the_batches_of_a_step_the_first_without_a_finite_loss_is_named(tmp_path):
    with pytest.raises(DivergenceError, match=r"step 2 \(batch 2\): the loss is (inf|nan)"):
        run(tmp_path / "a", trainer=IN_PAIRS).fit()
    assert json.loads((tmp_path / "a" / "nonfinite.json").read_text())["batch"] == 2


def test_a_step_of_several_batches_is_left_out_with_all_of_them(tmp_path):
    training = run(tmp_path / "a", "skip", trainer=IN_PAIRS)
    losses = losses_of(training)
    training.fit()
    first, skipped, last = trained(tmp_path / "a")
    assert [row.get("skipped_steps") for row in (first, skipped, last)] == [None, 1, None]
    assert first["train_loss"] == pytest.approx(sum(losses[:2]) / 2)
    assert skipped["train_loss"] is skipped["gradient_norm"] is skipped["train_wrong_bits"] is None
    assert last["train_loss"] == pytest.approx(losses[4])


class Killed(Callback):
    """Ends the training with an error in batch 3."""

    def on_train_batch_start(self, trainer, module, batch, index):
        if index == 3:
            raise KeyError


@pytest.mark.parametrize("on_nonfinite", ["skip", "finite"])
def test_a_run_resumed_within_a_step_measures_the_whole_step(on_nonfinite, tmp_path, monkeypatch):
    if on_nonfinite == "finite":
        monkeypatch.setattr(Overflowing, "calls", 9)
    trainer = {**IN_PAIRS, "val_check_interval": 3, "log_every_n_steps": 2, "max_steps": 4}
    run(tmp_path / "whole", "skip", trainer=trainer).fit()
    with pytest.raises(KeyError):
        run(tmp_path / "parts", "skip", trainer={**trainer, "callbacks": [Killed()]}).fit()
    monkeypatch.setattr(Overflowing, "calls", 9)
    run(tmp_path / "parts", "skip", resume=True, trainer=trainer).fit()
    whole, parts = trained(tmp_path / "whole"), trained(tmp_path / "parts")
    assert whole[0].get("skipped_steps") == (1 if on_nonfinite == "skip" else None)
    for name in ("step", "train_loss", "train_wrong_bits", "gradient_norm", "skipped_steps", "sequences"):
        assert [row.get(name) for row in whole] == [row.get(name) for row in parts]


class Payload:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def as_checkpoint(payload, state):
    written = io.BytesIO()
    torch.save({**state, "hyper_parameters": payload}, written)
    return written.getvalue()


def as_old_checkpoint(payload, state):
    written = io.BytesIO()
    torch.save({**state, "callbacks": payload}, written, _use_new_zipfile_serialization=False)
    return written.getvalue()


def as_pickle(payload, state):
    return pickle.dumps(payload)


@pytest.mark.parametrize("disguise", [as_checkpoint, as_old_checkpoint, as_pickle])
@pytest.mark.parametrize("name", ["last.ckpt", "best.safetensors", "nonfinite.safetensors"])
def test_a_file_that_would_run_a_program_is_refused_unread(tmp_path, disguise, name):
    folder, trace = tmp_path / "a", tmp_path / "ran"
    run(folder, "skip").fit()
    with pytest.raises(DivergenceError):
        run(tmp_path / "b").fit()
    for nonfinite in (tmp_path / "b").glob("nonfinite.*"):
        nonfinite.rename(folder / nonfinite.name)
    state = torch.load(folder / "last.ckpt", weights_only=True)
    (folder / name).write_bytes(disguise(Payload(trace), state))
    read = {"last.ckpt": partial(run, resume=True), "best.safetensors": open_run, "nonfinite.safetensors": replay}[name]
    with pytest.raises(ValueError, match=rf"{name} is damaged or not a"):
        read(folder)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), "the payload works"


def test_a_quota_ends_the_run_in_one_line_and_a_larger_one_lets_it_go_on(tmp_path):
    often = f"{runs.TINY} {runs.QUIET} --trainer.val_check_interval 50 --data.validation_sequences 4"
    often += " --trainer.log_every_n_steps 1 --trainer.max_steps 300"
    process = runs.start(f"{often} --name a", tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (52_000, 52_000))  # before it has written anything
    _, said = process.communicate()
    assert process.returncode == 2, said
    assert said.count("\n") == 1
    assert "cannot write: " in said
    folder = RunFolder(tmp_path / "runs" / "a")
    assert [row["step"] for row in folder.rows()][-1] < 300
    assert torch.load(folder.last, weights_only=True)["global_step"] > 0
    assert runs.train("--resume runs/a", tmp_path) == (0, "")
    assert runs.train(f"{often} --name b", tmp_path) == (0, "")
    assert runs.remains(folder.path) == runs.remains(tmp_path / "runs" / "b")


def test_where_nothing_can_be_written_is_said_in_one_line(tmp_path):
    code, said = runs.train(f"{runs.TINY} {runs.QUIET} --runs /proc/runs --name a", tmp_path)
    assert (code, said.count("\n")) == (2, 1)
    assert "/proc/runs" in said


HOLDS = """
import sys
from pathlib import Path
from lightning_ntm.records import RunFolder
RunFolder(Path(sys.argv[1])).lock()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_one_process_s_until_it_ends_however_it_ends(tmp_path):
    folder = RunFolder(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match=f"is in use by process {holder.pid} on "):
        folder.lock()
    holder.kill()
    holder.communicate()
    folder.lock()()


def test_a_lock_that_is_removed_is_made_again_unless_another_has_done_so(tmp_path):
    training = run(tmp_path / "a", "skip")
    lock = tmp_path / "a" / ".lock"
    lock.unlink()
    training.record.claim.check()
    holder = subprocess.run([sys.executable, "-c", HOLDS, lock.parent], input=b"", capture_output=True)
    assert b"is in use by process" in holder.stderr
    lock.unlink()
    with subprocess.Popen([sys.executable, "-c", HOLDS, lock.parent], stdin=-1, stdout=-1) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LostFolderError, match=f"is in use by process {holder.pid} on "):
            training.fit()
        holder.communicate()
    assert not RunFolder(tmp_path / "a").rows(), "nothing was written into a folder of another"


class Backup(Callback):
    """Copies the run folder after each validation, then asks another process for its lock."""

    def __init__(self, folder):
        self.folder, self.refused = folder, []

    def on_validation_end(self, trainer, module):
        shutil.copytree(self.folder, self.folder.with_name(f"backup{trainer.global_step}"))
        other = subprocess.run([sys.executable, "-c", HOLDS, self.folder], input=b"", capture_output=True)
        self.refused.append(b"is in use by process" in other.stderr)


def test_a_training_that_copies_its_folder_keeps_it(tmp_path):
    backup = Backup(tmp_path / "a")
    run(tmp_path / "a", "skip", trainer={"callbacks": backup, "val_check_interval": 2}).fit()
    assert backup.refused == [True, True, True], "at the start, and after steps 2 and 4"


@pytest.mark.parametrize(
    ("torture", "number"), [(runs.kills, 3), (disks.operations, 6), (disks.faults, 2), (folders.folders, 6)]
)
def test_a_little_torture(torture, number):
    words = {"steps": 300} if torture is runs.kills else {}
    assert torture(number, 0, **words)
