"""What is said on `--resume` is done or refused, option by option; and runs that were killed at their beginning."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tests.forked import finished
from tests.torture.runs import remains

from lightning_ntm.cli import main
from lightning_ntm.training import Run

SMALL = (
    "--task.max_length 3 --model.hidden_size 8 --model.memory_slots 8 --data.validation_sequences 4 --data.batch_size 2"
)
BRIEF = f"{SMALL} --trainer.val_check_interval 2 --trainer.log_every_n_steps 2 --trainer.enable_progress_bar false"
STEP = "--scheduler StepLR --scheduler.step_size 3"

REFUSED = {
    "name": "b",
    "runs": "elsewhere",
    "seed": "9",
    "task": "RepeatCopy",
    "task.bits": "3",
    "task.min_length": "2",
    "task.max_length": "4",
    "task.same_length": "false",
    "model": "LSTM",
    "model.hidden_size": "9",
    "model.memory_width": "9",
    "model.num_read_heads": "2",
    "model.num_write_heads": "2",
    "model.max_shift": "2",
    "model.controller": "lstm",
    "model.num_layers": "2",
    "model.memory": "lightning_ntm.models.NTMMemory",
    "model.memory_init": "learned",
    "model.head_init": "learned",
    "model.stay_bias": "1",
    "model.lookup_bias": "1",
    "model.append_bias": "1",
    "model.follow_bias": "1",
    "optimizer": "SGD",
    "optimizer.lr": "1e-6",
    "optimizer.alpha": "0.5",
    "optimizer.eps": "1e-3",
    "optimizer.weight_decay": "0.1",
    "optimizer.momentum": "0.1",
    "optimizer.centered": "true",
    "optimizer.capturable": "true",
    "optimizer.foreach": "true",
    "optimizer.maximize": "true",
    "optimizer.differentiable": "true",
    "scheduler": "CosineAnnealingLR --scheduler.T_max 8",
    "scheduler.step_size": "7",
    "scheduler.gamma": "0.5",
    "scheduler.last_epoch": "3",
    "trainer.enable_checkpointing": "false",
    "trainer.num_nodes": "2",
    "trainer.barebones": "true",
}
LEARNER = {"decay_after": 1.0, "loss": "sum", "on_nonfinite": "skip", "min_memory_slots": 4}
DATA = {"batch_size": 3, "batches_per_epoch": 50, "validation_sequences": 5, "num_workers": 1}
MODEL = {"memory_slots": 9, "min_sharpening": 1.5, "gradient_limit": 0.5, "backend": "reference", "checkpoint_every": 2}
TRAINER = {
    "accelerator": "cpu",
    "strategy": "ddp",
    "devices": "1",
    "precision": "64-true",
    "logger": False,
    "callbacks": [],
    "fast_dev_run": True,
    "max_epochs": 5,
    "min_epochs": 1,
    "max_steps": 8,
    "min_steps": 5,
    "max_time": "00:00:05:00",
    # Shares, no numbers: whether 1 is one batch or all follows from the order of a Union, which Python caches.
    "limit_train_batches": 0.5,
    "limit_val_batches": 0.5,
    "limit_test_batches": 0.5,
    "limit_predict_batches": 0.5,
    "overfit_batches": 3,
    "val_check_interval": 3,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": 1,
    "log_every_n_steps": 3,
    "enable_progress_bar": True,
    "enable_model_summary": True,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 0.5,
    "gradient_clip_algorithm": "value",
    "deterministic": True,
    "benchmark": True,
    "inference_mode": False,
    "use_distributed_sampler": True,
    "profiler": "simple",
    "detect_anomaly": True,
    "plugins": [],
    "sync_batchnorm": True,
    "reload_dataloaders_every_n_epochs": 1,
    "default_root_dir": "elsewhere",
    "enable_autolog_hparams": False,
    "model_registry": "somewhere",
}
CURRICULUM = {"class_path": "lightning_ntm.tasks.curricula.Uniform", "init_args": {"difficulty": None}}
APPLIED = (
    {name: (value, lambda run, name=name: getattr(run.learner, name)) for name, value in LEARNER.items()}
    | {f"data.{name}": (value, lambda run, name=name: getattr(run.data, name)) for name, value in DATA.items()}
    | {f"model.{name}": (value, lambda run, name=name: getattr(run.learner.model, name)) for name, value in MODEL.items()}  # noqa: E501
    | {f"trainer.{name}": (value, lambda run, name=name: run.asked[name]) for name, value in TRAINER.items()}
    | {
        "weight_noise": (0.5, lambda run: run.learner.noise.deviation),
        "head_noise": (0.5, lambda run: run.learner.head_noise.deviation),
        "noise_warmup": (0.5, lambda run: run.learner.noise.warmup),
        "threads": (2, lambda run: torch.get_num_threads()),
        "data.curriculum": (CURRICULUM, lambda run: _spec(run.data.curriculum)),
        "keep_weights_every": (3, lambda run: run.keep_weights_every),
        "stop_when_solved": (3, lambda run: next(c.validations for c in run.trainer.callbacks if hasattr(c, "in_a_row"))),  # noqa: E501
    }
)  # fmt: skip


def _spec(value):
    return {"class_path": f"{type(value).__module__}.{type(value).__name__}", "init_args": vars(value)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of four steps."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        assert main(["train", *BRIEF.split(), *STEP.split(), "--trainer.max_steps", "4", "--name", "a"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _there(trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    torch.use_deterministic_algorithms(False)


def options(config, above=""):
    """Yield every option of a resolved configuration as it is said."""
    for key, value in config.items():
        if key in ("class_path", "init_args"):
            yield from options(value, above) if key == "init_args" else [above[:-1]]
        elif isinstance(value, dict):
            yield from options(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def test_every_option_is_applied_or_refused():
    said = set(options(yaml.safe_load(Path("runs/a/config.yaml").read_text())))
    assert said == REFUSED.keys() | APPLIED.keys()


@pytest.mark.parametrize("option", REFUSED)
def test_what_a_run_has_behind_it_is_refused(option, capsys):
    before = {path: path.read_bytes() for path in Path("runs/a").iterdir()}
    assert (
        main(["train", "--resume", "runs/a", "--trainer.max_steps", "6", f"--{option}", *REFUSED[option].split()]) == 2
    )
    said = capsys.readouterr().err.splitlines()
    assert [line[:12] for line in said if not line.startswith("ntm: warning: ")] == ["ntm: error: "]
    assert {path: path.read_bytes() for path in Path("runs/a").iterdir()} == before


@pytest.mark.parametrize("option", APPLIED)
@pytest.mark.filterwarnings("ignore")
def test_what_else_is_said_is_done(option, monkeypatch):
    value, done = APPLIED[option]
    runs = []

    def prepared(self, trainer, stop_when_solved):
        self.asked = {**trainer, "plugins": []}
        return completed(self, trainer, stop_when_solved)

    completed, nothing = Run._completed, {"step": 4, "seconds": 0, "best": {}}
    monkeypatch.setattr(Run, "_completed", prepared)
    monkeypatch.setattr(Run, "fit", lambda self: runs.append(self) or self.record.unlock() or nothing)
    monkeypatch.setattr("lightning_ntm.cli.train._report", lambda *_: None)
    said = value if isinstance(value, str) else json.dumps(value)
    assert main(["train", "--resume", "runs/a", f"--{option}={said}"]) == 0
    (run,) = runs
    config = yaml.safe_load(run.record.config)
    *groups, name = option.split(".")
    for group in groups:
        config = config[group].get("init_args", config[group])
    assert (str(done(run)), str(config[name])) == (str(value), str(value))


NOTHING = {
    "max_epochs": "--trainer.max_epochs 0",
    "max_time": "--trainer.max_time 00:00:00:00",
    "limit_train_batches": "--trainer.limit_train_batches 0",
}


@pytest.mark.parametrize("option", NOTHING)
@pytest.mark.parametrize("start", ["--resume runs/a", f"{BRIEF} --name new"])
def test_a_training_of_nothing_is_refused(option, start, capsys):
    before = {path: path.read_bytes() for path in Path("runs/a").iterdir()}
    assert main(["train", *start.split(), "--trainer.max_steps", "6", *NOTHING[option].split()]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("ntm: error: nothing is left to train at step ")
    assert f"{option} (=0" in said
    assert {path: path.read_bytes() for path in Path("runs/a").iterdir()} == before
    assert not Path("runs/new").exists()


def test_the_end_of_a_run_is_reached_again_without_an_error(capsys):
    assert main(["train", "--resume", "runs/a"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("backend", ["triton", "graphs"])
@pytest.mark.parametrize("start", ["--resume runs/a", f"{BRIEF} --name new --runs elsewhere"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="they run there")
def test_a_backend_that_cannot_run_is_refused(backend, start, capsys, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    before = {path: path.read_bytes() for path in Path("runs/a").iterdir()}
    assert main(["train", *start.split(), "--trainer.max_steps", "6", "--model.backend", backend]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"ntm: error: backend (='{backend}') cannot run this call: it needs tensors on a CUDA")
    assert {path: path.read_bytes() for path in Path("runs/a").iterdir()} == before
    assert not Path("elsewhere").exists()


PROFILED = "trainer: {profiler: {class_path: SimpleProfiler, init_args: {dirpath: runs/a/logs, filename: x}}}"
KEPT = "trainer: {callbacks: [{class_path: ModelCheckpoint, init_args: {dirpath: null}}]}"
WRITERS = {
    "a logger": ("lightning_logs", "trainer: {logger: true}"),
    "a logger of the user": ("logs", "trainer: {logger: {class_path: CSVLogger, init_args: {save_dir: runs/a/logs}}}"),
    "a profiler": ("logs", PROFILED),
    "a file of a profiler": ("logs/fit-x.txt", PROFILED),
    "checkpoints": ("a", KEPT),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.filterwarnings("ignore")
def test_nothing_of_the_trainer_s_parts_is_written_through_a_link(kind, trained, tmp_path, monkeypatch, capsys):
    name, config = WRITERS[kind]
    shutil.copytree(trained / "runs", tmp_path / "runs")
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs/a" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "runs/a" / name).symlink_to(tmp_path / "outside" / ("new" if "." in name else ""))
    monkeypatch.chdir(tmp_path)
    Path("more.yaml").write_text(config)
    before = Path("runs/a/config.yaml").read_text()
    assert main(["train", "--resume", "runs/a", "--trainer.max_steps", "6", "--config", "more.yaml"]) == 2
    assert f"{name} is a symbolic link; " in capsys.readouterr().err
    assert not any(Path("outside").iterdir())
    assert Path("runs/a/config.yaml").read_text() == before


def test_what_lightning_restores_is_no_option():
    """Options of the Trainer are applied: a state holds nothing of them but what the loops have counted."""
    state = torch.load("runs/a/last.ckpt", weights_only=True)
    assert state.keys() == {
        "epoch", "global_step", "pytorch-lightning_version", "state_dict", "loops", "callbacks", "optimizer_states",
        "lr_schedulers", "lightning_ntm", "config",
    }  # fmt: skip


STOP = "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitor: validation_loss, patience: %d}}]}"


def test_settings_that_a_callback_takes_from_the_state_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for patience in (3, 9):
        Path(f"{patience}.yaml").write_text(STOP % patience)
    assert main(["train", *BRIEF.split(), "--config", "3.yaml", "--trainer.max_steps", "4", "--name", "a"]) == 0
    capsys.readouterr()
    more = ("train", "--resume", "runs/a", "--trainer.max_steps", "6", "--config")
    assert main([*more, "9.yaml"]) == 2
    assert "--trainer.callbacks.patience (=9) cannot be changed when a run is resumed: it began with 3." in (
        capsys.readouterr().err
    )
    assert main([*more, "3.yaml"]) == 0


def test_a_configuration_that_was_edited_is_held_against_what_was_trained(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *BRIEF.split(), "--trainer.max_steps", "4", "--name", "a"]) == 0
    config = Path("runs/a/config.yaml")
    config.write_text(config.read_text().replace("lr: 0.0003", "lr: 0.0001"))
    assert main(["train", "--resume", "runs/a", "--trainer.max_steps", "6"]) == 2
    assert "--optimizer.lr (=0.0001) cannot be changed" in capsys.readouterr().err


def test_a_schedule_of_fixed_length_ends_with_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cycle = "--scheduler OneCycleLR --scheduler.max_lr 0.1 --scheduler.total_steps 4 --name a"
    assert main(["train", *BRIEF.split(), *cycle.split(), "--trainer.max_steps", "6"]) == 2
    assert not Path("runs").exists()
    assert main(["train", *BRIEF.split(), *cycle.split(), "--trainer.max_steps", "4"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "runs/a", "--trainer.max_steps", "6"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "ntm: error: --scheduler: a OneCycleLR of 4 steps ends before the training, after max_steps (=6)."
    ]
    epochs = "--trainer.max_steps -1 --trainer.max_epochs 3 --data.batches_per_epoch 2"
    assert main(["train", "--resume", "runs/a", *epochs.split()]) == 2  # only the schedule itself sees it
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("left", [["config.yaml"], ["config.yaml", "metrics.jsonl", "best.safetensors", "about.jsonl"]])
def test_a_run_killed_before_its_first_checkpoint_begins_anew(left, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*BRIEF.split(), "--trainer.max_steps", "4"]
    assert main(["train", *words, "--name", "whole"]) == 0
    assert main(["train", *words, "--name", "a"]) == 0
    for path in Path("runs/a").iterdir():
        if path.name not in left:
            path.unlink()
    assert main(["train", "--resume", "runs/a"]) == 0
    rows, _, *kept = remains(Path("runs/a"))  # checks of types in tests draw random numbers, which a state keeps
    whole, _, *best = remains(Path("runs/whole"))
    assert (rows, kept) == (whole, best)
    Path("runs/a/last.ckpt").unlink()  # of a run that is done nothing is trained again
    capsys.readouterr()
    assert main(["train", "--resume", "runs/a"]) == 2
    assert "there is nothing to resume" in capsys.readouterr().err


def test_a_folder_of_a_run_killed_at_once_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/a").mkdir(parents=True)
    for name in (".lock", ".config.yaml.1.tmp"):
        Path(f"runs/a/{name}").touch()
    assert main(["train", *BRIEF.split(), "--trainer.max_steps", "2", "--name", "a"]) == 0


BATCHES = f"{SMALL} --trainer.log_every_n_steps 1 --trainer.enable_progress_bar false --trainer.callbacks "
ENDS_ITSELF = "tests.torture.parts.EndsItself --trainer.callbacks.batch={} --trainer.callbacks.signal={}"
ACCUMULATED = {
    "ended in an accumulation": ("--trainer.val_check_interval 100", 6, signal.SIGTERM),
    "killed after a validation in an accumulation": ("--trainer.val_check_interval 3", 8, signal.SIGKILL),
}


@pytest.mark.parametrize("kind", ACCUMULATED)
def test_a_run_that_accumulates_gradients_resumes_to_the_same_bits(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validates, batch, number = ACCUMULATED[kind]
    words = f"train {BATCHES} {{}} {validates} --trainer.max_steps 5 --trainer.accumulate_grad_batches 4 --name {{}}"
    assert main(words.format("[]", "whole").split()) == 0
    ended_at_batch(words.format(ENDS_ITSELF.format(batch, int(number)), "a"), number)
    assert main(["train", "--resume", "runs/a", "--trainer.callbacks", "[]"]) == 0
    assert trained_alike(Path("runs/a"), Path("runs/whole"))


SCHEDULED = """
trainer:
  callbacks:
  - {class_path: GradientAccumulationScheduler, init_args: {scheduling: {0: 1, 1: 3}}}
