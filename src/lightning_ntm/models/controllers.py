"""The built-in controllers of an NTM: layers of LSTM units, or of tanh units without a state."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.checks import at_least, between, one_of
from lightning_ntm.kernels.plain import LINEAR, Part
from lightning_ntm.kernels.torch_internals import children_of
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.layered import MOST_LAYERS, LayeredController
from lightning_ntm.models.parts import Controller, keep_defaults
from lightning_ntm.models.precision import linear, state_dtype


def replaced_parts(controller: Any, *types: type[nn.Module]) -> Iterator[Part]:
    """Yield the parts of a controller that a kernel computes, for `MemoryModel.replaced_parts`."""
    yield "controller", controller, types
    for group, layers in children_of(controller).items():
        yield f"controller.{group}", layers, (nn.ModuleList,)
        for number, layer in children_of(layers).items():
            yield f"controller.{group}.{number}", layer, LINEAR


def replaced_shapes(
    controller: type[nn.Module], batch: int, inputs: int, hidden: int, layers: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """Return the shapes of the state of a built-in controller and of its weights, for `MemoryModel.replaced_shapes`."""
    if controller is LSTMController:
        weights = LSTMController.shapes(inputs, hidden, layers, skip=False)
        return [(batch, layers, hidden)] * 2, weights
    return [], FeedForwardController.shapes(inputs, hidden, layers)


@exportable
class LSTMControllerState(NamedTuple):
    """What LSTM layers remember between two steps."""

    hidden: Float[Tensor, "*batch layers hidden"]
    cell: Float[Tensor, "*batch layers hidden"]


class LSTMController(LayeredController[LSTMControllerState]):
    """A stack of LSTM layers, made of plain operations that `torch.func.vmap` supports.

    Gates are in PyTorch's order: input, forget, cell, output. The initial state is zero, unless a
    network replaces it by a learned one.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
        skip: Every layer gets the input and is part of the output (the deep LSTM of Graves 2013); otherwise each layer
            gets only the output of the layer below, and the last is the output.
        init_gain: Weights start uniform in ±init_gain / sqrt(inputs + hidden) of their layer.
    """

    state_type = LSTMControllerState
    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, skip: bool = False, init_gain: float = 1.0
    ):
        super().__init__(input_size, hidden_size, num_layers, skip=skip)
        layers: Any = self.layers
        for layer in layers:
            bound = init_gain / layer.in_features**0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)

    def recur(self, number: int, below: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one step of one layer."""
        hidden, cell = state
        gates, candidate, output_gate = linear(
            self.layers[number], torch.cat([below, hidden], dim=-1), cell.dtype
        ).split([2 * self.hidden_size, self.hidden_size, self.hidden_size], dim=-1)
        input_gate, forget_gate = gates.sigmoid().chunk(2, dim=-1)
        cell = torch.addcmul(input_gate * candidate.tanh(), forget_gate, cell)
        return output_gate.sigmoid() * cell.tanh(), cell


@exportable
class FeedForwardControllerState(NamedTuple):
    """An empty state: a feed-forward controller remembers nothing between two steps."""


class FeedForwardController(Controller[FeedForwardControllerState]):
    """Layers of tanh units without a state; a network with this controller remembers only through its memory.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1):
        super().__init__()
        at_least(1, hidden_size=hidden_size)
        between(1, MOST_LAYERS, num_layers=num_layers)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.output_size = hidden_size
        layers = [nn.Linear(columns, rows) for rows, columns in self.shapes(input_size, hidden_size, num_layers)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh"))
            nn.init.zeros_(layer.bias)

    @staticmethod
    def shapes(input_size: int, hidden_size: int, num_layers: int) -> list[tuple[int, int]]:
        """Return the shapes of the layers' weights."""
        return [(hidden_size, size) for size in [input_size] + [hidden_size] * (num_layers - 1)]

    def initial_state(self, *batch: int) -> FeedForwardControllerState:
        """Return the empty state."""
        return FeedForwardControllerState()

    def step(
        self, x: Float[Tensor, "*batch inputs"], state: FeedForwardControllerState
    ) -> tuple[Float[Tensor, "*batch outputs"], FeedForwardControllerState]:
        """Run one step of all layers."""
        weight: Any = self.layers[0].weight
        for layer in self.layers:
            x = linear(layer, x, state_dtype(weight)).tanh()
        return x, state


#: What makes the controllers of an NTM or a DNC, by name.
_BUILT_IN: dict[str, Callable[..., Controller[Any]]] = {
    "lstm": partial(LSTMController, init_gain=5.0),
    "feedforward": FeedForwardController,
}


def controller_of(
    network: type[nn.Module],
    controller: str | Controller[Any],
    input_size: int,
    hidden_size: int,
    num_layers: int,
    built_in: Mapping[str, Callable[..., Controller[Any]]] = _BUILT_IN,
) -> Controller[Any]:
    """Return the built-in controller of a name, or a controller that a user passed.

    Raises:
        ValueError: The name is unknown; or the user's controller takes another number of inputs, or was passed together
            with options of the built-in ones.
    """
    if isinstance(controller, Controller):
        return _own(network, controller, input_size, hidden_size, num_layers)
    one_of(tuple(built_in), controller=controller)
    return built_in[controller](input_size, hidden_size, num_layers)


def _own(
    network: type[nn.Module], controller: Controller[Any], input_size: int, hidden_size: int, num_layers: int
) -> Controller[Any]:
    """Return the controller that a user passed.

    Raises:
        ValueError: It takes another number of inputs, or was passed together with options of the built-in ones.
    """
    keep_defaults(network, "controller", {"hidden_size": hidden_size, "num_layers": num_layers})
    if controller.input_size != input_size:
        raise ValueError(
            f"controller.input_size (={controller.input_size}) must be {input_size}: the inputs of the network and "
            "what its memory reads."
        )
    return controller
