"""Runs of a DNC: trained, resumed, evaluated, drawn, and what is wrong told in one line."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from lightning_ntm import DNC
from lightning_ntm.cli import main
from lightning_ntm.evaluation import open_run

SMALL = (
    "--model DNC --task copy --task.max_length 3 --model.hidden_size 8 --model.memory_slots 8 --model.num_read_heads 2 "
    "--data.validation_sequences 4 --data.batch_size 2 --trainer.val_check_interval 2 --trainer.log_every_n_steps 2 "
    "--trainer.enable_progress_bar false"
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def ntm(words):
    return main(words.split())


@pytest.mark.parametrize(
    "options",
    ["--model.masking false --model.deallocation false --model.sharpening false", "--model.mask_floor 0.1"],
    ids=["plain", "mds"],
)
def test_a_dnc_is_trained_resumed_evaluated_and_drawn(options, capsys):
    assert ntm(f"train {SMALL} {options} --trainer.max_steps 4 --name whole") == 0
    assert ntm(f"train {SMALL} {options} --trainer.max_steps 2 --decay_after 1 --name a") == 0
    assert ntm(f"train {SMALL} {options} --trainer.max_steps 4 --decay_after 1 --name b") == 0
    assert ntm("train --resume runs/a --trainer.max_steps 4") == 0
    resumed, whole = (safetensors.torch.load_file(f"runs/{name}/best.safetensors") for name in "ab")
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    run = open_run("runs/whole", memory_slots=20)
    assert type(run.model) is DNC
    assert run.model.masking == ("mask_floor" in options)
    capsys.readouterr()
    assert ntm("evaluate runs/whole --lengths 3,5 --sequences 4 --memory_slots 20") == 0
    assert ntm("figure runs/whole --lengths 3") == 0
    assert Path("runs/whole/figures/memory-length-3.png").exists()
    with np.load("runs/whole/figures/memory-length-3.npz") as trace:
        assert trace["link"].shape == (7, 8, 8)


def test_slots_may_vary_from_batch_to_batch():
    assert ntm(f"train {SMALL} --min_memory_slots 2 --trainer.max_steps 2 --name a") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.num_read_heads 9", "--model.num_read_heads (=9) must be at most memory_slots (=8)."),
        ("--model.memory_slots 1", "--model.memory_slots (=1) must be at least 2."),
        ("--model.masking false --model.mask_floor 0.1", "--model.mask_floor (=0.1) must be 0 without masking=True."),
        ("--model.backend triton", "--model.backend (='triton') must be one of auto, reference, cpu, graphs."),
        ("--model.max_shift 1", "unknown option --model.max_shift"),
        ("--min_memory_slots 1", "--min_memory_slots (=1) is too low: slots (=1) must be at least 2."),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words, message, capsys):
    assert ntm(f"train {SMALL} {words} --name a") == 2
    assert capsys.readouterr().err.strip() == f"ntm: error: {message}"
    assert not Path("runs/a").exists()


def test_an_evaluation_with_too_few_slots_is_told(capsys):
    assert ntm(f"train {SMALL} --trainer.max_steps 2 --name a") == 0
    capsys.readouterr()
    assert ntm("evaluate runs/a --memory_slots 1") == 2
    assert (
        capsys.readouterr().err.strip()
        == "ntm: error: memory_slots (=1) cannot be given: slots (=1) must be at least 2."
    )


def test_weights_of_another_network_are_told(capsys):
    assert ntm(f"train {SMALL} --trainer.max_steps 2 --name a") == 0
    assert ntm(f"train {SMALL} --model.sharpening false --trainer.max_steps 2 --name b") == 0
    shutil.copy("runs/b/best.safetensors", "runs/a/best.safetensors")
    capsys.readouterr()
    assert ntm("evaluate runs/a") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "heads." in error


@pytest.mark.parametrize("network", ["SAM", "SDNC"])
def test_a_sparse_network_is_trained_resumed_evaluated_and_drawn(network, capsys):
    small = SMALL.replace("DNC", network)
    assert ntm(f"train {small} --trainer.max_steps 4 --decay_after 1 --name whole") == 0
    assert ntm(f"train {small} --trainer.max_steps 2 --decay_after 1 --name a") == 0
    assert ntm("train --resume runs/a --trainer.max_steps 4") == 0
    resumed, whole = (safetensors.torch.load_file(f"runs/{name}/best.safetensors") for name in ("a", "whole"))
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    capsys.readouterr()
    assert ntm("evaluate runs/whole --lengths 3,5 --sequences 4 --memory_slots 20") == 0
    assert ntm("figure runs/whole --lengths 3") == 0
    with np.load("runs/whole/figures/memory-length-3.npz") as trace:
        assert trace["read_weights"].shape == (7, 2, 8)
    capsys.readouterr()
    assert ntm(f"train {small} --model.num_nearest 9 --name b") == 2
    assert capsys.readouterr().err == "ntm: error: --model.num_nearest (=9) must be at most memory_slots (=8).\n"
