"""The page on a user's own data is run as it stands: its data are made, its commands train, its errors are said."""

import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pages
import pytest

from lightning_ntm.cli import main

blocks = partial(pages.blocks, "your-own-data.md")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("make_data.py").write_text(blocks("python")[0])
    return tmp_path


def test_its_example_is_what_its_script_draws(folder):
    names = {}
    exec(compile(blocks("python")[0], "your-own-data.md", "exec"), names)
    shown, depths = ([int(word) for word in line.split()[1:]] for line in blocks("text")[0].splitlines())
    drawn = (names["brackets"](np.random.default_rng(seed), 6) for seed in range(1000))
    assert {"inputs": shown, "targets": depths} in drawn


def test_its_commands_run(folder, capsys):
    make, *commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    subprocess.run([sys.executable, *make[1:]], check=True)
    assert [command[:2] for command in commands] == [["ntm", verb] for verb in ("train", *["evaluate"] * 2, "figure")]
    brief = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--model.memory_slots=8"]
    for _, verb, *words in commands:
        assert main([verb, *words, *(brief if verb == "train" else [])]) == 0, capsys.readouterr().err
    results = json.loads(Path("runs/ntm-filetask-seed1/evaluation.json").read_text())["results"]
    assert [(row.get("on"), row["sequences"]) for row in results] == [(None, 200), ("longer.jsonl", 200)]


def test_its_error_is_what_is_said(folder, capsys):
    said = blocks("text")[1].replace("/home/me", str(folder))
    good = '{"inputs": [0], "targets": [4]}\n'
    Path("train.jsonl").write_text(good + '{"inputs": [0, 1], "targets": [1, -1]}\n')
    Path("valid.jsonl").write_text(good)
    assert main(["train", "--task", "files", "--task.train=train.jsonl", "--task.validation=valid.jsonl"]) == 2
    assert capsys.readouterr().err == said


def test_its_python_runs(capsys):
    exec(compile(blocks("python")[1], "your-own-data.md", "exec"), {})
    assert capsys.readouterr().out.startswith("Numbers(size=1, tolerance=0.04) {")
