"""Controllers of Elman's units and of gated recurrent units."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.models.controllers import LSTMController
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.initial_weights import draw
from lightning_ntm.models.layered import LayeredController
from lightning_ntm.models.precision import linear


@exportable
class RNNControllerState(NamedTuple):
    """What layers of Elman's units remember between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]


class RNNController(LayeredController[RNNControllerState]):
    """Layers of Elman's units: h' = tanh(W [x, h] + b).

    Weights start normal with the standard deviation 1 / sqrt(inputs) for those of the input and 1 / sqrt(hidden) for
    those of the hidden units, truncated at two standard deviations; biases start at 0.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
        skip: Every layer gets the input and is part of the output; otherwise each layer gets only the output of the
            layer below, and the last is the output.
    """

    state_type = RNNControllerState
    gates = 1

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, skip: bool = False):
        super().__init__(input_size, hidden_size, num_layers, skip=skip)
        layers: Any = self.layers
        for layer in layers:
            for columns in layer.weight.split([layer.in_features - hidden_size, hidden_size], dim=1):
                draw(columns)
            nn.init.zeros_(layer.bias)

    def recur(self, number: int, below: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one step of one layer."""
        (hidden,) = state
        # Under autocast the products are in half precision.
        return (linear(self.layers[number], torch.cat([below, hidden], dim=-1), hidden.dtype).to(hidden.dtype).tanh(),)


@exportable
class GRUControllerState(NamedTuple):
    """What layers of gated recurrent units remember between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]


class GRUController(LayeredController[GRUControllerState]):
    """Layers of gated recurrent units (Cho et al. 2014), in the form of `torch.nn.GRU`.

    r = sigmoid(W_r x + b_r + U_r h + c_r), z = sigmoid(W_z x + b_z + U_z h + c_z),
    n = tanh(W_n x + b_n + r (U_n h + c_n)), h' = (1 - z) n + z h. Cho et al. multiply h by r before the product with
    U_n. The rows of the weights are in the order r, z, n. Weights and biases start as those of `RNNController`.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
        skip: Every layer gets the input and is part of the output; otherwise each layer gets only the output of the
            layer below, and the last is the output.
    """

    state_type = GRUControllerState
    gates = 3
    split = True

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, skip: bool = False):
        super().__init__(input_size, hidden_size, num_layers, skip=skip)
        for layer in [*self.layers, *self.recurrent]:
            draw(layer.weight)
            nn.init.zeros_(layer.bias)

    def recur(self, number: int, below: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one step of one layer."""
        (hidden,) = state
        sizes, dtype = [2 * self.hidden_size, self.hidden_size], hidden.dtype
        # Under autocast the products are in half precision.
        gates, candidate = linear(self.layers[number], below, dtype).to(dtype).split(sizes, dim=-1)
        more_gates, recurrent = linear(self.recurrent[number], hidden, dtype).to(dtype).split(sizes, dim=-1)
        reset, update = (gates + more_gates).sigmoid().chunk(2, dim=-1)
        return (torch.lerp(torch.addcmul(candidate, reset, recurrent).tanh(), hidden, update),)


#: What makes the controllers of a Stack-RNN or a Tape-RNN, by name.
RECURRENT: dict[str, Any] = {"rnn": RNNController, "gru": GRUController, "lstm": LSTMController}
