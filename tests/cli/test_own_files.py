"""Training, evaluating and drawing sequences from a user's files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from lightning_ntm.cli import main
from lightning_ntm.sweep.plan import Plan

RUN = "runs/ntm-filetask-seed1"
SMALL = ["--model.hidden_size=4", "--model.memory_slots=4", "--model.memory_width=3", "--data.batch_size=4"]
QUIET = ["--trainer.val_check_interval=2", "--trainer.enable_progress_bar=false"]


def write(name, count, seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 5, size=count)
    bits = generator.integers(2, size=(lengths.sum(), 1)).astype(np.float32)
    np.savez(name, inputs=bits, targets=1 - bits, lengths=lengths)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, (name, count) in enumerate({"train": 10, "valid": 7, "test": 5}.items()):
        write(f"{name}.npz", count, seed)


def train(*words, steps=4):
    files = ["--task=files", "--task.train=train.npz", "--task.validation=valid.npz"]
    return main(["train", *files, *SMALL, *QUIET, f"--trainer.max_steps={steps}", *words])


def results():
    return json.loads(Path(RUN, "evaluation.json").read_text())["results"]


def test_a_run_can_be_evaluated_and_drawn_from_anywhere(tmp_path, monkeypatch, capsys):
    assert train() == 0
    config = yaml.safe_load(Path(RUN, "config.yaml").read_text())
    assert config["task"]["init_args"] == {
        "train": str(tmp_path / "train.npz"), "validation": str(tmp_path / "valid.npz"), "answer": "bits",
        "answer_size": 1, "input_size": 1, "input_symbols": None, "tolerance": 0.04, "names": None,
    }  # fmt: skip
    assert config["data"]["validation_sequences"] is None
    monkeypatch.chdir(tmp_path / "runs")
    name = Path(RUN).name
    Path("../train.npz").unlink()
    assert main(["evaluate", name]) == 0
    assert main(["evaluate", name, "--on", "../test.npz"]) == 0
    assert "test.npz" in capsys.readouterr().out
    assert main(["evaluate", name, "--on", "../test.npz", "--sequences", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["sequences"] == 3
    assert main(["figure", name, "--on", "../test.npz", "--sequence", "3"]) == 0
    monkeypatch.chdir(tmp_path)
    assert Path(RUN, "figures", "memory-on-test-sequence-3.svg").exists()
    assert [(row.get("on"), row["sequences"]) for row in results()] == [(None, 7), ("test.npz", 3)]
    assert len(results()[1]["sha256"]) == 64
    Path("others").mkdir()
    shutil.copy("valid.npz", "others/test.npz")
    assert main(["evaluate", RUN, "--on", "others/test.npz"]) == 0
    kept = [(row["on"], row["sequences"]) for row in results()[1:]]
    assert kept == [("test.npz", 3), ("test.npz", 7)]  # another file of this name
    assert main(["report", "runs"]) == 0


def test_a_resumed_run_sees_the_batches_it_would_have_seen():
    for name, steps in (("whole", 8), ("parts", 4)):
        assert train(f"--name={name}", "--decay_after=1", steps=steps) == 0
    assert main(["train", "--resume=runs/parts", "--trainer.max_steps=8", *QUIET]) == 0
    whole, parts = (Path("runs", name, "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    assert len(whole) == 4
    for one, other in zip(whole, parts, strict=True):
        assert {**json.loads(one), "seconds": 0} == {**json.loads(other), "seconds": 0}


def test_a_run_whose_files_changed_is_not_resumed_and_warns_when_it_is_evaluated(capsys):
    assert train() == 0
    shutil.copy("valid.npz", "before.npz")
    write("valid.npz", 6, 9)
    capsys.readouterr()
    assert main(["train", "--resume", RUN, "--trainer.max_steps=6"]) == 2
    said = f"validation (={Path.cwd() / 'valid.npz'}) has changed since the training: its SHA-256 was "
    error = capsys.readouterr().err
    assert error.startswith(f"ntm: error: {RUN} cannot be resumed: {said}")
    assert error.count("\n") == 1
    assert main(["evaluate", RUN]) == 0
    assert capsys.readouterr().err.startswith(f"ntm: warning: {said}")
    assert main(["evaluate", RUN, "--on", "before.npz"]) == 0
    assert not capsys.readouterr().err
    shutil.copy("before.npz", "valid.npz")
    assert main(["train", "--resume", RUN, "--trainer.max_steps=6", *QUIET]) == 0


GONE = "(=gone.npz): there is no such file.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", RUN], "validation (=valid.npz): there is no such file.\n"),
        (["train", "--resume", RUN], "--task.validation (=valid.npz): there is no such file.\n"),
        (["evaluate", RUN, "--on", "gone.npz"], f"--on {GONE}"),
        (["figure", RUN, "--on", "gone.npz"], f"--on {GONE}"),
        (["evaluate", RUN, "--on", "test.npz", "--sequences", "6"], "sequences (=6) must be at most 5, "),
        (["figure", RUN, "--on", "test.npz", "--sequence", "5"], "sequence (=5) must be at most 4, "),
        (["figure", RUN, "--sequence", "-1"], "--sequence (=-1) must be at least 0.\n"),
        (["evaluate", RUN, "--lengths", "3"], "--lengths: FileTask has no difficulty 'length'; it has none.\n"),
        (["train", "--task=files", "--task.train=gone.npz", "--task.validation=test.npz"], f"--task.train {GONE}"),
        (["train", "--task=FileTask", "--task.train=test.npz", "--task.validation=gone.npz"], "--task.validation "),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, capsys):
    assert train() == 0
    Path("valid.npz").unlink()
    capsys.readouterr()
    assert main(words) == 2
    error = capsys.readouterr().err.replace(f"{Path.cwd()}/", "")
    assert error.startswith(f"ntm: error: {message}")
    assert error.count("\n") == 1


def test_other_files_are_for_runs_on_files(capsys):
    assert main(["train", "--name=copy", *SMALL, *QUIET, "--trainer.max_steps=2"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/copy", "--on", "test.npz"]) == 2
    assert capsys.readouterr().err == "ntm: error: --on (=test.npz) is for runs on files; this one is on Copy.\n"


def test_help_opens_no_file(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--task.help", "files"])
    assert "--task.train" in capsys.readouterr().out


def test_a_plan_names_data_by_absolute_paths(tmp_path):
    words = ["--task.train=train.npz", "--task.validation", "valid.npz", "--task.answer=bits"]
    Plan.of({"tasks": "files", "seeds": "1-2"}, words).save(tmp_path / "sweep")
    (first, _) = Plan.load(tmp_path / "sweep").runs
    assert {f"--task.train={tmp_path / 'train.npz'}", str(tmp_path / "valid.npz")} <= set(first.words)
    assert not (tmp_path / "sweep" / "files").exists()
