"""Positional encodings of a Transformer. All are functions of positions or distances, so they extend to any length."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

#: The longest wavelength of sines is 2 pi times this many steps.
LONGEST = 10000.0

#: The encodings that a `Transformer` takes.
POSITIONS = ("none", "sinusoidal", "alibi", "rope", "relative")


def sinusoids(
    positions: Int64[Tensor, "*batch"], size: int, dtype: torch.dtype = torch.float32, *, far: bool = True
) -> Float[Tensor, "*batch size"]:
    """Return sines, then cosines of positions at `size / 2` frequencies (Vaswani et al. 2017, section 3.5).

    Vaswani et al. let sines and cosines alternate; a linear layer does not see the order.

    Args:
        positions: Or distances.
        size: Numbers for each of them, which is even.
        dtype: Of the result.
        far: Whether positions may be large; if not, angles are computed in `dtype`.
    """
    angles = _angles(positions, size, _exact(positions) if far else dtype)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype)


def rotate(
    x: Float[Tensor, "*batch time heads size"], positions: Int64[Tensor, "*#batch time"]
) -> Float[Tensor, "*batch time heads size"]:
    """Rotate each pair of neighbouring numbers by an angle that is proportional to the position (Su et al. 2021, RoPE).

    The product of a rotated query and a rotated key depends on their distance alone.
    """
    angles = _angles(positions, x.shape[-1], _exact(positions)).unsqueeze(-2)
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    sine, cosine = angles.sin().to(x.dtype), angles.cos().to(x.dtype)
    return torch.stack([first * cosine - second * sine, second * cosine + first * sine], dim=-1).flatten(-2)


def slopes(heads: int) -> list[float]:
    """Return the slope of each head (Press et al. 2022, ALiBi): 2^(-8 i / heads) for i from 1.

    For a number of heads that is no power of two, those of the next lower power come first, then every other one of
    the next higher power, as in the code of Press et al.
    """
    lower: int = 2 ** (heads.bit_length() - 1)
    first = [2 ** (-8 * (i + 1) / lower) for i in range(lower)]
    return first + [2 ** (-4 * (2 * i + 1) / lower) for i in range(heads - lower)]


def linear_biases(
    distances: Int64[Tensor, "*batch queries keys"], heads: int, dtype: torch.dtype, causal: bool
) -> Float[Tensor, "*batch heads queries keys"]:
    """Return the biases of ALiBi: the slope of a head times minus the distance.

    Args:
        distances: From key to query, positive for keys before the query.
        heads: Number of heads.
        dtype: Of the result.
        causal: Whether queries see no later keys. If they do, keys before the query have 0.5 more than those at the
            same distance after it, before the product with the slope, as in the code of Delétang et al. (2023).
    """
    # One `torch.tensor` of all would be a constant in the loop of an exported network, which has to have none.
    slope = torch.cat([distances.new_full((1, 1, 1), one, dtype=dtype) for one in slopes(heads)])
    nearness = -distances.abs().to(dtype)
    if not causal:
        nearness = nearness + 0.5 * (distances > 0)
    return nearness.unsqueeze(-3) * slope


def _exact(positions: Tensor) -> torch.dtype:
    """Return float64: in float32, angles would be off by up to 0.06 after a million steps. Apple's GPUs have none."""
    return torch.float32 if positions.device.type == "mps" else torch.float64


def _angles(positions: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    halves = torch.arange(0, size, 2, device=positions.device, dtype=dtype)
    return positions.to(dtype).unsqueeze(-1) * LONGEST ** (-halves / size)
