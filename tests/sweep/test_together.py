"""Sweeps whose processes train several runs in one loop."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.forked import Forked
from tests.torture.runs import OFTEN, environment, remains

from lightning_ntm.cli.sweep import sweep as sweep_here, train_seeds
from lightning_ntm.cli.words import UsageError
from lightning_ntm.records import RunFolder
from lightning_ntm.sweep.groups import grouped
from lightning_ntm.sweep.plan import PlannedRun

TINY = "--model NTM --model.hidden_size 8 --model.memory_slots 8 --task.bits 2 --task.max_length 3 --data.batch_size 2"
WORDS = f"{TINY} {OFTEN} --trainer.max_steps 300 --data.batches_per_epoch 7"
SEEDS = (1, 2, 3)


@pytest.mark.parametrize(
    ("sets", "seeds", "processes", "most", "expected"),
    [
        (1, 10, 2, None, [5, 5]),
        (1, 10, 1, None, [10]),
        (1, 3, 8, None, [1, 1, 1]),
        (3, 10, 2, None, [5] * 6),
        (2, 10, 2, None, [10, 10]),
        (20, 10, 2, None, [10] * 20),
        (1, 40, 1, None, [13, 13, 14]),
        (1, 10, 2, 4, [3, 3, 4]),
        (2, 3, 2, 1, [1] * 6),
        (1, 0, 2, None, []),
    ],
)
def test_runs_are_divided_among_processes(sets, seeds, processes, most, expected):
    planned = [
        PlannedRun(f"{name}-{seed}", (f"{name}", f"--seed={seed}")) for seed in range(seeds) for name in range(sets)
    ]
    groups = grouped(planned, processes, most)
    assert [len(group) for group in groups] == expected
    assert sorted(run.name for group in groups for run in group) == sorted(run.name for run in planned)
    assert all(len({run.words[0] for run in group}) == 1 for group in groups)


def refused(words):
    with pytest.raises(UsageError) as error:
        train_seeds(words.split())
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--seeds 1-3 --resume runs/a", "--resume cannot be given with --seeds: ntm sweep FOLDER resumes runs"),
        ("--seeds 1-3 --seed 4", "--seed cannot be given with --seeds"),
        ("--seeds 1-3 --models NTM", "--models is an option of ntm sweep, not of ntm train"),
        ("--seeds 1-3 --grid a=1,2", "--grid is an option of ntm sweep, not of ntm train"),
        ("--seeds 3-1", "--seeds: "),
        ("--seeds 1,1", "--seeds: "),
        ("--seeds 1-2 --name ../a", "must be a plain folder name"),
        ("--seeds 1-2 --name .a", "must be a plain folder name"),
        ("--seeds 1-2 --model Hopfield", "unknown model 'Hopfield'"),
    ],
)
def test_what_cannot_be_said_of_several_seeds_is_told(words, told):
    assert told in refused(words)


def test_several_seeds_are_runs_with_all_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("model: {class_path: NTM, init_args: {hidden_size: 5}}\nruns: elsewhere\n")
    (tmp_path / "b,c.yaml").write_text("name: both\nweight_noise: 0.01\n")
    trained = []
    monkeypatch.setattr("lightning_ntm.cli.sweep._trained", lambda folder, plan, _: trained.append((folder, plan)) or 0)
    model = '{"class_path": "LSTM", "init_args": {"hidden_size": 7}}'
    assert train_seeds(["-c", "a.yaml", "--config", "b,c.yaml", "--seeds", "1-2"]) == 0
    assert train_seeds(["--model", model, "--task=ParityCheck", "--seeds=3", "--name", "x", "--runs", "y"]) == 0
    (folder, plan), (other, alone) = trained
    assert folder == Path("elsewhere/both")
    words = ("--config", "a.yaml", "--config", "b,c.yaml")
    assert plan.runs == tuple(PlannedRun(f"ntm-copy-seed{seed}", (*words, f"--seed={seed}")) for seed in (1, 2))
    assert other == Path("y/x")
    assert alone.runs == (PlannedRun("lstm-paritycheck-seed3", ("--model", model, "--task=ParityCheck", "--seed=3")),)


def test_what_side_by_side_allows_is_told():
    with pytest.raises(UsageError, match="'banana' must be auto, off, or a whole number of at least 1"):
        sweep_here(["--side-by-side", "banana"])


def start(words, folder):
    return Forked(words.split(), folder, environment(), merged=True, serving=True)


def finished(words, folder):
    process = start(words, folder)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def run_folder(folder, seed):
    return RunFolder(folder / f"ntm-copy-seed{seed}")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What runs that are trained alone leave behind."""
    folder = tmp_path_factory.mktemp("alone")
    finished(f"train --seeds 1-3 --side-by-side off --name a {WORDS}", folder)
    assert "side_by_side" not in run_folder(folder / "runs/a", 1).notes()[0]
    return {seed: remains(run_folder(folder / "runs/a", seed).path) for seed in SEEDS}


