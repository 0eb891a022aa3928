"""What a person watching a training sees: a live bar in a terminal, and a line a validation anywhere."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_ntm.evaluation.device import HostCopy
from lightning_ntm.measures import BITS, Measures
from lightning_ntm.records import printable
from lightning_ntm.tasks.answer import in_unit
from lightning_ntm.training.learner import SequenceLearner


def validation_line(trainer: L.Trainer, measures: Measures) -> str:
    """Return what the last validation measured in a line of text."""
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    parts = [
        measure.phrase(seen[name], width=8)
        for measure in measures.each
        if (name := f"validation_{measure.name}") in seen
    ]
    if not any(measure.above for measure in measures.each):  # else hardly any sequence is without an error
        parts.append(f"{seen['validation_perfect']:4.0%} without error")
    return f"step {trainer.global_step:>7}  {'  '.join(parts)}"


class CostBar(ProgressBar):
    """Shows the first measure while a network trains, and all in a line for each validation.

    Args:
        name: Of the run.
        measures: Of the task's answer.
    """

    def __init__(self, name: str, measures: Measures = BITS):
        super().__init__()
        self.name, self.measures, self.enabled = printable(name), measures, True
        self.bar: Progress | None = None
        self.cost: HostCopy | None = None  # not shown yet

    def disable(self) -> None:
        """Show nothing; Lightning asks for it in all processes but the first."""
        self.enabled = False

    def enable(self) -> None:
        """Show again."""
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Open the bar."""
        if not self.enabled:
            return
        self.console = Console(highlight=False, markup=False)
        self.console.print(f"{self.name}: means over sequences in validation", soft_wrap=True)
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(None),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, console=self.console, refresh_per_second=4, transient=True)
            self.shown = self.bar.add_task(self.name, total=_total_steps(trainer), completed=trainer.global_step)
            self.bar.start()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: L.Trainer, module: SequenceLearner, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, and show the cost of a batch in ten, as soon as it can be read without waiting for a GPU."""
        if not self.bar:
            return
        self.bar.update(self.shown, completed=trainer.global_step)
        if trainer.global_step % 10 == 0:
            raw = module.measured(outputs, batch)
            self.cost = HostCopy(raw[self.measures.each[0].name].mean())
        if self.cost and self.cost.arrived():
            (cost,) = self.cost.read()
            self.cost = None
            judge = self.measures.each[0]
            phrase = judge.phrase(in_unit(judge.name, cost), width=6)
            self.bar.update(self.shown, description=f"{self.name}  {phrase} in training")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write a line."""
        if self.enabled and not trainer.sanity_checking:
            self.console.print(validation_line(trainer, self.measures), soft_wrap=True)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message stands below it."""
        self._close()

    def _close(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = self.cost = None


def _total_steps(trainer: L.Trainer) -> float | None:
    total = trainer.estimated_stepping_batches
    return None if total == float("inf") else total
