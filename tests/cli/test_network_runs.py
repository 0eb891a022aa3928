"""Runs of the networks that are compared on formal languages: trained, evaluated, drawn, and what is wrong told."""

from pathlib import Path

import numpy as np
import pytest

from lightning_ntm.cli import main
from lightning_ntm.evaluation import open_run

SMALL = (
    "--task ReverseString --task.max_length 3 --model.hidden_size 8 --data.validation_sequences 4 --data.batch_size 2 "
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.log_every_n_steps 2 "
    "--trainer.enable_progress_bar false --name a"
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ntm(words):
    return main(words.split())


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        ("--model stackrnn --model.num_stacks 2 --model.controller gru --min_memory_slots 4", "stacks", (10, 2, 20, 8)),
        ("--model TapeRNN --model.length_oracle true", "tapes", (10, 1, 20, 8)),
        ("--model Transformer --model.num_layers 1 --model.positions alibi", "hidden", (10, 8)),
    ],
    ids=["stack", "tape", "transformer"],
)
def test_a_network_with_slots_is_trained_evaluated_and_drawn(options, name, shape):
    assert ntm(f"train {options} {SMALL}") == 0
    assert open_run("runs/a").model.memory_slots == 128
    assert ntm("evaluate runs/a --lengths 3,9 --sequences 4 --memory_slots 20") == 0
    assert ntm("figure runs/a --lengths 5 --memory_slots 20") == 0
    assert Path("runs/a/figures/memory-length-5-memory_slots-20.png").exists()
    with np.load("runs/a/figures/memory-length-5-memory_slots-20.npz") as trace:
        assert trace[name].shape == shape


def test_the_oracle_is_told_the_length_in_an_evaluation_with_more_slots():
    assert ntm(f"train --model TapeRNN --model.length_oracle true {SMALL}") == 0
    assert ntm("figure runs/a --lengths 5 --memory_slots 20") == 0
    with np.load("runs/a/figures/memory-length-5-memory_slots-20.npz") as trace:
        assert trace["moves"].tolist() == [[0, -1, 1, -5, 5]] * 10


def test_a_bidirectional_transformer_has_no_slots(capsys):
    assert ntm(f"train --model Transformer --model.num_layers 1 --model.causal false {SMALL}") == 0
    assert ntm("evaluate runs/a --lengths 3,200 --sequences 2") == 0
    assert ntm("figure runs/a --lengths 5") == 0
    captured = capsys.readouterr()
    assert "exceeds memory_slots" not in captured.out + captured.err
    assert ntm("evaluate runs/a --memory_slots 20") == 2
    assert capsys.readouterr().err.endswith("memory_slots (=20) cannot be given: Transformer has no memory slots.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model StackRNN --model.num_stacks 0", "--model.num_stacks (=0) must be at least 1."),
        ("--model TapeRNN --model.memory_slots 1", "--model.memory_slots (=1) must be at least 2."),
        (
            "--model Transformer --model.num_heads 3",
            "--model.hidden_size (=8) must be a multiple of num_heads (=3).",
        ),
        ("--model RNN --model.num_layers 0", "--model.num_layers (=0) must be between 1 and 1000."),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words, message, capsys):
    assert ntm(f"train {words} {SMALL}") == 2
    assert capsys.readouterr().err.strip() == f"ntm: error: {message}"
