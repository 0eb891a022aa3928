"""The base class of controllers that are layers of recurrent units."""

import abc
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.checks import at_least, between
from lightning_ntm.models.parts import Controller, ControllerState
from lightning_ntm.models.precision import state_dtype

#: Bound for untrusted configurations: millions of layers take minutes to create.
MOST_LAYERS = 1000


class LayeredController(Controller[ControllerState]):
    """Layers of recurrent units, made of plain operations that `torch.func.vmap` supports.

    The fields of the state are `(*batch, layers, hidden)`; the first is the output of the layers. The initial state is
    zero, unless a network replaces it by a learned one. A subclass sets `state_type` and `gates`, and defines `recur`.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, from 1 to 1000.
        skip: Every layer gets the input and is part of the output; otherwise each layer gets only the output of the
            layer below, and the last is the output.
    """

    #: The `NamedTuple` of the state.
    state_type: ClassVar[Any]
    #: Rows of the weights for each unit.
    gates: ClassVar[int]
    #: Whether the weights of the last hidden units are in layers of their own, `recurrent`.
    split: ClassVar[bool] = False

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, skip: bool = False):
        super().__init__()
        at_least(1, hidden_size=hidden_size)
        between(1, MOST_LAYERS, num_layers=num_layers)
        self.input_size, self.hidden_size, self.num_layers, self.skip = input_size, hidden_size, num_layers, skip
        self.output_size = hidden_size * num_layers if skip else hidden_size
        layers = [
            nn.Linear(columns, rows) for rows, columns in self.shapes(input_size, hidden_size, num_layers, skip=skip)
        ]
        self.layers = nn.ModuleList(layers[:num_layers])
        if self.split:
            self.recurrent = nn.ModuleList(layers[num_layers:])

    @classmethod
    def shapes(cls, input_size: int, hidden_size: int, num_layers: int, *, skip: bool) -> list[tuple[int, int]]:
        """Return the shapes of the weights of `layers`, then of `recurrent`."""
        above = hidden_size + (input_size if skip else 0)
        sizes, rows = [input_size] + [above] * (num_layers - 1), cls.gates * hidden_size
        if cls.split:
            return [(rows, size) for size in sizes] + [(rows, hidden_size)] * num_layers
        return [(rows, size + hidden_size) for size in sizes]

    @abc.abstractmethod
    def recur(self, number: int, below: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one step of one layer.

        Args:
            number: Of the layer, from 0.
            below: The input of the layer.
            state: The fields of its state, `(*batch, hidden)` each.

        Returns:
            The fields of its next state; the first is the output of the layer.
        """

    def initial_state(self, *batch: int) -> ControllerState:
        """Return zeros."""
        like: Any = self.layers[0].weight
        shape, dtype = (*batch, self.num_layers, self.hidden_size), state_dtype(like)
        return self.state_type(*(like.new_zeros(shape, dtype=dtype) for _ in self.state_type._fields))

    def step(
        self, x: Float[Tensor, "*batch inputs"], state: ControllerState
    ) -> tuple[Float[Tensor, "*batch outputs"], ControllerState]:
        """Run one step of all layers."""
        parts: Iterable[Tensor] = state  # type: ignore[assignment]
        below, states = x, []
        for number, layer_state in enumerate(zip(*[part.unbind(-2) for part in parts], strict=True)):
            states.append(self.recur(number, below, *layer_state))
            hidden = states[-1][0]
            below = torch.cat([x, hidden], dim=-1) if self.skip else hidden
        outputs = torch.cat([layer_state[0] for layer_state in states], dim=-1) if self.skip else hidden
        return outputs, self.state_type(*[torch.stack(parts, dim=-2) for parts in zip(*states, strict=True)])
