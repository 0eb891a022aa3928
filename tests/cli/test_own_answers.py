"""Tasks that answer in symbols and in numbers, from training to a picture, and what is said where they do not fit."""

import json
import math
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_ntm import LSTM, Batch, Copy, Task
from lightning_ntm.cli import main
from lightning_ntm.evaluation import evaluate
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.measures import BITS, Measures
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.answers import Answer, Bits, Numbers, Symbols
from lightning_ntm.training import EpisodeData, Run, SequenceLearner

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "cycle_navigation.CycleNavigation": ("wrong_symbols", "bits_per_sequence", "accuracy"),
    "adding.Adding": ("squared_error", "wrong_numbers"),
}


@pytest.fixture(autouse=True)
def _examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for example in (ROOT / "examples").glob("*.py"):
        shutil.copy(example, tmp_path)


def ntm(*words):
    return main([str(word) for word in words])


@pytest.mark.parametrize(("task", "measures"), EXAMPLES.items())
def test_an_example_is_trained_measured_and_drawn_by_its_own_measures(task, measures, capsys):
    every = ("--trainer.val_check_interval", 10, "--trainer.log_every_n_steps", 10)
    assert ntm("train", "--task", task, "--trainer.max_steps", 20, *every, "--name", "a", "--model", "LSTM") == 0
    first, folder = measures[0], RunFolder(Path("runs/a"))
    printed = capsys.readouterr().out
    assert f" {first.replace('_', ' ')} in validation.\n" in printed
    assert "nan" not in printed
    declared = Measures.from_object(json.loads(folder.measures.read_text()))
    assert declared.names == measures
    for row in folder.rows():
        split = "validation" if "validation_loss" in row else "train"
        assert all(math.isfinite(row[f"{split}_{name}"]) for name in ("loss", *measures))
    best = json.loads(folder.result.read_text())["best"]
    validations = [row for row in folder.rows() if "validation_loss" in row]
    assert best[first] == min(row[f"validation_{first}"] for row in validations)
    assert list(best) == ["step", *measures]

    assert ntm("evaluate", "runs/a", "--lengths", "5", "--sequences", "30", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert all(math.isfinite(result[name]) and f"{name}_margin" in result for name in measures)
    assert result[f"{first}_margin"] > 0
    assert result["sequences"] == 30
    assert ntm("figure", "runs/a", "--lengths", "5") == 0
    assert Path("runs/a/figures/memory-length-5.png").stat().st_size > 1000


@pytest.mark.parametrize("task", EXAMPLES)
def test_the_examples_keep_their_promises(task, monkeypatch):
    from lightning_ntm.evaluation.build import class_of
    from lightning_ntm.testing import check_task

    monkeypatch.syspath_prepend(ROOT / "examples")
    check_task(class_of(task)())


def test_the_examples_are_their_definitions(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    from adding import Adding
    from cycle_navigation import CycleNavigation

    walks = CycleNavigation().sample(np.random.default_rng(1), 20)
    for moves, places in zip(walks.inputs, walks.targets, strict=True):
        place = 0
        for move, now in zip(moves.argmax(1).tolist(), places.tolist(), strict=True):
            place = (place + {0: 0, 1: 1, 2: -1}[move]) % 5
            assert now == place
    shown = Adding(length=7).sample(np.random.default_rng(1), 20)
    assert shown.mask.sum(0).tolist() == [0] * 6 + [20]
    for inputs, target in zip(shown.inputs, shown.targets, strict=True):
        marked = inputs[inputs[:, 1] == 1, 0]
        assert len(marked) == 2
        assert target[-1].item() == pytest.approx(marked.sum().item())


@dataclass(frozen=True)
class Told(Task):
    """The network is told the answer in the same step, as what it sees or one-hot; the last step does not count."""

    kind: str = "symbols"
    bad: int | None = None
    masked: bool = False

    input_size = 3

    @property
    def answer(self) -> Answer:
        return {"symbols": Symbols(3), "numbers": Numbers(3, tolerance=0.3), "bits": Bits(3)}[self.kind]

    @property
    def difficulty(self):
        return {"length": 4}

    def sample(self, generator, batch_size, **difficulty):
        drawn = torch.from_numpy(generator.integers(3, size=(batch_size, 5)))
        inputs = torch.nn.functional.one_hot(drawn, 3).float()
        targets = drawn if self.kind == "symbols" else inputs.clone()
        if self.bad is not None and generator.random() < 0.5:
            targets = torch.full_like(targets, self.bad)
        mask = torch.ones(batch_size, 5, dtype=torch.bool)
        mask[:, -1] = False
        targets[:, -1] = -9 if self.kind == "symbols" else math.nan
        return Batch(inputs, targets, mask & (not self.masked))


def train(folder, task, model=None, steps=20, **options):
    data = EpisodeData(task, 1, batch_size=8, validation_sequences=20)
    learner = SequenceLearner(
        model or LSTM(3, 3, hidden_size=12), lambda p: torch.optim.Adam(p, lr=2e-2), decay_after=1
    )
    trainer = {"max_steps": steps, "val_check_interval": 10, "log_every_n_steps": 10, "accelerator": "cpu"}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    ready = Run(learner, data, {**trainer, **quiet}, RunFolder(folder), "", **options)
    ready.fit()
    return ready


@pytest.mark.parametrize("kind", ["symbols", "numbers", "bits"])
def test_training_solves_and_stops_whatever_is_asked_for(kind, tmp_path):
    torch.manual_seed(1)
    run = train(tmp_path / "a", Told(kind), steps=400, stop_when_solved=2)
    last = run.folder.rows()[-1]
    assert last["validation_perfect"] == 1
    assert run.trainer.global_step < 400
    goal = Told(kind).answer.measures.goal
    assert goal.reaches(run.record.keeper.best[goal.name], goal.solved or 0.3**2)
    row = evaluate.evaluate(run.learner.model, Told(kind), {"length": 4}, sequences=20)
    assert row["perfect"] > 0.9


def test_the_loss_is_the_mean_over_all_symbols(tmp_path):
    row = train(tmp_path / "a", Told(), steps=10).folder.rows()[0]
    assert row["train_loss"] == pytest.approx(row["train_bits_per_sequence"] * math.log(2) / 4)
    assert row["train_accuracy"] == pytest.approx(1 - row["train_wrong_symbols"] / 4)


@pytest.mark.parametrize("kind", ["symbols", "numbers"])
def test_a_trace_shows_what_is_asked_for(kind):
    torch.manual_seed(1)
    model, task = LSTM(3, 3, hidden_size=4), Told(kind)
    trace = trace_episode(model, task, {})
    assert trace["targets"].shape == trace["outputs"].shape == (5, 3)
    np.testing.assert_array_equal(trace["targets"][:4], trace["inputs"][:4])
    logits = model(torch.from_numpy(trace["inputs"])[None])[0].detach()[0].numpy()
    shown = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) if kind == "symbols" else logits
    np.testing.assert_allclose(trace["outputs"], shown, atol=1e-6)
    far = np.abs(logits - trace["targets"]) > 0.3
    wrong = shown.argmax(1) != trace["targets"].argmax(1) if kind == "symbols" else far.sum(1)
    assert trace["errors"].tolist() == [*wrong[:4].astype(float), 0]


def test_an_older_run_that_is_resumed_declares_its_measures_and_trains_the_same(tmp_path):
    task = Copy(bits=3, max_length=4)
    for name in ("whole", "older"):
        torch.manual_seed(1)
        train(tmp_path / name, task, LSTM(4, 3, hidden_size=4), steps=20 if name == "whole" else 10)
    older = RunFolder(tmp_path / "older")
    assert Measures.from_object(json.loads(older.measures.read_text())) == BITS
    older.measures.unlink()
    torch.manual_seed(2)
    train(tmp_path / "older", task, LSTM(4, 3, hidden_size=4), steps=20, resume=True)
    assert Measures.from_object(json.loads(older.measures.read_text())) == BITS
    assert older.best.read_bytes() == RunFolder(tmp_path / "whole").best.read_bytes()
    kept, whole = (RunFolder(tmp_path / name).rows()[-1] for name in ("older", "whole"))
    clock = {"seconds", "steps_per_second"}
    assert {n: v for n, v in kept.items() if n not in clock} == {n: v for n, v in whole.items() if n not in clock}


def test_a_network_that_does_not_fit_is_refused_before_a_folder_is_made(tmp_path):
    wrong = r"output_size \(=4\) of the network must be 3, as the task asks for Symbols\(size=3"
    with pytest.raises(ValueError, match=wrong):
        train(tmp_path / "a", Told(), LSTM(3, 4))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match=wrong):
        evaluate.evaluate(LSTM(3, 4), Told(), {})
    with pytest.raises(ValueError, match=wrong):
        trace_episode(LSTM(3, 4), Told(), {})
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    with pytest.raises(ValueError, match=wrong):
        trainer.fit(SequenceLearner(LSTM(3, 4)), datamodule=EpisodeData(Told()))