"""


def test_a_run_whose_accumulation_changes_with_the_epoch_resumes_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SCHEDULED)
    ends = "  - {class_path: tests.torture.parts.EndsItself, init_args: {batch: 10, signal: 9}}\n"
    Path("b.yaml").write_text(SCHEDULED + ends)
    words = f"train {BATCHES.replace('--trainer.callbacks ', '')} --data.batches_per_epoch 7 --trainer.max_steps 12"
    words += " --trainer.val_check_interval 9 --config {}.yaml --name {}"
    assert main(words.format("a", "whole").split()) == 0
    ended_at_batch(words.format("b", "a"), signal.SIGKILL)
    assert main(["train", "--resume", "runs/a", "--config", "a.yaml"]) == 0
    assert trained_alike(Path("runs/a"), Path("runs/whole"))


def ended_at_batch(words, number):
    process = finished(words.split())
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), process.stderr


def trained_alike(run, other):
    """Return whether two runs have the same rows, weights and optimiser states."""
    (rows, state, best, result), expected = remains(run), remains(other)
    for each in (state, expected[1]):
        each["callbacks"].pop("RandomStates")  # checks of types in tests draw random numbers
    return (rows, state, best, result) == expected


@pytest.mark.parametrize(
    ("limit", "goes_on"),
    [
        ("--trainer.max_steps 4", "--trainer.max_steps 8"),
        ("--trainer.max_epochs 1 --trainer.limit_train_batches 3", "--trainer.max_epochs N"),
        ("--trainer.max_steps 4000 --trainer.max_time 00:00:00:01", "--trainer.max_time DD:HH:MM:SS"),
    ],
)
def test_a_run_that_has_ended_says_how_it_goes_on(limit, goes_on, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--task", "Copy", *BRIEF.split(), "--name", "a", *limit.split()]) == 0
    capsys.readouterr()
    step = json.loads(Path("runs/a/result.json").read_text())["step"]
    assert main(["train", "--resume", "runs/a"]) == 0
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(f"runs/a had ended at step {step}: nothing was trained. With a larger limit it goes on: ")
    assert said.endswith(f" train --resume runs/a {goes_on}")
    assert json.loads(Path("runs/a/result.json").read_text())["step"] == step


def test_the_end_of_a_training_names_the_steps_after_the_last_validation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *f"--name a {BRIEF} --trainer.max_steps 4".split()]) == 0
    assert "no validation" not in capsys.readouterr().out
    for steps, said in ((5, "Step 5 had no validation."), (7, "Step 7 had no validation."), (8, "")):
        assert main(["train", *f"--resume runs/a --trainer.max_steps {steps}".split()]) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first.endswith(f"in validation. {said}" if said else "in validation.")
    seldom = ["--trainer.max_steps", "11", "--trainer.val_check_interval", "100"]
    assert main(["train", "--resume", "runs/a", *seldom]) == 0
    assert "Steps 9 to 11 had no validation." in capsys.readouterr().out
