"""PyTorch's own whole-sequence LSTM, run layer by layer on the parameters of the stacked baseline."""

from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.autocast import full_precision, refused_dtypes
from lightning_ntm.kernels.plain import changed, linear_layers, transformed


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why this program cannot run the call, or `None`."""
    return transformed() or changed(model, inputs, state) or refused_dtypes(model, inputs, state)


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    outputs, hiddens, cells = [], [], []
    *layers, last = linear_layers(model).values()
    below = inputs = inputs.to(state.cell.dtype)  # under autocast they may be in half precision
    with full_precision(inputs.device):
        for index, layer in enumerate(layers):
            output, hidden, cell = _layer(layer, below, state.hidden[:, index], state.cell[:, index])
            outputs.append(output)
            hiddens.append(hidden)
            cells.append(cell)
            below = torch.cat([inputs, output], dim=-1)
    logits = last(torch.cat(outputs, dim=-1))
    return logits, type(state)(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))


def _layer(layer: torch.nn.Linear, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from_input, from_hidden = layer.weight.split([inputs.shape[-1], hidden.shape[-1]], dim=1)
    parameters = [from_input.contiguous(), from_hidden.contiguous(), layer.bias, torch.zeros_like(layer.bias)]
    start = (hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous())
    # has_biases, num_layers, dropout, train, bidirectional, batch_first
    output, hidden, cell = torch.lstm(inputs, start, parameters, True, 1, 0.0, layer.training, False, True)
    return output, hidden[0], cell[0]