def test_without_a_task_answers_are_bits(tmp_path):
    batch = Copy(bits=3).sample(np.random.default_rng(1), 2)
    learner = SequenceLearner(LSTM(4, 3, hidden_size=4))
    trainer = L.Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.fit(learner, DataLoader([batch, batch], batch_size=None), DataLoader([batch], batch_size=None))
    assert learner.answer == Bits(3)
    assert {"validation_wrong_bits", "validation_perfect"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize(
    ("kind", "bad", "said"),
    [
        ("symbols", 3, "Told: targets must be symbols from 0 to 2 where the mask is true."),
        ("symbols", -1, "Told: targets must be symbols from 0 to 2 where the mask is true."),
        ("bits", 2, "Told: targets must be 0 or 1 where the mask is true."),
    ],
)
def test_targets_out_of_range_are_named(kind, bad, said, tmp_path):
    with pytest.raises(ValueError, match=f"^training cannot begin: TargetsError: {re.escape(said)}$"):
        train(tmp_path / "a", Told(kind, bad=bad), steps=100)


@dataclass(frozen=True)
class LaterWrong(Told):
    """Its training batches have a wrong symbol, but not the first."""

    def sample(self, generator, batch_size, **difficulty):
        batch, first = super().sample(generator, batch_size, **difficulty), Told.sample(self, batch_generator_0(), 8)
        if batch_size == 8 and not torch.equal(batch.inputs, first.inputs):
            batch.targets[:, 1] = 5
        return batch


def batch_generator_0():
    from lightning_ntm.tasks.randomness import batch_generator

    return batch_generator(1, "train", 0)


def test_a_symbol_out_of_range_in_a_later_batch_is_named(tmp_path):
    with pytest.raises(ValueError, match="LaterWrong: targets must be symbols from 0 to 2"):
        train(tmp_path / "a", LaterWrong())


def test_a_mask_that_selects_nothing_is_named(tmp_path):
    with pytest.raises(ValueError, match="Told: the mask is true in no step of a batch"):
        train(tmp_path / "a", Told(masked=True))
    assert not (tmp_path / "a").exists()


MISTAKES = """
from dataclasses import dataclass
import torch
from cycle_navigation import CycleNavigation
from lightning_ntm import LSTM
from lightning_ntm.tasks.answers import Symbols


class Lost(CycleNavigation):
    answer = Symbols(4)


class LaterLost(CycleNavigation):
    def sample(self, generator, batch_size, **difficulty):
        batch = super().sample(generator, batch_size, **difficulty)
        drawn.append(batch_size)
        return batch._replace(targets=batch.targets + 9) if drawn.count(8) > 6 else batch


drawn = []


class Narrow(LSTM):
    def __init__(self, input_size, output_size):
        super().__init__(input_size, output_size - 1)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "mistakes.Lost"], "Lost: targets must be symbols from 0 to 3 where the mask is true."),
        (
            ["--task", "cycle_navigation.CycleNavigation", "--model", "mistakes.Narrow"],
            "output_size (=4) of the network must be 5, as the task asks for Symbols(size=5, uncertain=False).",
        ),
    ],
)
def test_the_command_line_says_it_in_one_line(words, said, capsys):
    Path("mistakes.py").write_text(MISTAKES)
    assert ntm("train", *words, "--trainer.max_steps", 2, "--name", "a") == 2
    error = capsys.readouterr().err
    assert error.startswith("ntm: error: ")
    assert error.endswith(f"{said}\n")
    assert error.count("\n") == 1
    assert not Path("runs/a").exists()


def test_wrong_targets_in_a_later_batch_end_with_one_line(capsys):
    Path("mistakes.py").write_text(MISTAKES)
    words = ["--task", "mistakes.LaterLost", "--data.validation_sequences", 3, "--trainer.max_steps", 20]
    assert ntm("train", *words, "--name", "a") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    said = "LaterLost: targets must be symbols from 0 to 4 where the mask is true. The run ended at step "
    assert error.startswith(f"ntm: error: {said}")
