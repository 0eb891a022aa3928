"""The command as its users meet it: what it does, and what it says to mistakes."""

import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from rich.console import Console
from tests.forked import Forked, finished

from lightning_ntm import open_run
from lightning_ntm.cli import main, results
from lightning_ntm.cli.classes import short_names
from lightning_ntm.intervals import none_of
from lightning_ntm.measures import BITS, UNCERTAIN_BITS
from lightning_ntm.recipes import plans, presets
from lightning_ntm.tasks.answers import Numbers

ROOT = Path(__file__).parents[2]
NTM = [sys.executable, "-m", "lightning_ntm.cli"]
SMALL = {
    "task": {"bits": 3, "max_length": 5},
    "model": {"hidden_size": 32, "memory_slots": 8, "memory_width": 8},
    "data": {"batch_size": 16},
    "optimizer": {"lr": 0.002},
    "trainer": {"val_check_interval": 100, "max_steps": 1500},
}
SMALL_OPTIONS = [f"--{group}.{name}={value}" for group, values in SMALL.items() for name, value in values.items()]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A run that really learned a small copy task, and what was printed meanwhile."""
    folder = tmp_path_factory.mktemp("solved")
    command = [*NTM, "train", *SMALL_OPTIONS, "--stop_when_solved", "2", "--name", "small"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "small", done


def ntm(*words):
    return main([str(word) for word in words])


def rows_of(name):
    return [json.loads(line) for line in Path(f"runs/{name}/metrics.jsonl").read_text().splitlines()]


def measured(name):
    """Rows without what depends on the clock."""
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows_of(name)]


def brief(*words):
    """Train for four steps."""
    length = "--task.max_length 3 --trainer.max_steps 4 --trainer.val_check_interval 2 --trainer.log_every_n_steps 2"
    return ntm("train", *length.split(), *words)


def test_learns_a_small_copy_task_to_zero_error(solved, capsys):
    folder, done = solved
    assert done.stderr == ""
    assert "0.00 wrong bits" in done.stdout
    assert {file.name for file in folder.iterdir()} == {
        ".lock", "about.jsonl", "best.safetensors", "config.yaml", "last.ckpt", "measures.json", "metrics.jsonl",
        "result.json",
    }  # fmt: skip
    best = json.loads((folder / "result.json").read_text())["best"]
    assert best["wrong_bits"] == 0
    assert ntm("evaluate", folder, "--lengths", "3,5", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["run"] == str(folder)
    for length, result in zip((3, 5), printed["results"], strict=True):
        assert [name for name in result if name != "share_wrong_at_most"] == [
            "length", "wrong_bits", "bits_per_sequence", "perfect", "sequences", "perfect_low", "perfect_high",
            "wrong_bits_margin", "bits_per_sequence_margin",
        ]  # fmt: skip
        assert (result["length"], result["sequences"]) == (length, 100)
        # Other episodes than in validation: a few bits in a thousand may be wrong.
        assert result["wrong_bits"] < 0.2
        assert result["perfect"] > 0.9


def test_tables_say_what_so_many_sequences_can_show():
    clean = {"length": 20, "wrong_bits": 0.0, "bits_per_sequence": 0.001, "perfect": 1.0, "sequences": 100}
    clean |= {"perfect_low": 0.963, "perfect_high": 1.0, "share_wrong_at_most": none_of(100)}
    clean |= {"wrong_bits_margin": math.nan, "bits_per_sequence_margin": 0.0002}
    wrong = {**clean, "length": 40, "wrong_bits": 2.5, "wrong_bits_margin": 0.75, "perfect": 0.5}
    del wrong["share_wrong_at_most"]

    told = shown(BITS, clean, wrong)
    assert "± 0.00 " not in told
    assert "0.0010 ± 0.0002" in told
    assert "1.00 (0.96 to 1.00)" in told
    assert "2.50 ± 0.75" in told
    assert "A row without an error in 100 sequences shows that at most 3 in 100 have one (one-sided, 95 %)." in told
    assert "Not one error" not in shown(BITS, wrong)


def shown(measures, *rows):
    console = Console(width=100, file=io.StringIO(), markup=False)
    _, table = results.table([results.Measured("a run", list(rows), measures)], None, alone=True)
    console.print(table)
    return " ".join(console.file.getvalue().split())


def test_tables_have_the_labels_of_the_measures_and_digits_of_small_values():
    row = {"length": 20, "squared_error": 0.00163, "squared_error_margin": 0.00021, "wrong_numbers": 0.25,
           "perfect": 0.005, "perfect_low": 0.0, "perfect_high": 0.01, "sequences": 100}  # fmt: skip
    told = shown(Numbers(1).measures, row)
    assert "squared error" in told
    assert "0.0016 ± 0.0002" in told
    assert "0.01 (0.00 to 0.01)" in told
    regret = {"bits_per_sequence": 10.0, "optimal_bits": 9.5, "regret_bits": 0.5, "perfect": 0.0, "sequences": 9}
    told = shown(UNCERTAIN_BITS, regret)
    assert "optimal bits" in told
    assert "regret (bits)" in told
    assert "perfect" not in told


def test_an_evaluation_is_kept_where_it_can_be(solved, capsys):
    shutil.copytree(solved[0], "runs/small")
    kept = Path("runs/small/evaluation.json")
    kept.unlink(missing_ok=True)
    assert ntm("evaluate", "runs/small", "--lengths", "3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["results"] == json.loads(kept.read_text())["results"]
    assert ntm("evaluate", "runs/small", "--lengths", "3", "--memory_slots", "20", "--json") == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["memory_slots"] == 20
    asked = [(row["length"], row.get("memory_slots")) for row in json.loads(kept.read_text())["results"]]
    assert asked == [(3, None), (3, 20)]
    assert ntm("evaluate", "runs/small", "--lengths", "3", "--memory_slots", "8", "--json") == 0  # as it was trained
    assert "memory_slots" not in json.loads(capsys.readouterr().out)["results"][0]
    assert len(json.loads(kept.read_text())["results"]) == 2
    kept.unlink()
    kept.mkdir()  # as good as a folder that cannot be written to
    capsys.readouterr()
    assert ntm("evaluate", "runs/small", "--lengths", "3") == 0
    assert capsys.readouterr().err.startswith("ntm: warning: not kept for ntm report: ")


def test_many_runs_are_evaluated_in_one_table(solved, capsys):
    for name in ("small", "other"):
        shutil.copytree(solved[0], f"runs/{name}")
    Path("runs/other/best.safetensors").write_bytes(b"")
    shutil.copytree("runs/small", "runs/third")
    assert ntm("evaluate", "runs", "runs/small", "--lengths", "3", "--sequences", "4", "--memory_slots", "9") == 0
    captured = capsys.readouterr()
    assert [captured.out.count(name) for name in ("small", "third", "other")] == [1, 1, 0]
    assert "4 sequences, 9 memory slots" in captured.out
    assert captured.err.startswith("ntm: warning: runs/other is left out: runs/other/best.safetensors is damaged")
    assert ntm("evaluate", "runs", "--lengths", "3", "--sequences", "4", "--json") == 0
    assert [told["run"] for told in json.loads(capsys.readouterr().out)] == ["runs/small", "runs/third"]


@pytest.mark.parametrize("asked", [("--lengths", "3,4"), ("--range", "3-6", "--include_training")])
def test_at_sixty_columns_no_path_and_no_usual_name_is_broken(solved, capsys, monkeypatch, asked):
    monkeypatch.setenv("COLUMNS", "60")
    names = [f"ntm-associativerecall-seed{seed}" for seed in (10, 11)]
    path = f"runs/{'a-folder-of-a-long-name-' * 3}"
    for name in names:
        shutil.copytree(solved[0], f"{path}/{name}")
    assert ntm("evaluate", f"{path}/{names[0]}", *asked, "--sequences", "2") == 0
    assert capsys.readouterr().out.startswith(f"{path}/{names[0]}")
    assert ntm("evaluate", path, *asked, "--sequences", "2") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names), out
    assert max(map(len, out.splitlines())) <= 60


def test_a_long_name_is_not_cut_in_a_table(solved, capsys):
    name = "a-name-of-many-letters-" * 3 + "seed10"
    shutil.copytree(solved[0], f"runs/{name}")
    shutil.copytree(solved[0], "runs/other")
    assert ntm("evaluate", "runs", "--lengths", "3,4", "--sequences", "4") == 0
    lines = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert f"{name}{name}" in "".join(lines)


def test_draws_the_memory_of_a_trained_network(solved, capsys):
    folder, _ = solved
    assert ntm("figure", folder, "--lengths", 5) == 0
    paths = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.suffix for path in paths] == [".png", ".svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in paths[1].read_text()


def test_what_is_drawn_and_of_which_episode_can_be_chosen(solved, capsys, tmp_path):
    folder, _ = solved
    assert ntm("figure", folder, "--lengths", 5, "--show", "gate,content-weights", "--output", "a") == 0
    with np.load("a/memory-length-5.npz") as trace:
        size = trace["inputs"].shape[1]
    inputs = tmp_path / "mine.csv"
    inputs.write_text("\n".join([",".join("0" * size)] * 7))
    assert ntm("figure", folder, "--input", inputs, "--output", "a") == 0
    names = [Path(line).name for line in capsys.readouterr().out.split() if line.endswith(".png")]
    assert names == ["gate-content_weights-length-5.png", "memory-input-mine.png"]
    with np.load("a/memory-input-mine.npz") as trace:
        assert trace["outputs"].shape[0] == 7
        assert "targets" not in trace
    for words, told in (
        (["--show", "gates"], "--show: 'gates' cannot be chosen; did you mean 'gate'? This network has "),
        (["--input", inputs, "--lengths", 5], "--input is an episode of its own: --lengths, --vary, --sequence and "),
        (["--input", "gone.npy"], "--input gone.npy: there is no such file."),
    ):
        assert ntm("figure", folder, "--output", "a", *words) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"ntm: error: {told}")
        assert error.count("\n") == 1


def test_a_run_that_cannot_be_written_to_is_drawn_elsewhere(solved, capsys, tmp_path):
    shutil.copytree(solved[0], "run", ignore=shutil.ignore_patterns("figures"))
    (tmp_path / "elsewhere").mkdir()
    Path("run/figures").symlink_to(tmp_path / "elsewhere")
    assert ntm("figure", "run", "--lengths", 5) == 2
    assert "run/figures" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in Path("run").iterdir()}
    assert ntm("figure", "run", "--lengths", 5, "--output", "drawn/here") == 0
    assert {Path(line).parent for line in capsys.readouterr().out.split()} == {Path("drawn/here")}
    assert {path: path.stat().st_mtime_ns for path in Path("run").iterdir()} == before
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_that_is_named_twice_is_evaluated_once(solved, capsys):
    shutil.copytree(solved[0], "runs/small")
    assert ntm("evaluate", "runs/small", "./runs/small/", Path("runs").resolve(), "--lengths", 3, "--json") == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_more_memory_can_be_given_in_an_evaluation(solved, capsys):
    folder, _ = solved
    assert ntm("evaluate", folder, "--lengths", "12", "--memory_slots", "32", "--sequences", "10") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert ntm("evaluate", folder, "--lengths", "12", "--sequences", "10") == 0
    captured = capsys.readouterr()
    warning = "length (=12) exceeds memory_slots (=8): the list does not fit into the memory."
    assert captured.err == f"ntm: warning: {warning} --memory_slots gives it more slots.\n"


def test_equal_warnings_about_many_runs_are_printed_once(solved, capsys):
    for name in ("a", "b", "c", "d"):
        shutil.copytree(solved[0], f"runs/{name}")
    for name in "cd":
        Path(f"runs/{name}/best.safetensors").unlink()
    assert ntm("evaluate", "runs", "--lengths", "12,13", "--sequences", "2") == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3, warnings
    assert [warning.split()[3] for warning in warnings[:2]] == ["(=12)", "(=13)"]
    assert "runs/c is left out: " in warnings[2]
    assert warnings[2].endswith("The same holds for runs/d.")


@pytest.mark.parametrize("preset", [name for name in presets() if name != "default"])
def test_every_preset_trains(preset, capsys):
    assert ntm("train", "--config", preset, "--trainer.fast_dev_run", "true") == 0
    assert "1 step; nothing was kept" in capsys.readouterr().out
    assert not Path("runs").exists()


def test_the_paper_presets_are_the_paper_s_tables():
    found = {name: yaml.safe_load(path.read_text()) for name, path in presets().items() if name.startswith("paper")}
    tables = {}
    for name, config in found.items():
        sizes, heads = config["model"]["init_args"], None
        if config["model"]["class_path"] == "lightning_ntm.NTM":
            assert (sizes["memory_slots"], sizes["memory_width"]) == (128, 20)
            heads = sizes.get("num_read_heads", 1)
            assert sizes.get("num_write_heads", 1) == heads
        tables[name] = (heads, sizes.get("num_layers", 1), sizes["hidden_size"], config["optimizer"]["init_args"]["lr"])
    assert tables == {
        "paper-copy-feedforward": (1, 1, 100, 1e-4),
        "paper-repeat-copy-feedforward": (1, 1, 100, 1e-4),
        "paper-associative-recall-feedforward": (4, 1, 256, 1e-4),
        "paper-dynamic-ngrams-feedforward": (1, 1, 100, 3e-5),
        "paper-priority-sort-feedforward": (8, 1, 512, 3e-5),
        "paper-copy": (1, 1, 100, 1e-4),
        "paper-repeat-copy": (1, 1, 100, 1e-4),
        "paper-associative-recall": (1, 1, 100, 1e-4),
        "paper-dynamic-ngrams": (1, 1, 100, 3e-5),
        "paper-priority-sort": (5, 2, 100, 3e-5),
        "paper-copy-lstm": (None, 3, 256, 3e-5),
        "paper-repeat-copy-lstm": (None, 3, 512, 3e-5),
        "paper-associative-recall-lstm": (None, 3, 256, 1e-4),
        "paper-dynamic-ngrams-lstm": (None, 3, 128, 1e-4),
        "paper-priority-sort-lstm": (None, 3, 128, 3e-5),
    }
    kinds = {"-feedforward": "feedforward", "-lstm": None}
    for name, config in found.items():
        kind = next((kinds[end] for end in kinds if name.endswith(end)), "lstm")
        assert config["model"]["init_args"].get("controller") == kind


def test_options_of_the_trainer_may_come_all_at_once(capsys):
    words = ("--task.max_length", "3", "--data", '{"batches_per_epoch": 3}', "--trainer", '{"max_epochs": 2}')
    assert ntm("train", "--model", "LSTM", "--name", "a", *words) == 0
    assert "6 steps" in capsys.readouterr().out


def test_what_lightning_refuses_in_mid_training_is_one_line(capsys):
    callback = "class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: nothing}"
    Path("stop.yaml").write_text(f"trainer: {{callbacks: [{{{callback}}}], max_steps: 4, val_check_interval: 2}}")
    assert ntm("train", "--model", "LSTM", "--task.max_length", "3", "--config", "stop.yaml") == 2
    said = capsys.readouterr().err
    assert "metric `nothing` which is not available" in said
    assert said.count("\n") == 1


def test_another_class_brings_its_own_defaults(capsys):
    with pytest.raises(SystemExit):
        ntm("train", "--model", "lstm", "--task", "repeat-copy", "--model.hidden_size", "12", "--print_config")
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"] == {
        "class_path": "lightning_ntm.LSTM",
        "init_args": {"hidden_size": 12, "num_layers": 3, "backend": "auto", "checkpoint_every": 0},
    }
    assert config["task"]["init_args"]["max_length"] == 10


def resolved(capsys, *options):
    with pytest.raises(SystemExit):
        ntm("train", *options, "--print_config")
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        ("RepeatCopy", "repeat-copy"),
        ("AssociativeRecall", "associative-recall"),
        ("DynamicNGrams", "dynamic-ngrams"),
        ("PrioritySort", "priority-sort"),
    ],
)
def test_a_task_that_is_named_brings_its_own_recipe(task, recipe, capsys):
    named = resolved(capsys, "--task", task)
    assert named == resolved(capsys, "--config", recipe)
    assert named == resolved(capsys, "--model", "NTM", "--task", recipe)
    imported = resolved(capsys, "--model", "lightning_ntm.models.NTM", "--task", f"lightning_ntm.tasks.{task}")
    assert {**imported, "model": named["model"], "task": named["task"]} == named
    assert imported["model"]["init_args"] == named["model"]["init_args"]
    assert named != {**resolved(capsys), "task": named["task"]}
    another = resolved(capsys, "--model", "LSTM", "--task", task)
    assert another["model"] == resolved(capsys, "--model", "LSTM")["model"]
    assert (another["min_memory_slots"], another["weight_noise"]) == (0, 0)  # they belong to the network
    replaced = ("model", "min_memory_slots", "weight_noise")
    assert {**another, **{name: named[name] for name in replaced}} == named


def test_copy_is_what_is_trained_without_a_word_and_a_task_of_ones_own_gets_the_default(capsys, monkeypatch):
    copy = resolved(capsys)
    assert copy == resolved(capsys, "--task", "Copy") == resolved(capsys, "--config", "copy")
    assert copy["model"]["init_args"]["controller"] == "feedforward"
    monkeypatch.syspath_prepend(ROOT / "examples")
    own = resolved(capsys, "--task", "my_task.Reverse")
    assert own["model"]["init_args"]["controller"] == "lstm"
    assert copy["min_memory_slots"] == 24
    assert {**own, "model": copy["model"], "task": copy["task"], "min_memory_slots": 24} == copy


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--model LSTM", ""),
        ("--config copy --model LSTM", "min_memory_slots (=24) cannot be given: LSTM has no memory slots."),
        ("--model.memory_slots 20", ""),
        ("--model.max_shift 12", "min_memory_slots (=24) is too low: max_shift (=12) must be at least 0"),
        (
            "--task.max_length 60",
            "length (=60) exceeds min_memory_slots (=24): the list does not fit into the memory of",
        ),
        ("--task AssociativeRecall --task.max_items 41", "items (=41) must be at most min_memory_slots (=40)."),
    ],
)
def test_the_least_memory_of_a_recipe_gives_way_to_what_the_user_says(tmp_path, capsys, options, why):
    words = ("train", *options.split(), "--runs", str(tmp_path), "--name", "a", "--trainer.fast_dev_run", "true")
    assert ntm(*words) == 0
    warned = capsys.readouterr().err
    assert (why in warned and "the recipe's min_memory_slots" in warned) if why else warned == ""


def test_the_least_memory_that_the_user_says_is_kept_or_refused(tmp_path, capsys):
    runs = ("--runs", str(tmp_path), "--name", "a", "--trainer.max_steps", "2", "--data.batch_size", "2")
    sizes = ("--model.memory_slots", "12", "--task.max_length", "6", "--trainer.val_check_interval", "1")
    assert ntm("train", *runs, *sizes, "--min_memory_slots", "5") == 0
    assert "exceeds min_memory_slots (=5)" in capsys.readouterr().err
    assert ntm("train", "--resume", str(tmp_path / "a"), "--trainer.max_steps", "3") == 0
    assert yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())["min_memory_slots"] == 5
    assert ntm("train", "--resume", str(tmp_path / "a"), "--model.max_shift", "3") == 2
    assert "--min_memory_slots (=5) is too low" in capsys.readouterr().err
    (tmp_path / "mine.yaml").write_text("min_memory_slots: 200\n")
    assert ntm("train", "--config", str(tmp_path / "mine.yaml"), "--runs", str(tmp_path), "--name", "b") == 2
    assert "--min_memory_slots (=200) must be at most memory_slots (=128)" in capsys.readouterr().err


def test_what_the_user_chooses_replaces_the_recipe_of_a_task(capsys):
    recipe = resolved(capsys, "--task", "RepeatCopy")
    chosen = resolved(capsys, "--task", "RepeatCopy", "--optimizer", "SGD", "--optimizer.lr", "0.1", "--seed", "3")
    assert chosen["optimizer"]["class_path"] == "torch.optim.SGD"
    assert chosen["optimizer"]["init_args"]["momentum"] == 0
    assert {**chosen, "optimizer": recipe["optimizer"], "seed": 1} == recipe
    under_another = resolved(capsys, "--config", "demo", "--task", "RepeatCopy")
    assert under_another["trainer"] == resolved(capsys, "--config", "demo")["trainer"]


def test_a_choice_of_epochs_takes_the_place_of_the_default_steps(capsys):
    with pytest.raises(SystemExit):
        ntm("train", "--trainer.max_epochs", "3", "--print_config")
    trainer = yaml.safe_load(capsys.readouterr().out)["trainer"]
    assert (trainer["max_epochs"], trainer["max_steps"]) == (3, -1)


def test_a_function_of_ones_own_may_make_the_optimiser(monkeypatch):
    Path("ours.py").write_text(
        "from torch.optim import SGD, Optimizer\n\ndef sgd(parameters) -> Optimizer:\n    return SGD(parameters, 0.5)\n"
    )
    monkeypatch.syspath_prepend(Path.cwd())
    assert brief("--name", "a", "--optimizer", "ours.sgd") == 0
    assert next(row["learning_rate"] for row in rows_of("a") if "learning_rate" in row) == 0.5


def test_a_printed_configuration_trains_the_same_run(capsys):
    options = ["--optimizer", "SGD", "--optimizer.lr", "0.1", "--scheduler", "StepLR", "--scheduler.step_size", "1"]
    assert brief("--name", "a", *options) == 0
    Path("printed.yaml").write_text(Path("runs/a/config.yaml").read_text())
    assert ntm("train", "--config", "printed.yaml", "--name", "b") == 0
    kept = [safetensors.torch.load_file(f"runs/{name}/best.safetensors") for name in "ab"]
    torch.testing.assert_close(*kept, rtol=0, atol=0)
    rates = [row.get("learning_rate") for row in rows_of("a")]
    assert [rate for rate in rates if rate is not None] == pytest.approx(
        [0.1 * 0.1**1, 0.1 * 0.1**3]
    )  # of steps 2 and 4


def test_any_lightning_logger_is_used_besides(capsys):
    assert brief("--name", "a", "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "csv") == 0
    (table,) = Path("csv").rglob("metrics.csv")
    assert "validation_wrong_bits" in table.read_text()
    assert len(rows_of("a")) == 4


def test_a_class_of_the_user_s_own_is_found_by_its_path(capsys):
    for example in (ROOT / "examples").glob("*.py"):
        shutil.copy(example, ".")
    assert brief("--task", "my_task.Reverse", "--model", "my_network.ShiftRegister", "--model.memory_slots", 6) == 0
    assert ntm("evaluate", "runs/shiftregister-reverse-seed1", "--lengths", "4") == 0
    assert ntm("figure", "runs/shiftregister-reverse-seed1") == 0


def test_the_examples_keep_their_promises(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    from my_network import ShiftRegister
    from my_task import Reverse

    from lightning_ntm.testing import check_model, check_task

    check_task(Reverse())
    check_model(ShiftRegister(3, 2))


def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    options = ["--task.max_length", "3", "--trainer.max_steps", "60", "--trainer.val_check_interval", "5"]
    options += ["--trainer.log_every_n_steps", "5"]
    assert finished(["train", *options, "--name", "whole"]).returncode == 0
    killed = Forked(["train", *options, "--name", "killed"])
    while not Path("runs/killed/last.ckpt").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not Path("runs/killed/result.json").exists()
    assert finished(["train", "--resume", "runs/killed"]).returncode == 0
    kept = [safetensors.torch.load_file(f"runs/{name}/best.safetensors") for name in ("whole", "killed")]
    torch.testing.assert_close(*kept, rtol=0, atol=0)
    assert measured("whole") == measured("killed")


@pytest.mark.parametrize(
    "words",
    [
        "--scheduler ReduceLROnPlateau --scheduler.patience 0 --scheduler.threshold 1",
        "--trainer.callbacks ModelCheckpoint",
        "--trainer.overfit_batches 2 --trainer.val_check_interval 1.0 --trainer.check_val_every_n_epoch 1",
        "--trainer.accumulate_grad_batches 2",
        "--trainer.limit_val_batches 0",
        "--trainer.enable_checkpointing false --trainer.enable_progress_bar false",
        "--trainer.precision 64-true",
        "--trainer.precision bf16-mixed",
        "--trainer.precision 16-mixed",
        "--trainer.precision bf16-true",
        "--trainer.precision 16-true",
        "--trainer.logger true",
        "--trainer.profiler simple --trainer.deterministic true --trainer.detect_anomaly true",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_options_of_the_trainer_work(words, capsys):
    assert brief("--name", "a", *words.split()) == 0, capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch")
def test_a_callback_with_a_device_is_kept_and_goes_on(capsys):
    average = (
        "--trainer.callbacks StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.01 --data.batches_per_epoch 2"
    )
    words = (
        f"{average} --trainer.callbacks.swa_epoch_start 1 --trainer.max_epochs 2 --trainer.check_val_every_n_epoch 1"
    )
    assert brief("--name", "a", *words.split()) == 0, capsys.readouterr().err
    (kept,) = yaml.safe_load(Path("runs/a/config.yaml").read_text())["trainer"]["callbacks"]
    assert kept["init_args"]["device"] == "cpu"
    assert ntm("train", "--config", "runs/a/config.yaml", "--name", "b") == 0, capsys.readouterr().err
    assert Path("runs/b/config.yaml").read_text() == Path("runs/a/config.yaml").read_text().replace(
        "name: a", "name: b"
    )


def test_a_callback_with_an_enumeration_is_kept_and_goes_on(capsys):
    assert brief("--name", "a", *["--trainer.callbacks", "Timer", "--trainer.callbacks.duration", "00:00:10:00"]) == 0
    (kept,) = yaml.safe_load(Path("runs/a/config.yaml").read_text())["trainer"]["callbacks"]
    assert kept["init_args"]["interval"] == "step"
    assert ntm("train", "--resume", "runs/a", "--trainer.max_steps", "6") == 0, capsys.readouterr().err


LOOKS = """
import torch
from lightning import Callback

