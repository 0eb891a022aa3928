"""One layer of a Transformer: attention, then two linear layers, each with a residual connection and normalised."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lightning_ntm.kernels.torch_internals import has_global_hooks, has_hooks
from lightning_ntm.models import positions as encodings
from lightning_ntm.models.initial_weights import draw
from lightning_ntm.models.precision import linear

#: Computes attention from queries, keys and values, `(..., heads, time, size of a head)`, and from `attn_mask`: which
#: keys are seen, or what is added to the logits.
Attend = Callable[..., Tensor]


def attend(query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor) -> Tensor:
    """Compute attention by plain operations, softmax(q k / sqrt(d) + bias) v: the reference of `Attend`."""
    logits = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5
    hidden = attn_mask.dtype == torch.bool
    logits = logits.masked_fill(~attn_mask, -torch.inf) if hidden else logits + attn_mask
    return logits.softmax(dim=-1) @ values


class Sight(NamedTuple):
    """What the steps of a call may see; `#batch` is 1 where it is the same for all sequences.

    `where` are the positions of the new steps, `distances` those from each key to each of them, and `seen` tells which
    keys they attend to.
    """

    where: Int64[Tensor, "#batch time"]
    distances: Int64[Tensor, "#batch time keys"]
    seen: Bool[Tensor, "#batch time keys"]


class AttentionLayer(nn.Module):
    """Multi-head attention and a feed-forward network, each followed by the sum with its input and a layer norm.

    Args:
        size: Numbers per step, a multiple of `heads`.
        heads: Number of heads.
        feedforward_size: Units of the feed-forward network.
        positions: One of `positions.POSITIONS`.
        causal: Whether no step sees a later one.
    """

    def __init__(self, size: int, heads: int, feedforward_size: int, positions: str, causal: bool):
        super().__init__()
        self.size, self.heads, self.positions, self.causal = size, heads, positions, causal
        self.attention = nn.Linear(size, 3 * size, bias=False)  # queries, keys, values
        self.mixed = nn.Linear(size, size, bias=False)
        self.widened, self.narrowed = nn.Linear(size, feedforward_size), nn.Linear(feedforward_size, size)
        self.attended_norm, self.output_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        drawn = [self.attention, self.mixed, self.widened, self.narrowed]
        if positions == "relative":
            self.distance = nn.Linear(size, size, bias=False)
            self.content_bias, self.distance_bias = (nn.Parameter(0.02 * torch.randn(size)) for _ in range(2))
            drawn.append(self.distance)
        for layer in drawn:
            draw(layer.weight)
        for layer in (self.widened, self.narrowed):
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Float[Tensor, "batch time size"],
        keys: Float[Tensor, "batch slots size"],
        values: Float[Tensor, "batch slots size"],
        sight: Sight,
        attend: Attend = attend,
    ) -> tuple[Float[Tensor, "batch time size"], Float[Tensor, "batch time size"], Float[Tensor, "batch time size"]]:
        """Return the output of the layer, and the keys and values of the new steps.

        Args:
            x: The new steps.
            keys: Of earlier steps, before those of the new ones.
            values: Of earlier steps.
            sight: Which of them each step may see.
            attend: The program that computes attention.
        """
        query, key, value = linear(self.attention, x, x.dtype).to(x.dtype).chunk(3, dim=-1)
        if self.positions == "rope":
            query, key = (self._rotated(part, sight) for part in (query, key))
        mask = self._mask(query, sight)
        if self.positions == "relative":
            query = query + self.content_bias.to(query.dtype)
        split = [
            self._split(part) for part in (query, torch.cat([keys, key], dim=1), torch.cat([values, value], dim=1))
        ]
        attended = attend(*split, attn_mask=mask).transpose(-3, -2).flatten(-2)
        x = _normalised(self.attended_norm, x + linear(self.mixed, attended, x.dtype))
        wide = linear(self.widened, x, x.dtype).relu()
        return _normalised(self.output_norm, x + linear(self.narrowed, wide, x.dtype)), key, value

    def _mask(self, query: Tensor, sight: Sight) -> Tensor:
        """Return which keys are seen, or what is added to the logits: minus infinity for those that are not."""
        seen = sight.seen.unsqueeze(-3)
        if self.positions == "alibi":
            biases = encodings.linear_biases(sight.distances, self.heads, query.dtype, self.causal)
        elif self.positions == "relative":
            biases = self._relative(query, sight)
        else:
            return seen
        return biases.masked_fill(~seen, -torch.inf)

    def _relative(self, query: Tensor, sight: Sight) -> Tensor:
        """Return (q + v) R_d / sqrt(size of a head), where R_d is linear in the sinusoids of the distance d."""
        keys, steps = sight.distances.shape[-1], sight.distances.shape[-2]
        least = 0 if self.causal else 1 - steps
        distances = torch.arange(least, keys, device=query.device)
        vectors = linear(self.distance, encodings.sinusoids(distances, self.size, query.dtype, far=False), query.dtype)
        vectors = self._split(vectors.to(query.dtype))
        products = self._split(query + self.distance_bias.to(query.dtype)) @ vectors.transpose(-1, -2)
        index = (sight.distances - least).clamp(0, len(distances) - 1).unsqueeze(-3)
        taken = products.gather(-1, index.expand(*products.shape[:-1], keys))
        return taken * (self.size // self.heads) ** -0.5

    def _rotated(self, x: Tensor, sight: Sight) -> Tensor:
        return encodings.rotate(x.unflatten(-1, (self.heads, -1)), sight.where).flatten(-2)

    def _split(self, x: Tensor) -> Tensor:
        """Return `(..., heads, time, size of a head)`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


def _normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer norm in the dtype of its input."""
    own = dict(norm.named_parameters())
    if all(parameter.dtype == x.dtype for parameter in own.values()):
        normalised: Tensor = norm(x)
        return normalised
    converted = {name: parameter.to(x.dtype) for name, parameter in own.items()}
    if type(norm) is nn.LayerNorm and not (has_hooks(norm) or has_global_hooks() or "forward" in vars(norm)):
        size, eps = norm.normalized_shape, norm.eps  # parameters are not replaced: another thread may use them
        return F.layer_norm(x, size, converted.get("weight"), converted.get("bias"), eps)
    return functional_call(norm, converted, (x,))
