"""The display of a training: a bar and a curve, in a terminal also a line for each validation."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from lightning_ntm.evaluation.device import HostCopy
from lightning_ntm.measures import BITS, Measures
from lightning_ntm.records import printable
from lightning_ntm.tasks.answer import in_unit
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.notebook import NotebookBar, in_kernel, is_live

#: Columns of a terminal in which a line with all measures may not have room.
_NARROW = 80
#: Lines of validations where no bar is shown, about.
_FEW = 20
_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a curve of at most so many characters, from zero to the largest value; a space where it is not finite."""
    if len(values) > width:
        values = [values[place * (len(values) - 1) // max(1, width - 1)] for place in range(width)]
    top = max((value for value in values if math.isfinite(value)), default=0.0)
    scale = 7 / top if top > 0 else 0.0
    return "".join(_BLOCKS[round(max(0.0, value) * scale)] if math.isfinite(value) else " " for value in values)


class _TerminalBar(Progress):
    """A bar, and below it a curve; the lines of validations stay above."""

    curve = ""

    def __init__(self, console: Console, total: float | None, step: int):
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        super().__init__(*columns, console=console, refresh_per_second=4, transient=True)
        self.shown = self.add_task("training", total=total, completed=step)
        self.start()

    def move(self, step: int) -> None:
        """Show that so many steps are done."""
        self.update(self.shown, completed=step)

    def describe(self, phrase: str) -> None:
        """Show what training measures."""
        self.update(self.shown, description=phrase)

    def validated(self, curve: str, line: str) -> None:
        """Show what a validation measured."""
        self.curve = curve
        self.console.print(line, soft_wrap=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar and the curve."""
        yield from super().get_renderables()
        if self.curve:
            yield Text(self.curve, no_wrap=True, overflow="crop")


def validation_line(trainer: L.Trainer, measures: Measures, width: int = _NARROW) -> str:
    """Return what the last validation measured in a line of text; where there is little room, the first measure."""
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    parts = [
        measure.phrase(seen[name], width=8)
        for measure in (measures.each if width >= _NARROW else measures.each[:1])
        if (name := f"validation_{measure.name}") in seen
    ]
    if not any(measure.above for measure in measures.each):  # else hardly any sequence is without an error
        parts.append(f"{seen['validation_perfect']:4.0%} without error")
    return f"step {trainer.global_step:>7}  {'  '.join(parts)}"


class CostBar(ProgressBar):
    """Shows the first measure while a network trains, and all after each validation.

    In a terminal and in a notebook a bar shows the cost in training, and a curve below it those of the validations. A
    terminal has a line for each validation, too. Elsewhere, as in a file or in the output of `!ntm train` in a
    notebook, there are lines alone, about twenty. In a `Trainer` of your own it takes the place of Lightning's bar:
    `Trainer(callbacks=[CostBar()])`; it needs a `SequenceLearner`.

    Args:
        name: Name to show, by default the class of the network.
        measures: The measures to show, by default those of the learner's answer.
    """

    def __init__(self, name: str = "", measures: Measures | None = None):
        super().__init__()
        self.name, self.measures, self.enabled = printable(name), measures or BITS, True
        self.asks = measures is None
        self.bar: _TerminalBar | NotebookBar | None = None
        self.costs: list[float] = []  # of the validations
        self.next_line = 0.0  # without a bar, the step from which a validation has a line
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
        if self.asks:
            if not isinstance(module, SequenceLearner):
                raise ValueError(f"CostBar shows the training of a SequenceLearner, not of a {type(module).__name__}.")
            self.measures = module.answer.measures
            self.name = self.name or type(module.model).__name__
        if in_kernel():
            self.bar = NotebookBar(self.name, _total_steps(trainer))
            return
        self.console, self.headed = Console(highlight=False, markup=False), False
        if is_live(self.console):
            self.bar = _TerminalBar(self.console, _total_steps(trainer), trainer.global_step)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: L.Trainer, module: SequenceLearner, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, and show the cost of a batch in ten, as soon as it can be read without waiting for a GPU."""
        if not self.bar:
            return
        self.bar.move(trainer.global_step)
        if trainer.global_step % 10 == 0:
            raw = module.measured(outputs, module.episodes(batch))
            self.cost = HostCopy(raw[self.measures.each[0].name].mean())
        if self.cost and self.cost.arrived():
            (cost,) = self.cost.read()
            self.cost = None
            judge = self.measures.each[0]
            self.bar.describe(judge.phrase(in_unit(judge.name, cost), width=6).strip())

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write a line."""
        if not self.enabled or trainer.sanity_checking:
            return
        judge = self.measures.each[0]
        self.costs.append(float(trainer.callback_metrics[f"validation_{judge.name}"]))
        width = _NARROW if isinstance(self.bar, NotebookBar) else self.console.width
        line = validation_line(trainer, self.measures, width)
        if not isinstance(self.bar, NotebookBar):
            self._head()
        if self.bar:
            self.bar.validated(self._curve(judge.label, width), line)
        elif trainer.global_step >= self.next_line or trainer.global_step == trainer.max_steps:
            self.console.print(line, soft_wrap=True)
            self.next_line = trainer.global_step + (_total_steps(trainer) or 20 * trainer.global_step) / _FEW

    def _head(self) -> None:
        """Write the heading above the first line of this training."""
        if not self.headed:
            self.console.print(f"{self.name}: means over sequences in validation", soft_wrap=True)
            self.headed = True

    def _curve(self, label: str, width: int) -> str:
        if not isinstance(self.bar, NotebookBar) and self.console.options.ascii_only:
            return ""
        told = f"{label} in validation "
        return told + sparkline(self.costs, max(1, width - len(told)))

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error message is printed below it."""
        self._close()

    def _close(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = self.cost = None


def _total_steps(trainer: L.Trainer) -> float | None:
    total = trainer.estimated_stepping_batches
    return None if total == float("inf") else total
