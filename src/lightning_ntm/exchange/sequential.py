"""The network of public NTM implementations whose heads act one after the other."""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.exchange.sequential_memory import SequentialMemory
from lightning_ntm.models.controlled import ControlledModel
from lightning_ntm.models.controllers import LSTMControllerState
from lightning_ntm.models.layered import LayeredController
from lightning_ntm.models.ntm import NTMState
from lightning_ntm.models.precision import linear, repeated, state_dtype


class StartedLSTM(LayeredController[LSTMControllerState]):
    """Layers of LSTM units as `torch.nn.LSTM` has them, with a bias of the input and one of the hidden units.

    Gates are in PyTorch's order: input, forget, cell, output. The state at the start of a sequence is in two buffers.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
    """

    state_type = LSTMControllerState
    gates = 4
    split = True
    start_hidden: Tensor
    start_cell: Tensor

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1):
        super().__init__(input_size, hidden_size, num_layers)
        self.register_buffer("start_hidden", torch.zeros(num_layers, hidden_size))
        self.register_buffer("start_cell", torch.zeros(num_layers, hidden_size))

    def initial_state(self, *batch: int) -> LSTMControllerState:
        """Return the state in the buffers."""
        dtype = state_dtype(self.start_hidden)
        return LSTMControllerState(repeated(self.start_hidden, batch, dtype), repeated(self.start_cell, batch, dtype))

    def recur(self, number: int, below: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one step of one layer."""
        hidden, cell = state
        gates = linear(self.layers[number], below, cell.dtype) + linear(self.recurrent[number], hidden, cell.dtype)
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=-1)
        cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
        return output_gate.sigmoid() * cell.tanh(), cell


class SequentialNTM(ControlledModel[NTMState]):
    """An NTM whose heads act one after the other, as imported networks need it.

    The equations are those of pytorch-ntm, lightning-ntm of 2021, clemkoa/ntm and vlgiitr/ntm-pytorch; see
    `SequentialMemory`. The start of a sequence, that of the LSTM controller included, is in buffers.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller.
        num_layers: Layers of the controller.
        memory_slots: Number of memory slots, at least 3.
        memory_width: Numbers per memory slot.
        num_pairs: Pairs of a read head and a write head, at least 1.
        write_follows_read: A write head interpolates with the previous weighting of its read head, not with its own.
        softmax_heads: The first weightings are the softmax of numbers, not zeros.
        sigmoid_memory: The first memory is the sigmoid of numbers.
        heads_see_cell: Heads are computed from the cells of the last LSTM layer, not from its output.
        backend: `reference`, the plain loop, or `auto`.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    Raises:
        ValueError: An argument is out of its range.
    """

    state_type = NTMState

    memory_slots = property(attrgetter("memory.memory_slots"), doc="Number of memory slots.")
    memory_width = property(attrgetter("memory.memory_width"), doc="Numbers per memory slot.")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        num_layers: int = 1,
        memory_slots: int = 128,
        memory_width: int = 20,
        num_pairs: int = 1,
        write_follows_read: bool = False,
        softmax_heads: bool = False,
        sigmoid_memory: bool = False,
        heads_see_cell: bool = False,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        self.heads_see_cell = heads_see_cell
        memory = SequentialMemory(
            memory_slots,
            memory_width,
            num_pairs,
            write_follows_read=write_follows_read,
            softmax_heads=softmax_heads,
            sigmoid_memory=sigmoid_memory,
        )
        self._connect(StartedLSTM(input_size + memory.read_size, hidden_size, num_layers), memory)

    def initial_state(self, *batch: int) -> NTMState:
        """Return the state before the first step of a sequence."""
        return NTMState(self.memory.initial_state(*batch), self.controller.initial_state(*batch))

    def _start_like(self, state: Any) -> NTMState:
        return self.initial_state(1)

    def _control(self, x: Tensor, state: Any) -> tuple[Tensor, Any, Tensor]:
        if not self.heads_see_cell:
            return super()._control(x, state)
        reads = self.memory.reads(state.memory)
        controlled, controller = self.controller(torch.cat([x, reads], dim=-1), state.controller)
        interface = linear(self.heads, controller.cell[..., -1, :], reads.dtype)
        return controlled, controller, interface.to(reads.dtype)
