"""PyTorch's own whole-sequence LSTM, GRU and Elman network, run layer by layer on the parameters of our networks."""

from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.autocast import full_precision, refused_dtypes
from lightning_ntm.kernels.plain import changed, linear_layers, transformed
from lightning_ntm.states import flatten


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why this program cannot run the call, or `None`."""
    return transformed() or changed(model, inputs, state) or refused_dtypes(model, inputs, state)


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    outputs, ends = [], []
    *layers, last = linear_layers(model).values()
    before = flatten(state)
    below = inputs = inputs.to(before[0].dtype)  # under autocast they may be in half precision
    depth = before[0].shape[1]
    with full_precision(inputs.device):
        for index in range(depth):
            parameters = _weights(layers[index::depth], below.shape[-1])
            start = tuple(part[:, index].unsqueeze(0).contiguous() for part in before)
            output, *end = _layer(model.program, below, start, parameters, last.training)
            outputs.append(output)
            ends.append([part[0] for part in end])
            below = torch.cat([inputs, output], dim=-1)
    logits = last(torch.cat(outputs, dim=-1))
    return logits, type(state)(*[torch.stack(parts, dim=1) for parts in zip(*ends, strict=True)])


def _weights(layers: list[torch.nn.Linear], inputs: int) -> list[Tensor]:
    """Return the parameters of a layer in PyTorch's order, from one matrix for inputs and hidden units or from two."""
    if len(layers) == 2:
        of_inputs, of_hidden = layers
        return [of_inputs.weight, of_hidden.weight, of_inputs.bias, of_hidden.bias]
    (layer,) = layers
    from_input, from_hidden = layer.weight.split([inputs, layer.in_features - inputs], dim=1)
    return [from_input.contiguous(), from_hidden.contiguous(), layer.bias, torch.zeros_like(layer.bias)]


def _layer(
    name: str, inputs: Tensor, start: tuple[Tensor, ...], parameters: list[Tensor], train: bool
) -> tuple[Tensor, ...]:
    state: Any = start if len(start) > 1 else start[0]
    # has_biases, num_layers, dropout, train, bidirectional, batch_first
    return getattr(torch, name)(inputs, state, parameters, True, 1, 0.0, train, False, True)
