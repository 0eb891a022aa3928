"""Measures a training for its run folder."""

import math
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lightning_ntm.checks import at_least
from lightning_ntm.measures import BITS, Measures
from lightning_ntm.tasks.answer import in_unit
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.states import check_like


def rounded(mean: float) -> float:
    """Return a mean without the last digits, in which rounding errors add up: 28 of 100 is 0.28."""
    return float(f"{mean:.12g}")


def validated(trainer: L.Trainer) -> dict[str, float]:
    """Return what validation measured."""
    seen = trainer.callback_metrics
    return {name: rounded(float(seen[name])) for name in seen if name.startswith("validation_")}


def compared(measures: Measures) -> list[str]:
    """Return the names of the measures by which networks are compared: of all but the distance to an optimum."""
    return [measure.name for measure in measures.each if not measure.above]


_MOST_WAITING = 64  # batches whose measures are added up at once


class Recorder(Callback):
    """Measures training and hands every measurement, of validation too, to the loggers.

    Training is measured over all batches since the last measurement, each before its own update, without those of
    steps that were skipped. Of an optimizer that computes the loss several times in a step, the first time counts.
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
        self.names, self.share = ("loss", *compared(measures)), 1.0
        self.clock: float | None = None  # when the time that counts was last added up
        self._clear()

    def _clear(self) -> None:
        self.steps, self.batches, self.skipped, self.interval_seconds = 0, 0, 0, 0.0
        self.gradient_norm: Tensor | float = 0.0
        self.sums = dict.fromkeys(self.names, 0.0)
        # What is not added up yet: operations of PyTorch at each step would cost more.
        self.waiting: list[dict[str, Tensor]] = []
        # Of the step under way, which may be skipped; what a saved state had of it comes first.
        self.unfinished: list[dict[str, Tensor]] = []
        self.saved: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from, an unfinished interval included."""
        self._add_up()
        counted = {name: getattr(self, name) for name in self._counted}
        state = {**counted, "gradient_norm": float(self.gradient_norm), "sums": dict(self.sums)}
        unfinished = [*self.saved, *self._means(self.unfinished)]
        return {**state, "unfinished": unfinished} if unfinished else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        known = dict(state_dict) if isinstance(state_dict, dict) else state_dict
        unfinished = known.pop("unfinished", []) if isinstance(known, dict) else []
        check_like(known, self.state_dict(), "the saved state of what was measured")
        check_like(unfinished, [self.sums] * len(unfinished), "the saved state of a step under way")
        for name, value in known.items():
            setattr(self, name, value)
        self.saved = unfinished

    _counted = ("sequences", "seconds", "steps", "batches", "skipped", "interval_seconds")

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, index: int) -> None:
        """Start the clock, if it stands."""
        self.step_before, self.losses = trainer.global_step, 0
        if self.clock is None:
            self.clock = time.perf_counter()

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: L.Trainer, module: SequenceLearner, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the learning rate of this step, since the schedule moves on before it is written, and the first loss."""
        self.learning_rate = float(optimizer.param_groups[0]["lr"])
        self.losses += 1
        if self.losses == 1:
            self.first = module.latest_outputs
        elif self.losses == 2:
            self.first_norm = module.gradient_norm  # that of this loss is measured later

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Stop the clock."""
        self.clock = None

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: L.Trainer, module: SequenceLearner, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Add up, and write when it is time."""
        again = self.losses > 1 and self.first
        if outputs:
            self.unfinished.append(self._measured(module, self.first if again else outputs, batch))
        module.latest_outputs = self.first = None
        self.sequences += len(batch.inputs) * trainer.world_size
        self._add_time()
        if trainer.global_step == self.step_before:
            return  # gradients are accumulated over several batches
        self._end_step(module.skipped, self.first_norm if again else module.gradient_norm)
        self.steps += 1
        if trainer.global_step % self.every == 0:
            module.check_last_step()
            self._write_training(trainer)

    def _measured(self, module: SequenceLearner, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        return {"loss": outputs["undivided"], **module.measured(outputs, batch)}

    def _end_step(self, skipped: bool, gradient_norm: Tensor | float) -> None:
        batches = len(self.saved) + len(self.unfinished)
        if skipped or not batches:
            self.skipped += 1
        else:
            self._add(self.saved)
            self.waiting += self.unfinished
            self.batches, self.gradient_norm = self.batches + batches, gradient_norm
        self.saved, self.unfinished = [], []
        if len(self.waiting) >= _MOST_WAITING:
            self._add_up()

    def _add_up(self) -> None:
        self._add(self._means(self.waiting))
        self.waiting.clear()

    def _add(self, batches: Sequence[dict[str, float]]) -> None:
        # In Python's floats and batch by batch: the sums do not depend on where a run was interrupted.
        for means in batches:
            for name in self.names:
                self.sums[name] += in_unit(name, means[name])

    def _means(self, batches: Sequence[dict[str, Tensor]]) -> list[dict[str, float]]:
        """Return the means over the sequences of each batch."""
        found = [dict[str, float]() for _ in batches]
        for name in self.names if batches else ():
            values = [measured[name] for measured in batches]
            numbers = iter(torch.cat([value.reshape(-1) for value in values]).tolist())
            for means, size in zip(found, [value.numel() for value in values], strict=True):
                means[name] = math.fsum(islice(numbers, size)) / size
        return found

    def _add_time(self) -> None:
        assert self.clock is not None
        now = time.perf_counter()
        self.seconds += (now - self.clock) * self.share
        self.interval_seconds += now - self.clock
        self.clock = now

    def _write_training(self, trainer: L.Trainer) -> None:
        self._add_up()
        batches = self.batches or math.nan  # where all steps were skipped, nothing was measured
        measured = {f"train_{name}": rounded(value / batches) for name, value in self.sums.items()}
        measured["gradient_norm"] = float(self.gradient_norm) if self.batches else math.nan
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
