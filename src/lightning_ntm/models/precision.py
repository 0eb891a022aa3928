"""What a network computes in the dtype of its parameters, and what in at least float32.

With parameters in float16 or bfloat16 only the linear layers compute in that dtype. The state stays in float32: memory
and cell are sums over many steps, which lose what is small beside them, and addressing needs numbers that float16
does not have.
"""

import torch
from torch import Tensor, nn


def state_dtype(parameter: Tensor) -> torch.dtype:
    """Return the dtype of a network's state: that of its parameters, at least float32."""
    # By `torch.promote_types` it would be an operation, which a mode that looks at them records.
    return parameter.dtype if parameter.dtype.itemsize >= torch.float32.itemsize else torch.float32


def repeated(start: Tensor, batch: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return the start of each sequence in a state, from one that they share."""
    return start.to(dtype).expand(*batch, *start.shape)


def linear(layer: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Apply a linear layer.

    Args:
        layer: A layer with a `weight`.
        inputs: Of any dtype where the layer is in half precision, else of the layer's own.
        dtype: Of the result where the layer is in half precision; other layers return what they compute.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if weight.dtype.itemsize >= torch.float32.itemsize:
        return layer(inputs)
    return layer(inputs.to(weight.dtype)).to(dtype)
