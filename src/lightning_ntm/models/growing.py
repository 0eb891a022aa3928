"""The base class of networks whose memory is empty at the start of a sequence, such as stacks and tapes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.kernels.plain import LINEAR, Part, Shapes
from lightning_ntm.kernels.torch_internals import children_of
from lightning_ntm.models.base import State
from lightning_ntm.models.controlled import ControlledModel
from lightning_ntm.models.controllers import replaced_parts
from lightning_ntm.models.recurrent_controllers import RNNController

#: Of each network with such a memory.
KERNELS = {"cpu": Kernel("lightning_ntm.kernels.cells.cpu:run", "lightning_ntm.kernels.cells.cpu:refusal")}
#: Steps after which a memory that began empty gets further slots.
STEPS = 16


class GrowingModel(ControlledModel[State]):
    """A controlled network whose output depends on the controller alone, and whose memory begins with zeros.

    A sequence that begins without a state is computed with the slots that it can have reached, in segments of `STEPS`
    steps, and not with all slots. The numbers are the same. The memory has two more methods, `reached` and `grown`.
    """

    def replaced_parts(self) -> Iterator[Part]:
        """Yield controller, memory, heads, the layers of a writer, and output."""
        parts = children_of(self)
        yield from replaced_parts(parts["controller"], RNNController)
        yield "memory", parts["memory"], (self.replaced_memory,)
        yield "heads", parts["heads"], LINEAR
        if "writer" in parts:
            yield "writer", parts["writer"], (nn.ModuleList,)
            for number, layer in children_of(parts["writer"]).items():
                yield f"writer.{number}", layer, LINEAR
        yield "output", parts["output"], LINEAR

    def replaced_shapes(self, batch_size: int, state: Any) -> Shapes:
        """Return the shapes of cells, hidden units and linear layers."""
        parts: Any = children_of(self)
        controller, memory, cells = parts["controller"], parts["memory"], state.memory[0]
        layers, hidden = len(controller.layers), controller.hidden_size
        units = [hidden, *[self.write_hidden_size] * 2] if getattr(self, "write_hidden_size", 0) else []
        weights = RNNController.shapes(self.input_size + memory.read_size, hidden, layers, skip=False)
        weights += [(memory.interface_size - (memory.read_size if units else 0), hidden)]
        weights += [(rows, columns) for columns, rows in pairwise([*units, memory.read_size])]
        memories = memory.read_size // memory.memory_width
        shape = (batch_size, memories, cells.shape[-2], memory.memory_width)
        return Shapes([shape, (batch_size, layers, hidden)], [*weights, (self.output_size, hidden)])

    def unroll(
        self, inputs: Float[Tensor, "batch time inputs"], state: State
    ) -> tuple[Float[Tensor, "batch time outputs"], State]:
        """Run the reference: a loop over `step`."""
        before: Any = state
        memory: Any = self.memory
        if memory.slots_of(before.memory):
            return super().unroll(inputs, state)
        logits, steps, slots = [], 0, memory.memory_slots
        for segment in inputs.split(STEPS, dim=1):
            steps += segment.shape[1]
            grown = memory.grown(before.memory, min(slots, memory.reached(steps)))
            answered, before = super().unroll(segment, before._replace(memory=grown))
            logits.append(answered)
        return torch.cat(logits, dim=1), before._replace(memory=memory.grown(before.memory, slots))

    def trace(
        self, inputs: Float[Tensor, "batch time inputs"], state: State | None = None
    ) -> dict[str, Float[Tensor, "batch time ..."]]:
        """Run a sequence step by step and return all that `observe` returns, with a time axis."""
        return super().trace(inputs, self.initial_state(inputs.shape[0]) if state is None else state)

    def _checked(self, inputs: Any, state: Any, slots: int | None = None) -> State:
        checked: Any = super()._checked(inputs, state, slots)
        memory: Any = self.memory
        if state is not None or slots is not None or memory.reached(1) is None:
            return checked
        # No slot was reached.
        return checked._replace(memory=memory.grown(checked.memory, 0))

    def _answer(self, controlled: Tensor, memory: Any) -> Tensor:
        return controlled
