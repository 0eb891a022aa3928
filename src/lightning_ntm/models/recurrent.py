"""The base class of networks without an external memory: layers of recurrent units, and an output layer."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.kernels.plain import LINEAR, Part, Shapes, kept
from lightning_ntm.kernels.torch_internals import children_of
from lightning_ntm.models.base import MemoryModel, State
from lightning_ntm.models.controllers import replaced_parts
from lightning_ntm.models.layered import LayeredController
from lightning_ntm.models.precision import linear, repeated, state_dtype


class RecurrentModel(MemoryModel[State]):
    """Layers of recurrent units with learned initial states; the output layer is connected to every layer.

    A subclass sets the class attributes.
    """

    kernels: ClassVar = {
        "torch": Kernel("lightning_ntm.kernels.torch_recurrent:run", "lightning_ntm.kernels.torch_recurrent:refusal")
    }
    #: The `NamedTuple` of the state; its fields are those of the controller's state.
    state_type: ClassVar[Any]
    #: The class of the layers.
    controller_type: ClassVar[type[LayeredController[Any]]]
    #: The function of `torch` that runs one layer over whole sequences.
    program: ClassVar[str]

    controller: LayeredController[Any]
    output: nn.Linear

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 256,
        num_layers: int = 1,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        self.controller = self.controller_type(self.input_size, hidden_size, num_layers, skip=True)
        self.output = nn.Linear(self.controller.output_size, self.output_size)
        for name in self.state_type._fields:
            self.register_parameter(f"start_{name}", nn.Parameter(torch.zeros(num_layers, hidden_size)))

    def replaced_parts(self) -> Iterator[Part]:
        """Yield controller and output."""
        yield from replaced_parts(children_of(self)["controller"], self.controller_type)
        yield "output", children_of(self)["output"], LINEAR

    def replaced_shapes(self, batch_size: int, state: State) -> Shapes:
        """Return the shapes of state and linear layers."""
        controller: Any = children_of(self)["controller"]
        sizes = (self.input_size, self.output_size, controller.hidden_size, len(controller.layers))
        return _shapes(self.controller_type, batch_size, *sizes)

    def initial_state(self, *batch: int) -> State:
        """Return the state before the first step of a sequence."""
        starts = [getattr(self, f"start_{name}") for name in self.state_type._fields]
        return self.state_type(*(repeated(start, batch, state_dtype(start)) for start in starts))

    def step(self, x: Float[Tensor, "*batch inputs"], state: State) -> tuple[Float[Tensor, "*batch outputs"], State]:
        """Run one step."""
        before: Any = state
        controlled, remembered = self.controller(x, self.controller_type.state_type(*before))
        return linear(self.output, controlled, self.output.weight.dtype), self.state_type(*remembered)


@kept
def _shapes(kind: Any, batch: int, inputs: int, outputs: int, hidden: int, layers: int) -> Shapes:
    """Return the shapes of a state and of the linear layers of a network."""
    weights = kind.shapes(inputs, hidden, layers, skip=True)
    return Shapes([(batch, layers, hidden)] * len(kind.state_type._fields), [*weights, (outputs, hidden * layers)])
