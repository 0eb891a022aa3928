"""Every command and every script of the README runs as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from runs import write_run

from lightning_ntm.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
#: Shortens a training; all else stays as it is written.
BRIEF = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--data.validation_sequences=2"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for example in (ROOT / "examples").glob("*.py"):
        (tmp_path / example.name).write_text(example.read_text())


def test_every_command_runs():
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    ours = [command[1:] for command in commands if command and command[0] == "ntm"]
    assert {command[0] for command in ours} == {"train", "sweep", "evaluate", "figure", "report", "bench"}
    for command in ours:
        trains = (command[0] == "train" and "--resume" not in command) or "--seeds" in command
        brief = [word.replace("1-10", "1") for word in command] + (BRIEF if trains else [])
        assert main(brief) == 0, command


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)`?", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("script", blocks("python"))
def test_every_script_runs(script, tmp_path):
    write_run(tmp_path / "runs" / "copy" / "ntm-copy-seed1")
    exec(compile(script.replace("5000", "2"), "README.md", "exec"), {})
