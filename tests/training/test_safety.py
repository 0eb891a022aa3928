"""What goes wrong in a run, and what is left of it."""

import math
import subprocess
import sys

import pytest
import torch
from tests.torture import runs

from lightning_ntm import NTM, Copy
from lightning_ntm.records import RunFolder
from lightning_ntm.training import EpisodeData, Run, SequenceLearner, replay
from lightning_ntm.training.safety import DivergenceError

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


def run(path, on_nonfinite="stop"):
    torch.manual_seed(3)
    learner = SequenceLearner(
        Overflowing(4, 3, hidden_size=8, memory_slots=6, memory_width=4), on_nonfinite=on_nonfinite
    )
    data = EpisodeData(Copy(bits=3, max_length=4), 3, batch_size=4, batches_per_epoch=5, validation_sequences=5)
    options = {"max_steps": 4, "log_every_n_steps": 2, "enable_model_summary": False, "enable_progress_bar": False}
    return Run(learner, data, options, RunFolder(path), CONFIG)


def test_a_loss_that_is_not_finite_ends_the_run_and_the_step_can_be_seen_again(tmp_path):
    with pytest.raises(DivergenceError, match=r"step 3 \(batch 2\): the loss is (inf|nan), the largest gradients are"):
        run(tmp_path / "a").fit()
    model, batch = replay(tmp_path / "a")
    assert batch.inputs.shape[0] == 4
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_or_the_step_is_left_out(tmp_path):
    skipping = run(tmp_path / "a", "skip")
    assert skipping.fit()["step"] == 4
    assert [row.get("skipped_steps") for row in RunFolder(tmp_path / "a").rows() if "train_loss" in row] == [None, 1]
    assert all(torch.isfinite(p).all() for p in skipping.learner.parameters())


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


@pytest.mark.parametrize(("torture", "number"), [(runs.kills, 3), (runs.faults, 2)])
def test_a_little_torture(torture, number):
    words = {"steps": 300} if torture is runs.kills else {}
    assert torture(number, 0, **words)
