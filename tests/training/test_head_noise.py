"""Noise on the parameters of the heads, in each step of an episode of training."""

import re

import pytest
import torch
from test_safety import run
from test_short_step import general
from test_side_by_side import TASK, alone, ntm, rows, same, same_runs, together

from lightning_ntm import DNC, LSTM, NTM, Copy
from lightning_ntm.evaluation import replay
from lightning_ntm.evaluation.noise import HeadNoise
from lightning_ntm.models.ntm_memory import NTMMemory
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.training import SequenceLearner, own_trainer
from lightning_ntm.training.safety import DivergenceError
from lightning_ntm.training.states import training_state

NOISY = {"head_noise": 0.7, "noise_warmup": 0.5}


def steps(folder):
    return RunFolder(folder).notes()[-1]["steps"]


@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
def test_a_kernel_adds_the_noise_that_the_reference_adds(tmp_path, monkeypatch, controller):
    varied = {"make": lambda: ntm(controller=controller, num_read_heads=2), "trainer": {"precision": "64-true"}}
    alone(tmp_path / "short", 1, **varied, **NOISY).fit()
    general(monkeypatch)
    alone(tmp_path / "general", 1, **varied, **NOISY).fit()
    alone(tmp_path / "without", 1, **varied).fit()
    assert steps(tmp_path / "short") == "short"
    assert steps(tmp_path / "general") == "general: a test asked for it."
    short, reference, without = (
        training_state(varied["make"](), tmp_path / name / "last.ckpt")["state_dict"]
        for name in ("short", "general", "without")
    )
    for name, weights in short.items():
        torch.testing.assert_close(weights, reference[name], atol=1e-10, rtol=1e-10)
    assert not torch.allclose(short["model.heads.weight"], without["model.heads.weight"], atol=1e-4)


def test_the_loss_is_that_of_interface_vectors_with_the_noise(tmp_path):
    alone(tmp_path, 1, trainer={"max_steps": 1, "log_every_n_steps": 1, "val_check_interval": 1}, head_noise=0.7).fit()
    torch.manual_seed(1)
    model = ntm()
    noise = HeadNoise(0.7)
    batch = TASK.sample(batch_generator(1, "train", 0), 4)
    drawn = noise.drawn(model, batch.inputs, 1, 0)
    keys = model.memory.interface_groups[0]
    assert not drawn[..., :keys].any()
    assert drawn[..., keys:].std() == pytest.approx(0.7, rel=0.05)
    state, logits = model.initial_state(4), []
    for x, added in zip(batch.inputs.unbind(1), drawn, strict=True):
        controlled, controller, interface = model._control(x, state)
        memory = model.memory(interface + added, state.memory)
        state = state._replace(memory=memory, controller=controller)
        logits.append(model.output(model._answer(controlled, memory)))
    answer = TASK.answer
    expected = answer.cost(torch.stack(logits, 1), batch).sum() / answer.units(batch).sum()
    assert rows(tmp_path)[0]["train_loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_runs_side_by_side_have_the_noise_that_each_has_alone(tmp_path):
    together(tmp_path, **NOISY, min_memory_slots=3, weight_noise=0.01).fit()
    for seed in (1, 2, 3):
        alone(tmp_path / "alone" / str(seed), seed, **NOISY, min_memory_slots=3, weight_noise=0.01).fit()
        same_runs(tmp_path / str(seed), tmp_path / "alone" / str(seed))
    assert steps(tmp_path / "2") == "short"


def test_a_resumed_run_has_the_noise_of_the_undisturbed_run(tmp_path):
    varied = {"decay_after": 1.0}
    alone(tmp_path / "whole", 1, **varied, head_noise=0.7).fit()
    alone(tmp_path / "parts", 1, **varied, head_noise=0.7, trainer={"max_steps": 5}).fit()
    alone(tmp_path / "parts", 1, **varied, head_noise=0.7, resume=True).fit()
    alone(tmp_path / "rising", 1, **varied, **NOISY).fit()
    whole, parts, rising = (
        training_state(ntm(), tmp_path / name / "last.ckpt")["state_dict"] for name in ("whole", "parts", "rising")
    )
    same(whole, parts)
    assert not torch.equal(whole["model.heads.bias"], rising["model.heads.bias"])


def test_a_step_that_was_not_finite_is_seen_again_with_its_noise(tmp_path):
    for deviation in (0.0, 0.7):
        with pytest.raises(DivergenceError):
            run(tmp_path / f"{deviation}", head_noise=deviation).fit()
    seen = {}
    for deviation in (0.0, 0.7):
        model, batch, state = replay(tmp_path / f"{deviation}")
        seen[deviation] = [model.unroll(batch.inputs, state)[0] for _ in range(2)]
    assert torch.equal(*seen[0.7])
    assert not torch.allclose(seen[0.0][0], seen[0.7][0])


def test_validation_has_no_noise_and_a_layer_keeps_no_hook(tmp_path, monkeypatch):
    general(monkeypatch)
    hooked = {True: [], False: []}
    measured = own_trainer.InOwnTrainer.validated

    def validated(learner, batch):
        hooked[False].append(len(learner.model.heads._forward_hooks))
        return measured(learner, batch)

    def loss_of(learner, logits, batch):
        hooked[True].append(len(learner.model.heads._forward_hooks))
        return learner._objective.of(logits, batch)

    monkeypatch.setattr(own_trainer.InOwnTrainer, "validated", validated)
    monkeypatch.setattr(SequenceLearner, "loss_of", loss_of)
    run = alone(tmp_path, 1, head_noise=0.7)
    run.fit()
    assert set(hooked[True]) == {1}
    assert set(hooked[False]) == {0}
    assert not run.learner.model.heads._forward_hooks


def test_side_by_side_without_a_kernel_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no kernel runs the network, and head_noise is 0\.7\."):
        together(tmp_path, make=lambda: ntm(backend="reference"), head_noise=0.7)


@pytest.mark.parametrize(
    ("model", "deviation", "said"),
    [
        (LSTM(9, 8), 0.1, "head_noise (=0.1) cannot be given: LSTM is not an NTM with the paper's memory."),
        (DNC(9, 8), 0.1, "head_noise (=0.1) cannot be given: DNC is not an NTM with the paper's memory."),
        (NTM(9, 8, checkpoint_every=3), 0.1, "head_noise (=0.1) needs checkpoint_every 0, got 3."),
        (NTM(9, 8), -0.1, "head_noise (=-0.1) must be between 0 and 20."),
        (NTM(9, 8), float("nan"), "head_noise (=nan) must be between 0 and 20."),
    ],
    ids=["lstm", "dnc", "checkpoints", "negative", "nan"],
)
def test_what_cannot_have_noise_on_its_heads_is_refused(model, deviation, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        SequenceLearner(model, head_noise=deviation)


def test_a_memory_of_ones_own_size_has_it_too():
    model = NTM(9, 8, memory=NTMMemory(memory_slots=5, memory_width=3, num_write_heads=2))
    learner = SequenceLearner(model, head_noise=0.3)
    assert learner.head_noise.drawn(model, Copy().batch(1, "train", 0, 2).inputs, 1, 0).shape[-1] == (
        model.memory.interface_size
    )
