"""Why some of Lightning's own is extended: each test ends when Lightning does it itself, and so may our part."""

import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.loggers import CSVLogger
from test_run import network, run

from lightning_ntm import Copy
from lightning_ntm.training import EpisodeData, SequenceLearner
from lightning_ntm.training.callbacks import WholeCheckpointIO

QUIET = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}


def test_its_checkpoints_have_no_random_states_ours_have(tmp_path):
    trainer = L.Trainer(max_steps=2, enable_checkpointing=False, limit_val_batches=0, **QUIET)
    trainer.fit(SequenceLearner(network()), datamodule=EpisodeData(Copy(bits=3, max_length=4), 3, batch_size=2))
    trainer.save_checkpoint(tmp_path / "theirs.ckpt")
    run(tmp_path / "a", steps=2).fit()
    theirs, ours = (torch.load(tmp_path / path, weights_only=True) for path in ("theirs.ckpt", "a/last.ckpt"))
    state = torch.get_rng_state().shape
    assert not any(value.shape == state for value in tensors(theirs) if value.dtype == torch.uint8)
    assert any(value.shape == state for value in tensors(ours) if value.dtype == torch.uint8)


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from tensors(inner)


def test_it_copies_checkpoints_from_the_temporary_folder_ours_are_renamed_in_place(tmp_path, monkeypatch):
    moved, move = [], shutil.move

    def watched(source, *arguments, **options):
        moved.append(Path(source).parent)
        return move(source, *arguments, **options)

    monkeypatch.setattr(shutil, "move", watched)
    TorchCheckpointIO().save_checkpoint({"a": torch.zeros(3)}, tmp_path / "theirs.ckpt")
    assert moved == [Path(tempfile.gettempdir())], "on another file system a move is a copy, which a kill cuts short"
    WholeCheckpointIO().save_checkpoint({"a": torch.zeros(3)}, tmp_path / "ours.ckpt")
    assert len(moved) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.ckpt", "theirs.ckpt"]


def test_its_csv_logger_forgets_the_rows_of_a_resumed_run_ours_keeps_them(tmp_path):
    for step, said in ((1, nullcontext()), (2, pytest.warns(UserWarning, match="will be deleted"))):
        logger = CSVLogger(tmp_path, name="", version="")
        with said:
            logger.log_metrics({"cost": 1.0}, step=step)
            logger.save()
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 2, "the head and the last row"
    run(tmp_path / "a", steps=3).fit()
    before = (tmp_path / "a" / "metrics.jsonl").read_text()
    run(tmp_path / "a", steps=6, resume=True).fit()
    assert (tmp_path / "a" / "metrics.jsonl").read_text().startswith(before)


def test_attributes_of_a_learner_are_those_of_a_module():
    learner = SequenceLearner(network())
    learner.note = "text"
    learner.note = None
    assert learner.note is None
    learner.note = torch.nn.Linear(2, 2)
    assert dict(learner.named_children())["note"] is learner.note
    learner.note = None  # a module that is taken away, not an attribute beside it
    assert list(learner.named_children()) == [("model", learner.model)]
    with pytest.raises(TypeError, match="cannot assign"):
        learner.model = "text"
