"""A run folder: what is measured, kept, resumed and refused."""

import json
import os
import signal

import pytest
import safetensors.torch
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch.optim.lr_scheduler import StepLR

from lightning_ntm import LSTM, NTM, Copy, DynamicNGrams
from lightning_ntm.evaluation import open_run
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.evaluation.noise import WeightNoise
from lightning_ntm.evaluation.weights import FORMAT, load_weights, save_weights
from lightning_ntm.measures import BITS, UNCERTAIN_BITS
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.training import EpisodeData, Run, SequenceLearner
from lightning_ntm.training.callbacks import Keeper
from lightning_ntm.training.optimizer import default_optimizer, prefer_fused
from lightning_ntm.training.safety import InterruptionError
from lightning_ntm.training.states import training_state

CONFIG = """
seed: 3
task: {class_path: lightning_ntm.Copy, init_args: {bits: 3, max_length: 4}}
model: {class_path: lightning_ntm.NTM, init_args: {hidden_size: 8, memory_slots: 6, memory_width: 4}}
"""


def network():
    torch.manual_seed(3)
    return NTM(4, 3, hidden_size=8, memory_slots=6, memory_width=4)


def run(path, steps=12, resume=False, stop_when_solved=0, model=None, task=None, varied=None, learner=None, **trainer):
    learner = learner or SequenceLearner(
        model or network(),
        lambda p: torch.optim.Adam(p, lr=1e-2),
        decay_after=1.0,
        **(varied or {}),
    )
    data = EpisodeData(
        task or Copy(bits=3, max_length=4), 3, batch_size=4, batches_per_epoch=5, validation_sequences=30
    )
    options = {
        "max_steps": steps,
        "log_every_n_steps": 3,
        "val_check_interval": 4,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "gradient_clip_val": 1.0,
        **trainer,
    }
    return Run(learner, data, options, RunFolder(path), CONFIG, resume=resume, stop_when_solved=stop_when_solved)


class SignalAtValidation(Callback):
    """Sends a signal while the validation after a step runs."""

    def on_validation_start(self, trainer, module):
        if trainer.global_step == 8:
            os.kill(os.getpid(), signal.SIGTERM)


def bits_per_sequence(logits, batch):
    return Bits(3).measure(logits, batch)["bits_per_sequence"]


def measured(path):
    """Rows without what depends on the clock."""
    rows = RunFolder(path).rows()
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def test_rows_say_what_was_trained_and_validated(tmp_path):
    finished = run(tmp_path / "a")
    finished.fit()
    rows = measured(tmp_path / "a")
    assert [(row["step"], "train_loss" in row) for row in rows] == [
        (3, True), (4, False), (6, True), (8, False), (9, True), (12, True), (12, False)
    ]  # fmt: skip
    assert [row["sequences"] for row in rows] == [4 * row["step"] for row in rows]
    (batch,) = chunks(Copy(bits=3, max_length=4), 3, "validation", 30, {"length": 4})
    logits = finished.learner.model(batch.inputs)[0]
    assert rows[-1]["validation_wrong_bits"] == pytest.approx(Bits(3).errors(logits, batch).mean().item())
    bits = bits_per_sequence(logits, batch).mean().item()
    assert rows[-1]["validation_bits_per_sequence"] == pytest.approx(bits)
    assert rows[-1]["validation_loss"] == pytest.approx(bits * torch.tensor(2.0).log().item() / 12)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_learning_rate_of_a_row_is_that_of_its_step(tmp_path, accumulated):
    taken = []

    class Rates(torch.optim.SGD):
        def step(self, closure=None):
            taken.append(self.param_groups[0]["lr"])
            return super().step(closure)

    learner = SequenceLearner(
        network(), lambda parameters: Rates(parameters, 0.5), lambda optimizer: StepLR(optimizer, 1, gamma=0.7)
    )
    data = EpisodeData(Copy(bits=3, max_length=4), 3, batch_size=4, validation_sequences=30)
    trainer = {"max_steps": 6, "log_every_n_steps": 2, "accumulate_grad_batches": accumulated, "limit_val_batches": 0}
    Run(learner, data, {**trainer, "accelerator": "cpu"}, RunFolder(tmp_path / "a"), "").fit()
    assert [row["learning_rate"] for row in measured(tmp_path / "a")] == taken[1::2]
    assert len(set(taken)) == 6


