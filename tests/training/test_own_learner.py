"""Subclasses of a learner, errors within a batch, and half precision in a Trainer of the user's own."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset
from training.test_answer_of_a_call import data, trainer
from training.test_own_trainer import adam
from training.test_run import network, run

from lightning_ntm import LSTM, Copy
from lightning_ntm.tasks.answers import Numbers
from lightning_ntm.training import EpisodeData, SequenceLearner
from lightning_ntm.training.weight_noise import NoiseOff


def episodes():
    return EpisodeData(Copy(bits=3, max_length=4), 3, batch_size=4, batches_per_epoch=9, validation_sequences=4)


def fitted(learner, *callbacks, steps=6):
    L.Trainer(
        max_steps=steps, callbacks=list(callbacks), accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    ).fit(learner, datamodule=episodes())  # fmt: skip
    return learner


def noisy(kind=SequenceLearner, backend="auto"):
    model = network()
    model.backend = backend
    return kind(model, adam(lr=0.01), decay_after=1, weight_noise=0.5)


def same(one, other):
    return all(map(torch.equal, one.model.parameters(), other.model.parameters()))


class Fails(Callback):
    """Ends a training within its third batch."""

    def __init__(self, hook, error):
        setattr(self, hook, lambda trainer, *args: self.fail(trainer, error))

    def fail(self, trainer, error):
        if trainer.global_step == 2:
            raise error


@pytest.mark.parametrize("error", [ValueError("it failed"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_a_training_that_ends_within_a_batch_leaves_no_noise(error):
    learner = noisy()
    with pytest.raises((ValueError, SystemExit)):
        fitted(learner, Fails("on_before_backward", error))
    assert same(learner, fitted(noisy(), steps=2))
    assert not same(learner, fitted(noisy(), steps=1))


class OwnHooks(SequenceLearner):
    """Replaces hooks of the learner and of Lightning."""

    def on_after_backward(self):
        self.seen = True

    def configure_callbacks(self):
        return []

    def setup(self, stage):
        super().setup(stage)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_hooks_of_a_subclass_do_not_keep_noise_on_the_weights(backend):
    learner = fitted(noisy(OwnHooks, backend))
    assert learner.seen
    assert same(learner, fitted(noisy(backend=backend)))


class LeavesOut(SequenceLearner):
    """Leaves out every second batch."""

    def training_step(self, batch, batch_idx):
        found = super().training_step(batch, batch_idx)
        return found if batch_idx % 2 else None


@pytest.mark.filterwarnings("ignore:.*training_step.* returned .None.")
def test_a_batch_without_a_backward_pass_leaves_no_noise():
    seen = []

    class Looks(Callback):
        def on_validation_start(self, trainer, module):
            seen.append([p.clone() for p in module.model.parameters()])

    learner = noisy(LeavesOut)
    fitted(learner, Looks(), steps=9)
    assert seen
    assert all(map(torch.equal, seen[-1], learner.model.parameters()))


def test_a_trainer_gets_one_callback_for_the_noise_and_none_without():
    learner, used = noisy(), trainer()
    for _ in range(2):
        used.fit(learner, datamodule=episodes())
        used.fit_loop.epoch_loop.max_steps += 2
    assert [one.noise for one in used.callbacks if isinstance(one, NoiseOff)] == [learner.noise]
    used = trainer()
    used.fit(SequenceLearner(network()), datamodule=episodes())
    assert not any(isinstance(one, NoiseOff) for one in used.callbacks)


class Penalised(SequenceLearner):
    """Adds a penalty to the loss."""

    calls = 0

    def loss_of(self, logits, batch):
        self.calls += 1
        found = super().loss_of(logits, batch)
        return found._replace(loss=found.loss + self.model.output.weight.square().sum())


def test_a_loss_of_ones_own_is_used_with_every_backend(tmp_path):
    learners = []
    for backend in ("auto", "reference"):
        model = network()
        model.backend = backend
        learners.append(fitted(Penalised(model, adam(lr=0.01), decay_after=1), steps=3))
        assert learners[-1].calls == 3
    for mine, other in zip(*(learner.model.parameters() for learner in learners), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    kept = run(tmp_path / "a", steps=3, learner=Penalised(network()))
    kept.fit()
    assert kept.learner.calls == 3
    assert "methods of its own" in kept.learner.loss_refusal(torch.zeros(1, 2, 4))
    assigned = SequenceLearner(network())
    assigned.loss_of = lambda logits, batch: SequenceLearner.loss_of(assigned, logits, batch)
    kept = run(tmp_path / "b", steps=1, learner=assigned)
    assert "methods of its own" in assigned.loss_refusal(torch.zeros(1, 2, 4))


class Sees(SequenceLearner):
    """Notes the targets that it is trained and measured with."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seen = []

    def loss_of(self, logits, batch):
        self.seen.append(batch)
        return super().loss_of(logits, batch)

    def validated(self, batch):
        self.seen.append(batch)
        return super().validated(batch)


