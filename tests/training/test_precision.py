"""Training in each precision that the Trainer knows."""

import math
from functools import partial

import pytest
import torch

from lightning_ntm import LSTM, NTM, Copy, DynamicNGrams
from lightning_ntm.evaluation import open_run
from lightning_ntm.records import RunFolder
from lightning_ntm.training import EpisodeData, Run, SequenceLearner

CONFIG = """
seed: 3
task: {class_path: lightning_ntm.Copy, init_args: {bits: 3, max_length: 2}}
model: {class_path: lightning_ntm.NTM, init_args: {hidden_size: 16, memory_slots: 8, memory_width: 6}}
"""
#: As in the default recipe, with an `eps` that float16 has.
RMSPROP = partial(torch.optim.RMSprop, lr=1e-3, alpha=0.95, momentum=0.9, eps=1e-4)
DTYPES = {"16-true": torch.float16, "bf16-true": torch.bfloat16, "64-true": torch.float64, "bf16-mixed": torch.float32}


def run(path, precision, optimizer=RMSPROP, model=NTM, task=None, steps=4, resume=False, every=2, **varied):
    torch.manual_seed(3)
    task = task or Copy(bits=3, max_length=2)
    sizes = {"memory_slots": 8, "memory_width": 6} if model is not LSTM else {}
    network = model(task.input_size, task.output_size, hidden_size=16, **sizes)
    learner = SequenceLearner(network, optimizer, decay_after=1, **varied)
    data = EpisodeData(task, 3, batch_size=8, batches_per_epoch=100, validation_sequences=4)
    options = {"max_steps": steps, "log_every_n_steps": 2, "gradient_clip_val": 1.0, "enable_model_summary": False}
    options |= {"enable_progress_bar": False, "val_check_interval": every, "precision": precision}
    return Run(learner, data, options, RunFolder(path), CONFIG, resume=resume)


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_half_precision_learns(tmp_path, precision):
    run(tmp_path / "a", precision, steps=200, every=100).fit()
    losses = [row["train_loss"] for row in RunFolder(tmp_path / "a").rows() if "train_loss" in row]
    assert losses[0] > 0.6  # chance is 0.69
    assert sum(losses[-10:]) / 10 < 0.3
    assert {p.dtype for p in open_run(tmp_path / "a").model.parameters()} == {torch.float32}


@pytest.mark.parametrize("options", [{"model": LSTM}, {"weight_noise": 0.1}, {"min_memory_slots": 4}], ids=str)
@pytest.mark.parametrize("precision", DTYPES)
def test_each_precision_trains_and_goes_on_where_it_ended(tmp_path, precision, options):
    whole, part = run(tmp_path / "a", precision, **options), run(tmp_path / "b", precision, steps=2, **options)
    whole.fit()
    part.fit()
    rest = run(tmp_path / "b", precision, resume=True, **options)
    rest.fit()
    assert {p.dtype for p in whole.learner.model.parameters()} == {DTYPES[precision]}
    for mine, other in zip(rest.learner.model.parameters(), whole.learner.model.parameters(), strict=True):
        assert torch.isfinite(mine).all()
        assert torch.equal(mine, other)


def test_16_mixed_on_a_cpu_is_bf16_mixed(tmp_path):
    with pytest.warns(UserWarning, match="Using `precision='bf16-mixed'` instead"):
        mixed = run(tmp_path / "a", "16-mixed")
    mixed.fit()
    run(tmp_path / "b", "bf16-mixed").fit()
    first, second = (open_run(tmp_path / name).model.state_dict() for name in "ab")
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["RMSprop", "Adam", "AdamW", "Adagrad"])
def test_an_optimizer_whose_eps_is_0_in_float16_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"eps \(=1e-\d+\) must be at least 6e-08 in {name} .*0.0001 is a good value"):
        run(tmp_path / "a", "16-true", getattr(torch.optim, name)).fit()
    assert not (tmp_path / "a").exists()
    run(tmp_path / "a", "bf16-true", getattr(torch.optim, name)).fit()


@pytest.mark.parametrize("name", ["SGD", "Adadelta", "Adafactor"])
def test_an_optimizer_that_float16_suits_is_not(tmp_path, name):
    run(tmp_path / "a", "16-true", partial(getattr(torch.optim, name), lr=1e-2)).fit()


class Steep(NTM):
    """Each number of its gradient is a float16, and their norm is none."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        for p in self.parameters():
            p.register_hook(lambda gradient: torch.full_like(gradient, 6e4))


def test_a_gradient_whose_norm_is_beyond_float16_is_clipped(tmp_path):
    steep = run(tmp_path / "a", "16-true", model=Steep, steps=3)  # the validation after step 4 clears gradients
    steep.fit()
    assert 1e6 < steep.learner.gradient_norm < math.inf
    assert torch.nn.utils.get_total_norm([p.grad.float() for p in steep.learner.parameters()]) == pytest.approx(1, 1e-2)


def test_the_best_possible_cost_is_that_of_float32(tmp_path):
    measured = []
    for precision in ("32-true", "16-true"):
        run(tmp_path / precision, precision, task=DynamicNGrams(n=3, length=40)).fit()
        rows = RunFolder(tmp_path / precision).rows()
        measured.append([row["validation_optimal_bits"] for row in rows if "validation_optimal_bits" in row])
    assert measured[0] == measured[1]
