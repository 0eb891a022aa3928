"""Neural Turing Machines and their relatives, with tasks to train them on."""

from . import functional as functional
from .models import LSTM as LSTM, NTM as NTM, MemoryModel as MemoryModel
from .tasks import Batch as Batch, Copy as Copy, RepeatCopy as RepeatCopy, Task as Task
