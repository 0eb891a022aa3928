"""The baseline of the paper: an LSTM without external memory."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.kernels.plain import LINEAR, Part, Shapes, kept
from lightning_ntm.kernels.torch_internals import children_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.controllers import LSTMController, LSTMControllerState, replaced_parts
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.precision import linear, repeated, state_dtype


@exportable
class LSTMState(NamedTuple):
    """Everything an LSTM remembers between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]
    cell: Float[Tensor, "*batch layers hidden"]


class LSTM(MemoryModel[LSTMState]):
    """Stacked LSTM: every layer gets the input and is connected to the output (Graves 2013).

    With 3 layers and learned initial states it has exactly the number of parameters the NTM paper
    counts for its baselines (table 3).

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer.
        num_layers: Layers.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward; the rest is
            computed again. 0 saves everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    Raises:
        ValueError: An argument is out of its range.
    """

    kernels: ClassVar = {
        "torch": Kernel("lightning_ntm.kernels.torch_lstm:run", "lightning_ntm.kernels.torch_lstm:refusal")
    }

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 256,
        num_layers: int = 3,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        self.controller = LSTMController(input_size, hidden_size, num_layers, skip=True)
        self.output = nn.Linear(self.controller.output_size, output_size)
        self.start_hidden = nn.Parameter(torch.zeros(num_layers, hidden_size))
        self.start_cell = nn.Parameter(torch.zeros(num_layers, hidden_size))

    def replaced_parts(self) -> Iterator[Part]:
        """Yield controller and output."""
        yield from replaced_parts(children_of(self)["controller"], LSTMController)
        yield "output", children_of(self)["output"], LINEAR

    def replaced_shapes(self, batch_size: int, state: LSTMState) -> Shapes:
        """Return the shapes of state and linear layers."""
        controller: Any = children_of(self)["controller"]
        return _shapes(batch_size, self.input_size, self.output_size, controller.hidden_size, len(controller.layers))

    def initial_state(self, *batch: int) -> LSTMState:
        """Return the state before the first step of a sequence."""
        dtype = state_dtype(self.start_hidden)
        return LSTMState(*(repeated(start, batch, dtype) for start in (self.start_hidden, self.start_cell)))

    def step(
        self, x: Float[Tensor, "*batch inputs"], state: LSTMState
    ) -> tuple[Float[Tensor, "*batch outputs"], LSTMState]:
        """Run one step."""
        controlled, remembered = self.controller(x, LSTMControllerState(*state))
        return linear(self.output, controlled, self.output.weight.dtype), LSTMState(*remembered)


@kept
def _shapes(batch: int, inputs: int, outputs: int, hidden: int, layers: int) -> Shapes:
    """Return the shapes of a state and of the linear layers of a network."""
    weights = LSTMController.shapes(inputs, hidden, layers, skip=True)
    return Shapes([(batch, layers, hidden)] * 2, [*weights, (outputs, hidden * layers)])
