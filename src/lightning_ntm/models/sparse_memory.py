"""A memory of which each step reads and writes a few slots: SAM, and with links the sparse DNC (Rae et al. 2016)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least, check_whole, ordered
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import PlacedMemory
from lightning_ntm.models.precision import state_dtype
from lightning_ntm.models.sparse_links import LinkTables, NoLinks, SparseLinks
from lightning_ntm.models.sparse_rows import MakeRows, PureRows, Rows


@exportable
class SparseMemoryState(NamedTuple):
    """The memory between two steps, when each slot was last accessed, and the entries of the read weightings."""

    memory: Float[Tensor, "*batch slots width"]
    accessed: Int64[Tensor, "*batch slots"]
    time: Int64[Tensor, "*batch"]
    read_places: Int64[Tensor, "*batch read_heads entries"]
    read_entries: Float[Tensor, "*batch read_heads entries"]
    reads: Float[Tensor, "*batch read_heads width"]
    links: Any  # `SparseLinks` or `NoLinks`


class Tables(NamedTuple):
    """What a step changes a few rows of."""

    memory: Rows
    accessed: Rows
    links: LinkTables | None


class Emitted(NamedTuple):
    """What an interface vector says in one step; read modes are for links."""

    read_key: Float[Tensor, "*batch read_heads width"]
    add: Float[Tensor, "*batch 1 width"]
    write_gate: Float[Tensor, "*batch"]
    reuse_gate: Float[Tensor, "*batch"]
    read_strength: Float[Tensor, "*batch read_heads"]
    read_modes: Float[Tensor, "*batch read_heads 3"] | None


class SparseMemory(PlacedMemory[SparseMemoryState]):
    """A memory with sparse reads and writes; it has no parameters.

    In each step the least recently accessed slot is erased; the write goes to that slot and to those that were read in
    the step before; then each head reads the `num_nearest` slots nearest to its key. With links it also reads along
    them: the `num_nearest` largest entries of the backward and of the forward weighting.

    Args:
        memory_slots: Number of memory slots, N in the paper, at least 2; `initial_state` can give another number.
        memory_width: Numbers per memory slot.
        num_read_heads: Heads that read, at least 1 and at most the slots.
        num_nearest: Slots that a head reads by content, K in the paper, at least 1 and at most the slots.
        num_links: Links of each slot, K_L in the paper, at most the slots. 0: no links, as in SAM.

    Raises:
        ValueError: An argument is out of its range.
    """

    shown = ("memory_slots", "memory_width", "num_read_heads", "num_nearest", "num_links")
    state_type = SparseMemoryState

    def __init__(
        self,
        memory_slots: int = 128,
        memory_width: int = 20,
        *,
        num_read_heads: int = 1,
        num_nearest: int = 4,
        num_links: int = 0,
    ):
        super().__init__()
        at_least(1, memory_width=memory_width, num_read_heads=num_read_heads, num_nearest=num_nearest)
        at_least(0, num_links=num_links)
        self.memory_slots, self.memory_width, self.num_read_heads = memory_slots, memory_width, num_read_heads
        self.num_nearest, self.num_links = num_nearest, num_links
        self._check(memory_slots=memory_slots)
        modes = 3 * num_read_heads if num_links else 0
        self.interface_groups = [num_read_heads * memory_width, memory_width, 2, num_read_heads, modes]
        self.interface_size, self.read_size = sum(self.interface_groups), num_read_heads * memory_width

    def _check(self, **slots: int) -> None:
        at_least(2, **slots)
        for name in ("num_read_heads", "num_nearest", "num_links"):
            ordered(**{name: getattr(self, name)}, **slots)

    def initial_state(self, *batch: int, slots: int | None = None, like: Tensor | None = None) -> SparseMemoryState:
        """Return the state before the first step: a memory of zeros, of which the first slots are used first.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default `memory_slots`.
            like: A tensor whose device and dtype the state gets; by default those of the memory.

        Raises:
            ValueError: `slots` is below 2, or below the number of read heads, nearest slots or links.
            TypeError: `slots` is not a whole number.
        """
        if slots is None:
            slots = self.memory_slots
        else:
            check_whole(slots=slots)
        self._check(slots=slots)
        heads, width = self.num_read_heads, self.memory_width
        entries = self.num_nearest * (3 if self.num_links else 1)
        given = self._like if like is None else like
        dtype = state_dtype(given)

        def zeros(*shape: int) -> Tensor:
            return given.new_zeros((*batch, *shape), dtype=dtype)

        def counted(count: int, *shape: int, start: int = 0) -> Tensor:
            numbers = torch.arange(start, start + count, device=given.device)
            return numbers.expand(*batch, *shape, count).contiguous()

        places = counted(entries, heads) % slots
        links: NoLinks | SparseLinks = NoLinks()
        if count := self.num_links:
            of_slots = counted(count, slots), zeros(slots, count), counted(count, slots)
            links = SparseLinks(*of_slots, counted(count), zeros(count))
        start, time = counted(slots, start=-slots), given.new_zeros(batch, dtype=torch.int64)
        reads = zeros(heads, width)
        return SparseMemoryState(zeros(slots, width), start, time, places, zeros(heads, entries), reads, links)

    def reads(self, state: SparseMemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the reads of all heads as one vector."""
        return state.reads.flatten(-2)

    def step(self, interface: Float[Tensor, "*batch interface"], state: SparseMemoryState) -> SparseMemoryState:
        """Run one step."""
        return self.closed(*self.advance(interface, state, self.tables(state, PureRows))[:2])

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: SparseMemoryState
    ) -> tuple[SparseMemoryState, dict[str, Tensor]]:
        """Run one step and return what addressing computed.

        Returns:
            The next state, and by name: its fields without the links, the parts of the interface vector, and
            `read_weights` and `write_weights` with a number for each slot.
        """
        state, tables, seen = self.advance(interface, state, self.tables(state, PureRows))
        state = self.closed(state, tables)
        written = seen.pop("write_places").unsqueeze(-2), seen.pop("write_entries").unsqueeze(-2)  # an axis of one head
        slots, read = state.memory.shape[-2], (state.read_places, state.read_entries)
        dense = {"write_weights": _dense(*written, slots), "read_weights": _dense(*read, slots)}
        fields = {name: value for name, value in state._asdict().items() if name != "links"}
        return state, {**fields, **seen, **dense}

    def tables(self, state: SparseMemoryState, make: MakeRows) -> Tables:
        """Return what a step changes, as tables."""
        links = LinkTables.of(state.links, make) if self.num_links else None
        return Tables(make(state.memory), make(state.accessed.unsqueeze(-1)), links)

    def closed(self, state: SparseMemoryState, tables: Tables) -> SparseMemoryState:
        """Return a state with what is in the tables."""
        links = tables.links.links() if tables.links else NoLinks()
        accessed = tables.accessed.tensor.squeeze(-1)
        return state._replace(memory=tables.memory.tensor, accessed=accessed, links=links)

    def advance(
        self, interface: Float[Tensor, "*batch interface"], state: SparseMemoryState, tables: Tables
    ) -> tuple[SparseMemoryState, Tables, dict[str, Tensor]]:
        """Run one step on the tables.

        Returns:
            The state with the new reads, whose other tensors are not changed; the tables; and what was computed, by
            name.
        """
        emitted = self._interpret(interface)
        unused = fn.least_recently_accessed(tables.accessed.detached.squeeze(-1))
        gates = emitted.write_gate, emitted.reuse_gate
        places, weights = fn.sparse_write_weights(state.read_places, state.read_entries, unused, *gates)
        memory = tables.memory.replace(unused.unsqueeze(-1), places, weights.unsqueeze(-1) * emitted.add)
        links = tables.links.written(places, weights) if tables.links else None
        read_places, read_entries = self._look(emitted, memory, links, state)
        rows = memory.take(read_places.flatten(-2)).unflatten(-2, read_places.shape[-2:])
        reads = (read_entries.unsqueeze(-2) @ rows).squeeze(-2)
        touched = torch.cat([places, read_places.flatten(-2)], dim=-1)
        by = torch.cat([weights, read_entries.flatten(-2)], dim=-1)
        times = fn.last_access(tables.accessed.take(touched).squeeze(-1), state.time, touched, by)
        accessed = tables.accessed.overwrite(touched, times.unsqueeze(-1))
        state = state._replace(time=state.time + 1, read_places=read_places, read_entries=read_entries, reads=reads)
        seen = {name: value for name, value in emitted._asdict().items() if value is not None}
        return state, Tables(memory, accessed, links), {**seen, "write_places": places, "write_entries": weights}

    def _look(
        self, emitted: Emitted, memory: Rows, links: LinkTables | None, state: SparseMemoryState
    ) -> tuple[Tensor, Tensor]:
        """Return the entries of the read weightings; links start from the reads of the step before."""
        places = fn.nearest_slots(memory.detached, emitted.read_key, self.num_nearest)
        rows = memory.take(places.flatten(-2)).unflatten(-2, places.shape[-2:])
        content = fn.sparse_content_weights(rows, emitted.read_key, emitted.read_strength)
        if links is None or emitted.read_modes is None:
            return places, content
        before = state.read_places, state.read_entries
        backward, forward = (along(*before, self.num_nearest) for along in (links.backward, links.forward))
        modes = emitted.read_modes.unsqueeze(-1)
        parts = (modes[..., 0, :] * backward[1], modes[..., 1, :] * content, modes[..., 2, :] * forward[1])
        places = torch.cat([backward[0], places, forward[0]], dim=-1)
        totals, first = fn.merged(places, torch.cat(parts, dim=-1))
        return places, totals * first

    def _interpret(self, interface: Float[Tensor, "*batch interface"]) -> Emitted:
        keys, add, gates, strengths, modes = interface.split(self.interface_groups, dim=-1)
        write_gate, reuse_gate = gates.sigmoid().unbind(dim=-1)
        read_modes = modes.unflatten(-1, (-1, 3)).softmax(dim=-1) if self.num_links else None
        keys = keys.unflatten(-1, (-1, self.memory_width))
        return Emitted(keys, add.unsqueeze(-2), write_gate, reuse_gate, 1 + F.softplus(strengths), read_modes)


def _dense(places: Tensor, weights: Tensor, slots: int) -> Tensor:
    """Return a number for each slot."""
    return weights.new_zeros(*weights.shape[:-1], slots).scatter_add(-1, places, weights)
