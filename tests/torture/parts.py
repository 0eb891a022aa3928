"""What is tortured: a small network that draws random numbers of its own while it trains, and what ends a training."""

import os
import time
from pathlib import Path

from lightning.pytorch.callbacks import Callback
from torch.nn import functional as F

from lightning_ntm import LSTM


class Forgetful(LSTM):
    """An LSTM that drops a tenth of what it answers in training, so that random states count."""

    def step(self, x, state):
        logits, state = super().step(x, state)
        return F.dropout(logits, 0.1, self.training), state


class EndsItself(Callback):
    """Sends a signal to its own process after a batch of this number, from 1; 0 never."""

    def __init__(self, batch: int = 0, signal: int = 9):
        self.batch, self.signal = batch, signal

    def on_train_batch_end(self, trainer, *args):
        if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.batch:
            os.kill(os.getpid(), self.signal)


class Waits(Callback):
    """After a batch of this number, from 1, waits for a file `go` in the working folder or a signal to end.

    Two minutes at most.
    """

    def __init__(self, batch: int = 12):
        self.batch = batch

    def on_train_batch_end(self, trainer, *args):
        if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.batch:
            deadline = time.monotonic() + 120  # then its test has failed
            while not (Path("go").exists() or any(getattr(other, "signal", 0) for other in trainer.callbacks)):
                assert time.monotonic() < deadline
                time.sleep(0.01)
