"""How many processes train a run: as many as were asked for."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import Forked

from lightning_ntm.cli import main, process
from lightning_ntm.records import RunFolder

NTM = [sys.executable, "-m", "lightning_ntm.cli"]
TINY = (
    "--model LSTM --model.hidden_size 8 --model.num_layers 1 --task.max_length 3 --data.validation_sequences 4 "
    "--trainer.max_steps 4 --trainer.val_check_interval 2 --trainer.log_every_n_steps 2 "
    "--trainer.enable_progress_bar false"
)
LAUNCHERS = {
    "torchrun": {"RANK": "2", "LOCAL_RANK": "1", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "4",
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "none"},
    "a rank": {"RANK": "2"},
    "srun": {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NODEID": "0",
             "SLURM_JOB_NAME": "train", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NODELIST": "localhost"},
    "sbatch": {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"},
    "mpirun": {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "2"},
    "jsrun": {"JSM_NAMESPACE_RANK": "2", "JSM_NAMESPACE_SIZE": "4", "JSM_NAMESPACE_LOCAL_RANK": "2", "LSB_JOBID": "1",
              "LSB_DJOB_RANKFILE": "nowhere"},
}  # fmt: skip


def started(words, folder, more):
    return Forked(words.split(), folder, {**os.environ, **more})


def ended(process):
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_one_process_keeps_its_metrics_whatever_the_environment_says(launcher, tmp_path):
    said = ended(started(f"train {TINY} --name a", tmp_path, LAUNCHERS[launcher]))
    assert said == ""
    assert [row["step"] for row in RunFolder(tmp_path / "runs" / "a").rows()] == [2, 2, 4, 4]


def test_a_training_has_the_same_bits_however_many_threads_its_kernel_uses(tmp_path, monkeypatch):
    used = set()

    def next_of(count, work, function):
        count.turn = getattr(count, "turn", 0) + 1
        used.add(number := count.numbers[count.turn % len(count.numbers)])
        return function(number)

    monkeypatch.setattr("lightning_ntm.cores.threads", lambda: 4)
    monkeypatch.setattr("lightning_ntm.kernels.cpu.thread_counts.ThreadCount.call", next_of)
    ntm = TINY.replace("LSTM", "NTM").replace("--model.num_layers 1", "--model.memory_slots 9")
    rows, weights, notes = [], [], []
    for threads in ("auto", "1"):
        folder = RunFolder(tmp_path / threads)
        assert main(["train", *ntm.split(), "--runs", str(tmp_path), "--name", threads, "--threads", threads]) == 0
        rows.append([{name: value for name, value in row.items() if "second" not in name} for row in folder.rows()])
        weights.append({name: tensor.tolist() for name, tensor in load_file(folder.best).items()})
        notes.append({name: folder.notes()[-1][name] for name in ("threads", "kernel_threads")})
    assert used == {1, 2, 4}
    assert rows[0] == rows[1]
    assert weights[0] == weights[1]
    assert notes == [{"threads": 1, "kernel_threads": 4}, {"threads": 1, "kernel_threads": 1}]


@pytest.mark.parametrize(("said", "expected"), [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77")])
def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise(said, expected, tmp_path):
    if not torch.backends.openmp.is_available():
        pytest.skip("PyTorch was built without OpenMP")
    without = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [*NTM, "evaluate", "--help"], cwd=tmp_path, capture_output=True, text=True,
        env={**without, "OMP_DISPLAY_ENV": "verbose", **said},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr  # as the library of PyTorch tells


def test_help_prints_nothing_but_the_help(tmp_path):
    done = subprocess.run([*NTM, "bench", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--device" in done.stdout


OPENS = """
import atexit
from lightning_ntm import Copy

LOG = open("log.txt", "w")

class Own(Copy):
    def __init__(self, **options):
        super().__init__(**options)
        LOG.write("made")

atexit.register(print, "last words")
"""


def test_a_module_of_the_user_ends_as_in_any_program(tmp_path):
    (tmp_path / "own.py").write_text(OPENS)
    words = ["train", "--task", "own.Own", *TINY.split(), "--name", "a"]
    done = subprocess.run([*NTM, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "last words"
    assert (tmp_path / "log.txt").read_text().startswith("made")


def test_an_error_is_one_line(tmp_path):
    done = subprocess.run([*NTM, "train", "--task", "Nope"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_call_from_python_leaves_the_garbage_collector_as_it_is(enabled):
    before = gc.isenabled(), gc.get_freeze_count()
    gc.enable() if enabled else gc.disable()
    try:
        assert main(["zoo"]) == 0
        assert (gc.isenabled(), gc.get_freeze_count()) == (enabled, before[1])
    finally:
        gc.enable() if before[0] else gc.disable()


COLLECTS = """
import gc
from lightning_ntm import Copy

