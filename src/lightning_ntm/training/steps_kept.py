"""Keeps the weights of chosen steps of a training, for `--keep_weights_every`."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import nn

from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.records import RunFolder, make_folder


class StepsKeeper(Callback):
    """Keeps the weights before the first step, and after every so many steps.

    Args:
        folder: The run folder; the files are in its folder `weights`.
        model: The network.
        every: Steps from one to the next, at least 1.
    """

    def __init__(self, folder: RunFolder, model: nn.Module, every: int):
        self.folder, self.model, self.every = folder, model, every
        self.last: int | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the initial weights; a resumed training has those of its step."""
        if trainer.global_step == 0:
            self._keep(trainer)
        self.last = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Keep the weights when it is time; while gradients are accumulated, several batches are of one step."""
        if trainer.global_step != self.last and trainer.global_step % self.every == 0:
            self._keep(trainer)
        self.last = trainer.global_step

    def _keep(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            make_folder(self.folder.weights)
            save_weights(self.model, self.folder.weights_at(trainer.global_step), step=trainer.global_step)


def steps_keepers(folder: RunFolder, model: nn.Module, every: int) -> list[Callback]:
    """Return the callback that keeps the weights of every so many steps; none for 0."""
    return [StepsKeeper(folder, model, every)] if every else []
