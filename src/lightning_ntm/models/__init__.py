"""Networks: the base class `MemoryModel`, `LSTM`, `NTM` and `DNC`; `Stack` runs several of them together.

`Controller` and `Memory` are the base classes of the parts of an `NTM` and a `DNC`.
"""

from .base import MemoryModel as MemoryModel
from .controllers import (
    FeedForwardController as FeedForwardController,
    FeedForwardControllerState as FeedForwardControllerState,
    LSTMController as LSTMController,
    LSTMControllerState as LSTMControllerState,
)
from .dnc import DNC as DNC, DNCState as DNCState
from .dnc_memory import DNCMemory as DNCMemory, DNCMemoryState as DNCMemoryState, DNCParameters as DNCParameters
from .exported import exportable as exportable
from .lstm import LSTM as LSTM, LSTMState as LSTMState
from .ntm import NTM as NTM, NTMState as NTMState
from .ntm_memory import HeadParameters as HeadParameters, NTMMemory as NTMMemory, NTMMemoryState as NTMMemoryState
from .parts import Controller as Controller, Memory as Memory
from .stack import Stack as Stack