class Own(Copy):
    def __init__(self, **options):
        super().__init__(**options)
        with open("frozen.txt", "a") as log:
            print(gc.isenabled(), gc.get_freeze_count() > 100_000, file=log)
"""


@pytest.mark.parametrize("words", [f"train {TINY}", f"train {TINY} --seeds 1-2 --processes 1"])
def test_what_is_imported_is_not_searched_for_unreachable_objects(words, tmp_path):
    (tmp_path / "own.py").write_text(COLLECTS)
    subprocess.run([*NTM, *words.split(), "--task", "own.Own"], cwd=tmp_path, check=True, capture_output=True)
    assert {*(tmp_path / "frozen.txt").read_text().splitlines()} == {"True True"}


def test_objects_of_triton_are_collected_at_the_end(monkeypatch):
    monkeypatch.setattr(gc, "unfreeze", lambda: unfrozen.append(True))
    unfrozen = []
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    process._collect_for_triton()
    assert not unfrozen
    monkeypatch.setitem(sys.modules, "triton", gc)
    process._collect_for_triton()
    assert unfrozen


@pytest.mark.parametrize(
    "words", [f"sweep {TINY} --tasks Copy".replace("--model LSTM", "--models LSTM"), f"train {TINY}"]
)
def test_runs_of_a_sweep_are_single_processes_whatever_the_environment_says(words, tmp_path):
    everything = {name: value for told in LAUNCHERS.values() for name, value in told.items()}
    words = words.replace("--trainer.enable_progress_bar false", "--seeds 1-2 --processes 1 --name s")
    ended(started(words, tmp_path, everything))
    runs = sorted((tmp_path / "runs" / "s").glob("lstm-*"))
    assert [path.name for path in runs] == ["lstm-copy-seed1", "lstm-copy-seed2"]
    for run in runs:
        assert [row["step"] for row in RunFolder(run).rows()] == [2, 2, 4, 4]


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_two_processes_of_a_launcher_train_one_run(launcher, tmp_path):
    names = {"torchrun": ("RANK", "LOCAL_RANK"), "srun": ("SLURM_PROCID", "SLURM_LOCALID")}[launcher]
    sizes = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    told = {name: sizes.get(name, value) for name, value in LAUNCHERS[launcher].items()}
    told |= {"MASTER_PORT": "29765", "MASTER_ADDR": "127.0.0.1"}
    words = f"train {TINY} --name a --trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp"
    both = [started(words, tmp_path, {**told, **dict.fromkeys(names, str(rank))}) for rank in (0, 1)]
    for one in both:
        ended(one)
    rows = RunFolder(tmp_path / "runs" / "a").rows()
    assert [row["step"] for row in rows] == [2, 2, 4, 4]
    assert rows[-1]["sequences"] == 4 * 8 * 2


@pytest.mark.parametrize(("words", "reason"), [
    ("--trainer.devices 9999", "--trainer.devices (=9999) must be at most"),
    ("--trainer.devices 99999999999999999999999", "--trainer.devices (=99999999999999999999999) must be at most"),
    ("--trainer.devices 9999 --trainer.accelerator cpu --trainer.strategy ddp", "--trainer.devices (=9999) must be"),
    ("--trainer.devices [0,1,2,3,4,5,6,7,8,9] --trainer.accelerator cpu", ""),
    ("--trainer.devices 0 --trainer.accelerator cpu", ""),
    ("--trainer.devices=-1 --trainer.accelerator cpu", ""),
    ("--trainer.num_nodes 2", "--trainer.num_nodes (=2) needs a launcher"),
    ("--trainer.num_nodes 0", "--trainer.num_nodes (=0) must be at least 1."),
    ("--trainer.num_nodes -3", "--trainer.num_nodes (=-3) must be at least 1."),
    ("--data.num_workers 1_000", "--data.num_workers (=1000) must be at most "),
    (f"--data.num_workers {2**63}", f"--data.num_workers (={2**63}) must be at most "),
    ("--trainer.accelerator tpu", ""),
    ("--trainer.accelerator nothing", ""),
    ("--trainer.strategy nothing", ""),
])  # fmt: skip
def test_what_the_machine_cannot_have_is_refused(words, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in LAUNCHERS["torchrun"]:
        monkeypatch.delenv(name, raising=False)
    assert main(["train", *TINY.split(), *words.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ntm: error: {reason}")
    assert said.count("\n") == 1
    assert not Path("runs").exists()


INTERRUPTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what runs in the background
sys.meta_path.insert(0, Interrupts())
from lightning_ntm.cli import main
sys.exit(main(["evaluate", "copy"]))
"""


@pytest.mark.parametrize("module", ["lightning_ntm.cli.words", "lightning_ntm.cli.evaluate", "torch"])
def test_ctrl_c_during_imports_prints_one_line(module, tmp_path):
    script = INTERRUPTED.format(module=module)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ntm: interrupted\n")
