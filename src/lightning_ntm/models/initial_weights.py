"""Initial weights of linear layers, and networks without numbers."""

from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def draw(weight: Any) -> None:
    """Draw weights with the standard deviation 1 / sqrt(columns), truncated at two standard deviations."""
    deviation = max(1, weight.shape[1]) ** -0.5
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


class Undrawn(TorchFunctionMode):
    """Leaves tensors without numbers as they are: to draw and scale numbers, PyTorch would load its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.normal_, nn.init.uniform_, Tensor.normal_, Tensor.uniform_, Tensor.div_):
            return [*args, *(kwargs or {}).values()][0]
        return func(*args, **(kwargs or {}))
