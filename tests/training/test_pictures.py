"""Pictures of the memory in loggers: which get them, how often, and that they change nothing of the training."""

import logging
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from training.test_own_trainer import SILENT, data, loader, network
from training.test_run import run

from lightning_ntm import NTM
from lightning_ntm.training import SequenceLearner, pictures
from lightning_ntm.training.pictures import MemoryPictures, pictures_for


class ImageLogger(CSVLogger):
    """A logger with the `log_image` that Lightning documents of `WandbLogger`."""

    def __init__(self, folder):
        super().__init__(folder)
        self.images = []

    def log_image(self, key, images, step=None):
        assert key == "memory"
        self.images += [(step, image) for image in images]


class Dice(NTM):
    """Draws random numbers in each step, as dropout does."""

    def observe(self, x, state):
        torch.rand(1)
        return super().observe(x, state)


def fit(logger, model=None, batches=None, **options):
    torch.manual_seed(1)
    learner = SequenceLearner(model or network())
    trainer = L.Trainer(**{**SILENT, "max_steps": 12, **options, "logger": logger})
    given = {"datamodule": data(batches_per_epoch=4)} if batches is None else {"train_dataloaders": batches}
    trainer.fit(learner, **given, **({} if batches is None else {"val_dataloaders": batches}))
    assert trainer.global_step > 0
    return learner


def is_picture(image):
    return image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and len(np.unique(image)) > 20


def test_first_and_last_validation_have_a_picture_and_drawing_takes_little_of_the_time(tmp_path):
    logger = ImageLogger(tmp_path)
    fit(logger)
    assert [step for step, _ in logger.images] == [4, 12], "of validations at 4, 8 and 12"
    (_, first), (_, last) = logger.images
    assert is_picture(first)
    assert not np.array_equal(first, last), "the network has learned something"


def test_where_there_is_time_each_validation_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_PAUSE", 0)
    monkeypatch.setattr(pictures, "_image", Mock(return_value=np.zeros((1, 1, 3))))
    logger = ImageLogger(tmp_path)
    fit(logger, num_sanity_val_steps=2)
    assert [step for step, _ in logger.images] == [4, 8, 12]


def test_tensorboard_shows_them(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    fit(logger, max_steps=4)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    (image,) = events.Images("memory")
    assert (image.step, image.width) == (4, 700)
    assert image.encoded_image_string.startswith(b"\x89PNG")


def test_batches_of_other_loaders_are_drawn(tmp_path):
    inputs, bits = torch.randint(2, (4, 5, 4)), torch.randint(2, (4, 5, 3))
    logger = ImageLogger(tmp_path)
    fit(logger, batches=loader(inputs, bits), max_steps=2, precision="bf16-true")
    assert [is_picture(image) for _, image in logger.images] == [True]


def test_a_run_folder_has_them_too(tmp_path):
    logger = ImageLogger(tmp_path)
    run(tmp_path / "a", steps=4, logger=logger).fit()
    assert [step for step, _ in logger.images] == [4]


def test_nothing_is_kept_and_drawn_without_a_logger_that_takes_images(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_on_cpu", Mock(side_effect=AssertionError))
    monkeypatch.setattr(pictures, "_image", drawn := Mock(side_effect=AssertionError))
    monkeypatch.setattr(pictures, "_log", said := Mock())
    fit(CSVLogger(tmp_path), max_steps=4)
    assert not drawn.called
    assert not said.warning.called


@pytest.mark.parametrize(("rank", "whole"), [(1, True), (0, False)])
def test_other_processes_and_parts_of_a_network_draw_nothing(rank, whole, tmp_path):
    trainer = Mock(spec=L.Trainer, is_global_zero=rank == 0, loggers=[ImageLogger(tmp_path)])
    assert pictures_for(trainer, network(), whole=whole).sinks == []
    trainer.is_global_zero = True
    assert len(pictures_for(trainer, network(), whole=True).sinks) == 1


def test_they_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setattr(SequenceLearner, "draws_memory", False)
    logger = ImageLogger(tmp_path)
    fit(logger, max_steps=4)
    assert logger.images == []


def test_a_fault_ends_the_pictures_and_not_the_training(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(pictures, "_image", Mock(return_value=np.zeros((1, 1, 3))))
    logger = ImageLogger(tmp_path)
    logger.log_image = Mock(side_effect=OSError("no space"))
    caplog.set_level(logging.WARNING, logger="lightning_ntm")
    learner = fit(logger)
    assert logger.log_image.call_count == 1
    assert [record.getMessage() for record in caplog.records] == [
        "The loggers get no pictures of the memory: OSError: no space"
    ]
    assert_equal(learner, fit(CSVLogger(tmp_path, name="plain")))


def test_a_network_that_draws_random_numbers_trains_as_without(tmp_path):
    sizes = {"hidden_size": 8, "memory_slots": 6, "memory_width": 4, "backend": "reference"}

    def made():
        torch.manual_seed(2)
        return Dice(4, 3, **sizes)

    logger = ImageLogger(tmp_path)
    first = fit(logger, made(), max_steps=8)
    state = torch.get_rng_state()
    assert logger.images
    assert_equal(first, fit(CSVLogger(tmp_path, name="plain"), made(), max_steps=8))
    assert torch.equal(state, torch.get_rng_state())


def test_long_sequences_and_large_memories_are_not_drawn(tmp_path):
    drawn = MemoryPictures([ImageLogger(tmp_path)], network())
    batch = data().task.batch(1, "validation", 0, 1)
    drawn.keep(batch._replace(inputs=torch.zeros(1, 501, 4)))
    assert drawn.episode is None
    drawn.model = NTM(4, 3, memory_slots=2**13, memory_width=2**9)
    drawn.keep(batch._replace(inputs=torch.zeros(1, 20, 4)))
    assert drawn.episode is None
    drawn.model = network()
    drawn.keep(batch)
    assert drawn.episode is not None


def assert_equal(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
