"""Initial weights of linear layers."""

from typing import Any

from torch import nn


def draw(weight: Any) -> None:
    """Draw weights with the standard deviation 1 / sqrt(columns), truncated at two standard deviations."""
    deviation = max(1, weight.shape[1]) ** -0.5
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)
