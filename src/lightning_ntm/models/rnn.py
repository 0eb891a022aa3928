"""A network of Elman's units without external memory."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lightning_ntm.models.exported import exportable
from lightning_ntm.models.recurrent import RecurrentModel
from lightning_ntm.models.recurrent_controllers import RNNController


@exportable
class RNNState(NamedTuple):
    """Everything an RNN remembers between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]


class RNN(RecurrentModel[RNNState]):
    """Elman network: layers of tanh units that see their own last output (Elman 1990).

    h_t = tanh(W [x_t, h_{t-1}] + b), y_t = V h_t + c, with the weights of input and hidden units in one matrix W. With
    several layers every layer gets the input and is connected to the output, as in `LSTM`. The initial state is
    learned. One layer of 256 units is the RNN of Delétang et al. (arXiv 2207.02098), whose code has a ReLU before the
    output layer and starts at 0.

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

    state_type = RNNState
    controller_type = RNNController
    program = "rnn_tanh"
