"""Networks: `MemoryModel` is the promise, `LSTM` and `NTM` keep it; `Stack` runs several side by side."""

from .base import MemoryModel as MemoryModel
from .lstm import LSTM as LSTM, LSTMState as LSTMState
from .ntm import NTM as NTM, NTMState as NTMState
from .stack import Stack as Stack