class Looks(Callback):
    def __init__(self, kind: torch.layout | str = torch.strided):
        pass
"""


def test_what_cannot_be_kept_is_told_by_its_option(capsys):
    Path("looks.py").write_text(LOOKS)
    assert brief("--name", "a", "--trainer.callbacks", "looks.Looks") == 2
    said = capsys.readouterr().err
    assert said == (
        "ntm: error: --trainer.callbacks.kind cannot be kept in config.yaml: it is neither a number nor a text.\n"
    )


def test_a_run_in_float64_stays_in_it():
    assert brief("--name", "a", "--trainer.precision", "64-true") == 0
    assert {p.dtype for p in open_run("runs/a").model.parameters()} == {torch.float64}
    session = pytest.importorskip("onnxruntime").InferenceSession
    for words in (["evaluate"], ["figure"], ["export", "--format", "onnx", "--output", "a.onnx"]):
        subprocess.run([*NTM, words[0], "runs/a", *words[1:]], check=True, capture_output=True)
    assert session("a.onnx").get_inputs()[0].type == "tensor(double)"


HALF = ("--name", "a", "--trainer.precision", "16-true")


@pytest.mark.parametrize("optimizer", ["", "--optimizer Adam"])
def test_an_eps_that_is_0_in_float16_is_raised_where_nobody_set_it(optimizer, capsys):
    assert brief(*HALF, *optimizer.split()) == 0
    warned = capsys.readouterr().err
    assert warned.count("\n") == 1
    assert "eps (=1e-08), the default of the optimizer, is 0 in float16: eps (=0.0001) is used." in warned
    assert yaml.safe_load(Path("runs/a/config.yaml").read_text())["optimizer"]["init_args"]["eps"] == 1e-4
    assert ntm("train", "--resume", "runs/a", "--trainer.max_steps", "6") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", ["--optimizer.eps 1e-3", "--optimizer SGD --optimizer.lr 0.1"])
def test_nothing_is_said_of_an_eps_that_float16_has(words, capsys):
    assert brief(*HALF, *words.split()) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("way", ["word", "configuration", "resumed"])
def test_an_eps_that_is_0_in_float16_is_refused_where_the_user_set_it(way, capsys):
    Path("mine.yaml").write_text("optimizer: {class_path: torch.optim.Adam, init_args: {eps: 1.0e-8}}")
    words = {"word": ["--optimizer.eps", "1e-8"], "configuration": ["--config", "mine.yaml"]}
    if way == "resumed":
        assert brief("--name", "a", "--trainer.precision", "bf16-true") == 0
        capsys.readouterr()
        assert ntm("train", "--resume", "runs/a", "--trainer.max_steps", "6", *HALF[2:]) == 2
    else:
        assert brief(*HALF, *words[way]) == 2
        assert not Path("runs").exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--optimizer.eps (=1e-08) must be at least 6e-08" in said


def test_a_precision_that_needs_what_is_not_installed_is_told_in_one_line(capsys):
    assert brief("--name", "a", "--trainer.precision", "transformer-engine") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--trainer: Requirement 'transformer_engine" in said
    assert not Path("runs").exists()


def test_lightnings_own_benchmark_mode_keeps_nothing(capsys):
    assert ntm("train", "--trainer.barebones", "true", "--trainer.max_steps", "2", "--task.max_length", "3") == 0
    assert not Path("runs").exists()


def test_a_plateau_lowers_the_learning_rate_after_each_validation_without_progress():
    plateau = "--scheduler ReduceLROnPlateau --scheduler.patience 0 --scheduler.threshold 0.99 --optimizer.lr 1.0"
    assert brief("--name", "a", *plateau.split(), "--optimizer", "SGD", "--trainer.max_steps", "8") == 0
    rows = rows_of("a")
    # The first validation is the best so far; each later one divides the rate by ten.
    assert [row["learning_rate"] for row in rows if "learning_rate" in row] == pytest.approx([1, 1, 0.1, 0.01])


def test_accumulated_gradients_do_not_change_the_measure():
    assert brief("--name", "one") == 0
    assert brief("--name", "four", "--trainer.accumulate_grad_batches", "4", "--trainer.max_steps", "2") == 0
    losses = [[row["train_loss"] for row in rows_of(name) if "train_loss" in row] for name in ("one", "four")]
    # Untrained either way: chance is ln 2 = 0.69 a bit.
    assert losses[0][0] == pytest.approx(0.69, abs=0.03)
    assert losses[1][0] == pytest.approx(0.69, abs=0.03)


def test_an_epoch_based_run_goes_on_with_fresh_batches():
    common = "--data.batches_per_epoch 4 --trainer.val_check_interval 1.0 --trainer.check_val_every_n_epoch 1"
    short = [*common.split(), "--task.max_length", "3", "--trainer.log_every_n_steps", "2", "--decay_after", "1"]
    assert ntm("train", *short, "--trainer.max_epochs", "4", "--name", "whole") == 0
    assert ntm("train", *short, "--trainer.max_epochs", "2", "--name", "parts") == 0
    assert ntm("train", "--resume", "runs/parts", "--trainer.max_epochs", "4") == 0
    assert measured("whole") == measured("parts")


@pytest.mark.parametrize(("told", "code"), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138),
])  # fmt: skip
def test_a_run_told_to_end_keeps_its_step_and_says_how_to_go_on(tmp_path, told, code):
    process = Forked(["train", "--name", "a"])
    while not (Path("runs/a/about.jsonl").exists()):
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(told)
    if told != signal.SIGINT:
        process.send_signal(told)  # some tell it twice
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "to go on: ntm train --resume runs/a" in printed
    assert Path("runs/a/last.ckpt").exists()


@pytest.mark.parametrize("words", ["evaluate copy --lengths 3 --sequences 2", "bench --repeats 1", "zoo"])
def test_a_reader_that_ends_is_no_error(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*NTM, *words.split()], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    said = [line for line in done.stderr.splitlines() if "rows of the table" not in line]  # of a slow bench
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("streams", ["pipe", "/dev/full", ">&- 2>&- <&-"])
def test_output_that_cannot_be_written_ends_no_training(streams):
    reader, writer = os.pipe()
    os.close(reader)
    words = "--task.max_length 3 --trainer.max_steps 20 --trainer.val_check_interval 2 --name a"
    command = ["train", *words.split()]
    if streams == "/dev/full":
        done = finished(command, streams=[os.devnull, streams, streams])
    else:
        shell = f'exec "$@" {streams.removeprefix("pipe")}'
        done = subprocess.run(["sh", "-c", shell, "sh", *NTM, *command], stdout=writer, stderr=writer)
    os.close(writer)
    assert done.returncode == (2 if streams == "/dev/full" else 0)
    assert [row["step"] for row in rows_of("a")] == [*range(2, 21, 2)]
    assert Path("runs/a/result.json").exists()


FAILS = """
import os, shutil, time, torch
from lightning_ntm import LSTM
class Fails(LSTM):
    calls = 0
    def forward(self, inputs, state=None):
        self.calls += self.training
        if self.training and self.calls == 8:
            {what}
        return super().forward(inputs, state)
