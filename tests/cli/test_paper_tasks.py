"""The paper's tasks as a user of the command meets them."""

import json
import re
from pathlib import Path

import pytest

from lightning_ntm.cli import main

#: For each task, what makes it small, and what its evaluation goes through by itself.
TASKS = {
    "copy": ("--task.max_length 2", [{"length": n} for n in (1, 2, 4, 8, 12)]),
    "repeat-copy": (
        "--task.max_length 2 --task.max_repeats 3",
        [{"length": a, "repeats": b} for a, b in ((2, 3), (4, 3), (2, 6))],
    ),
    "associative-recall": ("--task.max_items 3", [{"items": n} for n in (3, 4, 5, 6, 7, 10)]),
    "dynamic-ngrams": ("--task.n 2 --task.length 10", [{"length": 10}] * 11),
    "priority-sort": ("--task.items 4 --task.highest 2", [{"items": n} for n in (4, 6, 8)]),
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ntm(*words):
    return main([str(word) for word in words])


def trained(task, model="NTM", name="a"):
    options = "--trainer.max_steps 2 --trainer.val_check_interval 1 --data.validation_sequences 2 --model.hidden_size 8"
    small = TASKS[task][0].split()
    assert ntm("train", "--task", task, "--model", model, "--name", name, *options.split(), *small) == 0


#: Besides the memory at work.
PICTURES = {
    ("dynamic-ngrams", "NTM"): ["predictions"],
    ("dynamic-ngrams", "LSTM"): ["predictions"],
    ("priority-sort", "NTM"): ["places"],
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", ["NTM", "LSTM"])
def test_each_trains_is_evaluated_over_what_the_paper_sweeps_and_drawn(task, model, capsys):
    trained(task, model)
    capsys.readouterr()
    assert ntm("evaluate", "runs/a", "--sequences", "3", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    rows, expected = json.loads(captured.out)["results"], TASKS[task][1]
    assert [{name: row[name] for name in expected[0]} for row in rows] == expected
    for row in rows:
        assert min(row["wrong_bits_margin"] or 0, row["bits_per_sequence_margin"] or 0) >= 0
    assert ntm("figure", "runs/a") == 0
    drawn = [Path(line) for line in capsys.readouterr().out.split()]
    assert all(path.exists() for path in drawn)
    kinds = ["memory", *PICTURES.get((task, model), [])]
    assert [path.name.split("-")[0] for path in drawn] == [kind for kind in kinds for _ in ("png", "svg")]


def test_dynamic_ngrams_tell_how_far_a_network_is_from_the_optimum_and_where(capsys):
    trained("dynamic-ngrams")
    assert re.search(
        r"with \d+\.\d\d bits per sequence, -?\d+\.\d\d above the optimum, in validation", capsys.readouterr().out
    )
    assert ntm("evaluate", "runs/a", "--sequences", "20", "--json") == 0
    whole, *parts = json.loads(capsys.readouterr().out)["results"]
    assert [row["answer"] for row in (whole, *parts)] == ["whole", *(f"{k}-{k}" for k in range(1, 11))]
    # An untrained network is near chance, a bit each; the optimum is below.
    assert whole["bits_per_sequence"] == pytest.approx(10, abs=1.5)
    assert whole["regret_bits"] == pytest.approx(whole["bits_per_sequence"] - whole["optimal_bits"])
    assert whole["regret_bits"] == pytest.approx(sum(row["regret_bits"] for row in parts))
    assert ntm("evaluate", "runs/a", "--sequences", "20") == 0
    table = capsys.readouterr().out
    assert "regret" in table
    assert "±" in table
    assert ntm("evaluate", "runs/a", "--lengths", "20", "--sequences", "2", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 1
    assert ntm("evaluate", "runs/a", "--lengths", "20", "--pieces", "2", "--sequences", "2", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 3


def test_one_episode_has_no_margin(capsys):
    trained("copy")
    capsys.readouterr()
    assert ntm("evaluate", "runs/a", "--sequences", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["wrong_bits_margin"] is None


@pytest.mark.parametrize(
    ("task", "words", "message"),
    [
        ("associative-recall", "--vary items=1", "items (=1) must be at least 2."),
        ("associative-recall", "--vary items=129", "items (=129) must be at most memory_slots (=128)."),
        ("associative-recall", "--vary items=0", "items (=0) must be at least 1."),
        (
            "associative-recall",
            "--lengths 3",
            "--lengths: AssociativeRecall has no difficulty 'length'; it has items (--vary items=3).",
        ),
        ("dynamic-ngrams", "--lengths 1", "length (=1) must be at least 2."),
        ("dynamic-ngrams", "--pieces 11", "pieces (=11) must be at most 10, the steps of an answer."),
        ("dynamic-ngrams", "--pieces 0", "--pieces (=0) must be at least 1."),
        ("priority-sort", "--vary items=1", "items (=1) must be at least 2."),
    ],
)
def test_a_mistake_gets_one_line(task, words, message, capsys):
    trained(task)
    capsys.readouterr()
    assert ntm("evaluate", "runs/a", *words.split()) == 2
    assert capsys.readouterr().err == f"ntm: error: {message}\n"


def test_more_items_than_the_memory_was_trained_with_fit_into_a_larger_one(capsys):
    trained("associative-recall")
    assert ntm("evaluate", "runs/a", "--vary", "items=129", "--memory_slots", "200", "--sequences", "2") == 0
