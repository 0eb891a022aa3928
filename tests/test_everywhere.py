"""The package without what only POSIX systems have, as on Windows."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.torture.runs import OFTEN, TINY

ROOT = Path(__file__).parents[1]

IMPORTS_AND_USES = """
import pkgutil, sys
from importlib import import_module

import lightning_ntm

found = pkgutil.walk_packages(lightning_ntm.__path__, "lightning_ntm.", onerror=import_module)
names = [module.name for module in found]
assert len(names) > 80, names
for name in names:
    place, _, last = name.rpartition(".")
    programs = place == "lightning_ntm.kernels.ntm.triton" and last in ("probe", "programs", "stages")  # for Triton
    if not programs and last not in ("__main__", "libntm"):
        import_module(name)

from lightning_ntm.cli import main

for words in sys.argv[1:]:
    assert main(words.split()) == 0, words
"""

KEEPS = """
import sys
from pathlib import Path
from lightning_ntm.records import RunFolder
RunFolder(Path(sys.argv[1])).lock(); print("held", flush=True); sys.stdin.read()
"""

ASKS = """
import json, sys
from pathlib import Path
from lightning_ntm.records import RunFolder
folder = RunFolder(Path(sys.argv[1]))
try:
    before = folder.in_use()
    folder.lock()
    said = ""
except (OSError, ValueError) as error:
    said = str(error)
print(json.dumps([before, said]))
"""


@pytest.fixture(scope="module")
def without_posix(tmp_path_factory):
    """Starts processes in which the package runs as on Windows, and so in all that they start."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text("import tests.without_posix\n")
    path = os.pathsep.join(map(str, (site, ROOT / "src", ROOT)))

    def start(*words, folder=None, **more):
        return subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more},
        )  # fmt: skip

    return start


def said_by(process):
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return said


def test_every_module_is_imported_and_a_run_is_trained_resumed_evaluated_drawn_and_reported(without_posix, tmp_path):
    words = (
        f"train --task Copy {TINY} {OFTEN} --trainer.max_steps 10 --trainer.enable_progress_bar false --name a",
        "train --resume runs/a --trainer.max_steps 20 --trainer.enable_progress_bar false",
        "evaluate runs/a --sequences 5 --lengths 3,4",
        "figure runs/a --lengths 3",
        "report runs",
    )
    said = said_by(without_posix("-c", IMPORTS_AND_USES, *words, folder=tmp_path, PYTHONWARNDEFAULTENCODING="1"))
    run = tmp_path / "runs" / "a"
    assert json.loads((run / "result.json").read_text())["step"] == 20
    assert len(json.loads((run / "evaluation.json").read_text())["results"]) == 2
    assert list((run / "figures").glob("*.png"))
    assert "report.html" in said
    assert all(b"\r" not in file.read_bytes() for file in run.iterdir() if file.suffix in (".json", ".jsonl", ".yaml"))


def test_a_lock_is_held_until_its_process_is_killed(without_posix, tmp_path):
    holder = without_posix("-c", KEEPS, tmp_path)
    assert holder.stdout.readline() == "held\n"
    used, said = json.loads(said_by(without_posix("-c", ASKS, tmp_path)))
    assert (used, said.startswith(f"run folder {tmp_path} is in use by process {holder.pid} on ")) == (True, True), said
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert json.loads(said_by(without_posix("-c", ASKS, tmp_path))) == [False, ""]


@pytest.mark.parametrize("target", ["precious", "new"])
def test_nothing_is_written_through_a_link(without_posix, tmp_path, target):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").touch()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / target)
    assert "symbolic link" in json.loads(said_by(without_posix("-c", ASKS, tmp_path / "run")))[1]
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "precious").read_bytes() == b""


NTM = ("-m", "lightning_ntm.cli")
SWEEP = f"sweep {TINY} {OFTEN} --processes 2 --name a".replace("--model ", "--models ", 1)


def test_a_sweep_trains_in_new_interpreters(without_posix, tmp_path):
    sweep = without_posix(*NTM, *SWEEP.split(), "--seeds", "1", "--trainer.max_steps", "10", folder=tmp_path)
    assert "1 of 1 run is done" in said_by(sweep)


@pytest.mark.parametrize(("end", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_the_runs_of_a_sweep_that_ends_save_and_end(without_posix, tmp_path, end, code):
    sweep = without_posix(*NTM, *SWEEP.split(), "--seeds", "1", "--trainer.max_steps", "1000000", folder=tmp_path)
    run = tmp_path / "runs" / "a" / "forgetful-copy-seed1"
    wait(120, lambda: (run / "last.ckpt").exists() or sweep.poll() is not None)
    assert sweep.poll() is None, sweep.communicate()
    trains = Path("/proc") / (run / ".lock").read_text().split()[1]
    assert b"spawner" in (trains / "cmdline").read_bytes()
    sweep.send_signal(end)
    wait(15, lambda: sweep.poll() is not None and not (trains / "cwd").exists())
    assert sweep.returncode == code
    step = torch.load(run / "last.ckpt", weights_only=True)["global_step"]
    said = (tmp_path / "runs/a/logs/forgetful-copy-seed1.log").read_text().splitlines()[-1]
    assert said.startswith(f"ended by SIGTERM at step {step}; to go on: "), said
    sweep.communicate()


def wait(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