INPUTS = torch.rand(4, 5, 3)
TARGETS = 301.5 + INPUTS[..., :2]


def named():
    return [{"inputs": x, "targets": y} for x, y in zip(INPUTS, TARGETS, strict=True)]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
@pytest.mark.parametrize("kind", ["datamodule", "tuples", "dictionaries"])
def test_half_precision_does_not_round_targets(precision, kind):
    torch.manual_seed(0)
    learner = Sees(LSTM(3, 2, hidden_size=4, num_layers=1), adam(lr=0.0, eps=1e-4), answer=Numbers(2))
    own = DataLoader(TensorDataset(INPUTS, TARGETS) if kind == "tuples" else named(), batch_size=4)
    used = trainer(precision=precision)
    used.fit(
        learner,
        **({"datamodule": data()} if kind == "datamodule" else {"train_dataloaders": own, "val_dataloaders": own}),
    )
    assert len(learner.seen) >= 3
    expected = [data().task.batch(1, "train", 0, 4).targets] if kind == "datamodule" else [TARGETS]
    assert torch.equal(learner.seen[0].targets, expected[0])
    assert all(batch.inputs.dtype in (torch.bfloat16, torch.float16) for batch in learner.seen)
    for batch in learner.seen:
        assert batch.targets.dtype == torch.float32
        assert not torch.equal(batch.targets, batch.targets.bfloat16().float())
    assert {p.dtype for p in learner.parameters()} == {learner.seen[0].inputs.dtype}
    (predicted,) = used.predict(learner, DataLoader(INPUTS, batch_size=4))
    assert predicted.dtype == learner.seen[0].inputs.dtype


def test_a_constant_answer_is_measured_against_the_exact_targets():
    model = LSTM(3, 2, hidden_size=4, num_layers=1)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.fill_(302)
    batches = DataLoader(TensorDataset(INPUTS, torch.full((4, 5, 2), 301.5)), batch_size=4)
    learner = SequenceLearner(model, answer=Numbers(2, tolerance=0.3))
    (found,) = trainer(precision="bf16-true").validate(learner, batches, verbose=False)
    assert (found["validation_perfect"], found["validation_squared_error"]) == (0, 0.25)


class Other(L.LightningModule):
    """A module of the user's, which wants the targets in the precision of the Trainer."""

    def validation_step(self, batch, index):
        self.seen = [part.dtype for part in batch]


def test_batches_of_other_modules_are_converted_as_ever():
    batches, used, other = (
        DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=4),
        trainer(precision="bf16-true"),
        Other(),
    )
    used.validate(SequenceLearner(LSTM(3, 2, hidden_size=4), answer=Numbers(2)), batches, verbose=False)
    used.validate(other, batches, verbose=False)
    assert other.seen == [torch.bfloat16, torch.bfloat16]


@pytest.mark.filterwarnings("ignore:.*training_step.* returned .None.")
def test_a_run_counts_batches_that_a_learner_leaves_out(tmp_path):
    learner = LeavesOut(network(), adam(lr=0.01), weight_noise=0.1)
    kept = run(tmp_path / "a", steps=6, learner=learner, log_every_n_steps=6)
    assert kept.fit()["step"] == 6
    (row,) = [row for row in kept.folder.rows() if "train_loss" in row]
    assert row["skipped_steps"] == 4  # batches 0, 2 and 4 of an epoch of five
    assert row["train_loss"] > 0
