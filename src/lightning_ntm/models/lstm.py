"""The baseline of the NTM paper: an LSTM without external memory."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_ntm.models.controllers import LSTMController
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.recurrent import RecurrentModel


@exportable
class LSTMState(NamedTuple):
    """Everything an LSTM remembers between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]
    cell: Float[Tensor, "*batch layers hidden"]


class LSTM(RecurrentModel[LSTMState]):
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

    state_type = LSTMState
    controller_type = LSTMController
    program = "lstm"

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
        super().__init__(
            input_size,
            output_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            backend=backend,
            checkpoint_every=checkpoint_every,
        )
