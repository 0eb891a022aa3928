"""A learner in a Trainer and a code base of the user's: logging, checkpoints, other data, LightningCLI."""

import functools
import logging
import sys
import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch.utils.data import DataLoader, TensorDataset
from training.test_run import network, run

from lightning_ntm import LSTM, NTM, Batch, Copy, Transformer
from lightning_ntm.evaluation.evaluate import evaluate
from lightning_ntm.models import LSTMController
from lightning_ntm.models.ntm_memory import NTMMemory
from lightning_ntm.tasks.answers import Numbers, Symbols
from lightning_ntm.training import EpisodeData, SequenceLearner
from lightning_ntm.training.hyperparameters import restored

TASK = Copy(bits=3, max_length=4)
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu"}
SILENT = {**QUIET, "logger": False, "enable_checkpointing": False}


def data(**options):
    return EpisodeData(TASK, 3, batch_size=4, validation_sequences=20, **{"batches_per_epoch": 4, **options})


def adam(**options):
    return functools.partial(torch.optim.Adam, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training with what users add to a Trainer."""
    folder = tmp_path_factory.mktemp("own")
    torch.manual_seed(0)
    kept = ModelCheckpoint(folder / "kept", monitor="validation_wrong_bits", save_top_k=1)
    stopped = EarlyStopping("validation_loss", min_delta=100.0, patience=2)
    trainer = L.Trainer(
        max_steps=40, log_every_n_steps=1, logger=CSVLogger(folder, name="csv"),
        callbacks=[kept, stopped, LearningRateMonitor("step")], **QUIET,
    )  # fmt: skip
    trainer.fit(SequenceLearner(network(), adam(lr=1e-2)), datamodule=data())
    return trainer, kept, stopped


def rows(trainer):
    lines = (line.split(",") for line in (Path(trainer.logger.log_dir) / "metrics.csv").read_text().splitlines())
    head = next(lines)
    return [{name: value for name, value in zip(head, line, strict=True) if value} for line in lines]


def test_loss_and_measures_reach_loggers(trained):
    trainer, *_ = trained
    names = ("loss", "wrong_bits", "bits_per_sequence")
    found = rows(trainer)
    for split, more in (("train", ()), ("validation", ("perfect",))):
        keys = {f"{split}_{name}" for name in (*names, *more)}
        assert any(keys <= row.keys() for row in found), split
    first = next(row for row in found if "train_loss" in row)
    batch = TASK.batch(3, "train", 0, 4)
    logits, answer = network()(batch.inputs)[0].detach(), TASK.answer
    assert float(first["train_loss"]) == pytest.approx(
        float(answer.cost(logits, batch).sum() / answer.units(batch).sum())
    )
    assert float(first["train_wrong_bits"]) == pytest.approx(float(answer.errors(logits, batch).mean()))


def test_callbacks_of_lightning_see_them(trained):
    trainer, kept, stopped = trained
    assert trainer.global_step == 12, "two validations, each of an epoch of four batches, without an improvement"
    assert stopped.stopped_epoch == 2
    assert kept.best_model_score is not None
    assert any("lr-Adam" in row for row in rows(trainer))


def test_the_progress_bar_has_loss_and_first_measure():
    seen = []

    class Bar(L.pytorch.callbacks.ProgressBar):
        def on_validation_end(self, trainer, module):
            seen.append(self.get_metrics(trainer, module))

    trainer = L.Trainer(max_steps=1, callbacks=[Bar()], **{**SILENT, "enable_progress_bar": True})
    trainer.fit(SequenceLearner(network()), datamodule=data(batches_per_epoch=1))
    splits = ("train", "validation")
    assert set(seen[-1]) >= {f"{split}_{name}" for split in splits for name in ("loss", "wrong_bits")}
    assert "validation_bits_per_sequence" not in seen[-1]


def test_hyperparameters_are_those_of_learner_and_data(trained):
    trainer, *_ = trained
    saved = yaml.safe_load((Path(trainer.logger.log_dir) / "hparams.yaml").read_text())
    assert saved["model"]["class_path"] == "lightning_ntm.NTM"
    assert saved["model"]["init_args"]["memory_slots"] == 6
    assert saved["model"]["init_args"]["num_read_heads"] == 1, "defaults as well"
    assert saved["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}}
    assert (saved["decay_after"], saved["batch_size"], saved["task"]["init_args"]["bits"]) == (0.5, 4, 3)


def test_a_checkpoint_makes_the_learner_again(trained):
    _, kept, _ = trained
    learner = SequenceLearner.load_from_checkpoint(kept.best_model_path)
    state = torch.load(kept.best_model_path, weights_only=True)["state_dict"]
    assert state.keys() == learner.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in learner.state_dict().items())
    assert learner.optimizer(learner.parameters()).defaults["lr"] == 0.01
    assert learner.hparams == SequenceLearner(network(), adam(lr=1e-2)).hparams
    with open(kept.best_model_path, "rb") as file:
        other = SequenceLearner.load_from_checkpoint(file, model=network(), decay_after=1.0)
    assert other.decay_after == 1
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_the_default_optimizer_and_parts_of_a_user_s_own_are_made_again():
    first = SequenceLearner(NTM(4, 3, memory=NTMMemory(5, 4)), answer=Symbols(3))
    again = SequenceLearner(**restored(first.hparams))
    assert again.model.memory_slots == 5
    assert again.answer == Symbols(3)
    assert repr(again.optimizer(again.parameters())) == repr(first.optimizer(first.parameters()))


def saved_by_a_trainer(model, path):
    trainer = L.Trainer(max_steps=1, limit_val_batches=0, **SILENT)
    trainer.fit(SequenceLearner(model), datamodule=data())
    trainer.save_checkpoint(path)
    return model.eval()


def test_a_checkpoint_has_the_network_as_it_is(tmp_path):
    model = Transformer(TASK.input_size, 3, hidden_size=16, num_heads=2, num_layers=1, memory_slots=4)
    model.memory_slots = 12
    saved_by_a_trainer(model, tmp_path / "a.ckpt")
    found, inputs = SequenceLearner.load_from_checkpoint(tmp_path / "a.ckpt").model.eval(), torch.randn(2, 14, 4)
    assert found.memory_slots == 12
    torch.testing.assert_close(found(inputs)[0], model(inputs)[0])


class Relu(LSTMController):
    """Computes something else than its base class."""

    def step(self, x, state):
        hidden, state = super().step(x, state)
        return hidden.relu(), state


def test_a_checkpoint_of_a_network_that_its_arguments_do_not_describe_needs_it(tmp_path):
    def changed():
        model = network()
        model.controller = Relu(model.controller.input_size, model.controller.hidden_size)
        return model

    model = saved_by_a_trainer(changed(), tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"its MemoryModel \(NTM\) was made. Pass model= to load_from_checkpoint"):
        SequenceLearner.load_from_checkpoint(tmp_path / "a.ckpt")
    found, inputs = SequenceLearner.load_from_checkpoint(tmp_path / "a.ckpt", model=changed()), torch.randn(2, 9, 4)
    torch.testing.assert_close(found.model.eval()(inputs)[0], model(inputs)[0])


class Named(SequenceLearner):
    """A learner of a user's own, whose `model` is a name."""

    def __init__(self, model="small"):
        super().__init__(LSTM(TASK.input_size, 3, hidden_size=4 if model == "small" else 8))
        self.save_hyperparameters({"model": model})


def test_a_model_that_is_no_network_stays_in_a_checkpoint(tmp_path):
    trainer = L.Trainer(max_steps=1, limit_val_batches=0, **SILENT)
    trainer.fit(Named("large"), datamodule=data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["hyper_parameters"]["model"] == "large"


class Fixed(LSTM):
    """Takes what is no plain value."""

    def __init__(self, scale, input_size=4, output_size=3):
        super().__init__(input_size, output_size, hidden_size=4)
        self.scale = scale


def test_what_a_checkpoint_does_not_hold_is_said_in_a_line():
    learner = SequenceLearner(Fixed(torch.ones(1)), lambda parameters: torch.optim.Adam(parameters))
    assert learner.hparams["model"] == "Fixed"
    with pytest.raises(ValueError, match=r"its MemoryModel \(Fixed\) was made. Pass model= to load_from_checkpoint"):
        restored(learner.hparams)
    again = SequenceLearner(network(), **restored({"optimizer": learner.hparams["optimizer"]}))
    with pytest.raises(ValueError, match=r"optimizer \(=.*<lambda>\) is a function.* pass optimizer= to load_from"):
        again.optimizer(again.parameters())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("model", {"class_path": "os.system", "init_args": {"command": "true"}}, "Python's own"),
        ("model", {"class_path": "lightning_ntm.Copy"}, "is no MemoryModel"),
        ("optimizer", {"class_path": "torch.load", "init_args": {"f": "x"}}, "is no optimizer"),
        ("scheduler", {"class_path": "subprocess.run"}, "Python's own"),
        ("answer", {"class_path": "lightning_ntm.Copy"}, "is no Answer"),
        ("answer", 3, "does not hold how its Answer"),
        ("model", 3, "does not hold how its MemoryModel"),
    ],
)
def test_hyperparameters_make_nothing_else(name, value, says):
    with pytest.raises(ValueError, match=says):
        restored({name: value})


