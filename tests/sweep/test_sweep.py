"""Sweeps in real processes: killed, interrupted, gone on with."""

import io
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from runs import write_answered, write_run
from tests.forked import Forked, finished
from tests.torture.runs import NTM, OFTEN, TINY, end_sweep, environment, remains

from lightning_ntm.cli.watch import View, all_left, table
from lightning_ntm.records import RunFolder, claim
from lightning_ntm.sweep import LocalEngine, Plan, Status, Worker, status_of
from lightning_ntm.sweep.plan import PlannedRun

WORDS = f"{TINY} {OFTEN} --trainer.max_steps 40".removeprefix("--model tests.torture.parts.Forgetful ")
SWEEP = f"sweep --models tests.torture.parts.Forgetful {WORDS} --processes 2"
#: Until there is a file `go`, runs wait after batch 12, two batches after a checkpoint.
WAITING = f"{SWEEP} --trainer.callbacks tests.torture.parts.Waits"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the runs of seed 1 and 2 leave behind when nothing happens to them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    words = f"--model tests.torture.parts.Forgetful --task Copy {WORDS} --trainer.enable_progress_bar false"
    for seed in (1, 2):
        process = finished(["train", *f"{words} --seed {seed} --name seed{seed}".split()], folder, environment())
        assert (process.returncode, process.stderr) == (0, "")
    return {seed: remains(folder / "runs" / f"seed{seed}") for seed in (1, 2)}


def test_a_run_that_ended_before_anything_was_logged_stands_at_its_end(tmp_path):
    write_run(tmp_path / "a", costs=())
    (tmp_path / "a" / "result.json").write_text('{"step": 20}')
    status = status_of(tmp_path, PlannedRun("a", ()))
    assert (status.state, status.step) == ("done", 20)
    RunFolder(tmp_path / "a").append({"step": 30, "train_wrong_bits": 3.0})  # it was resumed, by an earlier version
    assert status_of(tmp_path, PlannedRun("a", ())).state == "interrupted"


def test_the_time_that_is_left_is_at_least_that_of_the_slowest_run():
    quick, slow = (Status(str(pace), "running", 0, 1000, steps_per_second=pace) for pace in (100.0, 1.0))
    waiting, begun = Status("waiting", "waiting"), Status("begun", "running", 0, 1000)
    said = [all_left(runs) for runs in ([quick, slow], [quick, quick, waiting], [quick, begun], [waiting])]
    assert said == [["about 16 min 40 s left"], ["about 15 s left"], [], []]


@pytest.mark.parametrize(("measured", "cell", "words"), [
    ({"validation_wrong_bits": 4.0}, "4.00 wrong bits", "4.00 wrong bits in the last validation"),
    ({"validation_wrong_bits": 4.0, "validation_regret_bits": 0.25}, "0.25 regret", "0.25 above the optimum in the"),
    ({"validation_wrong_bits": 4.0, "validation_regret_bits": None}, "4.00 wrong bits", "4.00 wrong bits in the last"),
])  # fmt: skip
def test_the_cost_of_the_last_validation_is_told(tmp_path, measured, cell, words):
    write_run(tmp_path / "ntm-dynamicngrams-seed1", costs=())
    folder, run = RunFolder(tmp_path / "ntm-dynamicngrams-seed1"), PlannedRun("ntm-dynamicngrams-seed1", ())
    folder.append({"step": 5, "validation_wrong_bits": 9.0, "validation_regret_bits": 9.0})
    folder.append({"step": 12000, **measured})
    folder.append({"step": 12050, "train_wrong_bits": 3.0})
    folder.result.write_text('{"step": 12050}')
    assert_told(tmp_path, run, cell, words)


@pytest.mark.parametrize(("kind", "cell", "words"), [
    ("symbols", "3.00 wrong symbols", "3.00 wrong symbols in the last validation"),
    ("numbers", "3.00 squared error", "3.00 squared error in the last validation"),
])  # fmt: skip
def test_the_last_validation_is_told_in_the_words_of_the_run(tmp_path, kind, cell, words):
    write_answered(tmp_path / "ntm-dynamicngrams-seed1", kind, [5.0] * 119 + [3.0])
    RunFolder(tmp_path / "ntm-dynamicngrams-seed1").append({"step": 12050, "train_loss": 3.0})
    (tmp_path / "ntm-dynamicngrams-seed1" / "result.json").write_text('{"step": 12050}')
    assert_told(tmp_path, PlannedRun("ntm-dynamicngrams-seed1", ()), cell, words)


def assert_told(tmp_path, run, cell, words):
    console = Console(width=80, record=True, file=io.StringIO())
    with View(tmp_path, Plan("a", (run,)), console, quiet=True) as view:
        view.states[run.name] = "running"
        view.look()
    console.print(table([status_of(tmp_path, run)]))
    said = console.export_text()
    assert words in " ".join(said.split())
    assert [
        line
        for line in said.splitlines()
        if cell in line and "ntm-dynamicngrams-seed1  done" in line and "12050" in line
    ]


def start(words, folder, **more):
    return Forked(words.split(), folder, environment(**more), merged=True, serving=True)


