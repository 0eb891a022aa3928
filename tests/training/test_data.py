"""Batches are a function of their number: no worker, epoch or interruption changes them."""

import pickle

import lightning as L
import numpy as np
import pytest
import torch

from lightning_ntm import NTM, AssociativeRecall, BinaryMultiplication, Copy, DynamicNGrams, PrioritySort, RepeatCopy
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.tasks.curricula import RegularIncrease
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.training import EpisodeData, SequenceLearner


class Seen(L.Callback):
    """Collects what a training is fed."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.batches.append(batch)


def fed(batches_per_epoch=3, num_workers=0, steps=7, **trainer):
    seen = Seen()
    data = EpisodeData(
        Copy(max_length=3), 5, batch_size=2, batches_per_epoch=batches_per_epoch, num_workers=num_workers
    )
    learner = SequenceLearner(NTM(9, 8, hidden_size=2, memory_slots=3, memory_width=2))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    L.Trainer(max_steps=steps, callbacks=[seen], limit_val_batches=0, **quiet, **trainer).fit(learner, data)
    return seen.batches


def same(one, other):
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


def test_batch_k_of_a_training_is_drawn_from_its_number_alone():
    expected = [Copy(max_length=3).sample(batch_generator(5, "train", k), 2) for k in range(7)]
    assert same(fed(), expected)


@pytest.mark.filterwarnings("ignore:.*num_workers.*", "ignore:.*fork.*:DeprecationWarning")
def test_epochs_and_workers_do_not_change_the_batches():
    assert same(fed(batches_per_epoch=100), fed(batches_per_epoch=2))
    assert same(fed(num_workers=2), fed())


def test_workers_that_are_not_forked_get_the_batches():
    """As on macOS, on Windows, and from Python 3.14 on."""
    seen = []

    class Pickles(L.Callback):
        def on_train_start(self, trainer, module):
            seen.append(pickle.loads(pickle.dumps(trainer.datamodule.train_dataloader().dataset)))

    learner = SequenceLearner(NTM(9, 8, hidden_size=2, memory_slots=3, memory_width=2))
    data = EpisodeData(Copy(max_length=3), 5, batch_size=2, curriculum=RegularIncrease())
    L.Trainer(
        max_steps=1, callbacks=[Pickles()], limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(learner, data)  # fmt: skip
    assert same([seen[0][k] for k in range(5)], [data.train_dataloader().dataset[k] for k in range(5)])


def test_a_task_that_cannot_be_sent_to_a_worker_is_named(monkeypatch):
    monkeypatch.setattr("lightning_ntm.training.data.get_start_method", lambda allow_none: "spawn")

    class Own(Copy):
        pass

    data = EpisodeData(Own(max_length=3), 5, batch_size=2, num_workers=1)
    data.trainer = L.Trainer(max_steps=1, logger=False, enable_progress_bar=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match=r"num_workers \(=1\) must be 0 for Own here: "):
        data.train_dataloader()


def test_seeds_splits_and_numbers_give_unrelated_batches():
    draws = {
        tuple(batch_generator(seed, split, number).integers(2**31, size=4))
        for seed in (1, 2, 2**32 + 1)  # the last equals the first in its lower 32 bits
        for split in ("train", "validation", "evaluation")
        for number in (0, 1, 2**32)
    }
    assert len(draws) == 27


@pytest.mark.parametrize("task", [Copy(), RepeatCopy(), AssociativeRecall(), PrioritySort(), DynamicNGrams()])
def test_evaluations_of_two_difficulties_share_no_random_bits(task):
    name, hardest = next(iter(task.difficulty.items()))
    easy, hard = (next(chunks(task, 1, "evaluation", 5, {name: value})) for value in (hardest, 2 * hardest))
    shown = hardest // 2
    assert not torch.equal(easy.inputs[:1, :shown], hard.inputs[:1, :shown])
    again = next(chunks(task, 1, "evaluation", 5, {name: hardest}))
    assert same([easy], [again])
    # Validation was measured during many trainings: its episodes are those they always were.
    validated = next(chunks(task, 1, "validation", 5, task.difficulty))
    assert same([validated], [task.sample(batch_generator(1, "validation", 0), 5, **task.difficulty)])


def test_the_order_of_difficulties_does_not_matter_and_any_name_may_be_one():
    one, other = ({"number": 3, "seed": 4}, {"seed": 4, "number": 3})
    draws = [batch_generator(1, "evaluation", 0, key).integers(2**31) for key in (one, other, {"number": 34}, None)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_a_fixed_set_has_the_size_asked_for_and_stays_the_same():
    drawn = [list(chunks(Copy(), 1, "validation", 25, {"length": 4}, chunk=10)) for _ in range(2)]
    assert [len(batch.inputs) for batch in drawn[0]] == [10, 10, 5]
    assert same(*drawn)
    assert not np.array_equal(drawn[0][0].inputs, drawn[0][1].inputs)


@pytest.mark.parametrize("field", ["batch_size", "batches_per_epoch", "validation_sequences"])
def test_what_is_out_of_range_is_named(field):
    with pytest.raises(ValueError, match=rf"{field} \(=0\) must be at least 1"):
        EpisodeData(Copy(), **{field: 0})


def test_a_curriculum_chooses_the_length_of_every_batch():
    data = EpisodeData(Copy(max_length=6), 5, batch_size=2, curriculum=RegularIncrease(1, every=2, all_below=False))
    seen = Seen()
    learner = SequenceLearner(NTM(9, 8, hidden_size=2, memory_slots=6, memory_width=2))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    L.Trainer(max_steps=7, callbacks=[seen], limit_val_batches=0, **quiet).fit(learner, data)
    assert [int(batch.mask[0].sum()) for batch in seen.batches] == [1, 1, 2, 2, 3, 3, 4]
    assert data.hparams["curriculum"]["class_path"].endswith("RegularIncrease")


def test_symbols_after_the_end_of_an_answer_are_noted_and_not_counted_by_measures():
    task = BinaryMultiplication()
    (batch,) = chunks(task, 5, "validation", 20, task.difficulty)
    noted = EpisodeData(task, 5, validation_sequences=20).units_per_sequence()
    wrong = torch.nn.functional.one_hot((batch.targets + 1) % task.answer.size, task.answer.size).float()
    assert noted["measured_units_per_sequence"] == task.answer.errors(wrong, batch).double().mean().item()
    assert noted["units_per_sequence"] == batch.mask.sum(1).double().mean().item()
    assert noted["units_per_sequence"] > noted["measured_units_per_sequence"]
    assert EpisodeData(Copy(bits=3, max_length=4), 5).units_per_sequence() == {"units_per_sequence": 12}
