"""A network of gated recurrent units without external memory."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_ntm.models.exported import exportable
from lightning_ntm.models.recurrent import RecurrentModel
from lightning_ntm.models.recurrent_controllers import GRUController


@exportable
class GRUState(NamedTuple):
    """Everything a GRU remembers between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]


class GRU(RecurrentModel[GRUState]):
    """Network of gated recurrent units (Cho et al. 2014), in the form of `torch.nn.GRU`.

    r = sigmoid(W_r x + b_r + U_r h + c_r), z = sigmoid(W_z x + b_z + U_z h + c_z),
    n = tanh(W_n x + b_n + r (U_n h + c_n)), h' = (1 - z) n + z h, and logits V h' + d. With several layers every layer
    gets the input and is connected to the output, as in `LSTM`. The initial state is learned.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward; the rest is
            computed again. 0 saves everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    Raises:
        ValueError: An argument is out of its range.
    """

    state_type = GRUState
    controller_type = GRUController
    program = "gru"