def sweep(words, folder):
    process = start(words, folder)
    said, _ = process.communicate()
    return process.returncode, said


def run_folder(folder, seed):
    return RunFolder(folder / "runs" / "a" / f"forgetful-copy-seed{seed}")


def begun(*runs):
    """Wait until all runs have a checkpoint."""
    deadline = time.monotonic() + 60
    while not all(run.last.exists() for run in runs):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def process_of(run):
    """The process that trains, by the file it keeps locked."""
    return int((run.path / ".lock").read_text().split()[1])


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def gone(process):
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process}").exists() and "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def go_on(folder):
    (folder / "go").touch()


def test_a_run_that_is_killed_goes_on_and_so_does_a_sweep_that_is_killed(tmp_path, undisturbed):
    first, second = run_folder(tmp_path, 1), run_folder(tmp_path, 2)
    process = start(f"{WAITING} --name a --seeds 1-2", tmp_path)
    begun(first, second)
    os.kill(process_of(first), signal.SIGKILL)
    children = [process_of(second)]
    while len(first.notes()) < 2:
        time.sleep(0.02)
    process.kill()
    said, _ = process.communicate()
    assert "forgetful-copy-seed1: ended by SIGKILL (attempt 1 of 4)" in said
    assert all(gone(child) for child in [*children, process_of(first)]), "children end with their parent"
    go_on(tmp_path)
    code, said = sweep("sweep runs/a", tmp_path)
    assert code == 0, said
    assert "2 of 2 runs are done: ntm report runs/a" in said
    assert [remains(run.path) for run in (first, second)] == [undisturbed[1], undisturbed[2]]


@pytest.mark.parametrize(("end", "output"), [("KILL", "nothing"), ("HUP", "pipe"), ("terminal", "file")])
def test_the_runs_of_a_sweep_that_ends_in_any_way_save_and_end(tmp_path, end, output):
    assert end_sweep(tmp_path, end, output) < 10


