"""Precision: which parts of a network compute in the dtype of its parameters, and which in at least float32.

With parameters in float16 or bfloat16 only the linear layers compute in that dtype. The state stays in float32: memory
and cell are sums over many steps, in which small terms would be lost, and addressing needs the range of float32.
"""

import torch
from torch import Tensor, nn


def state_dtype(parameter: Tensor) -> torch.dtype:
    """Return the dtype of a network's state: that of its parameters, at least float32."""
    # `torch.promote_types` would be an operation that dispatch modes record.
    return parameter.dtype if parameter.dtype.itemsize >= torch.float32.itemsize else torch.float32


def repeated(start: Tensor, batch: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an initial tensor for each sequence of a batch, from one that they share."""
    return start.to(dtype).expand(*batch, *start.shape)


def linear(layer: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Apply a linear layer.

    Args:
        layer: A layer with a `weight`.
        inputs: Inputs of any dtype if the layer is in half precision, else of the layer's dtype or a narrower one.
        dtype: Dtype of the result if the layer is in half precision, else not used.

    Raises:
        TypeError: Inputs are in float64, the layer in float32.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if weight.dtype.itemsize >= torch.float32.itemsize:
        return layer(inputs if inputs.dtype == weight.dtype else _widened(inputs, weight.dtype))
    return layer(inputs.to(weight.dtype)).to(dtype)


def _widened(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    if inputs.dtype == torch.float64:
        raise TypeError(f"inputs must be in {dtype}, the dtype of the network's weights, got {inputs.dtype}.")
    return inputs.to(dtype)
