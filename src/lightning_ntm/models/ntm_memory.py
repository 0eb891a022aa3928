"""The memory of the NTM, with the heads that read and write it (Graves et al. 2014, sections 3.1 to 3.3)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least, between, check_whole
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import PlacedMemory
from lightning_ntm.models.precision import repeated, state_dtype

#: The numbers of an interface vector are clamped to ±HEAD_LIMIT before the activations, which bounds strength and
#: sharpening.
HEAD_LIMIT = 20.0


@exportable
class NTMMemoryState(NamedTuple):
    """Memory, weightings and reads between two steps. Read heads come before write heads."""

    memory: Float[Tensor, "*batch slots width"]
    weights: Float[Tensor, "*batch heads slots"]
    reads: Float[Tensor, "*batch read_heads width"]


class HeadParameters(NamedTuple):
    """The parameters of all heads in one step; `erase` and `add` are those of write heads only."""

    key: Float[Tensor, "*batch heads width"]
    strength: Float[Tensor, "*batch heads"]
    gate: Float[Tensor, "*batch heads"]
    shift: Float[Tensor, "*batch heads shifts"]
    sharpening: Float[Tensor, "*batch heads"]
    erase: Float[Tensor, "*batch write_heads width"]
    add: Float[Tensor, "*batch write_heads width"]


class NTMMemory(PlacedMemory[NTMMemoryState]):
    """The memory of an NTM and its heads; it has no parameters.

    In each step all heads address the memory before the writes of this step; reads come first, then writes. A sequence
    begins with a memory of 1e-6 everywhere, weightings on slot 0 and reads of 0, unless a network replaces them by a
    learned start.

    Args:
        memory_slots: Number of memory slots, N in the paper; `initial_state` can give another number.
        memory_width: Numbers per memory slot, M in the paper.
        num_read_heads: Number of read heads, at least 1.
        num_write_heads: Number of write heads, at least 1.
        max_shift: Largest move of a head in one step, to either side; `2 * max_shift + 1` must not exceed the slots.
        min_sharpening: Least sharpening of a weighting, from 1 (as in the paper) to 20.
        gradient_limit: Bound on the absolute value of each number of the gradient with respect to a weighting, in each
            step; 0 sets none.

    Raises:
        ValueError: An argument is out of its range.
    """

    shown = ("memory_slots", "memory_width", "num_read_heads", "num_write_heads", "max_shift", "min_sharpening")
    state_type = NTMMemoryState

    def __init__(
        self,
        memory_slots: int = 128,
        memory_width: int = 20,
        *,
        num_read_heads: int = 1,
        num_write_heads: int = 1,
        max_shift: int = 1,
        min_sharpening: float = 1.0,
        gradient_limit: float = 0.0,
    ):
        super().__init__()
        at_least(0, gradient_limit=gradient_limit)
        between(1, HEAD_LIMIT, min_sharpening=min_sharpening)
        at_least(1, memory_width=memory_width, num_read_heads=num_read_heads, num_write_heads=num_write_heads)
        _check_slots("memory_slots", memory_slots, max_shift)
        self.memory_slots, self.memory_width = memory_slots, memory_width
        self.num_read_heads, self.num_write_heads, self.max_shift = num_read_heads, num_write_heads, max_shift
        self.min_sharpening, self.gradient_limit = float(min_sharpening), float(gradient_limit)
        self.interface_groups = interface_groups(num_read_heads, num_write_heads, memory_width, max_shift)
        self.interface_size, self.read_size = sum(self.interface_groups), num_read_heads * memory_width

    @property
    def num_heads(self) -> int:
        """Number of all heads."""
        return self.num_read_heads + self.num_write_heads

    def initial_state(
        self,
        *batch: int,
        slots: int | None = None,
        memory: Float[Tensor, "slots width"] | None = None,
        weights: Float[Tensor, "heads slots"] | None = None,
        reads: Float[Tensor, "read_heads width"] | None = None,
        like: Tensor | None = None,
    ) -> NTMMemoryState:
        """Return the state before the first step.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default `memory_slots`.
            memory: Initial memory, by default constant.
            weights: Initial weightings, by default on slot 0.
            reads: Initial reads, by default zero.
            like: A tensor whose device and dtype the state gets; by default those of the memory.

        Raises:
            ValueError: `slots` is below 1 or does not exceed `2 * max_shift`.
            TypeError: `slots` is not a whole number.
        """
        slots = self.memory_slots if slots is None else _check_slots("slots", slots, self.max_shift)
        like, width = self._like if like is None else like, self.memory_width
        dtype = state_dtype(like)
        if memory is None:
            memory = like.new_full((*batch, slots, width), 1e-6, dtype=dtype)
        else:
            memory = repeated(memory, batch, dtype)
        if weights is None:
            weights = like.new_zeros((*batch, self.num_read_heads + self.num_write_heads, slots), dtype=dtype)
            weights[..., 0] = 1
        else:
            weights = repeated(weights, batch, dtype)
        if reads is None:
            reads = like.new_zeros((*batch, self.num_read_heads, width), dtype=dtype)
        else:
            reads = repeated(reads, batch, dtype)
        return NTMMemoryState(memory, weights, reads)

    def reads(self, state: NTMMemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the reads of all heads as one vector."""
        return state.reads.flatten(-2)

    def step(self, interface: Float[Tensor, "*batch interface"], state: NTMMemoryState) -> NTMMemoryState:
        """Run one step."""
        return self._step(interface, state)[0]

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: NTMMemoryState
    ) -> tuple[NTMMemoryState, dict[str, Tensor]]:
        """Run one step and return what addressing computed.

        Returns:
            The next state, and by name: its fields and those of `HeadParameters`, `content_weights`, `gated_weights`
            after the interpolation, `shifted_weights` after the shift, and `weights` split into `read_weights` and
            `write_weights`.
        """
        previous = state.weights
        state, heads, content = self._step(interface, state)
        read_weights, write_weights = self._split(state.weights)
        gated = fn.interpolate(previous, content, heads.gate)
        seen = {**heads._asdict(), **state._asdict(), "content_weights": content, "gated_weights": gated}
        seen["shifted_weights"] = fn.shift(gated, heads.shift)
        return state, {**seen, "read_weights": read_weights, "write_weights": write_weights}

    def _step(self, interface: Tensor, state: NTMMemoryState) -> tuple[NTMMemoryState, HeadParameters, Tensor]:
        heads = self._head_parameters(interface)
        content = fn.content_weights(state.memory, heads.key, heads.strength)
        weights = fn.location_weights(state.weights, content, heads.gate, heads.shift, heads.sharpening)
        if self.gradient_limit:
            weights = fn.limit_gradient(weights, self.gradient_limit)
        read_weights, write_weights = self._split(weights)
        reads = fn.read(state.memory, read_weights)
        memory = fn.write(state.memory, write_weights, heads.erase, heads.add)
        return NTMMemoryState(memory, weights, reads), heads, content

    def _split(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        read_weights, write_weights = weights.split([self.num_read_heads, self.num_write_heads], dim=-2)
        return read_weights, write_weights

    def _head_parameters(self, interface: Float[Tensor, "*batch interface"]) -> HeadParameters:
        groups = interface.clamp(-HEAD_LIMIT, HEAD_LIMIT).split(self.interface_groups, dim=-1)
        vectors, fractions, positives, moves = groups
        num_heads, written = self.num_heads, self.num_write_heads * self.memory_width
        key, add = vectors.tanh().split([num_heads * self.memory_width, written], dim=-1)
        gate, erase = fractions.sigmoid().split([num_heads, written], dim=-1)
        strength, sharpening = F.softplus(positives).split(num_heads, dim=-1)
        return HeadParameters(
            key=key.unflatten(-1, (num_heads, -1)),
            strength=strength,
            gate=gate,
            shift=moves.unflatten(-1, (num_heads, -1)).softmax(dim=-1),
            sharpening=self.min_sharpening + sharpening,
            erase=erase.unflatten(-1, (self.num_write_heads, -1)),
            add=add.unflatten(-1, (self.num_write_heads, -1)),
        )

    @torch.no_grad()
    def bias_heads(
        self, bias: Float[Tensor, " interface"], stay: float, lookup: float, append: float, follow: float
    ) -> None:
        """Add initial biases, described at `NTM`, to the bias of the layer that computes interface vectors."""
        # While a list is presented the loss does not depend on the positions of read heads. A head that drifts reaches
        # slots that were written on the other side of the circle; one that mixes in content loses its position.
        _, fractions, positives, moves = bias.split(self.interface_groups)
        heads, reads, still = self.num_heads, self.num_read_heads, self.max_shift
        gates, moves = fractions[:heads], moves.unflatten(0, (heads, -1))
        gates -= stay
        gates[:reads] += lookup
        gates[reads:] -= append
        positives[:reads] += 2 * lookup  # the key strength
        positives[heads:] += stay  # the sharpening
        moves[:reads, still] += stay
        moves[:reads, still + 1 : still + 2] += follow
        moves[reads:, still + 1 : still + 2] += append


def interface_groups(reads: int, writes: int, width: int, max_shift: int) -> tuple[int, int, int, int]:
    """Return the sizes of the parts of an interface vector, by activation: tanh, sigmoid, softplus, softmax.

    One operation on a part computes the parameters of all heads.
    """
    heads, written = reads + writes, writes * width
    return heads * width + written, heads + written, 2 * heads, heads * (2 * max_shift + 1)


def _check_slots(name: str, slots: int, max_shift: int) -> int:
    check_whole(**{name: slots})
    at_least(1, **{name: slots})
    if not 0 <= 2 * max_shift < slots:
        raise ValueError(
            f"max_shift (={max_shift}) must be at least 0 and 2 * max_shift + 1 at most {name} (={slots})."
        )
    return slots
