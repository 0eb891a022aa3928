"""Callbacks that let an interrupted run resume to the same bits."""

import random
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, GradientAccumulationScheduler
from torch import Tensor

from lightning_ntm.records import Claim, RunFolder
from lightning_ntm.signals import end_signals


class InterruptionError(Exception):
    """A signal ended training after a complete step."""

    def __init__(self, number: int):
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.signal = number


class LostFolderError(Exception):
    """The folder of a run was removed, or another process trains in it."""


class KeepLock(Callback):
    """Checks after steps and validations, before anything is written, that this process still holds the folder's lock.

    Checks are at least 0.1 seconds apart: no other training starts within that time.

    Args:
        claim: Returns the lock on the folder, or `None` if this process has none.
    """

    def __init__(self, claim: Callable[[], Claim | None]):
        self.claim, self.next_check = claim, 0.0

    def on_train_batch_end(self, *args: Any) -> None:
        """Check if the last check was long enough ago."""
        if time.monotonic() >= self.next_check:
            self._check()

    def _check(self) -> None:
        self.next_check = time.monotonic() + 0.1
        try:
            if claim := self.claim():
                claim.check()
        except ValueError as error:
            raise LostFolderError(str(error)) from None

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Check."""
        if not trainer.sanity_checking:
            self._check()

    def on_train_end(self, *args: Any) -> None:
        """Check."""
        self._check()


class RandomStates(Callback):
    """Saves the state of every random generator, which Lightning's checkpoints do not contain.

    The states are restored at the first batch of a resumed run, after everything that is sampled at the start.
    """

    def __init__(self) -> None:
        self.saved: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the states, as tensors and numbers."""
        version, words, gauss = random.getstate()
        name, keys, *rest = np.random.get_state(legacy=True)
        return {
            "python": [version, list(words), gauss],
            "numpy": [str(name), torch.from_numpy(np.asarray(keys, np.int64)), *map(float, rest)],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Store saved states for the first batch.

        Raises:
            ValueError: The states are invalid.
        """
        try:
            python, numpy, own, cuda = _states(state_dict)
            random.Random().setstate(python)
            np.random.RandomState().set_state(numpy)
            torch.Generator().set_state(own)
            if not all(isinstance(state, Tensor) and state.dtype == torch.uint8 for state in cuda):
                raise TypeError("a state of a CUDA device is not a tensor of bytes")
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"the saved states of random generators are damaged ({error})") from None
        self.saved = state_dict

    def on_train_batch_start(self, *args: Any) -> None:
        """Restore the stored states."""
        if self.saved is None:
            return
        python, numpy, own, cuda = _states(self.saved)
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(own)
        if cuda and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(cuda[: torch.cuda.device_count()])
        self.saved = None


def _states(saved: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return saved states in the formats of the generators of Python, NumPy, PyTorch and CUDA devices."""
    version, words, gauss = saved["python"]
    name, keys, position, has_gauss, cached = saved["numpy"]
    numpy = (name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached)
    return (version, tuple(words), gauss), numpy, saved["torch"], saved["cuda"]


class PartialGradients(Callback):
    """Saves the gradients of an accumulation over several batches that is under way, and continues it.

    They are restored at the first batch of a resumed run, with the number of batches that Lightning's
    `GradientAccumulationScheduler` sets only when an epoch begins. Several processes resume with the mean of their
    gradients.

    Args:
        module: The module that is trained.
    """

    def __init__(self, module: L.LightningModule):
        self.module, self.under_way, self.first_batch = module, False, True
        self.saved: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the gradients by the names of their parameters; nothing between two accumulations."""
        if not self.under_way:
            return self.saved
        reduce = self.module.trainer.strategy.reduce
        found = {name: p.grad for name, p in self.module.named_parameters() if p.grad is not None}
        return {name: reduce(gradient.clone(), reduce_op="mean") for name, gradient in found.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Store saved gradients for the first batch.

        Raises:
            ValueError: They are not those of the parameters that are trained.
        """
        shapes = {name: p.shape for name, p in self.module.named_parameters() if p.requires_grad}
        for name, saved in state_dict.items():
            fits = isinstance(saved, Tensor) and saved.is_floating_point() and saved.layout == torch.strided
            if not fits or saved.shape != shapes.get(name):
                raise ValueError("the saved state is damaged: its gradients are not those of the network.")
        self.saved = state_dict

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """Restore the stored gradients."""
        self.step_before = trainer.global_step
        if not self.first_batch:
            return
        self.first_batch = False
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GradientAccumulationScheduler):
                callback.on_train_epoch_start(trainer, module)
        for name, parameter in self.module.named_parameters() if self.saved else ():
            parameter.grad = self.saved[name].to(parameter) if name in self.saved else None
        self.saved = {}

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Note whether the step is still to come."""
        self.under_way = trainer.global_step == self.step_before


class FinishStep(Callback):
    """Ends training on Ctrl-C, SIGTERM and similar signals, after the current step.

    A second Ctrl-C ends it at once. Several processes would not end after the same step. For them Lightning's handling
    of SIGTERM is kept, and used for the other signals too.
    """

    def __init__(self) -> None:
        self.signal = 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Install the signal handlers. Lightning restores the previous ones."""
        if threading.current_thread() is not threading.main_thread():
            return
        alone = trainer.world_size == 1
        for number in end_signals():
            signal.signal(number, self._on_signal if alone else signal.getsignal(signal.SIGTERM))
        if alone:
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """End here, unless a validation or the end of an epoch follows this step."""
        if not self.due(trainer):
            return
        loop, every = trainer.fit_loop.epoch_loop, trainer.val_check_batch
        numbers = (loop.batch_idx, loop.total_batch_idx)
        validates = trainer.enable_validation and every and any((number + 1) % every == 0 for number in numbers)
        if not (validates or loop.batch_progress.is_last_batch):
            self._end(trainer)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """End after the validation that follows a step."""
        if self.due(trainer) and not trainer.sanity_checking:
            self._end(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """End after an epoch."""
        if self.due(trainer):
            self._end(trainer)

    def due(self, trainer: L.Trainer) -> bool:
        """Return whether to end after the current step."""
        return bool(self.signal)

    def _end(self, trainer: L.Trainer) -> None:
        raise InterruptionError(self.signal)


class SaveAndFinish(FinishStep, Checkpoint):
    """Ends training as `FinishStep`, with everything saved.

    Lightning calls it after all callbacks that are no `Checkpoint`, and after those that come before it: the weights
    of a validation are kept before it ends the training.

    Args:
        folder: Folder of the saved state.
    """

    def __init__(self, folder: RunFolder):
        super().__init__()
        self.folder = folder

    def _end(self, trainer: L.Trainer) -> None:
        self.folder.sync()
        trainer.save_checkpoint(self.folder.last)
        super()._end(trainer)


class DivergenceError(Exception):
    """A loss or a gradient is not finite.

    Args:
        step: Number of the step, from 1.
        batch: Number of its first batch whose loss is not finite, or else of its last batch, from 0.
        loss: Loss of that batch.
        gradients: Largest absolute gradient of each parameter by name, largest first; nan and inf come before all
            others.
    """

    def __init__(self, step: int, batch: int, loss: float, gradients: dict[str, float]):
        largest = ", ".join(f"{name} {value:.3g}" for name, value in list(gradients.items())[:3])
        super().__init__(f"step {step} (batch {batch}): the loss is {loss:.3g}, the largest gradients are {largest}")
        self.step, self.batch, self.loss, self.gradients = step, batch, loss, gradients


def largest_gradients(module: torch.nn.Module) -> dict[str, float]:
    """Return the largest absolute gradient of each parameter, largest first, nan and inf before all others."""
    found = {name: float(_largest(p.grad)) for name, p in module.named_parameters() if p.grad is not None}
    return dict(sorted(found.items(), key=lambda item: (np.isfinite(item[1]), -item[1])))


def _largest(gradient: Tensor) -> Tensor:
    return gradient.abs().max() if gradient.numel() else gradient.new_zeros(())
