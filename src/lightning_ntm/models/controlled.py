"""Base class of networks with a controller and a memory, such as the NTM and the DNC."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.kernels.autocast import full_precision
from lightning_ntm.kernels.plain import LINEAR, Part
from lightning_ntm.kernels.torch_internals import children_of
from lightning_ntm.models.base import MemoryModel, State
from lightning_ntm.models.controllers import FeedForwardController, LSTMController, replaced_parts
from lightning_ntm.models.parts import Controller, Memory, traced
from lightning_ntm.models.precision import linear
from lightning_ntm.models.starts import KernelStart
from lightning_ntm.states import named


class ControlledModel(MemoryModel[State]):
    """A controller and a memory, with the linear layers that connect them.

    In each step the controller gets the input and the last reads. The layer `heads` computes the interface vector from
    the controller's output; it sets how the memory is written and read. The layer `output` computes the logits from the
    controller's output and the new reads. A subclass sets the four modules and `state_type`, and defines
    `initial_state`. One with kernels also sets `replaced_memory` and defines `replaced_shapes` and `replaced_numbers`.
    """

    controller: Controller[Any]
    memory: Memory[Any]
    heads: nn.Linear
    output: nn.Linear
    #: A `NamedTuple` of the states of memory and controller, in this order.
    state_type: ClassVar[Any]
    #: The type of memory that kernels replace.
    replaced_memory: ClassVar[type[nn.Module]]
    replaced_methods = ("unroll", "step", "recur", "_control", "_answer")

    def _connect(self, controller: Controller[Any], memory: Memory[Any]) -> None:
        """Set both parts and make the layers that connect them, Xavier uniform with zero biases."""
        self.controller = controller
        self.heads = nn.Linear(controller.output_size, memory.interface_size)
        self.output = nn.Linear(controller.output_size + memory.read_size, self.output_size)
        self.memory = memory
        for layer in (self.heads, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def replaced_parts(self) -> Iterator[Part]:
        """Yield controller, memory, heads and output."""
        parts = children_of(self)
        yield from replaced_parts(parts["controller"], LSTMController, FeedForwardController)
        yield "memory", parts["memory"], (self.replaced_memory,)
        yield "heads", parts["heads"], LINEAR
        yield "output", parts["output"], LINEAR

    def kernel_start(self, batch_size: int, slots: int | None) -> KernelStart | None:
        """Return the numbers of `initial_state` for a kernel that only reads them; `None` if they are not that simple.

        The network is on the CPU, and its parameters are in float32 or float64.
        """
        return None

    def _start_memory(self, batch: tuple[int, ...], slots: int | None, **start: Any) -> Any:
        """Return the initial state of the memory, which has no parameters, on the device and in the dtype of ours."""
        memory: Any = self.memory
        if getattr(memory, "takes_like", False):
            start["like"] = self._like()
        return memory.initial_state(*batch, slots=slots, **start)

    def _like(self) -> Tensor:
        """Return a parameter whose device and dtype the state of the memory gets: the controller takes the reads."""
        return next(self.controller.parameters(), self.heads.weight)

    def _start_like(self, state: Any) -> State:
        slots = self.memory.slots_of(state.memory) if isinstance(state, self.state_type) else None
        return self.initial_state(1, slots=slots)  # type: ignore[call-arg]

    def step(self, x: Float[Tensor, "*batch inputs"], state: State) -> tuple[Float[Tensor, "*batch outputs"], State]:
        """Run one step."""
        answered, state = self.recur(x, state)
        return linear(self.output, answered, self.output.weight.dtype), state

    def observe(
        self, x: Float[Tensor, "*batch inputs"], state: State
    ) -> tuple[Float[Tensor, "*batch outputs"], State, dict[str, Tensor]]:
        """Run one step and return what addressing computed.

        Returns:
            Logits, the next state, and by name: what the memory's `observe` returns, and the controller's state. If a
            subclass overrides the step alone, its own step is run, and the tensors are those of the new state.
        """
        if self._steps_otherwise():
            return super().observe(x, state)
        before: Any = state
        controlled, controller, interface = self._control(x, before)
        with full_precision(interface.device):
            memory, seen = traced(self.memory, interface, before.memory)
        logits = linear(self.output, self._answer(controlled, memory), self.output.weight.dtype)
        return logits, self.state_type(memory, controller), {**named(controller), **seen}

    def _steps_otherwise(self) -> bool:
        """Return whether a step was replaced, and what is observed of it was not."""
        kind, own = type(self), self.__dict__.keys()
        replaced = kind.step is not ControlledModel.step or kind.recur is not ControlledModel.recur
        observed = kind.observe is not ControlledModel.observe or "observe" in own
        return not observed and (replaced or bool({"step", "recur"} & own))

    def recur(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Run one step without the output layer, on which no other step depends."""
        controlled, controller, interface = self._control(x, state)
        with full_precision(interface.device):  # under autocast only controller and output are in half precision
            memory = self.memory(interface, state.memory)
        return self._answer(controlled, memory), self.state_type(memory, controller)

    def _control(self, x: Tensor, state: Any) -> tuple[Tensor, Any, Tensor]:
        """Return the output of the controller, its next state, and the interface vector."""
        reads = self.memory.reads(state.memory)
        controlled, controller = self.controller(torch.cat([x, reads], dim=-1), state.controller)
        interface = linear(self.heads, controlled, reads.dtype)
        return controlled, controller, interface.to(reads.dtype)

    def _answer(self, controlled: Tensor, memory: Any) -> Tensor:
        """Return what the output layer takes: the output of the controller, and the reads."""
        return torch.cat([controlled, self.memory.reads(memory)], dim=-1)
