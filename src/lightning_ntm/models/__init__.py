"""Networks: the base class `MemoryModel`, `LSTM` and `NTM`; `Stack` runs several of them together.

`Controller` and `Memory` are the base classes of the parts of an `NTM`.
"""

from .base import MemoryModel as MemoryModel
from .controllers import (
    FeedForwardController as FeedForwardController,
    FeedForwardControllerState as FeedForwardControllerState,
    LSTMController as LSTMController,
    LSTMControllerState as LSTMControllerState,
)
from .lstm import LSTM as LSTM, LSTMState as LSTMState
from .ntm import NTM as NTM, NTMState as NTMState
from .ntm_memory import HeadParameters as HeadParameters, NTMMemory as NTMMemory, NTMMemoryState as NTMMemoryState
from .parts import Controller as Controller, Memory as Memory
from .stack import Stack as Stack
