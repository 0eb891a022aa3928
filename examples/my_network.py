"""A memory network of your own: one class in one file, then `ntm train --model my_network.ShiftRegister`."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm import MemoryModel


class ShiftRegisterState(NamedTuple):
    """All that is remembered between two steps."""

    memory: Float[Tensor, "*batch slots width"]


class ShiftRegister(MemoryModel[ShiftRegisterState]):
    """Writes to slot 0, moves everything down one slot, and answers from all slots by a network with one hidden layer.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        memory_slots: Number of memory slots.
        memory_width: Numbers per memory slot.
        hidden_size: Units of the hidden layer.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        memory_slots: int = 16,
        memory_width: int = 8,
        hidden_size: int = 128,
    ):
        super().__init__(input_size, output_size)
        self.memory_slots, self.memory_width = memory_slots, memory_width
        self.encode = nn.Linear(input_size, memory_width)
        self.output = nn.Sequential(
            nn.Linear(memory_slots * memory_width, hidden_size), nn.ReLU(), nn.Linear(hidden_size, output_size)
        )

    def initial_state(self, *batch: int) -> ShiftRegisterState:
        """Return an empty register."""
        return ShiftRegisterState(self.encode.weight.new_zeros(*batch, self.memory_slots, self.memory_width))

    def step(
        self, x: Float[Tensor, "*batch inputs"], state: ShiftRegisterState
    ) -> tuple[Float[Tensor, "*batch outputs"], ShiftRegisterState]:
        """Run one step."""
        memory = torch.cat([self.encode(x).unsqueeze(-2), state.memory[..., :-1, :]], dim=-2)
        return self.output(memory.flatten(-2)), ShiftRegisterState(memory)
