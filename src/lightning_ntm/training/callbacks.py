"""What happens around the steps of a run: measuring, keeping, stopping."""

import io
import math
import time
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.profilers import PassThroughProfiler
from torch import Tensor, nn

from lightning_ntm.checks import at_least
from lightning_ntm.evaluation.weights import FORMAT, kept_config, save_weights
from lightning_ntm.measures import BITS, Measures
from lightning_ntm.records import RunFolder, write_whole
from lightning_ntm.tasks.answer import in_unit
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.states import by_itself, check_like


def rounded(mean: float) -> float:
    """Return a mean without the last digits, in which rounding errors add up: 28 of 100 is 0.28."""
    return float(f"{mean:.12g}")


def validated(trainer: L.Trainer) -> dict[str, float]:
    """Return what validation measured."""
    seen = trainer.callback_metrics
    return {name: rounded(float(seen[name])) for name in seen if name.startswith("validation_")}


_OF_TENSORS = ("state_dict", "optimizer_states")  # in a training state
_MOST_WAITING = 64  # batches whose measures are added up at once


class Recorder(Callback):
    """Measures training and hands every measurement, of validation too, to the loggers.

    Training is measured over all batches since the last measurement, each before its own update;
    `steps_per_second` and `seconds` leave validation and checkpoints out. Where several runs share a loop,
    `steps_per_second` is that of the loop, and `seconds` is the share of one run: the time divided by their number.

    Args:
        every: Steps between two measurements, at least 1.
        measures: Of the task's answer.
    """

    measures_learner = True  # so that it does not log itself

    def __init__(self, every: int = 50, measures: Measures = BITS):
        at_least(1, log_every_n_steps=every)
        self.every, self.sequences, self.seconds = every, 0, 0.0
        self.names, self.share = ("loss", *_compared(measures)), 1.0
        self.clock: float | None = None  # when the time that counts was last added up
        self._clear()

    def _clear(self) -> None:
        self.steps, self.batches, self.skipped, self.interval_seconds = 0, 0, 0, 0.0
        self.gradient_norm: Tensor | float = 0.0
        self.sums = dict.fromkeys(self.names, 0.0)
        # What is not added up yet: operations of PyTorch at each step would cost more.
        self.waiting: list[dict[str, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from, an unfinished interval included."""
        self._add_up()
        counted = {name: getattr(self, name) for name in self._counted}
        return {**counted, "gradient_norm": float(self.gradient_norm), "sums": dict(self.sums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        check_like(state_dict, self.state_dict(), "the saved state of what was measured")
        for name, value in state_dict.items():
            setattr(self, name, value)

    _counted = ("sequences", "seconds", "steps", "batches", "skipped", "interval_seconds")

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, index: int) -> None:
        """Start the clock, if it stands."""
        self.step_before = trainer.global_step
        if self.clock is None:
            self.clock = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the learning rate of this step; the schedule moves on before the step is written."""
        self.learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Stop the clock."""
        self.clock = None

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: L.Trainer, module: SequenceLearner, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Add up, and write when it is time."""
        if module.skipped or not outputs:
            self.skipped += 1
        else:
            self._add(outputs, module.measured(outputs, batch))
            self.gradient_norm = module.gradient_norm
        self.sequences += len(batch.inputs) * trainer.world_size
        self._add_time()
        if trainer.global_step == self.step_before:
            return  # gradients are accumulated over several batches
        self.steps += 1
        if trainer.global_step % self.every == 0:
            module.check_last_step()
            self._write_training(trainer)

    def _add(self, outputs: Any, measured: dict[str, Tensor]) -> None:
        self.waiting.append({"loss": outputs["undivided"], **measured})
        self.batches += 1
        if len(self.waiting) == _MOST_WAITING:
            self._add_up()

    def _add_up(self) -> None:
        # In Python's floats and batch by batch: the sums do not depend on where a run was interrupted.
        for name in self.names if self.waiting else ():
            values = [measured[name] for measured in self.waiting]
            sizes = [value.numel() for value in values]
            numbers = iter(torch.cat([value.reshape(-1) for value in values]).tolist())
            for size in sizes:
                self.sums[name] += in_unit(name, math.fsum(islice(numbers, size)) / size)
        self.waiting.clear()

    def _add_time(self) -> None:
        assert self.clock is not None
        now = time.perf_counter()
        self.seconds += (now - self.clock) * self.share
        self.interval_seconds += now - self.clock
        self.clock = now

    def _write_training(self, trainer: L.Trainer) -> None:
        self._add_up()
        measured = {f"train_{name}": rounded(value / max(1, self.batches)) for name, value in self.sums.items()}
        measured["gradient_norm"] = float(self.gradient_norm)
        if self.skipped:
            measured["skipped_steps"] = self.skipped
        measured["learning_rate"] = self.learning_rate
        measured["steps_per_second"] = round(self.steps / self.interval_seconds, 3)
        self._clear()
        self._write(trainer, measured)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write what validation measured."""
        if not trainer.sanity_checking:
            self._write(trainer, validated(trainer))

    def _write(self, trainer: L.Trainer, measured: dict[str, float]) -> None:
        counted = {"sequences": self.sequences, "seconds": round(self.seconds, 3)}
        for logger in trainer.loggers:
            logger.log_metrics({**counted, **measured}, step=trainer.global_step)


class Keeper(Checkpoint):
    """Keeps the whole state of the last validation, and the weights of the best one.

    The first measure decides which is the best. Ties go to the next measures, and then to the latest validation.

    Args:
        folder: Where they are kept.
        model: The network whose weights are kept.
        measures: Of the task's answer.
        config: Of the run, as YAML; the file of weights holds what is needed of it to make the network again.
    """

    def __init__(self, folder: RunFolder, model: nn.Module, measures: Measures = BITS, config: str = ""):
        self.folder, self.model, self.measures, self.config = folder, model, measures, kept_config(config)
        self.best: dict[str, float] = {}
        self.saved: int | None = None  # the step of the state on disk
        self.validated: dict[str, Tensor] = {}  # the weights that are measured, by now perhaps not those of the network

    def state_dict(self) -> dict[str, Any]:
        """Return what the best validation measured."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        best = state_dict.get("best")
        if best != {}:
            like = {"step": 0, **dict.fromkeys(_compared(self.measures), 0.0)}
            known = {name: best.get(name) for name in like} if isinstance(best, dict) else best
            check_like(known, like, "the best validation in the saved state")
        self.best = dict(best or {})

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Note what a resumed run has on disk."""
        self.saved = trainer.global_step if trainer.ckpt_path else None

    def on_validation_batch_end(self, *args: Any) -> None:
        """Copy the weights that are measured: a callback, as one that averages them, may swap them for a validation."""
        if not self.validated:
            self.validated = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep what was just validated."""
        weights, self.validated = self.validated, {}
        if trainer.sanity_checking:
            return
        seen = validated(trainer)
        measured = {name: seen[key] for name in self.measures.names if (key := f"validation_{name}") in seen}
        if not self.best or self.measures.rank(measured) <= self.measures.rank(self.best):
            self.best = {"step": trainer.global_step, **measured}
            if trainer.is_global_zero:
                self._keep(weights or self.model, trainer.global_step)
        self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the end; without any validation, its weights are the best there are.

        A state that was saved after this step already stays: by now Lightning counts an epoch more, which a run
        that was killed in between, and has nothing left to train, would not.
        """
        if not self.best and trainer.is_global_zero:
            self._keep(self.model, trainer.global_step)
        if self.saved != trainer.global_step:
            self._save(trainer)

    def _keep(self, weights: nn.Module | dict[str, Tensor], step: int) -> None:
        network = type(self.model).__name__
        save_weights(weights, self.folder.best, network=network, step=step, config=self.config)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            self.folder.sync()  # no state without the measurements before it, even if the power fails
        trainer.save_checkpoint(self.folder.last)
        self.saved = trainer.global_step


def _compared(measures: Measures) -> list[str]:
    """Return the names of the measures by which networks are compared: of all but the distance to an optimum."""
    return [measure.name for measure in measures.each if not measure.above]


class StopWhenSolved(Callback):
    """Ends training after a number of validations in a row without an error.

    Args:
        validations: That number, at least 1.
    """

    def __init__(self, validations: int):
        self.validations, self.in_a_row = validations, 0

    def state_dict(self) -> dict[str, Any]:
        """Return how many there were so far."""
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        check_like(state_dict, self.state_dict(), "the saved state of what was solved")
        self.in_a_row = state_dict["in_a_row"]

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Count, and stop when it is enough."""
        if trainer.sanity_checking:
            return
        self.in_a_row = self.in_a_row + 1 if trainer.callback_metrics["validation_perfect"] == 1 else 0
        if self.in_a_row >= self.validations:
            trainer.should_stop = True


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, but whole or absent even where the run folder is on another disk.

    Args:
        config: What was trained, as YAML; it is kept beside the state.
    """

    def __init__(self, config: str = "") -> None:
        super().__init__()
        self.config = config

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        saved = {key: by_itself(part) if key in _OF_TENSORS else part for key, part in checkpoint.items()}
        written = io.BytesIO()  # PyTorch's own writer says of a full disk that an internal check failed
        torch.save({**saved, "lightning_ntm": FORMAT, "config": self.config}, written)
        write_whole(Path(path), written.getbuffer())


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's own without profiling, without making an object for each of 50 hooks a step."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Return what does nothing."""
        return _NOTHING


_NOTHING = nullcontext()
