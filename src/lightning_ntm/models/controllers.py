"""Controllers: what decides, at each step, where to look and what to write.

Both take `(inputs, hidden, cell)` and return `(output, hidden, cell)`, with `hidden` and `cell` of
shape `(batch, layers, hidden)`. A feed-forward controller remembers nothing: its `layers` is 0.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.checks import at_least
from lightning_ntm.kernels.plain import LINEAR, Part
from lightning_ntm.models.precision import linear

Remembered = tuple[
    Float[Tensor, "*batch outputs"], Float[Tensor, "*batch layers hidden"], Float[Tensor, "*batch layers hidden"]
]


def replaced_parts(controller: Any, *types: type[nn.Module]) -> Iterator[Part]:
    """Yield the parts of a controller that a kernel computes, for `MemoryModel.replaced_parts`."""
    yield "controller", controller, types
    layers = controller._modules["layers"]
    yield "controller.layers", layers, (nn.ModuleList,)
    for number, layer in layers._modules.items():
        yield f"controller.layers.{number}", layer, LINEAR


class LSTMController(nn.Module):
    """A stack of LSTM layers, from plain operations so that `torch.func.vmap` can stack seeds of it.

    Gates stand in PyTorch's order: input, forget, candidate, output.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, at least 1.
        skip: Every layer sees the input and is seen at the output (the deep LSTM of Graves 2013);
            otherwise each layer sees only the one below, and the last is the output.
        init_gain: Weights start uniform in ±init_gain / sqrt(inputs + hidden) of their layer.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, skip: bool = False, init_gain: float = 1.0
    ):
        super().__init__()
        at_least(1, hidden_size=hidden_size, num_layers=num_layers)
        self.hidden_size, self.num_layers, self.skip = hidden_size, num_layers, skip
        self.output_size = hidden_size * num_layers if skip else hidden_size
        shapes = self.shapes(input_size, hidden_size, num_layers, skip=skip)
        layers = [nn.Linear(columns, rows) for rows, columns in shapes]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            bound = init_gain / layer.in_features**0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)

    @staticmethod
    def shapes(input_size: int, hidden_size: int, num_layers: int, *, skip: bool) -> list[tuple[int, int]]:
        """Return the shapes of the layers' weights."""
        above = hidden_size + (input_size if skip else 0)
        sizes = [input_size] + [above] * (num_layers - 1)
        return [(4 * hidden_size, size + hidden_size) for size in sizes]

    def forward(
        self,
        inputs: Float[Tensor, "*batch inputs"],
        hidden: Float[Tensor, "*batch layers hidden"],
        cell: Float[Tensor, "*batch layers hidden"],
    ) -> Remembered:
        """Run one step of all layers."""
        hiddens, cells, below = [], [], inputs
        for layer, h, c in zip(self.layers, hidden.unbind(-2), cell.unbind(-2), strict=True):
            enter, candidate, leave = linear(layer, torch.cat([below, h], dim=-1), c.dtype).split(
                [2 * self.hidden_size, self.hidden_size, self.hidden_size], dim=-1
            )
            enter, keep = enter.sigmoid().chunk(2, dim=-1)
            c = torch.addcmul(enter * candidate.tanh(), keep, c)
            h = leave.sigmoid() * c.tanh()
            hiddens.append(h)
            cells.append(c)
            below = torch.cat([inputs, h], dim=-1) if self.skip else h
        output = torch.cat(hiddens, dim=-1) if self.skip else hiddens[-1]
        return output, torch.stack(hiddens, dim=-2), torch.stack(cells, dim=-2)


class FeedForwardController(nn.Module):
    """Layers of tanh units; all that is remembered must go through the memory.

    Args:
        input_size: Numbers per step of the input.
        hidden_size: Units of each layer, at least 1.
        num_layers: Layers, at least 1.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1):
        super().__init__()
        at_least(1, hidden_size=hidden_size, num_layers=num_layers)
        self.hidden_size, self.num_layers, self.output_size = hidden_size, 0, hidden_size
        layers = [nn.Linear(columns, rows) for rows, columns in self.shapes(input_size, hidden_size, num_layers)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh"))
            nn.init.zeros_(layer.bias)

    @staticmethod
    def shapes(input_size: int, hidden_size: int, num_layers: int) -> list[tuple[int, int]]:
        """Return the shapes of the layers' weights."""
        return [(hidden_size, size) for size in [input_size] + [hidden_size] * (num_layers - 1)]

    def forward(
        self,
        inputs: Float[Tensor, "*batch inputs"],
        hidden: Float[Tensor, "*batch layers hidden"],
        cell: Float[Tensor, "*batch layers hidden"],
    ) -> Remembered:
        """Run one step; `hidden` and `cell` are passed on as they are (they have no layers)."""
        output = inputs
        for layer in self.layers:
            output = linear(layer, output, hidden.dtype).tanh()
        return output, hidden, cell
