"""Neural Turing Machines and their relatives, with tasks to train them on."""

from typing import TYPE_CHECKING

from .lazy import loader as _loader

if TYPE_CHECKING:
    from . import functional as functional, records as records
    from .models import DNC as DNC, LSTM as LSTM, NTM as NTM, MemoryModel as MemoryModel, Stack as Stack
    from .tasks import (
        AssociativeRecall as AssociativeRecall,
        Batch as Batch,
        Copy as Copy,
        DynamicNGrams as DynamicNGrams,
        FileTask as FileTask,
        PrioritySort as PrioritySort,
        RepeatCopy as RepeatCopy,
        Task as Task,
    )

_TASKS = ("AssociativeRecall", "Batch", "Copy", "DynamicNGrams", "FileTask", "PrioritySort", "RepeatCopy", "Task")

_PLACES = {
    **{room: room for room in ("functional", "records")},
    **dict.fromkeys(("DNC", "LSTM", "NTM", "MemoryModel", "Stack"), "models"),
    **dict.fromkeys(_TASKS, "tasks"),
}
__all__ = list(_PLACES)
__getattr__ = _loader(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted(_PLACES)
