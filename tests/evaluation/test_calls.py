"""Networks that read ahead, in padded batches against each sequence alone, and networks of other dtypes."""

import math

import lightning as L
import numpy as np
import pytest
import torch

from lightning_ntm import DNC, GRU, LSTM, NTM, RNN, SAM, SDNC, Copy, FileTask, Stack, StackRNN, TapeRNN, Transformer
from lightning_ntm.evaluation.evaluate import evaluate
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.explorer.episodes import _episode
from lightning_ntm.tasks.batch import Batch, steps_of
from lightning_ntm.training import EpisodeData, SequenceLearner
from lightning_ntm.training.loss import Objective, loss_of, loss_side_by_side

NUMBERS = np.random.default_rng(0)
INPUTS = [NUMBERS.integers(0, 3, size=length) for length in (2, 3, 9, 4)]
TASK = FileTask.from_arrays({"inputs": INPUTS, "targets": INPUTS}, {"inputs": INPUTS, "targets": INPUTS})
AHEAD = {
    "Transformer": lambda **more: Transformer(3, 3, hidden_size=8, num_heads=2, num_layers=1, causal=False, **more),
    "TapeRNN": lambda **more: TapeRNN(3, 3, hidden_size=8, memory_slots=5, length_oracle=True, **more),
}
every_network_ahead = pytest.mark.parametrize("make", AHEAD.values(), ids=AHEAD)


def network(make):
    torch.manual_seed(3)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # what is in the padding then matters
    return model


def alone(model, task=TASK, count=4):
    """The cost of each sequence of the validation, in nats."""
    batches = [task.batch(1, "validation", number, 1) for number in range(count)]
    return [float(task.answer.cost(model(batch.inputs)[0], batch).detach()) for batch in batches]


def trainer(**more):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    return L.Trainer(**quiet, enable_model_summary=False, **more)


def test_padding_begins_after_the_last_input_and_the_last_answer():
    inputs = torch.tensor([[1.0, 0, 0, 0], [0, 0, -2, 0], [0, 0, 0, 0]]).unsqueeze(-1)
    mask = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    assert steps_of(inputs, mask).tolist() == [2, 3, 1]


@every_network_ahead
def test_evaluation_and_pictures_are_those_of_each_sequence(make):
    model = network(make)
    costs = alone(model)
    batch = TASK.batch(1, "validation", 0, 4)
    padded = TASK.answer.cost(model(batch.inputs)[0], batch).detach()
    assert not torch.allclose(padded, torch.tensor(costs), rtol=1e-3), "the padding would matter"
    assert evaluate(model, TASK, {})["bits_per_sequence"] == pytest.approx(np.mean(costs) / math.log(2), rel=1e-5)
    for number, cost in enumerate(costs):
        found = trace_episode(model, TASK, {}, sequence=number)["measure: bits_per_sequence"]
        assert found * math.log(2) == pytest.approx(cost, rel=1e-5)


@every_network_ahead
def test_training_and_validation_are_those_of_each_sequence(make):
    model = network(make)
    costs = alone(model)
    learner, losses = SequenceLearner(model, loss="sum"), []
    data = EpisodeData(TASK, batch_size=4, validation_sequences=4)
    measured = trainer().validate(learner, datamodule=data, verbose=False)[0]
    assert measured["validation_loss"] == pytest.approx(np.mean(costs), rel=1e-5)

    class Losses(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            losses.append(float(outputs["loss"]))

    trainer(max_steps=1, callbacks=[Losses()], limit_val_batches=0).fit(learner, datamodule=data)
    assert losses == [pytest.approx(np.mean(costs), rel=1e-5)]


@every_network_ahead
def test_predictions_of_a_batch_with_a_mask_are_those_of_each_sequence(make):
    model, batch = network(make), TASK.batch(1, "validation", 0, 4)
    learner = SequenceLearner(model, answer=TASK.answer)
    for data in (batch, tuple(batch), batch._asdict()):
        found = trainer().predict(learner, torch.utils.data.DataLoader([data], batch_size=None))[0]
        for number, inputs in enumerate(INPUTS):
            expected = TASK.answer.shown(model(batch.inputs[number : number + 1, : len(inputs)])[0])[0]
            torch.testing.assert_close(found[number, : len(inputs)], expected)


@every_network_ahead
def test_what_runs_networks_at_once_does_not_see_padding(make):
    members, batch = [network(make) for _ in range(2)], TASK.batch(1, "validation", 0, 4)
    objective = Objective(TASK.answer, "sum")
    assert float(loss_of(members[0], objective, batch).loss.detach()) == pytest.approx(
        np.mean(alone(members[0])), rel=1e-5
    )
    with pytest.raises(ValueError, match="that reads ahead cannot run padded sequences"):
        loss_side_by_side(Stack(members), objective, Batch(*(torch.stack([part, part]) for part in batch)))


def test_lists_of_different_lengths_are_padded_too():
    task = Copy(bits=2, max_length=6, same_length=False)
    torch.manual_seed(0)
    model = Transformer(3, 2, hidden_size=8, num_heads=2, num_layers=1, causal=False)
    batch, costs = task.batch(1, "evaluation", 0, 8), []
    for i, steps in enumerate(steps_of(batch.inputs, batch.mask)):
        one = Batch(*(part[i : i + 1, :steps] for part in batch))
        costs.append(float(task.answer.cost(model(one.inputs)[0], one).detach()))
    row = evaluate(model, task, {}, sequences=8)
    assert row["bits_per_sequence"] == pytest.approx(np.mean(costs) / math.log(2), rel=1e-5)


def test_an_explorer_shows_an_episode_without_its_padding():
    batch = TASK.batch(1, "validation", 0, 2)
    short = Batch(*(part[:1] for part in batch))
    assert _episode(network(AHEAD["TapeRNN"]), TASK, short, True)["inputs"].shape == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", [DNC, GRU, LSTM, NTM, RNN, SAM, SDNC, StackRNN, TapeRNN, Transformer])
def test_networks_of_any_dtype_are_evaluated(kind, dtype):
    task = Copy(bits=4, max_length=4)
    model = kind(5, 4).to(dtype)
    for backend in ("auto", "reference"):
        model.backend = backend
        row = evaluate(model, task, {"length": 3}, sequences=12)
        expected = evaluate(model.float(), task, {"length": 3}, sequences=12)
        assert row["bits_per_sequence"] == pytest.approx(expected["bits_per_sequence"], rel=0.05)
        model.to(dtype)
