"""What a training writes into its run folder, apart from what callbacks write at each step."""

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from torch.optim.lr_scheduler import LambdaLR

from lightning_ntm.evaluation.contents import contents
from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.records import Claim, RunFolder, as_json, write_whole
from lightning_ntm.records.files import CONFIG_BYTES, read_text
from lightning_ntm.training.about import about, computation
from lightning_ntm.training.callbacks import Keeper
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.recorder import Recorder
from lightning_ntm.training.refusals import check_further, check_left, check_links, check_same_data
from lightning_ntm.training.safety import DivergenceError
from lightning_ntm.training.states import check_optimizer_state, check_settings, training_state


class RecordedRun:
    """The run folder of a training.

    Args:
        learner: The network with its loss and optimiser.
        data: The episodes.
        folder: The run folder.
        config: The resolved configuration, as YAML.
        resume: Resume from the training state in the folder instead of creating the folder.
        recorder: Measures the training.
        writes: Whether this process writes the folder.
    """

    def __init__(
        self,
        learner: SequenceLearner,
        data: EpisodeData,
        folder: RunFolder,
        config: str,
        *,
        resume: bool,
        recorder: Recorder,
        writes: bool,
    ):
        self.learner, self.data, self.folder, self.config, self.resume = learner, data, folder, config, resume
        self.writes, self.began = writes, False
        self.measure_by(recorder)
        self.claim: Claim | None = None
        self.unlock: Callable[[], object] = lambda: None

    def measure_by(self, recorder: Recorder) -> None:
        """Take callbacks that have counted nothing yet: a training state has what was counted."""
        self.recorder = recorder
        self.keeper = Keeper(self.folder, self.learner.model, self.data.task.answer.measures, self.config)

    def open(self, trainer: L.Trainer, *, saves: bool) -> None:
        """Create the folder, or check the one that is resumed; and lock it.

        Raises:
            ValueError: The folder exists already, or contains nothing that can be resumed.
        """
        if not self.writes:
            return
        try:
            if self.resume:
                self._reopen(trainer, saves=saves)
            else:
                self.folder.create()
                self._lock()
                write_whole(self.folder.config, self.config)
                self._declare()
        except BaseException:
            self.unlock()
            raise

    def _reopen(self, trainer: L.Trainer, *, saves: bool) -> None:
        self.folder.require()
        self._lock()
        check_same_data(self.data.task, self.folder)
        check_links(trainer, self.folder.path)
        if not self.goes_on() and not self.folder.began():
            return
        state = training_state(self.learner.model, self.folder.last)
        check_settings_of(self.learner, state, self.folder.last)
        check_further(trainer, state["global_step"], self.folder, saves=saves)
        self.folder.rows()  # reports damaged metrics before anything is changed

    def goes_on(self) -> bool:
        """Return whether there is a training state to resume."""
        return self.resume and self.folder.last.exists()

    def _declare(self) -> None:
        """Write what this run measures: folders of older runs lack it."""
        measures = self.data.task.answer.measures.as_object()
        write_whole(self.folder.measures, as_json(measures, indent=2) + "\n")

    def _lock(self) -> None:
        self.claim = self.folder.lock()
        self.unlock = weakref.finalize(self, self.claim)

    def begin(self, trainer: L.Trainer, **more: Any) -> None:
        """Record that training has begun. A resumed folder is changed only here, after all checks.

        Args:
            trainer: Trains the run.
            more: What else to record.
        """
        runs = computation(trainer, self.learner, self.data.task)
        if self.writes:
            check_links(trainer, self.folder.path)
        self.began = True
        if not self.writes:
            return
        self.folder.note(
            about(
                seed=self.data.seed,
                step=trainer.global_step,
                **runs,
                device=str(self.learner.device),
                task_version=self.data.task.version,
                **contents(self.data.task),
                parameters=sum(weights.numel() for weights in self.learner.model.parameters()),
                **self.data.units_per_sequence(),
                **more,
            )
        )
        if self.resume:
            self._begin_again(trainer.global_step)

    def _begin_again(self, step: int) -> None:
        self.folder.sweep()
        self._declare()
        for end in (self.folder.failed, self.folder.result):  # the run is in training again
            end.unlink(missing_ok=True)
        if self.goes_on():
            self.folder.forget_after(step, self.recorder.sequences)
        else:
            self.folder.forget()
        if read_text(self.folder.config, CONFIG_BYTES) != self.config:
            if self.goes_on():
                self._keep_old_config()
            write_whole(self.folder.config, self.config)

    def _keep_old_config(self) -> None:
        number = 1
        while os.path.lexists(kept := self.folder.path / f"config.before-resume-{number}.yaml"):
            number += 1
        write_whole(kept, read_text(self.folder.config, CONFIG_BYTES))

    def check_began(self, step: int) -> None:
        """Raise `ValueError`, and remove a new folder, if nothing was left to train at this step."""
        if not self.writes or self.began:
            return
        try:
            check_left(self.folder, self.config, step, resume=self.resume)
        except ValueError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Remove a folder that was created for this training."""
        if self.claim and not self.resume:
            with suppress(ValueError):  # another process has the folder by now
                self.claim.check()
                self.folder.abandon()

    def keep_step(self, error: DivergenceError) -> None:
        """Keep the step that was not finite, for `replay`."""
        step = {name: getattr(error, name) for name in ("step", "batch", "loss", "gradients")}
        save_weights(self.learner.model, self.folder.nonfinite.with_suffix(".safetensors"), step=error.step - 1)
        step["seed"] = self.data.seed
        if self.learner.min_memory_slots:
            step["memory_slots"] = self.learner.slots_of(error.batch)
        if deviation := self.learner.noise.now:
            step["weight_noise"] = deviation
        if deviation := self.learner.head_noise.now:
            step["head_noise"] = deviation
        write_whole(self.folder.nonfinite, as_json(step, indent=2) + "\n")

    def finish(self, step: int) -> dict[str, Any]:
        """Write and return the result: `step`, `sequences`, `seconds` and `best`."""
        result = {
            "step": step,
            "sequences": self.recorder.sequences,
            "seconds": round(self.recorder.seconds, 3),
            "best": self.keeper.best,
        }
        if self.writes:
            write_whole(self.folder.result, as_json(result, indent=2) + "\n")
        return result

    def close(self) -> None:
        """Let go of the folder, and of the network."""
        self.learner.noise.take_off()
        self.unlock()


def check_settings_of(learner: SequenceLearner, state: dict[str, Any], path: Path) -> None:
    """Raise `ValueError` unless a saved training state has the settings of a learner's optimiser and scheduler.

    PyTorch would load the state of another kind, and fail or go astray at the next step; of the same kind it takes the
    settings from the state.
    """
    optimizer = learner.optimizer(learner.model.parameters())
    check_optimizer_state(optimizer, state, path)
    scheduler = learner.scheduler(optimizer) if learner.scheduler else LambdaLR(optimizer, lambda _: 1.0)
    check_settings(optimizer, scheduler, {"momentum", "betas"} if learner.scheduler else set(), state, path)
