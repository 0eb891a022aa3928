"""Tasks: `Task` is the promise, the others keep it."""

from .answers import Answer as Answer, Bits as Bits, Numbers as Numbers, Symbols as Symbols
from .associative_recall import AssociativeRecall as AssociativeRecall
from .base import Task as Task
from .batch import Batch as Batch
from .copy import Copy as Copy
from .copy_series import CopySeries as CopySeries
from .dynamic_ngrams import DynamicNGrams as DynamicNGrams
from .files import FileTask as FileTask
from .formal import (
    BinaryAddition as BinaryAddition,
    BinaryMultiplication as BinaryMultiplication,
    BucketSort as BucketSort,
    ComputeSqrt as ComputeSqrt,
    CycleNavigation as CycleNavigation,
    DuplicateString as DuplicateString,
    EvenPairs as EvenPairs,
    MissingDuplicate as MissingDuplicate,
    ModularArithmetic as ModularArithmetic,
    ModularArithmeticBrackets as ModularArithmeticBrackets,
    OddsFirst as OddsFirst,
    ParityCheck as ParityCheck,
    ReverseString as ReverseString,
    SolveEquation as SolveEquation,
    StackManipulation as StackManipulation,
)
from .key_value import KeyValue as KeyValue
from .priority_sort import PrioritySort as PrioritySort
from .repeat_copy import RepeatCopy as RepeatCopy
