"""The memory of the DNC, with its write head and its read heads (Graves et al. 2016, Methods)."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least, between, check_whole, ordered
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import PlacedMemory
from lightning_ntm.models.precision import state_dtype


@exportable
class DNCMemoryState(NamedTuple):
    """The memory between two steps, what is known of its slots, and what was written and read where."""

    memory: Float[Tensor, "*batch slots width"]
    usage: Float[Tensor, "*batch slots"]
    precedence: Float[Tensor, "*batch slots"]
    link: Float[Tensor, "*batch slots slots"]
    write_weights: Float[Tensor, "*batch slots"]
    read_weights: Float[Tensor, "*batch read_heads slots"]
    reads: Float[Tensor, "*batch read_heads width"]


class DNCParameters(NamedTuple):
    """What an interface vector says to the heads in one step; masks are for masking, sharpness for sharpening."""

    read_key: Float[Tensor, "*batch read_heads width"]
    write_key: Float[Tensor, "*batch 1 width"]
    add: Float[Tensor, "*batch 1 width"]
    erase: Float[Tensor, "*batch 1 width"]
    free_gates: Float[Tensor, "*batch read_heads"]
    allocation_gate: Float[Tensor, "*batch 1"]
    write_gate: Float[Tensor, "*batch 1"]
    read_strength: Float[Tensor, "*batch read_heads"]
    write_strength: Float[Tensor, "*batch 1"]
    read_modes: Float[Tensor, "*batch read_heads 3"]
    read_mask: Float[Tensor, "*batch read_heads width"] | None = None
    write_mask: Float[Tensor, "*batch 1 width"] | None = None
    forward_sharpness: Float[Tensor, "*batch read_heads"] | None = None
    backward_sharpness: Float[Tensor, "*batch read_heads"] | None = None


class DNCMemory(PlacedMemory[DNCMemoryState]):
    """The memory of a DNC with one write head and any number of read heads; it has no parameters.

    In each step slots are freed, the write head writes to unused slots or to slots that it finds by content, the links
    are updated, and the read heads read the new memory by content or along the links. A sequence begins with zeros
    everywhere. Keys and write vectors are the numbers of the interface vector themselves, which are not limited.

    Args:
        memory_slots: Number of memory slots, N in the paper, at least 2; `initial_state` can give another number.
        memory_width: Numbers per memory slot, W in the paper.
        num_read_heads: Heads that read, R in the paper, at least 1 and at most the slots.
        masking: Whether heads compare only the parts of slots that masks select.
        mask_floor: Least number of a mask, from 0 to 1; with masking only.
        deallocation: Whether freed slots are erased.
        sharpening: Whether weightings along links are sharpened.

    Raises:
        ValueError: An argument is out of its range, or `mask_floor` is given without masking.
    """

    shown = ("memory_slots", "memory_width", "num_read_heads", "masking", "deallocation", "sharpening")
    state_type = DNCMemoryState

    def __init__(
        self,
        memory_slots: int = 128,
        memory_width: int = 20,
        *,
        num_read_heads: int = 1,
        masking: bool = False,
        mask_floor: float = 0.0,
        deallocation: bool = False,
        sharpening: bool = False,
    ):
        super().__init__()
        at_least(1, memory_width=memory_width, num_read_heads=num_read_heads)
        at_least(2, memory_slots=memory_slots)
        ordered(num_read_heads=num_read_heads, memory_slots=memory_slots)
        between(0, 1, mask_floor=mask_floor)
        if mask_floor and not masking:
            raise ValueError(f"mask_floor (={mask_floor}) must be 0 without masking=True.")
        self.memory_slots, self.memory_width, self.num_read_heads = memory_slots, memory_width, num_read_heads
        self.masking, self.mask_floor = masking, float(mask_floor)
        self.deallocation, self.sharpening = deallocation, sharpening
        self.interface_groups = interface_groups(num_read_heads, memory_width, masking=masking, sharpening=sharpening)
        self.interface_size, self.read_size = sum(map(sum, self.interface_groups)), num_read_heads * memory_width

    def initial_state(self, *batch: int, slots: int | None = None, like: Tensor | None = None) -> DNCMemoryState:
        """Return the state before the first step: zeros.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default `memory_slots`.
            like: A tensor whose device and dtype the state gets; by default those of the memory.

        Raises:
            ValueError: `slots` is below 2 or below the number of read heads.
            TypeError: `slots` is not a whole number.
        """
        if slots is None:
            slots = self.memory_slots
        else:
            check_whole(slots=slots)
        at_least(2, slots=slots)
        heads, width = self.num_read_heads, self.memory_width
        ordered(num_read_heads=heads, slots=slots)
        shapes = (slots, width), (slots,), (slots,), (slots, slots), (slots,), (heads, slots), (heads, width)
        like = self._like if like is None else like
        dtype = state_dtype(like)
        return DNCMemoryState(*(like.new_zeros((*batch, *shape), dtype=dtype) for shape in shapes))

    def reads(self, state: DNCMemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the reads of all heads as one vector."""
        return state.reads.flatten(-2)

    def step(self, interface: Float[Tensor, "*batch interface"], state: DNCMemoryState) -> DNCMemoryState:
        """Run one step."""
        parameters = self._interpret(interface)
        return self._read(parameters, self._write(parameters, state)[0])[0]

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: DNCMemoryState
    ) -> tuple[DNCMemoryState, dict[str, Tensor]]:
        """Run one step and return what addressing computed.

        Returns:
            The next state, and by name: its fields and those of `DNCParameters`, `retention`, `allocation_weights`,
            `write_content_weights`, `content_weights` of the read heads, `forward_weights` and `backward_weights`.
            `write_weights` has an axis of one head.
        """
        parameters = self._interpret(interface)
        state, writing = self._write(parameters, state)
        state, reading = self._read(parameters, state)
        emitted = {name: value for name, value in parameters._asdict().items() if value is not None}
        seen = {**emitted, **state._asdict(), **writing, **reading}
        return state, {**seen, "write_weights": state.write_weights.unsqueeze(-2)}

    def _write(self, parameters: DNCParameters, state: DNCMemoryState) -> tuple[DNCMemoryState, dict[str, Tensor]]:
        """Free and write; the link matrix takes the precedence of the step before."""
        key, strength, mask = parameters.write_key, parameters.write_strength, parameters.write_mask
        retention = fn.retention(parameters.free_gates, state.read_weights)
        usage = fn.update_usage(state.usage, state.write_weights, retention)
        allocation = fn.allocation_weights(usage)
        content = self._look_up(state.memory, key, strength, mask).squeeze(-2)
        allocation_gate, write_gate = parameters.allocation_gate.squeeze(-1), parameters.write_gate.squeeze(-1)
        weights = fn.write_weights(allocation, content, allocation_gate, write_gate)
        memory = fn.deallocate(state.memory, retention) if self.deallocation else state.memory
        memory = fn.write(memory, weights.unsqueeze(-2), parameters.erase, parameters.add)
        link = fn.update_link(state.link, weights, state.precedence)
        precedence = fn.update_precedence(state.precedence, weights)
        state = state._replace(memory=memory, usage=usage, precedence=precedence, link=link, write_weights=weights)
        return state, {"retention": retention, "allocation_weights": allocation, "write_content_weights": content}

    def _read(self, parameters: DNCParameters, state: DNCMemoryState) -> tuple[DNCMemoryState, dict[str, Tensor]]:
        """Read the memory as it was just written; the links start from the reads of the step before."""
        key, strength, mask = parameters.read_key, parameters.read_strength, parameters.read_mask
        content = self._look_up(state.memory, key, strength, mask)
        forward = fn.forward_weights(state.link, state.read_weights)
        backward = fn.backward_weights(state.link, state.read_weights)
        if parameters.forward_sharpness is not None and parameters.backward_sharpness is not None:
            forward = fn.sharpen_link_weights(forward, parameters.forward_sharpness)
            backward = fn.sharpen_link_weights(backward, parameters.backward_sharpness)
        weights = fn.read_weights(backward, content, forward, parameters.read_modes)
        state = state._replace(read_weights=weights, reads=fn.read(state.memory, weights))
        return state, {"content_weights": content, "forward_weights": forward, "backward_weights": backward}

    def _look_up(self, memory: Tensor, key: Tensor, strength: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return fn.content_weights(memory, key, strength)
        return fn.masked_content_weights(memory, key, strength, mask)

    def _interpret(self, interface: Float[Tensor, "*batch interface"]) -> DNCParameters:
        """Return what an interface vector says to the heads."""
        sizes, width, floor = self.interface_groups, self.memory_width, self.mask_floor
        vectors, fractions, positives, modes = interface.split([sum(group) for group in sizes], dim=-1)
        read_key, write_key, add = vectors.split(sizes[0], dim=-1)
        erase, free_gates, allocation_gate, write_gate, *masks = fractions.sigmoid().split(sizes[1], dim=-1)
        read_strength, write_strength, *sharpness = (1 + F.softplus(positives)).split(sizes[2], dim=-1)
        read_mask, write_mask = [(floor + (1 - floor) * mask).unflatten(-1, (-1, width)) for mask in masks] or [
            None
        ] * 2
        forward_sharpness, backward_sharpness = sharpness or [None] * 2
        return DNCParameters(
            read_key=read_key.unflatten(-1, (-1, width)),
            write_key=write_key.unflatten(-1, (-1, width)),
            add=add.unflatten(-1, (-1, width)),
            erase=erase.unflatten(-1, (-1, width)),
            free_gates=free_gates,
            allocation_gate=allocation_gate,
            write_gate=write_gate,
            read_strength=read_strength,
            write_strength=write_strength,
            read_modes=modes.unflatten(-1, (-1, 3)).softmax(dim=-1),
            read_mask=read_mask,
            write_mask=write_mask,
            forward_sharpness=forward_sharpness,
            backward_sharpness=backward_sharpness,
        )


def interface_groups(reads: int, width: int, *, masking: bool, sharpening: bool) -> tuple[list[int], ...]:
    """Return the sizes of the parts of an interface vector, by activation: none, sigmoid, 1 + softplus, softmax.

    Read keys, write key, write vector; erase vector, free gates, allocation gate, write gate, with masking the masks of
    read and write heads; read strengths, write strength, with sharpening those of forward and backward; read modes.
    """
    masks = [reads * width, width] if masking else []
    sharpness = [reads, reads] if sharpening else []
    return [reads * width, width, width], [width, reads, 1, 1, *masks], [reads, 1, *sharpness], [3 * reads]