def test_validate_test_and_predict_work():
    trainer, learner, episodes = L.Trainer(**SILENT), SequenceLearner(network()), data()
    (validated,) = trainer.validate(learner, datamodule=episodes, verbose=False)
    (tested,) = trainer.test(learner, datamodule=episodes, verbose=False)
    names = ("loss", "wrong_bits", "bits_per_sequence", "perfect")
    assert set(validated) == {f"validation_{name}" for name in names}
    assert set(tested) == {f"test_{name}" for name in names}
    assert validated["validation_loss"] != tested["test_loss"], "not the same episodes"
    row = evaluate(learner.model.eval(), TASK, {"length": 4}, seed=3, sequences=20)
    assert tested["test_wrong_bits"] == pytest.approx(row["wrong_bits"], abs=1e-6)
    (predicted,) = trainer.predict(learner, datamodule=episodes)
    (alone,) = trainer.predict(learner, DataLoader(torch.rand(2, 5, 4, dtype=torch.float64), batch_size=2))
    assert predicted.shape == (20, 9, 3)
    assert alone.shape == (2, 5, 3)
    assert ((predicted > 0) & (predicted < 1)).all(), "probabilities"


def loader(*tensors, **named):
    rows = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
    return DataLoader(rows if named else TensorDataset(*tensors), batch_size=2)


