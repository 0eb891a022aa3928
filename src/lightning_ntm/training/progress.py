"""What a person watching a training sees: a live bar in a terminal, and a line a validation anywhere."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_ntm.evaluation.device import HostCopy
from lightning_ntm.records import printable
from lightning_ntm.tasks import metrics


class CostBar(ProgressBar):
    """Shows the cost, in wrong bits per sequence, while a network trains.

    Args:
        name: Of the run.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name, self.enabled = printable(name), True
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
        self.console.print(f"{self.name}: costs in validation, lower is better", soft_wrap=True)
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

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, and show the cost of a batch in ten, as soon as it can be read without waiting for a GPU."""
        if not self.bar:
            return
        self.bar.update(self.shown, completed=trainer.global_step)
        if trainer.global_step % 10 == 0:
            self.cost = HostCopy(metrics.wrong_bits(outputs["logits"], batch).mean())
        if self.cost and self.cost.arrived():
            (cost,) = self.cost.read()
            self.cost = None
            self.bar.update(self.shown, description=f"{self.name}  {cost:6.2f} wrong bits in training")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write a line."""
        if not self.enabled or trainer.sanity_checking:
            return
        seen = trainer.callback_metrics
        last = f"{float(seen['validation_perfect']):4.0%} without error"
        if "validation_regret_bits" in seen:
            last = f"{float(seen['validation_regret_bits']):7.2f} above the optimum"
        self.console.print(
            f"step {trainer.global_step:>7}  {float(seen['validation_wrong_bits']):8.2f} wrong bits  "
            f"{float(seen['validation_bits_per_sequence']):9.2f} bits per sequence  {last}",
            soft_wrap=True,
        )

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
