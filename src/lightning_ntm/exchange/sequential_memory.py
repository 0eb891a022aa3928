"""The memory of public NTM implementations whose heads act one after the other."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least
from lightning_ntm.models.ntm_memory import NTMMemoryState
from lightning_ntm.models.parts import Memory
from lightning_ntm.models.precision import repeated, state_dtype

#: Added to the sum by which a sharpened weighting is divided.
_EPSILON = 1e-16
#: Shifts of a head: by -1, 0 and 1 slots.
_SHIFTS = 3


class _Head(NamedTuple):
    """The parameters of one head in a step; `erase` and `add` are `None` for a read head."""

    key: Tensor
    strength: Tensor
    gate: Tensor
    shift: Tensor
    sharpening: Tensor
    erase: Tensor | None
    add: Tensor | None


class SequentialMemory(Memory[NTMMemoryState]):
    """A memory with pairs of a read head and a write head, which act in turn: read 1, write 1, read 2, write 2 ...

    Each head addresses the memory as the heads before it left it in the same step. Keys and add vectors are the numbers
    of the interface vector, without tanh, and nothing is clamped. A sharpened weighting is divided by its sum plus
    1e-16. The interface vector has the numbers of one head after the other: key, strength, gate, shifts by -1, 0 and 1,
    sharpening, and for a write head erase and add vector. The memory, the weightings and the reads at the start of a
    sequence are buffers.

    Args:
        memory_slots: Number of memory slots, at least 3; it is fixed, as the start of a sequence is.
        memory_width: Numbers per memory slot.
        num_pairs: Pairs of a read head and a write head, at least 1.
        write_follows_read: A write head interpolates with the previous weighting of its read head, not with its own.
        softmax_heads: The first weightings are the softmax of the buffer `start_weights`, not the buffer itself, zeros.
        sigmoid_memory: The first memory is the sigmoid of the buffer `start_memory`, not the buffer itself.

    Raises:
        ValueError: An argument is out of its range.
    """

    shown = ("memory_slots", "memory_width", "num_pairs", "write_follows_read")
    start_memory: Tensor
    start_weights: Tensor
    start_reads: Tensor

    def __init__(
        self,
        memory_slots: int = 128,
        memory_width: int = 20,
        num_pairs: int = 1,
        *,
        write_follows_read: bool = False,
        softmax_heads: bool = False,
        sigmoid_memory: bool = False,
    ):
        super().__init__()
        at_least(_SHIFTS, memory_slots=memory_slots)
        at_least(1, memory_width=memory_width, num_pairs=num_pairs)
        self.memory_slots, self.memory_width, self.num_pairs = memory_slots, memory_width, num_pairs
        self.write_follows_read = write_follows_read
        self.softmax_heads, self.sigmoid_memory = softmax_heads, sigmoid_memory
        addressed = memory_width + 3 + _SHIFTS
        self.head_sizes = [addressed, addressed + 2 * memory_width] * num_pairs
        self.interface_size, self.read_size = sum(self.head_sizes), num_pairs * memory_width
        self.register_buffer("start_memory", torch.full((memory_slots, memory_width), 1e-6))
        self.register_buffer("start_weights", torch.zeros(2 * num_pairs, memory_slots))
        self.register_buffer("start_reads", torch.zeros(num_pairs, memory_width))

    def initial_state(self, *batch: int, slots: int | None = None) -> NTMMemoryState:
        """Return the state before the first step.

        Raises:
            ValueError: `slots` is not `memory_slots`.
        """
        if slots not in (None, self.memory_slots):
            raise ValueError(
                f"slots (={slots}) must be {self.memory_slots}: the start of a sequence is that of so many."
            )
        dtype = state_dtype(self.start_memory)
        memory, weights = self.start_memory.to(dtype), self.start_weights.to(dtype)
        memory = memory.sigmoid() if self.sigmoid_memory else memory
        weights = weights.softmax(-1) if self.softmax_heads else weights
        return NTMMemoryState(*(repeated(start, batch, dtype) for start in (memory, weights, self.start_reads)))

    def reads(self, state: NTMMemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the reads of all heads as one vector."""
        return state.reads.flatten(-2)

    def step(self, interface: Float[Tensor, "*batch interface"], state: NTMMemoryState) -> NTMMemoryState:
        """Run one step."""
        return self.observe(interface, state)[0]

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: NTMMemoryState
    ) -> tuple[NTMMemoryState, dict[str, Tensor]]:
        """Run one step and return what addressing computed, under the names of `NTMMemory.observe`."""
        heads = [self._head(part) for part in interface.split(self.head_sizes, dim=-1)]
        previous = state.weights.unbind(-2)
        memory, reads, found = state.memory, [], []
        for number, head in enumerate(heads):
            pair, writes = divmod(number, 2)
            own = pair + self.num_pairs * (writes and not self.write_follows_read)
            found.append(self._address(memory, previous[own], head))
            weights = found[-1]["weights"].unsqueeze(-2)
            if head.erase is None or head.add is None:
                reads.append(fn.read(memory, weights))
            else:
                memory = fn.write(memory, weights, head.erase.unsqueeze(-2), head.add.unsqueeze(-2))
        seen = self._seen(heads, found)
        state = NTMMemoryState(memory, seen["weights"], torch.cat(reads, dim=-2))
        return state, {**seen, **state._asdict()}

    def _head(self, part: Tensor) -> _Head:
        width = self.memory_width
        sizes = [width, 1, 1, _SHIFTS, 1, *([width, width] if part.shape[-1] > width + 3 + _SHIFTS else [])]
        key, strength, gate, shift, sharpening, *written = part.split(sizes, dim=-1)
        erase, add = (written[0].sigmoid(), written[1]) if written else (None, None)
        scalars = F.softplus(strength), gate.sigmoid(), shift.softmax(dim=-1), 1 + F.softplus(sharpening)
        return _Head(key, *scalars, erase, add)

    def _address(self, memory: Tensor, previous: Tensor, head: _Head) -> dict[str, Tensor]:
        similarity = F.cosine_similarity(memory, head.key.unsqueeze(-2), dim=-1)
        content = F.softmax(head.strength * similarity, dim=-1)
        gated = head.gate * content + (1 - head.gate) * previous
        shifted = fn.shift(gated.unsqueeze(-2), head.shift.unsqueeze(-2)).squeeze(-2)
        powers = shifted**head.sharpening
        weights = powers / (powers.sum(-1, keepdim=True) + _EPSILON)
        return {"weights": weights, "content_weights": content, "gated_weights": gated, "shifted_weights": shifted}

    def _seen(self, heads: list[_Head], found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return parameters and weightings with an axis of heads: read heads, then write heads."""
        order = [*range(0, len(heads), 2), *range(1, len(heads), 2)]
        seen = {name: torch.stack([found[place][name] for place in order], dim=-2) for name in found[0]}
        parts: dict[str, list[Any]] = {name: [getattr(heads[place], name) for place in order] for name in _Head._fields}
        for name, values in parts.items():
            stacked = torch.stack([value for value in values if value is not None], dim=-2)
            seen[name] = stacked.squeeze(-1) if name in ("strength", "gate", "sharpening") else stacked
        read, write = seen["weights"].split([self.num_pairs, self.num_pairs], dim=-2)
        return {**seen, "read_weights": read, "write_weights": write}