"""


@pytest.mark.parametrize(("what", "code", "message"), [
    ("torch.empty(10**15)", 1, "out of memory at step 7 (.*); .*; to go on: ntm train --resume runs/a"),
    ("raise torch.OutOfMemoryError('CUDA out of memory')", 1, "out of memory at step 7 (.*); .*; to go on: "),
    ("shutil.rmtree('runs/a'); time.sleep(0.1)", 1, "run folder runs/a was removed. The run ended at step 8."),
])  # fmt: skip
def test_what_happens_to_a_run_is_one_line(what, code, message):
    Path("fails.py").write_text(FAILS.format(what=what))
    words = "--model fails.Fails --trainer.max_steps 20 --trainer.val_check_interval 5 --name a"
    done = finished(["train", *words.split()])
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert re.match("ntm: error: " + message, done.stderr), done.stderr
    assert Path("runs/a").exists() == ("rmtree" not in what)


LAZY = """
from torch import nn
from lightning_ntm import LSTM
class Lazy(LSTM):
    def __init__(self, input_size: int, output_size: int):
        super().__init__(input_size, output_size)
        self.output = nn.LazyLinear(output_size)
"""


def test_a_network_with_a_lazy_layer_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "with_lazy.py").write_text(LAZY)
    monkeypatch.syspath_prepend(tmp_path)
    assert ntm("train", "--model", "with_lazy.Lazy", "--name", "a") == 2
    told = capsys.readouterr().err
    assert told.startswith("ntm: error: --model: output.weight of Lazy has no size before the first call ")
    assert told.count("\n") == 1
    assert not Path("runs").exists()


def test_two_processes_train_one_run(tmp_path):
    words = "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp --task.max_length 3 --name a"
    words += " --model.controller feedforward"
    steps = "--trainer.max_steps 4 --trainer.val_check_interval 2 --trainer.log_every_n_steps 2"
    done = subprocess.run([*NTM, "train", *words.split(), *steps.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = rows_of("a")
    assert [row["step"] for row in rows] == [2, 2, 4, 4]
    assert rows[-1]["sequences"] == 4 * 8 * 2


ANNOTATED = """
from __future__ import annotations
from typing import TYPE_CHECKING
from lightning_ntm import NTM
if TYPE_CHECKING:
    from numpy import ndarray
