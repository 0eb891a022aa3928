"""Pictures of the memory in loggers that take images, such as those of TensorBoard and Weights & Biases."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from torch import Tensor

from lightning_ntm.evaluation.trace import trace_own
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.states import flatten
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch

#: Under this name.
NAME = "memory"
#: Time between two pictures, as a multiple of what drawing one took.
_PAUSE = 20
#: Steps of a sequence, and numbers of its states, at most.
_MOST_STEPS, _MOST_NUMBERS = 500, 2**25

_log = logging.getLogger(__name__)


class MemoryPictures:
    """Draws a sequence of the validation set after a validation.

    Nothing is drawn if no logger takes images. The first and the last validation of a training have a picture; between
    them drawing takes at most a twentieth of the time. An error ends the pictures, not the training.

    Args:
        loggers: Of the Trainer, on the process that logs.
        model: The network.
    """

    def __init__(self, loggers: Sequence[Logger], model: MemoryModel[Any]):
        self.model, self.next = model, -math.inf
        self.episode: Batch | None = None
        self.sinks: list[Callable[[np.ndarray, int], object]] = []
        with self._harmless():
            self.sinks = list(_sinks(loggers))

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.sinks = []
            _log.warning("The loggers get no pictures of the memory: %s: %s", type(error).__name__, error)

    def keep(self, batch: Batch) -> None:
        """Keep the first sequence of a batch, which is drawn at the end of the validation."""
        steps = batch.inputs.shape[1]
        if not self.sinks or steps > _MOST_STEPS:
            return
        with self._harmless():
            numbers = sum(part.numel() for part in flatten(self.model.initial_state(1)))
            if numbers * steps <= _MOST_NUMBERS:
                self.episode = Batch(*(_on_cpu(part[:1]) for part in batch))

    def draw(self, trainer: L.Trainer, answer: Answer, task: Task | None) -> None:
        """Draw the kept sequence and hand the picture to the loggers, if it is time."""
        episode, self.episode = self.episode, None
        with self._harmless():
            began = time.perf_counter()
            if episode is None or not (began >= self.next or _is_last(trainer)):
                return
            image = _image(self.model, answer, episode, task)
            for sink in self.sinks:
                sink(image, trainer.global_step)
            ended = time.perf_counter()
            self.next = ended + _PAUSE * (ended - began)


def pictures_for(trainer: L.Trainer, model: MemoryModel[Any], *, whole: bool) -> MemoryPictures:
    """Return what draws in a training. It draws nothing in a process that does not log.

    Args:
        trainer: The Trainer.
        model: The network.
        whole: Whether a process has the whole network.
    """
    return MemoryPictures(trainer.loggers if whole and trainer.is_global_zero else [], model)


def _sinks(loggers: Sequence[Logger]) -> Iterator[Callable[[np.ndarray, int], object]]:
    """Yield what takes an image and a step, for each logger that takes images."""
    for logger in loggers:
        if isinstance(logger, DummyLogger):  # has any name
            continue
        if log_image := getattr(logger, "log_image", None):  # of Weights & Biases
            yield partial(_log_image, log_image)
        elif add_image := getattr(getattr(logger, "experiment", None), "add_image", None):  # of TensorBoard
            yield partial(add_image, NAME, dataformats="HWC")


def _log_image(log_image: Callable[..., object], image: np.ndarray, step: int) -> None:
    log_image(NAME, [image], step=step)


def _on_cpu(part: Tensor) -> Tensor:
    part = part.detach().cpu()
    return part.float() if part.dtype in (torch.float16, torch.bfloat16) else part


def _is_last(trainer: L.Trainer) -> bool:
    return trainer.should_stop or trainer.global_step >= trainer.estimated_stepping_batches


def _image(model: MemoryModel[Any], answer: Answer, episode: Batch, task: Task | None) -> np.ndarray:
    from lightning_ntm.report.episode import titled  # matplotlib, which most trainings do not need
    from lightning_ntm.report.memory import draw_memory

    trace = trace_own(model, answer, episode, task=task)
    title = f"{type(model).__name__}, first sequence of the validation"
    return draw_memory(trace, titled(trace, title, answer.measures), answer.unit).pixels()
