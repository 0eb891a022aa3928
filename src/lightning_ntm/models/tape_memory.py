"""The memory of a Tape-RNN: one or more tapes, each with a head (Delétang et al. 2023)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least, check_whole
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import PlacedMemory
from lightning_ntm.models.precision import state_dtype


@exportable
class TapeMemoryState(NamedTuple):
    """Tapes between two steps. Cells are counted from the head: slot 0 is the cell at the head.

    `length` is the length of the input, by which heads jump with `length_oracle`; 0 while it is not known.
    """

    tapes: Float[Tensor, "*batch tapes slots width"]
    length: Int64[Tensor, "*batch"]


class TapeMemory(PlacedMemory[TapeMemoryState]):
    """Tapes whose cell at the head is overwritten in each step before the head moves. It has no parameters.

    The interface vector has the logits of the actions of each tape, then the vectors to write. Each tape has a softmax
    over its actions: stay, left, right, and with `length_oracle` jumps to the left and to the right by the length of
    the input. Tapes begin with zeros and are circles.

    Args:
        memory_slots: Cells of each tape, at least 2; `initial_state` can give another number.
        memory_width: Numbers per cell, at least 1.
        num_tapes: Number of tapes, at least 1.
        length_oracle: Add the two jumps. The length is in the state, as `initial_state(batch, length=...)` sets it.

    Raises:
        ValueError: An argument is out of its range.
    """

    shown = ("memory_slots", "memory_width", "num_tapes", "length_oracle")
    state_type = TapeMemoryState

    def __init__(
        self, memory_slots: int = 128, memory_width: int = 8, *, num_tapes: int = 1, length_oracle: bool = False
    ):
        super().__init__()
        at_least(2, memory_slots=memory_slots)
        at_least(1, memory_width=memory_width, num_tapes=num_tapes)
        self.memory_slots, self.memory_width, self.num_tapes = memory_slots, memory_width, num_tapes
        self.length_oracle, self.num_actions = length_oracle, 5 if length_oracle else 3
        self.read_size, self.action_size = num_tapes * memory_width, num_tapes * self.num_actions
        self.interface_size = self.action_size + self.read_size

    def initial_state(
        self,
        *batch: int,
        slots: int | None = None,
        length: int | Int64[Tensor, "*batch"] = 0,
        like: Tensor | None = None,
    ) -> TapeMemoryState:
        """Return tapes of zeros.

        Args:
            batch: Sizes of the leading axes.
            slots: Cells of each tape, by default `memory_slots`.
            length: Cells of a jump, with `length_oracle` only; until it is known, a jump stays where it is.
            like: A tensor whose device and dtype the state gets; by default those of the memory.

        Raises:
            ValueError: `slots` is below 2, or `length` is negative, of another shape or given without `length_oracle`.
            TypeError: `slots` or `length` is not a whole number.
        """
        if slots is not None:
            check_whole(slots=slots)
            at_least(2, slots=slots)
        if not self.length_oracle and not (isinstance(length, int) and length == 0):
            raise ValueError(f"length (={length}) cannot be given without length_oracle.")
        _check_length(length, batch)
        shape = (*batch, self.num_tapes, slots or self.memory_slots, self.memory_width)
        like = self._like if like is None else like
        tapes = like.new_zeros(shape, dtype=state_dtype(like))
        return TapeMemoryState(tapes, like.new_zeros(batch, dtype=torch.int64) + length)

    def reached(self, steps: int) -> int | None:
        """Return how many cells of empty tapes can be other than zero after so many steps, one more at either side.

        `None` with `length_oracle`: jumps reach any cell.
        """
        return None if self.length_oracle else 2 * steps + 2

    def grown(self, state: TapeMemoryState, slots: int) -> TapeMemoryState:
        """Return tapes with another number of cells, for those that are zero: the cells farthest from the head."""
        have = state.tapes.shape[-2]
        half = min(have, slots) // 2
        right, left = state.tapes[..., : min(have, slots) - half, :], state.tapes[..., have - half :, :]
        between = state.tapes.new_zeros((*right.shape[:-2], max(0, slots - have), right.shape[-1]))
        return state._replace(tapes=torch.cat([right, between, left], dim=-2))

    def reads(self, state: TapeMemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the cells at the heads of all tapes as one vector."""
        return state.tapes[..., 0, :].flatten(-2)

    def step(self, interface: Float[Tensor, "*batch interface"], state: TapeMemoryState) -> TapeMemoryState:
        """Run one step."""
        return self._step(interface, state)[0]

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: TapeMemoryState
    ) -> tuple[TapeMemoryState, dict[str, Tensor]]:
        """Run one step and return what was done.

        Returns:
            The next state, and by name: `tapes`; `tape_actions`, `(*batch, tapes, actions)`, their weights; `moves`,
            `(*batch, actions)`, by how many cells each moves the head to the right; and `written`,
            `(*batch, tapes, width)`.
        """
        after, actions, written = self._step(interface, state)
        one, length = torch.ones_like(state.length), state.length
        moves = [0 * one, -one, one, -length, length][: self.num_actions]
        seen = {"tapes": after.tapes, "tape_actions": actions, "written": written}
        return after, {**seen, "moves": torch.stack(moves, dim=-1)}

    def _step(self, interface: Tensor, state: TapeMemoryState) -> tuple[TapeMemoryState, Tensor, Tensor]:
        logits, written = interface.split([self.action_size, self.read_size], dim=-1)
        actions = logits.unflatten(-1, (self.num_tapes, self.num_actions)).softmax(dim=-1)
        written = written.unflatten(-1, (self.num_tapes, self.memory_width))
        jump = state.length.unsqueeze(-1).expand(actions.shape[:-1]) if self.length_oracle else None
        return state._replace(tapes=fn.update_tape(state.tapes, actions, written, jump)), actions, written


def _check_length(length: Any, batch: tuple[int, ...]) -> None:
    if not isinstance(length, Tensor):
        check_whole(length=length)
        at_least(0, length=length)
    elif length.dtype == torch.bool or length.is_floating_point() or length.is_complex():
        raise TypeError(f"length must be a whole number or a tensor of int64, not of {length.dtype}.")
    elif tuple(length.shape) not in ((), batch):
        raise ValueError(f"length must have shape {batch}, got {tuple(length.shape)}.")