class Annotated(NTM):
    def __init__(self, input_size: int, output_size: int, extra: ndarray | None = None, other: int = None):
        super().__init__(input_size, output_size)
"""


def test_types_that_only_a_checker_knows_are_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "annotated.py").write_text(ANNOTATED)
    monkeypatch.syspath_prepend(tmp_path)
    assert ntm("train", "--model", "annotated.Annotated", "--trainer.fast_dev_run", "true") == 0
    assert capsys.readouterr().err == ""


NETWORKS = "known: DNC, GRU, LSTM, NTM, RNN, SAM, SDNC, StackRNN, TapeRNN, Transformer, or the import path of your own."
OPTIMIZERS, SCHEDULERS = (", ".join(short_names(option)) for option in ("optimizer", "scheduler"))

PLAIN = (
    "--name (='../a') must be a plain folder name of at most 200 bytes: no slash, no dot at its start, no blanks at "
    "its ends, no control characters. --runs sets its parent folder."
)
MISTAKES = {
    "trian": "unknown verb 'trian'; did you mean 'train'?",
    "train --model lstn": "unknown model 'lstn'; did you mean 'LSTM'?",
    "train --model hopfield": f"unknown model 'hopfield'; {NETWORKS}",
    "train --task cpoy": "unknown task 'cpoy'; did you mean 'Copy'?",
    "train --task my_lab.Sorting": "--task my_lab.Sorting: No module named 'my_lab'.",
    "train --model": "--model needs a value.",
    "train --resume": "--resume needs a value.",
    "train --seed": "--seed needs a value.",
    "train --seed ''": "--seed needs a value.",
    "train --seed=": "--seed needs a value.",
    "train --seed 3 ''": "an argument is empty (unset shell variable?).",
    "train --model.hidden_size --seed 3": "--model.hidden_size needs a value.",
    "train --model.hidden_size= --seed 3": "--model.hidden_size needs a value.",
    "train --optimizer.lr": "--optimizer.lr needs a value.",
    "train --model.stay_bias -1 --optimizer.lr": "--optimizer.lr needs a value.",
    "train --name=a ''": "an argument is empty (unset shell variable?).",
    "train --model.lookup_bias null": "--model.lookup_bias needs a value.",
    "train --task.max_length null": "--task.max_length needs a value.",
    "train --optimizer.differentiable null": "--optimizer.differentiable needs a value.",
    "train --scheduler StepLR --scheduler.step_size null": "--scheduler.step_size needs a value.",
    "sweep --seeds": "--seeds needs a value.",
    "train --config papr-copy": "--config papr-copy: there is no such file or preset; did you mean 'paper-copy'?",
    "train --model.hiddn_size 3": "unknown option --model.hiddn_size; did you mean '--model.hidden_size'?",
    "train --trainer.max_step 3": "unknown option --trainer.max_step; did you mean '--trainer.max_steps'?",
    "train --optimizer Adm": "unknown optimizer 'Adm'; did you mean 'Adam'?",
    "train --optimizer Foo": f"unknown optimizer 'Foo'; known: {OPTIMIZERS}, or the import path of your own.",
    "train --scheduler.step_size 3": f"--scheduler needs a class: {SCHEDULERS}.",
    "train --model.backend torch": "--model.backend (='torch') must be one of auto, reference, cpu, triton, graphs.",
    "train --trainer.gradient_clip_val -1": "--trainer.gradient_clip_val (=-1) must be at least 0.",
    "train --seed 99999999999999999999999": None,
    "train --trainer.max_epochs 1e30": "--trainer.max_epochs (=1e+30) must be a whole number.",
    "train --trainer.accumulate_grad_batches 99999999999999999999": (
        "--trainer.accumulate_grad_batches (=99999999999999999999) must be at most 9223372036854775807."
    ),
    "train --trainer.log_every_n_steps 99999999999999999999": (
        "--trainer.log_every_n_steps (=99999999999999999999) must be at most 9223372036854775807."
    ),
    "train --trainer.limit_val_batches -1": None,
    "train --stop_when_solved 1 --trainer.limit_val_batches 0": (
        "--stop_when_solved (=1) needs validations; limit_val_batches (=0) of the Trainer leaves them out."
    ),
    "train --seeds 1-2 --stop_when_solved 1 --trainer.limit_val_batches 0": (
        "--stop_when_solved (=1) needs validations; limit_val_batches (=0) of the Trainer leaves them out."
    ),
    "train --scheduler ReduceLROnPlateau --trainer.limit_val_batches 0": (
        "--scheduler: ReduceLROnPlateau needs validations; --trainer.limit_val_batches (=0) leaves them out."
    ),
    "train --trainer.max_time xx": "--trainer.max_time (=xx) must be a time DD:HH:MM:SS of at most 999999999 days.",
    "train --trainer.max_time 99999999999:00:00:00": (
        "--trainer.max_time (=99999999999:00:00:00) must be a time DD:HH:MM:SS of at most 999999999 days."
    ),
    "train --trainer.gradient_clip_val .nan": "--trainer.gradient_clip_val (=nan) must be a number.",
    "train --data.batch_size 1000000000000": "--data.batch_size (=1000000000000) must be at most 1000000.",
    "train --data.validation_sequences 1000000000000": (
        "--data.validation_sequences (=1000000000000) must be at most 1000000."
    ),
    "train --data.batches_per_epoch 99999999999999999999": (
        "--data.batches_per_epoch (=99999999999999999999) must be at most 9223372036854775807."
    ),
    "train --resume runs/none --name a": "--resume: run folder runs/none does not exist.",
    "train --optimizer Adam --optimizer.foo 3": "unknown option --optimizer.foo",
    "train --optimizer.lr fast": "--optimizer.lr (=fast) must be a number.",
    "train --optimizer.lr -1": "--optimizer.lr (=-1.0) must be at least 0.",
    "train --optimizer.lr .inf": "--optimizer.lr (=inf) must be a number.",
    "train --trainer.check_val_every_n_epoch 0": "--trainer.check_val_every_n_epoch (=0) must be at least 1.",
    "train --trainer.num_sanity_val_steps -5": "--trainer.num_sanity_val_steps (=-5) must be at least -1.",
    "train --trainer.accumulate_grad_batches 0": "--trainer.accumulate_grad_batches (=0) must be at least 1.",
    "train --model..x 3": "unknown option --model..x",
    "train --model+ 3": "unknown option --model+",
    "train --together x": "--together: Expecting value: line 1 column 1 (char 0)",
    "train --together": "--together needs a value.",
    "train --optimizer.alpha 5": "--optimizer.alpha (=5.0) must be between 0 and 1.",
    "train --optimizer Adam --optimizer.betas [2,0]": "--optimizer: Invalid beta parameter at index 0: 2.0",
    "train --optimizer Adam --optimizer.betas [0.9]": "--optimizer.betas: Expected a tuple with 2 elements",
    "train --optimizer SparseAdam": (
        "--optimizer SparseAdam is for sparse gradients; those of networks here are dense."
    ),
    "train --trainer.callbacks EarlyStopping": "--trainer.callbacks.monitor needs a value.",
    "train --trainer.callbacks nosuch.Foo": "--trainer.callbacks: No module named 'nosuch'",
    "train --optimizer nosuch.Foo": "--optimizer nosuch.Foo: No module named 'nosuch'.",
    "train --scheduler StepLR": "--scheduler.step_size needs a value.",
    "train --task files": "--task.train and --task.validation need a value.",
    "train --scheduler StepLR --scheduler.step_size 0": (
        "--scheduler: StepLR cannot take a step with these settings: it divides by zero."
    ),
    "train --data.batch_size 99999999999": "--data.batch_size (=99999999999) must be at most 1000000.",
    "train --task Copy --task.bits 99999999999": None,
    "train --model.hidden_size 99999999999": (
        "--model.hidden_size (=99999999999) asks for more memory than this machine has."
    ),
    "evaluate runs/a --sequences 0": "--sequences (=0) must be at least 1.",
    "evaluate runs/a --pieces 0": "--pieces (=0) must be at least 1.",
    "train --trainer.max_steps -5": "--trainer.max_steps (=-5) must be at least -1.",
    "train --model.memory_slots 999999999999": (
        "--model.memory_slots (=999999999999) asks for more memory than this machine has."
    ),
    "train --config paper-sort": (
        "--config paper-sort: there is no such file or preset; did you mean 'paper-priority-sort'?"
    ),
    "train --task DynamicNGrams --task.length 0": "--task.length (=0) must be at least 1.",
    "figure runs/a runs/b": "'runs/b' is one word too many.",
    "train --model.hidden_size x": "--model.hidden_size (=x) must be a whole number.",
    "train --model.memory_slots 0": "--model.memory_slots (=0) must be at least 1.",
    "train --weight_noise -1": "--weight_noise (=-1.0) must be between 0 and 1.",
    "train --head_noise 21": "--head_noise (=21.0) must be between 0 and 20.",
    "train --head_noise 0.1 --model LSTM": (
        "--head_noise (=0.1) cannot be given: LSTM is not an NTM with the paper's memory."
    ),
    "train --noise_warmup 2": "--noise_warmup (=2.0) must be between 0 and 1.",
    "train --weight_noise inf": "--weight_noise (=inf) must be a number.",
    "train --min_memory_slots -1": "--min_memory_slots (=-1) must be at least 0.",
    "train --task PrioritySort --model.memory_slots -5": "--model.memory_slots (=-5) must be at least 1.",
    "train --min_memory_slots 129": "--min_memory_slots (=129) must be at most memory_slots (=128).",
    "train --min_memory_slots 3 --model LSTM": "--min_memory_slots (=3) cannot be given: LSTM has no memory slots.",
    "train --task AssociativeRecall --min_memory_slots 5": "--task.max_items (=6) must be at most "
    "min_memory_slots (=5).",
    "train --min_memory_slots few": "--min_memory_slots (=few) must be a whole number.",
    "train --model.max_shift 64": "--model.max_shift (=64) must be at least 0 and 2 * max_shift + 1 at most "
    "memory_slots (=128).",
    "train --task RepeatCopy --task.number roman": "--task.number (=roman) must be one of 'scalar', 'unary'.",
    "train --model.controller gru": "--model.controller (=gru) must be one of 'lstm', 'feedforward' or a Controller.",
    "train --task.min_length -2": "--task.min_length (=-2) must be at least 1.",
    "train --task.max_length 0": "--task.min_length (=1) must be at most max_length (=0).",
    "train --task AssociativeRecall --task.min_items 1": "--task.min_items (=1) must be at least 2.",
    "train --task AssociativeRecall --task.max_items 129": "--task.max_items (=129) must be at most "
    "memory_slots (=128).",
    "train --task DynamicNGrams --task.n 0": "--task.n (=0) must be at least 1.",
    "train --task DynamicNGrams --task.length 5": "--task.n (=6) must be at most length (=5).",
    "train --task PrioritySort --task.items 5": "--task.highest (=16) must be at most items (=5).",
    "train --task ModularArithmetic --task.max_length 40": "--task.max_length (=40) must be odd.",
    "train --task SolveEquation --task.min_length 2": "--task.min_length (=2) must be at least 3.",
    "train --task PrioritySort --task.max_priority 2": "--task.max_priority (=2.0) must be at most 1.",
    "train --data.batch_size 0": "--data.batch_size (=0) must be at least 1.",
    "train --threads many": "--threads (=many) must be a whole number or 'auto'.",
    "train --threads 0": "--threads (=0) must be between 1 and 1024.",
    "train --seed -1": "--seed (=-1) must be at least 0.",
    "train --loss median": "--loss (=median) must be one of 'mean', 'sum'.",
    "train --decay_after 2": "--decay_after (=2.0) must be between 0 and 1.",
    "train --name ../a": PLAIN,
    "train --trainer.val_check_interval 0": "--trainer.val_check_interval (=0) must be at least 1.",
    "train --trainer.accelerator gpu": None,  # Lightning's words
    "train --resume runs/none": "--resume: run folder runs/none does not exist.",
    "evaluate runs/none": "run folder runs/none does not exist.",
    "report": "the following arguments are required: FOLDER",
    "report nowhere": "folder nowhere does not exist.",
    "report . --outptu a": "unknown option --outptu; did you mean '--output'?",
    "bench --repeats 0": "argument --repeats: '0' must be a whole number of at least 1.",
    "evaluate": "the following arguments are required: RUN",
    "evaluate runs/none runs/neither": "run folder runs/none does not exist. (and 1 more cannot be evaluated)",
    "sweep --seeds 3-1": "seeds (='3-1') has a range that goes backwards: 3-1.",
    "sweep --seed 3": "--seed is for a single run: use --seeds.",
    "sweep --models NTM,Foo": f"unknown model 'Foo'; {NETWORKS}",
    "sweep --trainer.max_step 3": "unknown option --trainer.max_step; did you mean '--trainer.max_steps'?",
    "sweep --grid data.batch_size=": "grid.data.batch_size is empty.",
    "sweep --grid data.batch_size": "--grid data.batch_size: write it as OPTION=A,B.",
    "sweep --seeds 1 --shard 3/2": "--shard (=3/2) must be I/N with I from 1 to N.",
    "sweep --seeds 1 --name ../a": PLAIN,
    "sweep ten-seed": "there is no plan or folder 'ten-seed'; did you mean 'ten-seeds'?",
    "sweep --status nowhere": "folder nowhere does not exist.",
    "sweep --processes 0": "argument --processes: '0' must be a whole number of at least 1.",
    "evaluate runs/none --sequences x": "--sequences (=x) must be a whole number.",
    "evaluate runs/none --json=3": "--json takes no value.",
    "sweep --ray-cpus x": "--ray-cpus (=x) must be a number.",
    "evaluate runs/none --length 3": "unknown option --length; did you mean '--lengths'?",
    "evaluate runs/none --lengths 3,x": "argument --lengths: '3,x' must be whole numbers with commas between, "
    "as 10,20,40.",
}


MISTAKES |= dict.fromkeys(
    ("sweep", "sweep --name a", "sweep --processes 2 --quiet"),
    "ntm sweep needs a plan, the folder of a sweep, or options, as --models NTM,LSTM; --status FOLDER shows a sweep; "
    f"plans: {', '.join(plans())}.",
)


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2_and_writes_nothing(line, capsys):
    assert ntm(*shlex.split(line)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ntm: error: ")
    assert captured.err.count("\n") == 1
    if MISTAKES[line]:
        assert captured.err == f"ntm: error: {MISTAKES[line]}\n"
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("text", "message"), [
    ("data: 5", "data must hold options by name, not 5."),
    ("trainer: [1]", "trainer must hold options by name, not [1]."),
    ("optimizer: null", "optimizer must be a class, not None."),
    ("optimizer: {lrr: 0.5}", "unknown option --optimizer.lrr; did you mean '--optimizer.lr'?"),
    ("model: {hidden_size: many}", "--model.hidden_size (=many) must be a whole number."),
    ("a: [", "not readable as YAML"),
    ("- 1", "--config mine.yaml must hold options by name, not [1]."),
    ("", "--config mine.yaml must hold options by name, but is empty."),
    ("nothing: 1", "unknown option --nothing\n"),
    ("seed: x", "--seed (=x) must be"),
    ("runs: null", "--runs"),
    ("data: {batch_size: null}", "--data.batch_size needs a value."),
])  # fmt: skip
def test_a_configuration_that_is_none_gets_one_line(text, message, capsys):
    Path("mine.yaml").write_text(text)
    assert ntm("train", "--config", "mine.yaml") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ntm: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not Path("runs").exists()


def test_mistakes_about_a_run_get_one_line_too(solved, capsys, tmp_path):
    shutil.copytree(solved[0], "runs/small")
    Path("bias.yaml").write_text("model: {class_path: lightning_ntm.NTM, init_args: {lookup_bias: 3}}\n")
    weights, state = Path("runs/small/best.safetensors"), Path("runs/small/last.ckpt")
    assert ntm("train", "--name", "small") == 2
    assert "run folder runs/small exists" in capsys.readouterr().err
    for words, message in (
        (("evaluate", "runs/small", "--lengths", "0"), "length (=0) must be at least 1."),
        (("evaluate", "runs/small", "--sequences", "0"), "sequences (=0) must be at least 1."),
        (("evaluate", "runs/small", "--memory_slots", "0"), "--memory_slots (=0) must be at least 1."),
        (
            ("evaluate", "runs/small", "--vary", "items=3"),
            "--vary items: Copy has no difficulty 'items'; it has length (--vary length=3).",
        ),
        (("evaluate", "runs/small", "--memory_slots", "2"), "max_shift (=1) must be at least 0 and 2"),
        (("evaluate", "runs/small", "--lengths", "9999999999999"), "--lengths: '9999999999999' must be numbers of"),
        (("train", "--resume", "runs/small", "--model.hidden_size", "9"), "is of another network"),
        *(
            (("train", "--resume", "runs/small", f"--model.{bias}_bias", "1"), f"--model.{bias}_bias (=1.0) cannot be")
            for bias in ("stay", "lookup", "append")
        ),
        (
            ("train", "--resume", "runs/small", "--config", "bias.yaml"),
            "--config: --model.lookup_bias (=3.0) cannot be changed",
        ),
        (("train", "--resume", "runs/small", "--task.bits", "9"), "--task.bits (=9) cannot be changed when a run is"),
        (("train", "--resume", "runs/small", "--task", "RepeatCopy"), "--task (=RepeatCopy) cannot be changed when a"),
        (("train", "--resume", "runs/small", "--optimizer", "SGD"), "--optimizer (=SGD) cannot be changed when a run"),
        (("train", "--resume", "runs/small", "--trainer.max_steps", "2"), "max_steps (=2) must be at least"),
    ):
        assert ntm(*words) == 2
        assert message in capsys.readouterr().err
    before = Path("runs/small/metrics.jsonl").read_bytes()
    assert Path("runs/small/config.yaml").read_bytes() == (solved[0] / "config.yaml").read_bytes()
    weights.write_bytes(weights.read_bytes()[:1000])
    state.write_bytes(state.read_bytes()[:1000])
    assert ntm("evaluate", "runs/small") == 2
    assert "best.safetensors is damaged" in capsys.readouterr().err
    assert ntm("train", "--resume", "runs/small") == 2
    assert "last.ckpt is damaged" in capsys.readouterr().err
    assert Path("runs/small/metrics.jsonl").read_bytes() == before


def test_a_length_beyond_the_memory_is_warned_of(capsys):
    assert brief("--name", "a", "--task.max_length", "9", "--model.memory_slots", "5") == 0
    assert "ntm: warning: length (=9) exceeds memory_slots (=5)" in capsys.readouterr().err


def test_bench_prints_a_row_for_each_shape(capsys, monkeypatch):
    from lightning_ntm.training import bench

    monkeypatch.setattr(bench, "SHAPES", ((2, 2, 8), (3, 1, 16)))
    assert ntm("bench", "--json", "--repeats", "1") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["shape"]["batch"] for row in rows if row["threads"] == 1] == [2, 3]
    for row in rows:
        assert row["backend"] == "cpu"
        assert row["speedup"] == pytest.approx(row["reference_step_ms"] / row["step_ms"])
        assert 0 < row["peak_share"] < 1
    monkeypatch.setattr("lightning_ntm.cli.terminal._EVERY", 0.0)  # seconds between lines on the progress
    assert ntm("bench", "--repeats", "1") == 0
    shown = capsys.readouterr()
    assert "2 x 2, 8" in shown.out
    told = [f"ntm: bench: {done} of {len(rows)} rows of the table" for done in range(len(rows) + 1)]
    assert shown.err.splitlines() == told


def test_useful_arithmetic_is_that_of_the_design():
    from lightning_ntm import NTM
    from lightning_ntm.training.bench import forward_flops

    # By hand for the paper's copy network: 51,600 + 9,200 + 960 weights, 13 passes over 128 x 20 numbers.
    assert forward_flops(NTM(9, 8)) == 2 * (129 * 400 + 100 * 92 + 120 * 8) + 13 * 128 * 20


def test_help_is_quick_to_load_and_names_every_verb(capsys):
    assert ntm("--help") == 0
    printed = capsys.readouterr().out
    assert all(f"  {verb} " in printed for verb in ("train", "sweep", "evaluate", "figure", "report", "bench"))
    assert ntm("--version") == 0
    assert capsys.readouterr().out.startswith("lightning-ntm ")


def test_the_options_are_the_arguments_of_what_is_configured(capsys):
    with pytest.raises(SystemExit):
        ntm("train", "--help-all")
    printed = capsys.readouterr().out
    for option in ("--config", "--name", "--runs", "--resume", "--seed", "--stop_when_solved", "--optimizer",
                   "--scheduler", "--data.batch_size", "--data.validation_sequences", "--trainer.max_steps",
                   "--trainer.precision", "--trainer.strategy"):  # fmt: skip
        assert option in printed
