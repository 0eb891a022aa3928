"""One run: trains a network and writes its run folder."""

import logging
import os
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, LambdaCallback, ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_ntm.evaluation.contents import contents
from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.records import Claim, RunFolder, as_json, write_whole
from lightning_ntm.records.files import CONFIG_BYTES, read_text
from lightning_ntm.training.about import about, computation
from lightning_ntm.training.callbacks import (
    Keeper,
    NoProfiler,
    Recorder,
    StopWhenSolved,
    WholeCheckpointIO,
)
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.logger import JsonLinesLogger
from lightning_ntm.training.processes import plugins_of
from lightning_ntm.training.progress import CostBar
from lightning_ntm.training.refusals import backend_of, check_further, check_left, check_links, check_same_data
from lightning_ntm.training.safety import DivergenceError, FinishStep, KeepLock, PartialGradients, RandomStates
from lightning_ntm.training.states import training_state


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

    Raises:
        ValueError: The folder exists (without `resume`), or contains nothing that can be resumed; or the network's
            output does not fit the answer of the task.
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
    ):
        self.learner, self.data, self.folder, self.resume = learner, data, folder, resume
        self.config, self.began = config, False
        data.task.answer.check_size(learner.model.output_size)
        self.claim: Claim | None = None
        self.unlock: Callable[[], object] = lambda: None
        quiet_lightning()
        # fast_dev_run and barebones write nothing.
        self.keeps = not (trainer.get("fast_dev_run") or trainer.get("barebones"))
        every, measures = trainer.get("log_every_n_steps"), data.task.answer.measures
        self.recorder = Recorder(50 if every is None else every, measures)
        self.keeper = Keeper(folder, learner.model, measures)
        self.trainer = L.Trainer(**self._completed({**trainer, "plugins": plugins_of(trainer)}, stop_when_solved))
        if self.trainer.world_size == 1:
            # A launcher's variables may set another rank, with which no metrics are written.
            rank_zero_only.rank = 0  # type: ignore[attr-defined]
        if self.trainer.strategy.root_device.type == "cpu":  # on other devices `begin` checks it
            backend_of(self.trainer, self.learner.model, self.data.task)
        if self.keeps and self.trainer.is_global_zero:
            try:
                self._open()
            except BaseException:
                self.unlock()
                raise

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
            return self._finish()
        finally:
            self.learner.noise.take_off()
            self.unlock()

    def _finish(self) -> dict[str, Any]:
        result = {
            "step": self.trainer.global_step,
            "sequences": self.recorder.sequences,
            "seconds": round(self.recorder.seconds, 3),
            "best": self.keeper.best,
        }
        if self.keeps and self.trainer.is_global_zero:
            write_whole(self.folder.result, as_json(result, indent=2) + "\n")
        return result

    def _fit(self) -> None:
        state = self.folder.last if self._goes_on() else None
        if state and self.trainer.precision == "64-true":
            # Lightning loads the state before it converts the network, which would round the state.
            self.learner.double()
        try:
            self.trainer.fit(self.learner, datamodule=self.data, ckpt_path=state, weights_only=True)
        except Exception as error:
            if self.began:
                if isinstance(error, DivergenceError) and self.keeps:
                    self._keep_step(error)
                raise
            self._abandon()
            raise ValueError(f"training cannot begin: {type(error).__name__}: {error}") from error
        if self.keeps and not self.began:
            try:
                check_left(self.folder, self.config, self.trainer.global_step, resume=self.resume)
            except ValueError:
                self._abandon()
                raise

    def _abandon(self) -> None:
        if self.claim and not self.resume:
            with suppress(ValueError):  # another process has the folder by now
                self.claim.check()
                self.folder.abandon()

    def _keep_step(self, error: DivergenceError) -> None:
        step = {name: getattr(error, name) for name in ("step", "batch", "loss", "gradients")}
        save_weights(self.learner.model, self.folder.nonfinite.with_suffix(".safetensors"), step=error.step - 1)
        step["seed"] = self.data.seed
        if self.learner.min_memory_slots:
            step["memory_slots"] = self.learner.slots_of(error.batch)
        if deviation := self.learner.noise.deviation:
            step["weight_noise"] = deviation
        write_whole(self.folder.nonfinite, as_json(step, indent=2) + "\n")

    def _open(self) -> None:
        if not self.resume:
            self.folder.create()
            self._lock()
            write_whole(self.folder.config, self.config)
            self._declare()
            return
        self.folder.require()
        self._lock()
        check_same_data(self.data.task, self.folder)
        check_links(self.trainer, self.folder.path)
        if not self._goes_on() and not self.folder.began():
            return
        state = training_state(self.learner.model, self.folder.last)
        self.learner.check_resumable(state, self.folder.last)
        check_further(self.trainer, state["global_step"], self.folder, saves=self.saves)
        self.folder.rows()  # reports damaged metrics before anything is changed

    def _declare(self) -> None:
        """Write what this run measures: folders of older runs lack it."""
        measures = self.data.task.answer.measures.as_object()
        write_whole(self.folder.measures, as_json(measures, indent=2) + "\n")

    def _lock(self) -> None:
        self.claim = self.folder.lock()
        self.unlock = weakref.finalize(self, self.claim)

    def begin(self) -> None:
        """Record that training has begun. A resumed folder is changed only here, after all checks."""
        runs = computation(self.trainer, self.learner, self.data.task)
        if self.keeps:
            check_links(self.trainer, self.folder.path)
        self.began = True
        if not (self.keeps and self.trainer.is_global_zero):
            return
        self.folder.note(
            about(
                seed=self.data.seed,
                step=self.trainer.global_step,
                **runs,
                device=str(self.learner.device),
                task_version=self.data.task.version,
                **contents(self.data.task),
                parameters=sum(weights.numel() for weights in self.learner.model.parameters()),
            )
        )
        if not self.resume:
            return
        self.folder.sweep()
        self._declare()
        for end in (self.folder.failed, self.folder.result):  # the run is in training again
            end.unlink(missing_ok=True)
        if self._goes_on():
            self.folder.forget_after(self.trainer.global_step, self.recorder.sequences)
        else:
            self.folder.forget()
        if read_text(self.folder.config, CONFIG_BYTES) != self.config:
            if self._goes_on():
                self._keep_old_config()
            write_whole(self.folder.config, self.config)

    def _goes_on(self) -> bool:
        return self.resume and self.folder.last.exists()

    def _keep_old_config(self) -> None:
        number = 1
        while os.path.lexists(kept := self.folder.path / f"config.before-resume-{number}.yaml"):
            number += 1
        write_whole(kept, read_text(self.folder.config, CONFIG_BYTES))

    def _completed(self, trainer: dict[str, Any], stop_when_solved: int) -> dict[str, Any]:
        begin = LambdaCallback(on_train_start=lambda *_: self.begin())
        callbacks: list[Callback] = [begin, KeepLock(lambda: self.claim), self.recorder]
        self.saves = self.keeps and trainer.get("enable_checkpointing") is not False
        extra = _as_list(trainer.get("callbacks"))
        if trainer.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in extra):
            callbacks.append(CostBar(self.folder.path.name, self.data.task.answer.measures))
        if stop_when_solved:
            callbacks.append(StopWhenSolved(stop_when_solved))
        if not self.keeps:
            callbacks = callbacks[:1] if trainer.get("barebones") else [*callbacks, *extra]
            return {**trainer, "logger": False, "callbacks": callbacks}
        if self.saves:
            callbacks += [self.keeper, RandomStates(), PartialGradients(self.learner)]
        return {
            **trainer,
            "default_root_dir": trainer.get("default_root_dir") or self.folder.path,
            "logger": [JsonLinesLogger(self.folder), *self._loggers(trainer.get("logger"))],
            "callbacks": [*callbacks, *extra, FinishStep(self.folder if self.saves else None)],
            "plugins": [WholeCheckpointIO(self.config), *trainer["plugins"]],
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
    if not name.isprintable() or Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"name (={name!r}) must be a plain folder name; --runs sets its parent folder.")
    return RunFolder(Path(runs).expanduser() / name)
