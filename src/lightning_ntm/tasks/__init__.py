"""Tasks: `Task` is the promise, the others keep it."""

from .base import Batch as Batch, Task as Task
from .copy import Copy as Copy
from .repeat_copy import RepeatCopy as RepeatCopy
