"""Neural Turing Machines and their relatives, with tasks to train them on."""

from typing import TYPE_CHECKING

from .lazy import loader as _loader

if TYPE_CHECKING:
    from . import functional as functional, records as records
    from .evaluation import open_run as open_run
    from .explorer import explore as explore, figure as figure
    from .models import (
        DNC as DNC,
        GRU as GRU,
        LSTM as LSTM,
        NTM as NTM,
        RNN as RNN,
        SAM as SAM,
        SDNC as SDNC,
        DNCState as DNCState,
        GRUState as GRUState,
        LSTMState as LSTMState,
        MemoryModel as MemoryModel,
        NTMState as NTMState,
        RNNState as RNNState,
        SparseState as SparseState,
        Stack as Stack,
        StackRNN as StackRNN,
        StackRNNState as StackRNNState,
        TapeRNN as TapeRNN,
        TapeRNNState as TapeRNNState,
        Transformer as Transformer,
        TransformerState as TransformerState,
    )
    from .states import detach as detach
    from .tasks import (
        AssociativeRecall as AssociativeRecall,
        Batch as Batch,
        BinaryAddition as BinaryAddition,
        BinaryMultiplication as BinaryMultiplication,
        BucketSort as BucketSort,
        ComputeSqrt as ComputeSqrt,
        Copy as Copy,
        CopySeries as CopySeries,
        CycleNavigation as CycleNavigation,
        DuplicateString as DuplicateString,
        DynamicNGrams as DynamicNGrams,
        EvenPairs as EvenPairs,
        FileTask as FileTask,
        KeyValue as KeyValue,
        MissingDuplicate as MissingDuplicate,
        ModularArithmetic as ModularArithmetic,
        ModularArithmeticBrackets as ModularArithmeticBrackets,
        OddsFirst as OddsFirst,
        ParityCheck as ParityCheck,
        PrioritySort as PrioritySort,
        RepeatCopy as RepeatCopy,
        ReverseString as ReverseString,
        SolveEquation as SolveEquation,
        StackManipulation as StackManipulation,
        Task as Task,
    )
    from .version import __version__ as __version__

_TASKS = (
    "AssociativeRecall",
    "Batch",
    "BinaryAddition",
    "BinaryMultiplication",
    "BucketSort",
    "ComputeSqrt",
    "Copy",
    "CopySeries",
    "CycleNavigation",
    "DuplicateString",
    "DynamicNGrams",
    "EvenPairs",
    "FileTask",
    "KeyValue",
    "MissingDuplicate",
    "ModularArithmetic",
    "ModularArithmeticBrackets",
    "OddsFirst",
    "ParityCheck",
    "PrioritySort",
    "RepeatCopy",
    "ReverseString",
    "SolveEquation",
    "StackManipulation",
    "Task",
)

_NETWORKS = (
    "DNC",
    "DNCState",
    "GRU",
    "GRUState",
    "LSTM",
    "LSTMState",
    "MemoryModel",
    "NTM",
    "NTMState",
    "RNN",
    "RNNState",
    "SAM",
    "SDNC",
    "SparseState",
    "Stack",
    "StackRNN",
    "StackRNNState",
    "TapeRNN",
    "TapeRNNState",
    "Transformer",
    "TransformerState",
)

_PLACES = {
    **{room: room for room in ("functional", "records")},
    "__version__": "version",
    "detach": "states",
    "open_run": "evaluation",
    "explore": "explorer",
    "figure": "explorer",
    **dict.fromkeys(_NETWORKS, "models"),
    **dict.fromkeys(_TASKS, "tasks"),
}
__all__ = list(_PLACES)
__getattr__, __dir__ = _loader(__name__, _PLACES)
