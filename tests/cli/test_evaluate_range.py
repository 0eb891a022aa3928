"""`ntm evaluate --range` as a user of the command meets it."""

import json
from pathlib import Path

import pytest

from lightning_ntm.cli import main, terminal
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import read_json


def ntm(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that have learned nothing."""
    folder = tmp_path_factory.mktemp("runs")
    small = "--trainer.max_steps 1 --trainer.val_check_interval 1 --data.validation_sequences 2 --model.hidden_size 4"
    for task, network in (("ModularArithmetic", "NTM"), ("ReverseString", "LSTM")):
        length = f"--task.max_length 5 --task {task} --model {network} --name {network.lower()} --runs {folder}"
        assert ntm("train", *small.split(), *length.split()) == 0
    return folder


def test_the_mean_and_each_length_are_printed_and_kept(runs, capsys):
    capsys.readouterr()
    assert ntm("evaluate", runs / "ntm", "--range", "7-12", "--sequences", 3, "--memory_slots", 150, "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ("ntm: warning: 3 of 6 lengths are left out, the first is 8: length (=8) must be odd.\n")
    printed = json.loads(captured.out)
    assert list(printed)[:6] == ["run", "memory_slots", "range", "skipped", "sequences", "training_length"]
    assert [(row["length"], row["memory_slots"], row["sequences"]) for row in printed["results"]] == [
        (7, 150, 3), (9, 150, 3), (11, 150, 3)
    ]  # fmt: skip
    assert printed["mean_accuracy"] == pytest.approx(sum(row["accuracy"] for row in printed["results"]) / 3)
    kept = RunFolder(runs / "ntm").results()
    assert [{"run": str(runs / "ntm"), **one} for one in kept.ranges] == [printed]
    assert kept.rows == [], "a range is no evaluation at single lengths"


def test_a_table_has_parts_of_the_range_and_its_mean(runs, capsys):
    assert ntm("evaluate", runs / "lstm", "--range", "1-30", "--include_training", "--sequences", 2) == 0
    cells = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert cells == ["1-3", "4-6", "7-9", "10-12", "13-15", "16-18", "19-21", "22-24", "25-27", "28-30", "6-30"]


def test_a_mean_has_the_interval_of_independent_sequences(runs, capsys):
    asked = ("evaluate", runs / "lstm", "--range", "7-8", "--sequences", 20)
    capsys.readouterr()
    assert ntm(*asked, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["results"]
    margin = (first["wrong_symbols_margin"] ** 2 + second["wrong_symbols_margin"] ** 2) ** 0.5 / 2
    assert ntm(*asked) == 0
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if line.startswith("│ 7-8"))
    assert row.split("│")[2].split() == [
        f"{(first['wrong_symbols'] + second['wrong_symbols']) / 2:.4g}",
        "±",
        f"{margin:.2g}",
    ]
    assert "±: two-sided intervals over the sequences, 95 % confidence." in " ".join(printed.split())
    assert "no interval" not in printed


@pytest.mark.parametrize("words", ["--range 7-8", "--lengths 7"])
def test_means_of_few_sequences_have_no_interval(runs, words, capsys):
    assert ntm("evaluate", runs / "lstm", *words.split(), "--sequences", 9) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert " ± " not in printed
    assert "Means of fewer than 10 sequences have no interval." in printed


def test_several_runs_have_a_line_each(runs, capsys):
    assert ntm("evaluate", runs, "--range", "7-9", "--sequences", 2) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [line.split("│")[1].strip() for line in lines] == ["lstm", "ntm"]


def test_a_long_evaluation_tells_how_far_it_is(runs, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_EVERY", 0.0)
    assert ntm("evaluate", runs / "lstm", "--range", "7-8", "--sequences", 2, "--json") == 0
    told = capsys.readouterr().err.splitlines()
    assert told == [f"ntm: {runs / 'lstm'}: {done} of 2 lengths" for done in (1, 2)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--range 9-7", "argument --range: '9-7' must be A-B or A-B:STEP with 1 <= A <= B, as 41-500 or 41-500:20."),
        ("--range 9-12:0", "argument --range: '9-12:0' must be A-B or A-B:STEP"),
        ("--range 3-9", "--range (=3-9) begins among the lengths of training, which end at 5; begin at 6, or set "
         "--include_training."),
        ("--range 7-9 --lengths 3", "--lengths cannot be combined with --range."),
        ("--range 7-9 --vary length=3", "--vary cannot be combined with --range."),
        ("--range 7-9 --pieces 2", "--pieces cannot be combined with --range."),
        ("--range 7-9 --memory_slots 20", "memory_slots (=20) cannot be given: LSTM has no memory slots."),
        ("--include_training", "--include_training is for --range."),
        ("--missing", "--missing is for --range."),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(runs, words, message, capsys):
    capsys.readouterr()
    assert ntm("evaluate", runs / "lstm", *words.split()) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"ntm: error: {message}")


def test_evaluations_at_single_lengths_and_ranges_keep_each_other(runs):
    path = runs / "lstm"
    (path / "evaluation.json").unlink(missing_ok=True)
    for words in ("--lengths 9", "--range 7-9", "--lengths 8", "--range 7-8", "--range 7-9"):
        assert ntm("evaluate", path, *words.split(), "--sequences", 2, "--json") == 0
    kept = read_json(Path(path, "evaluation.json"))
    assert [row["length"] for row in kept["results"]] == [9, 8]
    assert [one["range"] for one in kept["ranges"]] == ["7-8", "7-9"], "the latest comes last"


def test_a_run_that_has_the_evaluation_is_measured_again_unless_only_missing_ones_are(runs, capsys):
    path = runs / "lstm" / "evaluation.json"
    assert ntm("evaluate", runs / "lstm", "--range", "7-9", "--sequences", 2) == 0
    path.write_text(path.read_text().replace('"mean_accuracy": ', '"mean_accuracy": 7'))
    capsys.readouterr()

    def mean(*words):
        assert ntm("evaluate", runs / "lstm", "--json", *words) == 0
        return json.loads(capsys.readouterr().out)["mean_accuracy"]

    assert mean("--range", "7-9", "--sequences", 2, "--missing") > 7
    assert mean("--range", "7-9", "--sequences", 3, "--missing") < 1, "of other episodes"
    path.write_text(path.read_text().replace('"mean_accuracy": ', '"mean_accuracy": 7'))
    assert mean("--range", "7-9:2", "--sequences", 3, "--missing") < 1, "with another step"
    assert mean("--range", "7-10", "--sequences", 2, "--missing") < 1
    path.write_text(
        path.read_text().replace('"mean_accuracy": ', '"mean_accuracy": 7').replace('"step": 1', '"step": 9')
    )
    assert mean("--range", "7-9", "--sequences", 3, "--missing") < 1, "of other weights"
    path.write_text(path.read_text().replace('"mean_accuracy": ', '"mean_accuracy": 7'))
    assert mean("--range", "7-9", "--sequences", 3, "--missing") > 7
    assert mean("--range", "7-9", "--sequences", 3) < 1
    path.write_text("damaged")
    assert mean("--range", "7-9", "--sequences", 3, "--missing") < 1