@pytest.mark.parametrize("sequences", [20, 250])  # in one batch and in three
def test_means_of_counts_have_no_rounding_errors(tmp_path, sequences):
    task = Copy(bits=3, max_length=4)
    data = EpisodeData(task, 3, batch_size=5, validation_sequences=sequences)
    trainer = {"max_steps": 2, "log_every_n_steps": 2, "val_check_interval": 2, "accelerator": "cpu"}
    finished = Run(SequenceLearner(network()), data, trainer, RunFolder(tmp_path / "a"), "")
    finished.fit()
    trained, validated = measured(tmp_path / "a")
    batches = chunks(task, 3, "validation", sequences, {"length": 4})
    model = finished.learner.model
    wrong = torch.cat([Bits(3).errors(model(batch.inputs)[0], batch) for batch in batches]).long()
    assert validated["validation_wrong_bits"] == round(wrong.sum().item() / sequences, 10)
    assert validated["validation_perfect"] == round((wrong == 0).sum().item() / sequences, 10)
    assert finished.record.keeper.best["wrong_bits"] == validated["validation_wrong_bits"]
    assert trained["train_wrong_bits"] == round(trained["train_wrong_bits"], 1)  # of ten sequences


def test_validation_of_a_task_with_an_optimum_measures_the_regret(tmp_path):
    task = DynamicNGrams(n=3, length=12)
    model = NTM(1, 1, hidden_size=5, memory_slots=4, memory_width=3)
    finished = run(tmp_path / "a", model=model, task=task)
    finished.fit()
    row = measured(tmp_path / "a")[-1]
    (batch,) = chunks(task, 3, "validation", 30, {"length": 12})
    bits, optimal = (
        bits_per_sequence(logits, batch).mean().item()
        for logits in (finished.learner.model(batch.inputs)[0], task.optimal_logits(batch))
    )
    assert finished.record.keeper.best["regret_bits"] == row["validation_regret_bits"]
    assert row["validation_optimal_bits"] == pytest.approx(optimal)
    assert row["validation_regret_bits"] == pytest.approx(bits - optimal, abs=1e-5)
    assert 0 < optimal < row["validation_bits_per_sequence"]


