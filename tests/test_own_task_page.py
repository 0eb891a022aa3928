"""The page on adding a task is run as it stands: its file is written, its checks pass, its commands train."""

import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pages
import pytest

from lightning_ntm.cli import main

blocks = partial(pages.blocks, "your-own-task.md")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "membership", raising=False)
    Path("membership.py").write_text(blocks("python")[0])
    yield tmp_path
    sys.modules.pop("membership", None)


def test_its_checks_pass(folder):
    names = {}
    for script in blocks("python")[1:]:
        exec(compile(script, "your-own-task.md", "exec"), names)


def test_its_example_is_what_the_task_draws(folder):
    from membership import Membership

    shown = [line.split()[1:] for line in blocks("text")[0].splitlines()]
    task = Membership(bits=2, questions=2)
    for seed in range(1000):
        batch = task.sample(np.random.default_rng(seed), 1, length=2)
        inputs = ["".join(str(int(bit)) for bit in row) for row in batch.inputs[0]]
        answers = [
            str(int(bit)) if counts else "-" for bit, counts in zip(batch.targets[0], batch.mask[0], strict=True)
        ]
        if inputs == shown[0]:
            assert answers == shown[1]
            return
    pytest.fail("the example was never drawn")


def test_its_commands_run(folder, capsys):
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert [command[:2] for command in commands] == [["ntm", "train"], ["ntm", "evaluate"], ["ntm", "figure"]]
    brief = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--data.validation_sequences=2"]
    for _, verb, *words in commands:
        assert main([verb, *words, *(brief if verb == "train" else [])]) == 0, capsys.readouterr().err


def test_its_mistakes_are_told_as_those_of_any_task(folder, capsys):
    assert main(["train", "--task", "membership.Membership", "--task.max_length", "0"]) == 2
    assert capsys.readouterr().err == "ntm: error: --task.min_length (=1) must be at most max_length (=0).\n"
