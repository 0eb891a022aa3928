"""Tasks: `Task` is the promise, the others keep it."""

from .associative_recall import AssociativeRecall as AssociativeRecall
from .base import Batch as Batch, Task as Task
from .copy import Copy as Copy
from .dynamic_ngrams import DynamicNGrams as DynamicNGrams
from .priority_sort import PrioritySort as PrioritySort
from .repeat_copy import RepeatCopy as RepeatCopy
