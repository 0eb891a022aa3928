"""Networks: `MemoryModel` is the promise, the others keep it."""

from .base import MemoryModel as MemoryModel
from .lstm import LSTM as LSTM, LSTMState as LSTMState
from .ntm import NTM as NTM, NTMState as NTMState
