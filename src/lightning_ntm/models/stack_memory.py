"""The memory of a Stack-RNN: one or more continuous stacks (Joulin and Mikolov 2015)."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least, check_whole
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import PlacedMemory
from lightning_ntm.models.precision import state_dtype

#: Push, pop and no-op.
ACTIONS = 3


@exportable
class StackMemoryState(NamedTuple):
    """Stacks between two steps; the top is slot 0."""

    stacks: Float[Tensor, "*batch stacks slots width"]


class StackMemory(PlacedMemory[StackMemoryState]):
    """Stacks that are pushed and popped in each step; their tops are read. It has no parameters.

    The interface vector has the logits of push, pop and no-op of each stack, then the vectors to push. Each stack has a
    softmax over its own three actions. Stacks begin with zeros. Where more is pushed than there are slots, the oldest
    is lost.

    Args:
        memory_slots: Slots of each stack, at least 1; `initial_state` can give another number.
        memory_width: Numbers per slot, at least 1.
        num_stacks: Number of stacks, at least 1.

    Raises:
        ValueError: An argument is out of its range.
    """

    shown = ("memory_slots", "memory_width", "num_stacks")
    state_type = StackMemoryState

    def __init__(self, memory_slots: int = 128, memory_width: int = 8, *, num_stacks: int = 1):
        super().__init__()
        at_least(1, memory_slots=memory_slots, memory_width=memory_width, num_stacks=num_stacks)
        self.memory_slots, self.memory_width, self.num_stacks = memory_slots, memory_width, num_stacks
        self.read_size = num_stacks * memory_width
        self.interface_size = num_stacks * ACTIONS + self.read_size

    def initial_state(self, *batch: int, slots: int | None = None, like: Tensor | None = None) -> StackMemoryState:
        """Return empty stacks.

        Args:
            batch: Sizes of the leading axes.
            slots: Slots of each stack, by default `memory_slots`.
            like: A tensor whose device and dtype the state gets; by default those of the memory.

        Raises:
            ValueError: `slots` is below 1.
            TypeError: `slots` is not a whole number.
        """
        if slots is not None:
            check_whole(slots=slots)
            at_least(1, slots=slots)
        shape = (*batch, self.num_stacks, slots or self.memory_slots, self.memory_width)
        like = self._like if like is None else like
        return StackMemoryState(like.new_zeros(shape, dtype=state_dtype(like)))

    def reached(self, steps: int) -> int | None:
        """Return how many slots of empty stacks can be other than zero after so many steps."""
        return steps

    def grown(self, state: StackMemoryState, slots: int) -> StackMemoryState:
        """Return stacks with another number of slots, for those that are zero."""
        stacks = state.stacks[..., :slots, :]
        return StackMemoryState(F.pad(stacks, (0, 0, 0, slots - stacks.shape[-2])))

    def reads(self, state: StackMemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the tops of all stacks as one vector."""
        return state.stacks[..., 0, :].flatten(-2)

    def step(self, interface: Float[Tensor, "*batch interface"], state: StackMemoryState) -> StackMemoryState:
        """Run one step."""
        return self.observe(interface, state)[0]

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: StackMemoryState
    ) -> tuple[StackMemoryState, dict[str, Tensor]]:
        """Run one step and return what was done.

        Returns:
            The next state, and by name: `stacks`, `stack_actions`, `(*batch, stacks, 3)`, the weights of push, pop and
            no-op, and `pushed`, `(*batch, stacks, width)`.
        """
        logits, pushed = interface.split([self.num_stacks * ACTIONS, self.read_size], dim=-1)
        actions = logits.unflatten(-1, (self.num_stacks, ACTIONS)).softmax(dim=-1)
        pushed = pushed.unflatten(-1, (self.num_stacks, self.memory_width))
        stacks = fn.update_stack(state.stacks, actions, pushed)
        return StackMemoryState(stacks), {"stacks": stacks, "stack_actions": actions, "pushed": pushed}
