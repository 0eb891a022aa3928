"""A task whose batches are not what a task promises is refused before anything is measured, trained or drawn."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import lightning as L
import numpy as np
import pytest
import torch

from lightning_ntm import LSTM, Batch, Copy, FileTask, Task, explore, figure
from lightning_ntm.evaluation import evaluate_range, trace_episode
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.evaluation.evaluate import evaluate, evaluate_pieces
from lightning_ntm.explorer.episodes import samples
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Bits, Numbers, Symbols
from lightning_ntm.tasks.faults import batch_fault
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.testing import check_task
from lightning_ntm.training import EpisodeData, SequenceLearner


@dataclass(frozen=True)
class Mine(Task):
    """Gives what a function makes of a generator, the number of sequences and the number of steps."""

    make: Callable
    asked: Answer | None = None
    input_size = 3

    @property
    def answer(self):
        return self.asked or Symbols(3)

    @property
    def difficulty(self):
        return {"length": 5}

    def sample(self, generator, batch_size, **difficulty):
        low, high = self.fixed(difficulty, "length", 4, 5)
        return self.make(generator, batch_size, int(generator.integers(low, high + 1)))


def drawn(generator, *shape):
    return torch.from_numpy(generator.random(shape, np.float32))


def good(generator, sequences, steps):
    targets = torch.from_numpy(generator.integers(3, size=(sequences, steps)))
    return Batch(drawn(generator, sequences, steps, 3), targets, torch.ones(sequences, steps, dtype=torch.bool))


def altered(**parts):
    """A batch with some parts made from those of a good one."""

    def make(*call):
        batch = good(*call)
        return batch._replace(**{name: change(getattr(batch, name)) for name, change in parts.items()})

    return make


def without_first(mask):
    return mask & (torch.arange(len(mask)) > 0)[:, None]


FAULTY = {
    "bits": (Mine(altered(targets=lambda t: torch.full((*t.shape, 3), 5.0)), Bits(3)), "targets must be 0 or 1 where"),
    "symbols": (Mine(altered(targets=lambda t: t + 3)), "targets must be symbols from 0 to 2"),
    "width": (Mine(altered(targets=lambda t: t[..., None].float()), Numbers(3)), r"shape \(batch, time, 3\), got"),
    "axis": (Mine(altered(targets=lambda t: t.float()), Numbers(1)), r"shape \(batch, time, 1\), got"),
    "nan": (Mine(altered(targets=lambda t: t[..., None] / 0.0), Numbers(1)), "targets must be finite"),
    "truth": (Mine(altered(targets=lambda t: t[..., None] > 1), Numbers(1)), "targets must be real numbers"),
    "int mask": (Mine(altered(mask=lambda mask: mask.long())), r"mask must be torch.bool of shape \(\d+, \d\), got"),
    "float mask": (Mine(altered(mask=lambda mask: 0.5 * mask)), "mask must be torch.bool .* got torch.float32"),
    "mask with an axis": (Mine(altered(mask=lambda mask: mask[..., None])), r"mask must be .* got .* \(\d+, \d, 1\)"),
    "short mask": (Mine(altered(mask=lambda mask: mask[:, 1:])), "mask must be torch.bool of shape"),
    "array": (Mine(altered(inputs=lambda inputs: inputs.numpy())), "inputs must be a tensor, not ndarray"),
    "axes": (Mine(altered(inputs=lambda inputs: inputs[..., 0])), r"inputs must have shape \(batch, time, inputs\)"),
    "more": (Mine(lambda generator, b, t: good(generator, b + 1, t)), r"must have \d+ sequences, as was"),
    "time first": (Mine(lambda generator, b, t: good(generator, t, b)), r"must have \d+ sequences, as was asked for"),
    "all masked": (Mine(altered(mask=lambda mask: mask & False)), "the mask is true in no step"),
    "one masked": (Mine(altered(mask=without_first)), "the mask is true in no step of (sequence 0 of )?a batch"),
}  # fmt: skip
faulty = pytest.mark.parametrize(("task", "said"), FAULTY.values(), ids=FAULTY)


@faulty
def test_an_evaluation_refuses_it(task, said):
    network = LSTM(3, task.output_size, hidden_size=4)
    for call in (
        lambda: evaluate(network, task, {"length": 5}, sequences=7),
        lambda: evaluate_pieces(network, task, {"length": 5}, pieces=2),
        lambda: evaluate_range(network, task, range(6, 8), sequences=7),
        lambda: trace_episode(network, task, {"length": 4}),
        lambda: figure(network, task, {"length": 4}),
        lambda: explore(network, task),
        lambda: list(samples(network, task, 1, recorded=False)),
        lambda: list(chunks(task, 1, "validation", 7, {})),
    ):
        with pytest.raises(ValueError, match=f"^Mine: .*{said}"):
            call()


@faulty
def test_the_check_of_tasks_finds_it(task, said):
    said = "an episode with nothing to answer" if "no step" in said else said
    with pytest.raises(AssertionError, match=said):
        check_task(task)


@faulty
def test_a_training_refuses_it(task, said):
    options = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = L.Trainer(max_steps=1, enable_model_summary=False, accelerator="cpu", **options)
    learner = SequenceLearner(LSTM(3, task.output_size, hidden_size=4))
    with pytest.raises(ValueError, match=f"^Mine: .*{said}"):
        trainer.fit(learner, datamodule=EpisodeData(task, validation_sequences=7))


def test_the_sequence_without_an_answer_is_named():
    task = Mine(altered(mask=without_first))
    with pytest.raises(ValueError, match=r"^Mine: the mask is true in no step of sequence 0 of a batch\.$"):
        evaluate(LSTM(3, 3, hidden_size=4), task, {"length": 5}, sequences=7)


def test_a_task_as_it_should_be_passes():
    check_task(Mine(good))
    assert evaluate(LSTM(3, 3, hidden_size=4), Mine(good), {"length": 5}, sequences=107)["sequences"] == 107


def test_inputs_of_more_bits_than_a_network_has_are_found_by_the_check():
    with pytest.raises(AssertionError, match=r"^Mine has inputs in torch.float64, not torch.float32\.$"):
        check_task(Mine(altered(inputs=lambda inputs: inputs.double())))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"difficulty": {"length": 2.5}}, r"length must be a whole number, not float \(2.5\)"),
        ({"difficulty": {"length": True}}, r"length must be a whole number, not bool \(True\)"),
        ({"difficulty": None}, 'difficulty must be a mapping, as {"length": 40}, not NoneType'),
        ({"difficulty": [3]}, 'difficulty must be a mapping, as {"length": 40}, not list'),
        ({"seed": None}, "seed must be a whole number, not NoneType"),
        ({"seed": 2.5}, r"seed must be a whole number, not float \(2.5\)"),
        ({"seed": True}, r"seed must be a whole number, not bool \(True\)"),
        ({"memory_slots": 2.5}, r"memory_slots must be a whole number, not float \(2.5\)"),
        ({"task": Copy}, r"task must be a task, as Copy\(\), not the class Copy"),
        ({"task": None}, r"task must be a task, as Copy\(\), not NoneType"),
    ],
)
def test_arguments_of_another_type_are_named(options, said):
    network = LSTM(9, 8, hidden_size=4)
    arguments = {"task": Copy(max_length=5), "difficulty": {"length": 3}, **options}
    for call in (evaluate, trace_episode):
        with pytest.raises(TypeError, match=f"^{said}"):
            call(network, **arguments)


@pytest.mark.parametrize("sequences", [2.5, True, "3"])
def test_a_number_of_sequences_is_a_whole_one(sequences):
    network, task = LSTM(9, 8, hidden_size=4), Copy(max_length=5)
    for call in (
        lambda: evaluate(network, task, {"length": 3}, sequences=sequences),
        lambda: evaluate_range(network, task, range(6, 8), sequences=sequences),
        lambda: EpisodeData(task, validation_sequences=sequences),
    ):
        with pytest.raises(TypeError, match=r"sequences must be a (whole )?number, not"):
            call()


@pytest.mark.parametrize("lengths", [[6, 7], (6, 7), 6, "6-7", np.arange(6, 8), None])
def test_lengths_are_a_range(lengths):
    with pytest.raises(TypeError, match=r"^lengths must be a range, as range\(41, 501\), not"):
        evaluate_range(LSTM(9, 8, hidden_size=4), Copy(max_length=5), lengths)


@pytest.mark.parametrize(
    ("sequence", "error", "said"),
    [
        (-1, ValueError, r"sequence \(=-1\) must be at least 0"),
        (1.5, TypeError, r"sequence must be a whole number, not float \(1.5\)"),
        (True, TypeError, "sequence must be a whole number, not bool"),
    ],
)
def test_the_number_of_an_episode_is_whole_and_not_negative(sequence, error, said):
    network, task = LSTM(9, 8, hidden_size=4), Copy(max_length=5)
    sequences = {"inputs": torch.rand(4, 3, 9), "targets": torch.rand(4, 3, 8)}
    for asked in (task, FileTask.from_arrays(sequences, sequences)):
        for draw in (lambda task: figure(network, task, sequence=sequence),
                     lambda task: trace_episode(network, task, {}, sequence=sequence)):  # fmt: skip
            with pytest.raises(error, match=f"^{said}"):
                draw(asked)


@pytest.mark.parametrize("seed", [None, 2.5, True, "3"])
def test_batches_have_a_whole_number_as_their_seed(seed):
    with pytest.raises(TypeError, match=r"^seed must be a whole number"):
        inspect.unwrap(batch_generator)(seed, "train", 0)


def test_a_batch_of_another_type_is_named():
    batch = good(np.random.default_rng(0), 2, 3)
    assert inspect.unwrap(batch_fault)(Symbols(3), batch) is None
    assert inspect.unwrap(batch_fault)(Symbols(3), tuple(batch)) == "a batch must be a Batch, not tuple"
