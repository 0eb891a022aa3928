"""The package without what only POSIX systems have, as on Windows."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.torture.runs import OFTEN, TINY

ROOT = Path(__file__).parents[1]

IMPORTS = """
import pkgutil
from importlib import import_module

import lightning_ntm

unavailable = ("lightning_ntm.kernels.triton.",)  # needs Triton
names = [module.name for module in pkgutil.walk_packages(lightning_ntm.__path__, "lightning_ntm.")]
for name in names:
    if not name.startswith(unavailable) and not name.endswith("__main__"):
        import_module(name)
print(len(names))
"""

USES = """
import sys
from lightning_ntm.cli import main

train, *others = (words.split() for words in sys.argv[1:])
assert main(train) == 0
for words in others:
    assert main(words) == 0, words
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


def without_posix(code, *words, folder=None):
    """A process in which `code` runs as on Windows."""
    return subprocess.Popen(
        [sys.executable, "-X", "warn_default_encoding", "-c", f"import tests.without_posix\n{code}", *map(str, words)],
        cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
    )  # fmt: skip


def said_by(process):
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return said


def test_every_module_is_imported():
    assert int(said_by(without_posix(IMPORTS))) > 80


def test_a_run_is_trained_resumed_evaluated_drawn_and_reported(tmp_path):
    train = f"train --task Copy {TINY} {OFTEN} --trainer.max_steps 10 --trainer.enable_progress_bar false --name a"
    others = (
        "train --resume runs/a --trainer.max_steps 20 --trainer.enable_progress_bar false",
        "evaluate runs/a --sequences 5 --lengths 3,4", "figure runs/a --lengths 3", "report runs",
    )  # fmt: skip
    said = said_by(without_posix(USES, train, *others, folder=tmp_path))
    assert json.loads((tmp_path / "runs/a/result.json").read_text())["step"] == 20
    assert len(json.loads((tmp_path / "runs/a/evaluation.json").read_text())["results"]) == 2
    assert "report.html" in said
    texts = [file for file in (tmp_path / "runs/a").iterdir() if file.suffix in (".json", ".jsonl", ".yaml")]
    assert all(b"\r" not in file.read_bytes() for file in texts)


def test_a_lock_is_held_until_its_process_is_killed(tmp_path):
    holder = without_posix(KEEPS, tmp_path)
    assert holder.stdout.readline() == "held\n"
    used, said = json.loads(said_by(without_posix(ASKS, tmp_path)))
    assert (used, said.startswith(f"run folder {tmp_path} is in use by process {holder.pid} on ")) == (True, True), said
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert json.loads(said_by(without_posix(ASKS, tmp_path))) == [False, ""]


@pytest.mark.parametrize("target", ["precious", "new"])
def test_nothing_is_written_through_a_link(tmp_path, target):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").touch()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / target)
    assert "symbolic link" in json.loads(said_by(without_posix(ASKS, tmp_path / "run")))[1]
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "precious").read_bytes() == b""