INPUTS = torch.randint(2, (4, 5, 4))
BITS = torch.randint(2, (4, 5, 3))
MASK = torch.tensor([[0, 0, 0, 1, 1]]).expand(4, 5)
LOADERS = {
    "pairs": lambda: loader(INPUTS.double(), BITS),
    "with a mask": lambda: loader(INPUTS, BITS.bool(), MASK),
    "dictionaries": lambda: loader(inputs=INPUTS.float(), targets=BITS.float(), mask=MASK.bool()),
    "without a mask": lambda: loader(inputs=INPUTS.float(), targets=BITS.float()),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_loaders_of_tuples_and_dictionaries_are_data(kind):
    learner, batches = SequenceLearner(network()), LOADERS[kind]()
    trainer = L.Trainer(max_epochs=1, **SILENT)
    trainer.fit(learner, batches, batches)
    (found,) = trainer.validate(learner, batches, verbose=False)
    counts = (
        MASK.bool() if ("mask" in kind and "without" not in kind) or kind == "dictionaries" else torch.ones(4, 5).bool()
    )
    expected = learner.answer.errors(learner.model(INPUTS.float())[0], Batch(INPUTS.float(), BITS.float(), counts))
    assert found["validation_wrong_bits"] == pytest.approx(float(expected.mean()))


@pytest.mark.parametrize(
    ("answer", "targets"),
    [(Symbols(3), torch.randint(3, (4, 5))), (Numbers(3), torch.randn(4, 5, 3))],
    ids=["symbols", "numbers"],
)
def test_another_answer_is_given_to_the_learner(answer, targets):
    trainer, batches = L.Trainer(max_epochs=1, **SILENT), loader(INPUTS, targets)
    trainer.fit(SequenceLearner(network(), answer=answer), batches, batches)
    assert f"train_{answer.measures.each[0].name}" in trainer.callback_metrics


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (torch.zeros(2, 5, 4), "a batch must be .*, got a Tensor"),
        ((torch.zeros(2, 5, 4),), "a batch must be .*, got a tuple of Tensor"),
        ([torch.zeros(2, 5, 4)] * 4, "a batch must be .*, got a list of Tensor, Tensor, Tensor, Tensor"),
        ({"x": torch.zeros(2), "y": torch.zeros(2)}, "a batch must be .*, got a dict with x, y"),
        ((torch.zeros(2, 5), torch.zeros(2, 5)), r"inputs must have shape \(batch, time, inputs\), got \(2, 5\)"),
        ((torch.zeros(2, 5, 4), torch.zeros(2, 5)), r"targets must have shape \(batch, time, 3\), got \(2, 5\)"),
        ((torch.zeros(2, 5, 4), torch.full((2, 5, 3), 2.0)), "targets must be 0 or 1 where the mask is true"),
        (
            Batch(torch.zeros(2, 5, 4), torch.full((2, 5, 3), 5.0), torch.ones(2, 5, dtype=torch.bool)),
            "targets must be 0 or 1 where the mask is true",
        ),
        ((torch.zeros(2, 5, 4), torch.zeros(2, 5, 3), torch.ones(2)), r"mask must have shape \(2, 5\).*, got \(2,\)"),
        ((torch.zeros(2, 5, 4), torch.zeros(2, 5, 3), torch.full((2, 5), 0.5)), "mask must be true or false"),
        ((torch.zeros(2, 5, 4), torch.zeros(2, 5, 3), torch.full((2, 5), 2)), "mask must be true or false"),
        ((torch.zeros(2, 5, 4), torch.zeros(2, 5, 3), torch.full((2, 5), torch.nan)), "mask must be true or false"),
        ((torch.zeros(2, 5, 4), torch.zeros(2, 5, 3), torch.zeros(2, 5)), "the mask is true in no step"),
    ],
)
def test_other_batches_are_told_what_is_expected(batch, says):
    with pytest.raises(ValueError, match=f"{says}.*[.]$"):
        SequenceLearner(network()).episodes(batch)