def test_seeds_that_one_process_trains_are_those_that_each_is_alone(tmp_path, alone):
    said = finished(f"train --seeds 1-3 --processes 1 --name a {WORDS}", tmp_path)
    assert "3 of 3 runs are done: ntm report runs/a" in said
    for seed in SEEDS:
        folder = run_folder(tmp_path / "runs/a", seed)
        assert remains(folder.path) == alone[seed]
        (note,) = folder.notes()
        assert note["side_by_side"] == 3
        assert (note["seed"], f"--seed={seed}" in note["command"]) == (seed, True)
        log = (tmp_path / "runs/a/logs" / f"{folder.path.name}.log").read_text()
        assert f"{folder.path.name}: means over sequences in validation\nstep       5 " in log
        assert f"ntm evaluate runs/a/{folder.path.name}" in log


@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGTERM])
def test_a_sweep_that_is_ended_goes_on_to_the_same_numbers(told, tmp_path, alone):
    process = start(f"train --seeds 1-3 --processes 1 --name a {WORDS}", tmp_path)
    folders = [run_folder(tmp_path / "runs/a", seed) for seed in SEEDS]
    deadline = time.monotonic() + 60
    while not all(folder.last.exists() for folder in folders):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    trains = int((folders[0].path / ".lock").read_text().split()[1])
    os.kill(trains if told == signal.SIGKILL else process.pid, told)
    said, _ = process.communicate()
    if told == signal.SIGKILL:
        assert "ntm-copy-seed1 and others: ended by SIGKILL (attempt 1 of 4)" in said
        assert {len(folder.notes()) for folder in folders} == {2}
    else:
        assert process.returncode == 143, said
        assert not any(folder.done() for folder in folders)
        finished("sweep runs/a --processes 1", tmp_path)
    assert [remains(folder.path) for folder in folders] == [alone[seed] for seed in SEEDS]


def test_runs_that_need_trainers_of_their_own_are_trained_alone(tmp_path):
    said = finished(
        f"train --seeds 1-2 --processes 1 --name a {WORDS} --trainer.max_steps 10 --trainer.accumulate_grad_batches 2",
        tmp_path,
    )
    assert "2 of 2 runs are done" in said
    log = (tmp_path / "runs/a/logs/ntm-copy-seed1.log").read_text()
    assert "cannot be trained side by side: each has its own --trainer.accumulate_grad_batches" in log
    for seed in (1, 2):
        assert json.loads(run_folder(tmp_path / "runs/a", seed).result.read_text())["step"] == 10


RAISES = """
from lightning_ntm import Copy

class Raises(Copy):
    def batch(self, seed, split, number, batch_size, *more, **options):
        if (seed, split) == (2, "train") and number > 12:
            raise OSError(f"batch {number} is lost")
        return super().batch(seed, split, number, batch_size, *more, **options)
"""


def test_a_task_that_raises_in_one_run_fails_that_run_alone(tmp_path):
    (tmp_path / "raises.py").write_text(RAISES)
    process = start(f"train --seeds 1-3 --processes 1 --name a --task raises.Raises {WORDS}", tmp_path)
    said, _ = process.communicate()
    assert process.returncode == 1, said
    assert "2 of 3 runs are done" in said
    folders = [RunFolder(tmp_path / f"runs/a/ntm-raises-seed{seed}") for seed in SEEDS]
    assert [folder.done() for folder in folders] == [True, False, True]
    assert "is lost" in json.loads(folders[1].failed.read_text())["message"]
    assert {folder.rows()[-1]["step"] for folder in (folders[0], folders[2])} == {300}


def test_runs_that_diverge_fail_as_they_do_alone(tmp_path):
    words = f"train --seeds 1-2 --processes 1 --name a {WORDS} --optimizer Adam --optimizer.init_args.lr=1e40"
    process = start(words, tmp_path)
    said, _ = process.communicate()
    assert process.returncode == 1, said
    for seed in (1, 2):
        folder = run_folder(tmp_path / "runs/a", seed)
        assert "the loss is nan" in json.loads(folder.failed.read_text())["message"]
        assert folder.nonfinite.exists()
