"""One run: trains a network and writes its run folder."""

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_ntm.checks import check_name
from lightning_ntm.records import RunFolder
from lightning_ntm.training.callbacks import NoProfiler, StopWhenSolved, WholeCheckpointIO
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.logger import JsonLinesLogger
from lightning_ntm.training.processes import plugins_of
from lightning_ntm.training.progress import CostBar
from lightning_ntm.training.recorded import RecordedRun
from lightning_ntm.training.recorder import Recorder
from lightning_ntm.training.refusals import backend_of, check_sizes, check_stop
from lightning_ntm.training.safety import (
    DivergenceError,
    FinishStep,
    KeepLock,
    PartialGradients,
    RandomStates,
    SaveAndFinish,
)
from lightning_ntm.training.steps_kept import steps_keepers


class Run:
    """Trains a network into a run folder.

    Args:
        learner: The network with its loss and optimiser.
        data: The episodes.
        trainer: Arguments of the Lightning Trainer. Its loggers and callbacks are used in addition to those that write
            the run folder.
        folder: The run folder.
        config: The resolved configuration, as YAML.
        resume: Resume from the training state in the folder instead of creating the folder. If the training was killed
            before it saved a state, it starts from the beginning.
        stop_when_solved: End after this many validations in a row without an error; 0 never.
        keep_weights_every: Steps between weights that are kept in the folder `weights`; 0 keeps none.

    Raises:
        ValueError: The folder exists (without `resume`), or contains nothing that can be resumed; or the network's
            output does not fit the answer of the task, or a parameter has no size yet.
    """

    def __init__(
        self,
        learner: SequenceLearner,
        data: EpisodeData,
        trainer: dict[str, Any],
        folder: RunFolder,
        config: str,
        *,
        resume: bool = False,
        stop_when_solved: int = 0,
        keep_weights_every: int = 0,
    ):
        self.learner, self.data, self.folder = learner, data, folder
        self.keep_weights_every = keep_weights_every
        data.task.answer.check_size(learner.model.output_size)
        check_sizes(learner.model)
        check_stop(stop_when_solved, trainer)
        # fast_dev_run and barebones write nothing.
        self.keeps = not (trainer.get("fast_dev_run") or trainer.get("barebones"))
        self.saves = self.keeps and trainer.get("enable_checkpointing") is not False
        recorder = recorder_of(trainer, data)
        self.record = RecordedRun(learner, data, folder, config, resume=resume, recorder=recorder, writes=self.keeps)
        self.trainer = L.Trainer(**self._completed({**trainer, "plugins": plugins_of(trainer)}, stop_when_solved))
        if self.trainer.world_size == 1:
            # A launcher's variables may set another rank, with which no metrics are written.
            rank_zero_only.rank = 0  # type: ignore[attr-defined]
        if self.trainer.strategy.root_device.type == "cpu":  # on other devices `begin` checks it
            backend_of(self.trainer, self.learner.model, self.data.task)
        self.record.writes = self.keeps and self.trainer.is_global_zero
        self.record.open(self.trainer, saves=self.saves)

    @property
    def began(self) -> bool:
        """Whether the first step was about to be trained."""
        return self.record.began

    def fit(self) -> dict[str, Any]:
        """Train, and return the content of the folder's result file.

        Returns:
            `step`, `sequences` and `seconds` of the training, and `best`: the step and measures of the kept weights.

        Raises:
            ValueError: Training could not begin: its parts do not fit together, or do not fit the resumed state. A new
                folder is removed again.
            InterruptionError: A signal ended the training after a complete step. The step is saved.
            DivergenceError: A loss or gradient was not finite. `replay` reproduces the step.
            LostFolderError: The folder was removed, or another process trains in it.
            OSError: A file cannot be written. Files that were written before are complete.
        """
        try:
            self._fit()
            return self.record.finish(self.trainer.global_step)
        finally:
            self.record.close()

    def _fit(self) -> None:
        state = self.folder.last if self.record.goes_on() else None
        if state and self.trainer.precision == "64-true":
            # Lightning loads the state before it converts the network, which would round the state.
            self.learner.double()
        self.learner.in_run_folder = True
        try:
            self.trainer.fit(self.learner, datamodule=self.data, ckpt_path=state, weights_only=True)
        except Exception as error:
            if self.began:
                if isinstance(error, DivergenceError) and self.keeps:
                    self.record.keep_step(error)
                raise
            self.record.abandon()
            raise ValueError(f"training cannot begin: {type(error).__name__}: {error}") from error
        finally:
            self.learner.in_run_folder = False
            self.learner.end_short_steps()
        self.record.check_began(self.trainer.global_step)

    def _completed(self, trainer: dict[str, Any], stop_when_solved: int) -> dict[str, Any]:
        callbacks: list[Callback] = [_Begin(self.record), KeepLock(lambda: self.record.claim), self.record.recorder]
        extra = _as_list(trainer.get("callbacks"))
        if trainer.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in extra):
            callbacks.append(CostBar(self.folder.place.name, self.data.task.answer.measures))
        if stop_when_solved:
            callbacks.append(StopWhenSolved(stop_when_solved))
        if not self.keeps:
            callbacks = callbacks[:1] if trainer.get("barebones") else [*callbacks, *extra]
            return {**trainer, "logger": False, "callbacks": callbacks}
        if self.saves:
            callbacks += [self.record.keeper, RandomStates(), PartialGradients(self.learner)]
            callbacks += steps_keepers(self.folder, self.learner.model, self.keep_weights_every)
        return {
            **trainer,
            "default_root_dir": trainer.get("default_root_dir") or self.folder.path,
            "logger": [JsonLinesLogger(self.folder), *self._loggers(trainer.get("logger"))],
            "callbacks": [*callbacks, *extra, SaveAndFinish(self.folder) if self.saves else FinishStep()],
            "plugins": [WholeCheckpointIO(self.record.config), *trainer["plugins"]],
            "profiler": trainer.get("profiler") or NoProfiler(),
        }

    def _loggers(self, option: Any) -> list[Logger]:
        """Return the requested loggers. `True` means Lightning's default."""
        if option is not True:
            return _as_list(option)
        try:
            return [TensorBoardLogger(self.folder.path)]
        except ModuleNotFoundError:
            return [CSVLogger(self.folder.path)]


class _Begin(Callback):
    """Records that training has begun."""

    def __init__(self, record: RecordedRun):
        self.record = record

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.record.begin(trainer)


def recorder_of(trainer: dict[str, Any], data: EpisodeData) -> Recorder:
    """Return what measures a training with these arguments of the Trainer."""
    every = trainer.get("log_every_n_steps")
    return Recorder(50 if every is None else every, data.task.answer.measures)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []


def quiet_lightning() -> None:
    """Silence messages of Lightning that do not apply here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for hint in (
        ".*does not have many workers.*",
        ".*your dataloader is not resumable.*",  # EpisodeData starts from the step
        ".*smaller than the logging interval.*",
        ".*sync_dist=True.*",  # every process validates the same set
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=hint)


def default_name(model: object, task: object, seed: int) -> str:
    """Return the default name of a run, for example `ntm-copy-seed1`."""
    return f"{type(model).__name__}-{type(task).__name__}-seed{seed}".lower()


def folder_of(runs: Path | str, name: str) -> RunFolder:
    """Return the folder of a run by its name.

    Raises:
        ValueError: The name is not that of a folder within `runs`.
    """
    check_name("--name", name)
    return RunFolder(Path(runs).expanduser() / name)