def test_a_run_mutes_neither_lightning_nor_warnings(tmp_path):
    logger, before = logging.getLogger("lightning.pytorch"), [*warnings.filters]
    level = logger.level
    run(tmp_path / "a", steps=1)
    assert warnings.filters == before
    assert logger.level == level


def test_a_run_logs_as_before_and_keeps_no_hyperparameters(tmp_path):
    run(tmp_path / "a", steps=3, logger=CSVLogger(tmp_path, name="csv")).fit()
    head = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "gradient_norm" in head, "of the recorder"
    assert "epoch" not in head, "of Lightning's own logging"
    state = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)
    assert not [name for name in state if "hparams" in name or "hyper_parameters" in name]


WORDS = (
    "--model.model NTM --model.model.input_size 4 --model.model.output_size 3 --model.model.memory_slots 6 "
    "--data.task Copy --data.task.bits 3 --data.task.max_length 4 --data.validation_sequences 5"
)
CONFIG = """
seed_everything: 3
model:
  model:
    class_path: lightning_ntm.NTM
    init_args: {input_size: 4, output_size: 3, hidden_size: 8, memory_slots: 6, memory_width: 4}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
data:
  task: {class_path: lightning_ntm.Copy, init_args: {bits: 3, max_length: 4}}
  batches_per_epoch: 2
  validation_sequences: 5
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: .}}
"""


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["train.py", *words, "--seed_everything=3"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of jsonargparse, for what Lightning uses
        return LightningCLI(SequenceLearner, EpisodeData)


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_lightning_s_command_takes_words(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quiet = [f"--trainer.{name}={str(value).lower()}" for name, value in SILENT.items()]
    steps = ["--trainer.max_steps", "1"] if verb == "fit" else []
    made = command(monkeypatch, verb, *WORDS.split(), *quiet, *steps)
    assert type(made.model.model) is NTM
    assert made.model.model.memory_slots == 6
    assert f"{'validation' if verb != 'test' else verb}_loss" in made.trainer.callback_metrics or verb == "fit"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_lightning_s_command_takes_yaml_and_its_checkpoints_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    fitted = command(monkeypatch, "fit", "-c", "config.yaml")
    path = fitted.trainer.checkpoint_callback.best_model_path
    assert torch.load(path, weights_only=True)["hyper_parameters"]["optimizer"]["init_args"]["lr"] == 0.01
    tested = command(monkeypatch, "test", "-c", "config.yaml", "--ckpt_path", path)
    assert tested.trainer.callback_metrics["test_loss"] > 0
    again = SequenceLearner.load_from_checkpoint(path)
    for name, value in again.state_dict().items():
        assert torch.equal(value, tested.model.state_dict()[name])


def test_tensorboard_compares_hyperparameters(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    trainer = L.Trainer(max_steps=1, **{**SILENT, "logger": TensorBoardLogger(tmp_path)})
    trainer.fit(SequenceLearner(network()), datamodule=data(batches_per_epoch=1))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(trainer.logger.log_dir)
    events.Reload()
    assert "validation_wrong_bits" in events.Tags()["scalars"]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_weights_and_biases_gets_them_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    trainer = L.Trainer(max_steps=1, **{**SILENT, "logger": logger})
    trainer.fit(SequenceLearner(network()), datamodule=data(batches_per_epoch=1))
    assert logger.experiment.config["decay_after"] == 0.5
    logger.experiment.finish()
    (picture,) = tmp_path.rglob("media/images/memory_*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


class Documented(Logger):
    """A logger with the methods that Lightning documents of `WandbLogger`, and none else."""

    name, version, experiment = "documented", 0, None

    def __init__(self):
        super().__init__()
        self.logged, self.hyperparameters, self.images = {}, {}, []

    def log_metrics(self, metrics, step=None):
        self.logged |= metrics

    def log_hyperparams(self, params):
        self.hyperparameters |= params

    def log_image(self, key, images, step=None, **kwargs):
        self.images.append((key, len(images), step))


def test_a_logger_as_that_of_weights_and_biases_gets_them():
    logger = Documented()
    trainer = L.Trainer(max_steps=1, log_every_n_steps=1, **{**SILENT, "logger": logger})
    trainer.fit(SequenceLearner(network()), datamodule=data(batches_per_epoch=1))
    assert {"train_loss", "validation_wrong_bits"} < logger.logged.keys()
    assert logger.hyperparameters["model"]["class_path"] == "lightning_ntm.NTM"
    assert logger.images == [("memory", 1, 1)]