@pytest.mark.parametrize(("told", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_sweep_told_to_end_saves_every_run_and_says_how_to_go_on(tmp_path, told, code, undisturbed):
    run = run_folder(tmp_path, 1)
    process = start(f"{WAITING} --name a --seeds 1", tmp_path)
    begun(run)
    trains = process_of(run)
    process.send_signal(told)
    before = time.monotonic()
    said, _ = process.communicate(timeout=30)
    assert time.monotonic() - before < 10
    assert process.returncode == code
    assert said.endswith("interrupted. To go on: ntm sweep runs/a --processes 2\n")
    assert gone(trains)
    assert status_of(tmp_path / "runs" / "a", Plan.load(tmp_path / "runs" / "a").runs[0]).state == "interrupted"
    go_on(tmp_path)
    assert sweep("sweep runs/a", tmp_path)[0] == 0
    assert remains(run.path) == undisturbed[1]


def test_a_run_that_another_sweep_is_at_is_left_to_it(tmp_path):
    claims = tmp_path / "runs" / "a" / ".claims"
    claims.mkdir(parents=True)
    let_go = claim(claims / "forgetful-copy-seed1", "it")
    code, said = sweep(f"{SWEEP} --name a --seeds 1", tmp_path)
    assert (code, "1 run is being trained by another process" in said) == (3, True), said
    assert not run_folder(tmp_path, 1).path.exists()
    let_go()


def test_what_fails_is_marked_and_stops_nothing_else(tmp_path):
    words = f"{SWEEP} --optimizer Adam --trainer.max_steps 20 --name a --grid optimizer.init_args.lr=1e-3,1e40"
    code, said = sweep(words, tmp_path)
    assert code == 1, said
    assert "1 of 2 runs are done" in said
    good, bad = (RunFolder(tmp_path / "runs/a" / f"forgetful-copy-lr{lr}-seed1") for lr in ("1e-3", "1e40"))
    assert good.result.exists()
    assert not bad.result.exists()
    assert '"attempts": 1' in bad.failed.read_text()
    assert "the loss is nan" in bad.failed.read_text()
    code, said = sweep("sweep --status runs/a", tmp_path)
    assert (code, "1 failed, 1 done" in said) == (0, True), said
    (RunFolder(bad.path).path / "mine.txt").write_text("a note of the user's")
    code, said = sweep("sweep runs/a", tmp_path)
    assert (code, "holds files but no checkpoint" in said) == (1, True), said
    assert (bad.path / "mine.txt").exists()


def test_runs_that_crash_before_anything_is_kept_are_given_up_after_some_attempts(tmp_path):
    (tmp_path / "crashing.py").write_text(
        "import os, sys\nfrom lightning_ntm import LSTM\n"
        "class Crashing(LSTM):\n    def step(self, x, state):\n        os.abort()\n"
    )
    code, said = sweep(f"sweep --models crashing.Crashing --retries 1 --name a {WORDS}", tmp_path)
    assert code == 1, said
    assert "crashing-copy-seed1: ended by SIGABRT (attempt 2 of 2)" in said


def test_a_run_whose_server_is_killed_is_tried_again(tmp_path, undisturbed):
    run = run_folder(tmp_path, 1)
    process = start(f"{WAITING} --name a --seeds 1", tmp_path)
    begun(run)
    trains = process_of(run)
    os.kill(parent_of(trains), signal.SIGKILL)
    assert gone(trains)
    go_on(tmp_path)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "forgetful-copy-seed1: the process that starts trainings ended (attempt 1 of 4)" in said
    assert remains(run.path) == undisturbed[1]


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_files_that_are_named_as_modules_of_python_are_not_run_and_a_user_s_own_module_is(tmp_path, engine):
    for name in ("copy", "random", "numpy", "json", "yaml", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text("from pathlib import Path\nPath('ran').touch()\nraise SystemExit(9)\n")
    (tmp_path / "own.py").write_text("from lightning_ntm import LSTM\nclass Own(LSTM):\n    pass\n")
    words = f"sweep --models own.Own --name a {WORDS} --trainer.max_steps 20 --data.num_workers 1 --engine {engine}"
    process = subprocess.run(
        [NTM[0], "-P", *NTM[1:], *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=180,
        env=environment(RAY_ADDRESS="127.0.0.1:1"),  # of a cluster that is gone: nobody asked for it
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_edited_later_changes_no_run_of_a_sweep(tmp_path):
    mine, run = tmp_path / "mine.yaml", RunFolder(tmp_path / "runs/a/mine-seed2")
    mine.write_text(yaml.safe_dump({"trainer": {"max_steps": 20}, "data": {"batch_size": 3}}))
    assert sweep("sweep --configs mine.yaml --seeds 1-2 --name a", tmp_path)[0] == 0
    shutil.rmtree(run.path)
    mine.write_text(yaml.safe_dump({"trainer": {"max_steps": 20}, "data": {"batch_size": 5}}))
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert sweep("sweep moved/a", tmp_path)[0] == 0
    config = yaml.safe_load((tmp_path / "moved/a/mine-seed2/config.yaml").read_text())
    assert config["data"]["batch_size"] == 3


def test_an_extended_run_that_is_killed_is_not_done(tmp_path, undisturbed):
    run = run_folder(tmp_path, 1)
    words = f"{WAITING.replace('40', '20')} --trainer.callbacks.batch 27 --name a --seeds 1"
    assert sweep(words, tmp_path)[0] == 0
    (planned,) = Plan.load(tmp_path / "runs/a").runs
    assert status_of(tmp_path / "runs/a", planned).state == "done"
    process = start(f"train --resume {run.path} --trainer.max_steps 40", tmp_path)
    while run.rows()[-1]["step"] < 25:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    go_on(tmp_path)
    assert status_of(tmp_path / "runs/a", planned).state == "interrupted"
    code, said = sweep("sweep runs/a", tmp_path)
    assert (code, "1 of 1 run is done" in said) == (0, True), said
    assert status_of(tmp_path / "runs/a", planned).step == 40


def test_a_log_that_was_not_written_is_not_named(tmp_path):
    run = run_folder(tmp_path, 1)
    run.path.mkdir(parents=True)
    (run.path / "mine.txt").touch()
    code, said = sweep(f"{SWEEP} --name a --seeds 1", tmp_path)
    assert (code, "forgetful-copy-seed1: failed before it began" in said, ".log" in said) == (1, True, False), said


def test_on_a_cluster_a_run_survives_its_worker_and_its_node(tmp_path, undisturbed):
    script = Path(__file__).with_name("cluster.py")
    process = subprocess.run(
        [NTM[0], script], cwd=tmp_path, env=environment(RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0"),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.splitlines()[-1] == "{'forgetful-copy-seed1': 'done', 'forgetful-copy-seed2': 'done'}"
    assert [remains(run_folder(tmp_path, seed).path) for seed in (1, 2)] == [undisturbed[1], undisturbed[2]]


def test_a_run_that_cannot_be_read_fails_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(Worker, "_run", lambda self, words, log: 2)  # as a training of it ends
    plan = Plan("a", (PlannedRun("bad", ()), PlannedRun("good", ())))
    for name in ("bad", "good"):
        write_run(tmp_path / name)
    (tmp_path / "bad" / "last.ckpt").touch()
    (tmp_path / "bad" / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "bad" / "metrics.jsonl")
    worker = Worker(tmp_path, "", retries=0, tell=lambda said: None)
    assert LocalEngine(1).train(worker, plan.runs, lambda: None) == {"bad": "failed", "good": "done"}
    assert worker.complete_together(plan.runs) == {"bad": "failed", "good": "done"}


def test_a_folder_of_claims_that_cannot_be_written_is_told_and_does_not_matter_to_runs_that_are_done(tmp_path):
    write_run(tmp_path / "a")
    (tmp_path / "a" / "result.json").write_text('{"step": 300}')
    (tmp_path / ".claims").write_text("a file")
    told = []
    worker = Worker(tmp_path, "", retries=0, tell=told.append)
    runs = [PlannedRun("a", ()), PlannedRun("b", ())]
    assert LocalEngine(1).train(worker, runs, lambda: None) == {"a": "done", "b": "failed"}
    assert told == [f"b: {tmp_path}/.claims: cannot write: this is a link or a file, not a folder"]
