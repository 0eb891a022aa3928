"""Networks, with the base class `MemoryModel`; `Stack` runs several of one architecture together.

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
from .gru import GRU as GRU, GRUState as GRUState
from .layered import LayeredController as LayeredController
from .lstm import LSTM as LSTM, LSTMState as LSTMState
from .ntm import NTM as NTM, NTMState as NTMState
from .ntm_memory import HeadParameters as HeadParameters, NTMMemory as NTMMemory, NTMMemoryState as NTMMemoryState
from .parts import Controller as Controller, Memory as Memory
from .recurrent_controllers import (
    GRUController as GRUController,
    GRUControllerState as GRUControllerState,
    RNNController as RNNController,
    RNNControllerState as RNNControllerState,
)
from .rnn import RNN as RNN, RNNState as RNNState
from .sparse import SAM as SAM, SDNC as SDNC, SparseState as SparseState
from .sparse_links import NoLinks as NoLinks, SparseLinks as SparseLinks
from .sparse_memory import SparseMemory as SparseMemory, SparseMemoryState as SparseMemoryState
from .stack import Stack as Stack
from .stack_memory import StackMemory as StackMemory, StackMemoryState as StackMemoryState
from .stack_rnn import StackRNN as StackRNN, StackRNNState as StackRNNState
from .tape_memory import TapeMemory as TapeMemory, TapeMemoryState as TapeMemoryState
from .tape_rnn import TapeRNN as TapeRNN, TapeRNNState as TapeRNNState
from .transformer import Transformer as Transformer, TransformerState as TransformerState