def test_training_is_measured_over_all_batches_before_their_updates(tmp_path):
    run(tmp_path / "a", steps=3).fit()
    model, task = network(), Copy(bits=3, max_length=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses, wrong = [], []
    for number in range(3):
        batch = task.sample(batch_generator(3, "train", number), 4)
        logits, _ = model(batch.inputs)
        loss = Bits(3).cost(logits, batch).sum() / Bits(3).units(batch).sum()
        losses.append(loss.item())
        wrong.append(Bits(3).errors(logits, batch).mean().item())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
    row = measured(tmp_path / "a")[0]
    assert row["train_loss"] == pytest.approx(sum(losses) / 3)
    assert row["train_wrong_bits"] == pytest.approx(sum(wrong) / 3)
    assert row["gradient_norm"] == pytest.approx(norm)
    kept = safetensors.torch.load_file(tmp_path / "a" / "best.safetensors")
    torch.testing.assert_close(kept, dict(model.state_dict()))


def test_where_a_step_computes_the_loss_several_times_the_first_is_measured(tmp_path):
    model, task = network(), Copy(bits=3, max_length=4)
    batch = task.sample(batch_generator(3, "train", 0), 4)
    logits, _ = model(batch.inputs)
    loss = Bits(3).cost(logits, batch).sum() / Bits(3).units(batch).sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    learner = SequenceLearner(model, lambda parameters: torch.optim.LBFGS(parameters, lr=0.1))
    data = EpisodeData(task, 3, batch_size=4, validation_sequences=30)
    trainer = {"max_steps": 2, "log_every_n_steps": 1, "limit_val_batches": 0, "accelerator": "cpu"}
    Run(learner, data, trainer, RunFolder(tmp_path / "a"), "").fit()
    row = measured(tmp_path / "a")[0]
    assert row["train_loss"] == pytest.approx(loss.item())
    assert row["train_wrong_bits"] == pytest.approx(Bits(3).errors(logits, batch).mean().item())
    assert row["gradient_norm"] == pytest.approx(torch.nn.utils.get_total_norm(gradients).item())


@pytest.mark.parametrize(("stop", "varied"), [
    *((stop, {}) for stop in (1, 4, 5, 7, 10, 11)),
    *((stop, {"min_memory_slots": 3, "weight_noise": 0.1}) for stop in (5, 7)),
])  # fmt: skip
def test_a_resumed_run_is_the_undisturbed_run(tmp_path, stop, varied):
    run(tmp_path / "whole", varied=varied).fit()
    run(tmp_path / "parts", steps=stop, varied=varied).fit()
    run(tmp_path / "parts", resume=True, varied=varied).fit()
    assert measured(tmp_path / "parts") == measured(tmp_path / "whole")
    states = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "parts")]
    for mine, other in zip(states[0]["state_dict"].values(), states[1]["state_dict"].values(), strict=True):
        assert torch.equal(mine, other)
    kept = [safetensors.torch.load_file(tmp_path / name / "best.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


class Counting(NTM):
    """Notes how many memory slots it has in every call."""

    def forward(self, inputs, state=None):
        logits, state = super().forward(inputs, state)
        self.counts = [*getattr(self, "counts", []), (self.training, self.memory.slots_of(state.memory))]
        return logits, state


def slots_seen(path, **varied):
    torch.manual_seed(3)
    model = Counting(4, 3, hidden_size=8, memory_slots=6, memory_width=4)
    run(path, steps=60, model=model, varied=varied).fit()
    return [slots for training, slots in model.counts if training], {s for training, s in model.counts if not training}


def test_batches_are_trained_with_a_memory_of_any_size_from_the_least_to_all(tmp_path):
    trained, validated = slots_seen(tmp_path / "a", min_memory_slots=4)
    assert set(trained) == {4, 5, 6}
    assert validated == {6}
    assert slots_seen(tmp_path / "b", min_memory_slots=4) == (trained, validated)
    assert slots_seen(tmp_path / "c") == ([6] * 60, {6})


class Watched(NTM):
    """Notes its weights in every call, and what they are in the backward."""

    def forward(self, inputs, state=None):
        logits, state = super().forward(inputs, state)
        calls = self.__dict__.setdefault("calls", [])
        calls.append((self.training, self._weights()))
        if logits.requires_grad:
            logits.register_hook(lambda _: self.__dict__.setdefault("backwards", []).append(self._weights()))
        return logits, state

    def _weights(self):
        return torch.nn.utils.parameters_to_vector(self.parameters()).detach().clone()


def weights_seen(path, deviation, checkpoint_every=0):
    """Return the weights at the beginning, and those of all forwards and backwards in training and in validation."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 8, "memory_slots": 6, "memory_width": 4, "checkpoint_every": checkpoint_every}
    model = Watched(4, 3, **sizes)
    began = model._weights()
    run(
        path, steps=8, model=model, varied={"weight_noise": deviation}, accumulate_grad_batches=2, val_check_interval=1
    ).fit()
    trained, validated = ([weights for training, weights in model.calls if training is t] for t in (True, False))
    return began, trained, model.backwards, validated


@pytest.mark.parametrize("every", [0, 2])
def test_noise_is_on_the_weights_forward_and_backward_and_nowhere_else(tmp_path, every):
    began, forwards, backwards, validated = weights_seen(tmp_path / "a", 1e-2, every)
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards, strict=True))
    # Up to the first step, after two batches, the weights are the same but for their noises.
    assert torch.equal(validated[0], began)
    assert (forwards[0] - began).std() == pytest.approx(1e-2, rel=0.1)
    noises = [one - other for one, other in zip(forwards[:4:2], forwards[1:4:2], strict=True)]
    assert torch.stack(noises).std() == pytest.approx(1e-2 * 2**0.5, rel=0.05)
    assert torch.stack(noises).mean() == pytest.approx(0, abs=1e-3)
    _, again, *_ = weights_seen(tmp_path / "b", 1e-2, every)
    assert all(torch.equal(one, other) for one, other in zip(forwards, again, strict=True))


def test_without_noise_the_weights_are_those_that_are_trained(tmp_path):
    _, forwards, *_ = weights_seen(tmp_path / "a", 0.0)
    assert all(torch.equal(one, other) for one, other in zip(forwards[:4:2], forwards[1:4:2], strict=True))


def test_the_gradient_is_that_of_the_weights_with_their_noise(tmp_path):
    seen = []

    class Stepping(torch.optim.SGD):
        def step(self, closure=None):
            loss = closure()
            seen.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
            return loss

    model, task = network(), Copy(bits=3, max_length=4)
    learner = SequenceLearner(model, lambda p: Stepping(p, lr=0.0), weight_noise=0.1)
    data = EpisodeData(task, 3, batch_size=4, batches_per_epoch=5, validation_sequences=5)
    options = {"max_steps": 1, "enable_model_summary": False, "enable_progress_bar": False, "limit_val_batches": 0}
    Run(learner, data, options, RunFolder(tmp_path / "a"), CONFIG).fit()
    other = network()
    noise = WeightNoise(0.1)
    noise.put_on(other.parameters(), 3, 0)
    batch = task.sample(batch_generator(3, "train", 0), 4)
    logits, _ = other(batch.inputs)
    (Bits(3).cost(logits, batch).sum() / Bits(3).units(batch).sum()).backward()
    torch.testing.assert_close(seen[0], [p.grad for p in other.parameters()])
    assert not torch.equal(next(other.parameters()), next(model.parameters()))
    noise.take_off()
    assert all(torch.equal(mine, its) for mine, its in zip(other.parameters(), model.parameters(), strict=True))


def test_noise_rises_over_a_share_of_the_training(tmp_path):
    torch.manual_seed(3)
    model = Watched(4, 3, hidden_size=8, memory_slots=6, memory_width=4)
    began = model._weights()
    frozen = SequenceLearner(model, lambda p: torch.optim.SGD(p, lr=0.0), weight_noise=0.1, noise_warmup=0.5)
    run(tmp_path / "a", steps=8, learner=frozen).fit()
    seen = [(weights - began).std().item() for trained, weights in model.calls if trained]
    expected = [0.1 * min(1, step / 4) for step in range(8)]
    assert seen == pytest.approx(expected, rel=0.1)


def test_in_a_training_without_a_known_end_noise_does_not_rise(tmp_path):
    torch.manual_seed(3)
    model = Watched(4, 3, hidden_size=8, memory_slots=6, memory_width=4)
    began = model._weights()
    varied = {"weight_noise": 0.1, "noise_warmup": 0.5}
    run(tmp_path / "a", steps=-1, model=model, varied=varied, max_epochs=-1, max_time="00:00:00:01").fit()
    first = next(weights for trained, weights in model.calls if trained)
    assert (first - began).std() == pytest.approx(0.1, rel=0.1)


class Sized(NTM):
    """Its memory is as large as it was made."""

    def initial_state(self, *batch):
        return super().initial_state(*batch)


def test_a_memory_that_cannot_vary_is_told():
    with pytest.raises(ValueError, match=r"min_memory_slots \(=3\).*: LSTM has no memory slots"):
        SequenceLearner(LSTM(4, 3), min_memory_slots=3)
    with pytest.raises(ValueError, match=r"min_memory_slots \(=3\).*: Sized has .* whose number cannot be set"):
        SequenceLearner(Sized(4, 3), min_memory_slots=3)


def test_rows_after_the_resumed_step_are_dropped_and_a_torn_line_is_not_read(tmp_path):
    run(tmp_path / "whole", steps=8).fit()
    run(tmp_path / "a", steps=4).fit()
    folder = RunFolder(tmp_path / "a")
    folder.append({"step": 6, "train_loss": 1.0})
    with folder.metrics.open("a") as file:
        file.write('{"step": 7, "tra')
    run(folder.path, steps=8, resume=True).fit()
    assert measured(folder.path) == measured(tmp_path / "whole")


def test_damaged_metrics_are_told_before_anything_is_changed(tmp_path):
    run(tmp_path / "a", steps=4).fit()
    folder = RunFolder(tmp_path / "a")
    for line in ("rubbish", "[1]", '{"no": "step"}'):
        before = folder.metrics.read_text()
        folder.metrics.write_text(f"{before}{line}\n")
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3, is damaged"):
            run(folder.path, steps=8, resume=True)
        folder.metrics.write_text(before)


def test_a_measure_that_is_no_number_is_written_as_null(tmp_path):
    RunFolder(tmp_path).append({"step": 1, "train_loss": float("nan"), "gradient_norm": float("inf")})
    assert RunFolder(tmp_path).rows() == [{"step": 1, "train_loss": None, "gradient_norm": None}]


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    finished = run(tmp_path / "a", steps=8)
    keeper = finished.record.keeper
    finished.fit()
    best = dict(keeper.best)
    keeper.on_validation_end(worse(finished, wrong_bits=best["wrong_bits"] + 1), finished.learner)
    assert keeper.best == best
    keeper.on_validation_end(worse(finished, wrong_bits=0.0), finished.learner)
    assert keeper.best["wrong_bits"] == 0
    assert json.loads(RunFolder(tmp_path / "a").result.read_text())["best"] == best


@pytest.mark.parametrize("first", [True, False])
def test_the_weights_that_were_measured_are_kept_when_a_callback_swaps_them(tmp_path, first):
    average = EMAWeightAveraging(decay=0.9)
    trained = run(tmp_path / "a", steps=12, callbacks=[average])
    if first:
        trained.trainer.callbacks.sort(key=lambda callback: isinstance(callback, Keeper), reverse=True)
    trained.fit()
    opened = open_run(tmp_path / "a")
    [batch] = trained.data.val_dataloader()
    wrong = Bits(3).errors(opened.model(batch.inputs)[0], batch)
    told = {row["step"]: row["validation_wrong_bits"] for row in measured(tmp_path / "a") if "validation_loss" in row}
    assert float(wrong.mean()) == pytest.approx(told[opened.step], abs=1e-6)
    assert min(told.values()) == told[opened.step]


def test_a_signal_during_a_validation_changes_nothing_of_what_is_kept(tmp_path):
    run(tmp_path / "whole").fit()
    with pytest.raises(InterruptionError):
        run(tmp_path / "ended", callbacks=[SignalAtValidation()]).fit()
    state = training_state(network(), tmp_path / "ended" / "last.ckpt")
    assert state["global_step"] == 8
    assert state["callbacks"]["Keeper"]["best"]["step"] == 8
    assert RunFolder(tmp_path / "ended").kept_step() == 8
    run(tmp_path / "ended", resume=True).fit()
    assert measured(tmp_path / "ended") == measured(tmp_path / "whole")
    kept = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("ended", "whole")]
    assert kept[0] == kept[1]


def test_where_answers_are_uncertain_the_fewest_bits_are_kept(tmp_path):
    finished = run(tmp_path / "a", steps=8)
    finished.fit()
    keeper = Keeper(RunFolder(tmp_path / "a"), finished.learner.model, UNCERTAIN_BITS)
    for wrong_bits, bits, kept in ((3, 9.0, 9.0), (1, 10.0, 9.0), (5, 8.0, 8.0), (4, 8.004, 8.004), (5, 8.0, 8.004)):
        trainer = worse(finished, wrong_bits)
        trainer.callback_metrics["validation_bits_per_sequence"] = torch.tensor(bits)
        keeper.on_validation_end(trainer, finished.learner)
        assert keeper.best["bits_per_sequence"] == pytest.approx(kept)
    assert keeper.best["wrong_bits"] == 4
    assert run(tmp_path / "b").record.keeper.measures == BITS


def worse(finished, wrong_bits):
    trainer = finished.trainer
    trainer.callback_metrics["validation_wrong_bits"] = torch.tensor(wrong_bits)
    trainer.callback_metrics["validation_perfect"] = torch.tensor(float(wrong_bits == 0))
    return trainer


def test_stops_after_enough_validations_without_a_wrong_bit(tmp_path):
    solved = run(tmp_path / "a", steps=400, stop_when_solved=2, model=Knowing(4, 3, hidden_size=2))
    assert solved.fit()["step"] == 8


def test_a_stop_by_validations_needs_validations(tmp_path):
    for none in (0, 0.0):
        with pytest.raises(
            ValueError, match=r"^stop_when_solved \(=2\) needs validations; limit_val_batches \(=0\) of"
        ):
            run(tmp_path / "a", stop_when_solved=2, limit_val_batches=none)
    assert not (tmp_path / "a").exists()
    run(tmp_path / "a", stop_when_solved=2, limit_val_batches=1)


class Knowing(NTM):
    """Knows the answers: the first call of a sequence sees it whole."""

    def forward(self, inputs, state=None):
        logits, state = super().forward(inputs, state)
        length = inputs.shape[1] // 2
        answers = torch.zeros_like(logits)
        answers[:, length + 1 :] = inputs[:, :length, :3] * 20 - 10
        return answers + 0 * logits, state


def test_of_equal_weights_the_last_are_kept(tmp_path):
    finished = run(tmp_path / "a", steps=12, model=Knowing(4, 3, hidden_size=2))
    assert finished.fit()["best"]["step"] == 12
    assert safetensors.safe_open(finished.folder.best, "pt").metadata()["step"] == "12"


def test_an_existing_folder_is_never_written_over(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"^folder .*a exists; choose another --name\.$"):  # there is nothing to resume
        run(tmp_path / "a")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["thesis.txt"]


def test_the_folder_of_a_run_is_never_written_over_and_can_be_resumed(tmp_path):
    run(tmp_path / "a", steps=2).fit()
    with pytest.raises(ValueError, match=r"^run folder .*a exists; .*, or continue it with --resume .*a\.$"):
        run(tmp_path / "a")


def test_nothing_to_resume_is_told(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        run(tmp_path / "a", resume=True)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="is not a run folder"):
        run(tmp_path / "b", resume=True)


@pytest.mark.filterwarnings("ignore:.*num_workers.*", "ignore:.*fork.*:DeprecationWarning", "ignore:.*worker.*")
def test_the_number_of_loader_workers_changes_nothing(tmp_path):
    for workers in (0, 4):
        made = run(tmp_path / str(workers))
        made.data.num_workers = workers
        made.fit()
    assert measured(tmp_path / "0") == measured(tmp_path / "4")
    weights = [safetensors.torch.load_file(tmp_path / workers / "best.safetensors") for workers in ("0", "4")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_newer_file_is_said_to_be_newer(tmp_path):
    run(tmp_path / "a", steps=4).fit()
    last, best = tmp_path / "a" / "last.ckpt", tmp_path / "a" / "best.safetensors"
    torch.save({**torch.load(last, weights_only=True), "lightning_ntm": FORMAT + 1}, last)
    with pytest.raises(ValueError, match=rf"newer lightning-ntm \(format {FORMAT + 1}; this one reads {FORMAT}\)"):
        training_state(network(), last)
    newer = {"format": f"lightning-ntm {FORMAT + 1}"}
    safetensors.torch.save_file(safetensors.torch.load_file(best), best, newer)
    with pytest.raises(ValueError, match=rf"newer lightning-ntm \(format {FORMAT + 1}; this one reads {FORMAT}\)"):
        load_weights(network(), best)


def test_a_damaged_foreign_or_other_training_state_is_refused(tmp_path):
    run(tmp_path / "a", steps=4).fit()
    last = tmp_path / "a" / "last.ckpt"
    whole = last.read_bytes()
    assert training_state(network(), last)["global_step"] == 4
    for damaged in (whole[: len(whole) // 2], b"", b"PK\x03\x04 nothing", b"\x80\x04garbage"):
        last.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or not a training state"):
            training_state(network(), last)
    torch.save({"weights": torch.zeros(1)}, last)
    with pytest.raises(ValueError, match="is not a training state of lightning-ntm"):
        training_state(network(), last)
    last.write_bytes(whole)
    with pytest.raises(ValueError, match=r"of another network: .* has shape \(.*\) there, \(.*\) in NTM"):
        training_state(NTM(4, 3), last)


def test_damaged_foreign_or_other_weights_are_refused(tmp_path):
    path = tmp_path / "best.safetensors"
    save_weights(network(), path, step=7)
    assert load_weights(network(), path)["step"] == "7"
    whole = path.read_bytes()
    with pytest.raises(ValueError, match="of another network: controller"):
        load_weights(NTM(4, 3), path)
    for damaged in (whole[: len(whole) // 2], b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or not a safetensors file"):
            load_weights(network(), path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="has no weights of a run of lightning-ntm"):
        load_weights(network(), path)
    path.unlink()
    with pytest.raises(ValueError, match="there are no weights"):
        load_weights(network(), path)


def test_an_opened_run_is_the_kept_network(tmp_path):
    run(tmp_path / "a", steps=4).fit()
    opened = open_run(tmp_path / "a")
    kept = safetensors.torch.load_file(tmp_path / "a" / "best.safetensors")
    torch.testing.assert_close(dict(opened.model.state_dict()), kept)
    assert (opened.task, opened.seed, opened.step) == (Copy(bits=3, max_length=4), 3, 4)
    assert opened.memory_slots is None


@pytest.mark.parametrize("text", ["", "a: [", "just words", "seed: 1"])
def test_a_configuration_that_is_none_is_told(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml is not"):
        open_run(tmp_path)


def test_the_learning_rate_falls_at_the_end_and_only_there(tmp_path):
    finished = run(tmp_path / "a", steps=1)
    learner = SequenceLearner(network(), default_optimizer, decay_after=0.5)
    learner._trainer = finished.trainer
    finished.trainer.fit_loop.epoch_loop.max_steps = 100
    schedule = learner.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert [schedule(step) for step in (0, 50, 75, 100)] == [1, 1, 0.5, 0]


@pytest.mark.parametrize(
    ("kind", "given", "way", "expected"),
    [
        (torch.optim.RMSprop, {}, "foreach", True),
        (torch.optim.RMSprop, {"foreach": False}, "foreach", False),
        (torch.optim.RMSprop, {"capturable": True}, "foreach", None),
        (torch.optim.Adam, {}, "fused", True),
        (torch.optim.Adam, {"fused": False}, "fused", False),
        (torch.optim.Adam, {"foreach": True}, "fused", None),
        (torch.optim.LBFGS, {}, "foreach", None),
    ],
)
def test_parameters_are_updated_together_unless_the_user_chose_otherwise(kind, given, way, expected):
    optimizer = kind(network().parameters(), **given)
    prefer_fused(optimizer)
    assert optimizer.param_groups[0].get(way) is expected


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "median"},
        {"decay_after": 1.5},
        {"weight_noise": -0.1},
        {"noise_warmup": 1.5},
        *({"min_memory_slots": n} for n in (-1, 2, 7)),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_named(given):
    with pytest.raises(Exception, match=next(iter(given))):
        SequenceLearner(network(), **given)
