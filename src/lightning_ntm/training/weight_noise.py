"""Takes the noise off the weights wherever a batch may end."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from lightning_ntm.evaluation.noise import WeightNoise


class NoiseOff(Callback):
    """Takes noise off the weights before they are updated, and when a training ends within a batch.

    Lightning tells callbacks of errors, and no modules. A subclass of a learner may also replace the hooks of the
    learner.

    Args:
        noise: On the weights.
    """

    def __init__(self, noise: WeightNoise):
        self.noise = noise

    def on_after_backward(self, *args: Any) -> None:
        """Take it off: the gradients are those of the weights with noise, and the update is that of the weights."""
        self.noise.take_off()

    def on_train_batch_end(self, *args: Any) -> None:
        """Take it off a batch that had no backward pass."""
        self.noise.take_off()

    def on_exception(self, *args: Any) -> None:
        """Take it off."""
        self.noise.take_off()


def ensure_taken_off(trainer: L.Trainer, noise: WeightNoise) -> None:
    """Add a `NoiseOff` to the callbacks of a Trainer, if it has none for this noise yet."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if not any(isinstance(one, NoiseOff) and one.noise is noise for one in callbacks):
        callbacks.append(NoiseOff(noise))
