"""Which answer a learner has in a call of a Trainer: of the constructor, the datamodule, the last training, or bits."""

from dataclasses import dataclass

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from training.test_own_trainer import SILENT, adam

from lightning_ntm import LSTM, Batch, Task
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols
from lightning_ntm.training import EpisodeData, SequenceLearner

INPUTS = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(1))
BITS = DataLoader(TensorDataset(INPUTS, (INPUTS[..., :2] > 0.5).float()), batch_size=4)
ALONE = DataLoader(INPUTS, batch_size=4)


@dataclass(frozen=True)
class Halved(Numbers):
    """A kind of answer of the user's."""

    def shown(self, logits):
        return logits / 2


@dataclass(frozen=True)
class Weighted(Numbers):
    """Has a field that is no plain value."""

    weights: torch.Tensor | None = None


@dataclass(frozen=True)
class Given(Task):
    """Asks for two numbers above 5 or, with `Symbols(3)`, for the largest input."""

    answer: Answer = Numbers(2)  # noqa: RUF009
    input_size = 3
    difficulty = {"length": 5}  # noqa: RUF012

    def sample(self, generator, batch_size, **difficulty):
        inputs = torch.from_numpy(generator.random((batch_size, 5, 3), dtype=np.float32))
        targets = inputs.argmax(-1) if isinstance(self.answer, Symbols) else 5 + inputs[..., :2]
        return Batch(inputs, targets, torch.ones(batch_size, 5, dtype=torch.bool))


def network(outputs=2):
    torch.manual_seed(0)
    return LSTM(3, outputs, hidden_size=4, num_layers=1)


def data(answer=Numbers(2), seed=1):  # noqa: B008
    return EpisodeData(Given(answer), seed, batch_size=4, batches_per_epoch=2, validation_sequences=4)


def trainer(**options):
    return L.Trainer(max_steps=2, **{**SILENT, **options})


def test_a_trainer_s_earlier_datamodule_does_not_count():
    (expected,) = trainer().validate(SequenceLearner(network()), BITS, verbose=False)
    used = trainer()
    used.validate(SequenceLearner(network()), datamodule=data(), verbose=False)
    (found,) = used.validate(SequenceLearner(network()), BITS, verbose=False)
    assert found == expected
    used.validate(SequenceLearner(network(3)), datamodule=data(Symbols(3)), verbose=False)  # of another size, too
    learner = SequenceLearner(network())
    used.fit(learner, BITS, BITS)
    assert learner.answer == Bits(2)
    assert used.datamodule is not None, "Lightning keeps it"


def test_a_seed_of_an_earlier_datamodule_does_not_count():
    used, learners = trainer(), []
    used.validate(SequenceLearner(network()), datamodule=data(seed=5), verbose=False)
    for one in (used, trainer()):
        learners.append(SequenceLearner(network(), weight_noise=0.5))
        one.fit(learners[-1], BITS, BITS)
    for mine, other in zip(*(learner.parameters() for learner in learners), strict=True):
        assert torch.equal(mine, other)


def test_only_a_training_gives_a_learner_an_answer():
    learner = SequenceLearner(network())
    trainer().validate(learner, datamodule=data(), verbose=False)
    assert isinstance(learner.answer, Numbers)
    trainer().validate(learner, BITS, verbose=False)
    assert learner.answer == Bits(2)
    trainer().fit(learner, datamodule=data())
    trainer().validate(learner, BITS, verbose=False)
    assert isinstance(learner.answer, Numbers), "what the network was trained for"


@pytest.mark.parametrize("answer", [Numbers(2), Symbols(3)], ids=str)
def test_a_checkpoint_has_the_answer_of_its_training(answer, tmp_path):
    path, fitted = tmp_path / "a.ckpt", trainer()
    learner = SequenceLearner(network(answer.size), adam(lr=0.5))
    fitted.fit(learner, datamodule=data(answer))
    (expected,) = fitted.predict(learner, ALONE)
    fitted.save_checkpoint(path)
    again = SequenceLearner.load_from_checkpoint(path)
    assert again.answer == learner.answer == answer
    (found,) = trainer().predict(again, ALONE)
    assert torch.equal(found, expected)
    (found,) = trainer().predict(SequenceLearner(network(answer.size)), ALONE, ckpt_path=path)
    assert torch.equal(found, expected)
    fitted = trainer()
    fitted.fit(again, datamodule=data(answer))
    fitted.save_checkpoint(path)
    assert SequenceLearner.load_from_checkpoint(path).answer == answer


def test_the_answer_of_the_call_comes_before_that_of_a_checkpoint(tmp_path):
    fitted = trainer()
    fitted.fit(SequenceLearner(network()), datamodule=data())
    fitted.save_checkpoint(path := tmp_path / "a.ckpt")
    own = SequenceLearner.load_from_checkpoint(path, answer=Bits(2))
    trainer().validate(own, BITS, verbose=False)
    assert own.answer == Bits(2)
    learner = SequenceLearner(network())
    trainer().validate(learner, datamodule=data(Halved(2)), ckpt_path=path, verbose=False)
    assert learner.answer == Halved(2)


def test_an_answer_of_ones_own_is_made_again_or_asked_for(tmp_path):
    for answer in (Halved(2), Weighted(2, weights=torch.ones(2)), Numbers(2, tolerance=np.float64(0.5))):
        fitted = trainer()
        fitted.fit(SequenceLearner(network()), datamodule=data(answer))
        fitted.save_checkpoint(tmp_path / f"{type(answer).__name__}.ckpt")
    assert SequenceLearner.load_from_checkpoint(tmp_path / "Numbers.ckpt").answer == Numbers(2, tolerance=0.5)
    assert SequenceLearner.load_from_checkpoint(tmp_path / "Halved.ckpt").answer == Halved(2)
    path = tmp_path / "Weighted.ckpt"
    with pytest.raises(ValueError, match=r"its Answer \(Weighted\) was made. Pass answer= to load_from_checkpoint\.$"):
        SequenceLearner.load_from_checkpoint(path)
    assert SequenceLearner.load_from_checkpoint(path, answer=Numbers(2)).answer == Numbers(2)
    learner = SequenceLearner(network())
    trainer().validate(learner, datamodule=data(), ckpt_path=path, verbose=False)


def test_a_checkpoint_makes_no_answer_of_anything_else(tmp_path):
    fitted = trainer()
    fitted.fit(SequenceLearner(network()), datamodule=data())
    fitted.save_checkpoint(path := tmp_path / "a.ckpt")
    state = torch.load(path, weights_only=True)
    state["answer"] = {"class_path": "os.system", "init_args": {"command": "true"}}
    torch.save(state, path)
    with pytest.raises(ValueError, match="Python's own"):
        SequenceLearner.load_from_checkpoint(path)


def test_an_answer_of_the_constructor_must_fit_the_targets_of_the_task():
    for own, says in ((Bits(2), "Given: targets must be 0 or 1"), (Symbols(2), "Given: targets must be int64")):
        with pytest.raises(ValueError, match=says):
            trainer().fit(SequenceLearner(network(), answer=own), datamodule=data())
    learner = SequenceLearner(network(), answer=Numbers(2, tolerance=0.5))
    trainer().fit(learner, datamodule=data())
    assert learner.answer.tolerance == 0.5
