"""Folders by other paths: of a sweep where one run is meant, `.` and `..`, a slash at the end, a link."""

import re
import shutil
from pathlib import Path

import pytest
from runs import write_run

from lightning_ntm import NTM, Copy
from lightning_ntm.cli import main
from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.records import RunFolder, find
from lightning_ntm.report.experiment import read_experiment
from lightning_ntm.report.heading import over
from lightning_ntm.sweep import Plan
from lightning_ntm.zoo import located


@pytest.fixture(autouse=True)
def _sweep(tmp_path, monkeypatch):
    """A sweep with two runs in the working folder."""
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2):
        folder = RunFolder(write_run(Path(f"sweep/ntm-seed{seed}"), seed=seed))
        task = Copy()
        save_weights(NTM(task.input_size, task.output_size), folder.best, step=300)
    Plan.of({"models": "NTM", "seeds": "1-2"}).save(Path("sweep"))


def error_of(capsys, *words):
    capsys.readouterr()
    assert main([*words]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("verb", ["figure {}", "explore {}", "export {} --format torch"])
def test_a_sweep_where_one_run_is_meant_is_told_with_a_run_in_it(verb, capsys):
    said = "ntm: error: sweep is a sweep; give a run in it, as sweep/ntm-seed1.\n"
    assert error_of(capsys, *verb.format("sweep").split()) == said
    Path("sweep/plan.yaml").unlink()
    assert "sweep is not a run folder; give a run in it, as sweep/ntm-seed1." in error_of(
        capsys, *verb.format("sweep").split()
    )


def test_a_sweep_is_not_resumed_as_a_run(capsys):
    assert error_of(capsys, "train", "--resume", "sweep") == (
        "ntm: error: --resume: sweep is a sweep; ntm sweep sweep resumes it.\n"
    )


def test_a_run_has_its_name_by_every_path(monkeypatch):
    Path("link").symlink_to("sweep/ntm-seed1")
    assert [*find("link/")] == ["link"]
    for path in ("sweep/ntm-seed1", "sweep/ntm-seed1/", "./sweep//ntm-seed1", "sweep/../sweep/ntm-seed1/figures/.."):
        Path("sweep/ntm-seed1/figures").mkdir(exist_ok=True)
        assert [*find(path)] == ["ntm-seed1"]
    monkeypatch.chdir("sweep/ntm-seed1/figures")
    assert [*find("..")] == ["ntm-seed1"]
    monkeypatch.chdir("..")
    assert [*find(".")] == ["ntm-seed1"]
    assert over(read_experiment(".")) == "1 run (ntm-seed1) of the sweep sweep"
    assert over(read_experiment("..")) == "2 runs (ntm-seed1, ntm-seed2) of the sweep sweep"


def test_the_table_of_an_evaluation_names_the_working_folder(monkeypatch, capsys):
    monkeypatch.chdir("sweep/ntm-seed1")
    assert main(["evaluate", ".", "../ntm-seed2", "--sequences", "1", "--lengths", "2"]) == 0
    assert re.findall(r"ntm-seed\d", capsys.readouterr().out) == ["ntm-seed1", "ntm-seed2"]


@pytest.mark.parametrize(
    "words",
    [
        "figure {} --lengths 2 --output new/a",
        "figure {} --lengths 2 --animate new/a/x.gif",
        "explore {} --html new/a/x.html",
        "export {} --format safetensors --output new/a",
        "report {} --output new/a",
        "report {} --output new/a/x.html",
    ],
)
def test_folders_of_an_output_are_made(words, capsys):
    assert main(words.format("sweep/ntm-seed1").split()) == 0
    assert any(path.is_file() for path in Path("new/a").iterdir())


@pytest.mark.parametrize("verb", ["evaluate", "figure", "explore", "export --format torch", "report"])
@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("sweep/ntm-seed1/config.yaml", "; give its folder, sweep/ntm-seed1"),
        ("sweep/ntm-seed1/figures/memory.npz", "; give its folder, sweep/ntm-seed1"),
        ("sweep/plan.yaml", ""),
    ],
)
def test_a_file_of_a_run_is_told_with_its_folder(verb, file, says, capsys):
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).touch()
    assert error_of(capsys, *verb.split(), file) == f"ntm: error: {file} is a file, not a run folder{says}.\n"


def test_pictures_of_a_file_of_weights_are_beside_it():
    shutil.copy(located("copy") / "best.safetensors", "mine.safetensors")
    assert main(["figure", "mine.safetensors", "--lengths", "2"]) == 0
    assert Path("mine-figures/memory-length-2.png").exists()
