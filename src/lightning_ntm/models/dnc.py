"""The Differentiable Neural Computer: a controller, and a memory with allocation and links."""

from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple

from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.kernels.dnc.numbers import Numbers
from lightning_ntm.kernels.plain import Shapes
from lightning_ntm.kernels.torch_internals import children_of
from lightning_ntm.models.controlled import ControlledModel
from lightning_ntm.models.controllers import LSTMController, controller_of
from lightning_ntm.models.dnc_memory import DNCMemory
from lightning_ntm.models.dnc_shapes import shapes_of
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import Controller
from lightning_ntm.models.starts import KernelStart, constant
from lightning_ntm.states import flatten


@exportable
class DNCState(NamedTuple):
    """Everything a DNC remembers between two steps: the states of its parts."""

    memory: Any  # `DNCMemoryState`
    controller: Any  # `LSTMControllerState`, or that of another controller


class DNC(ControlledModel[DNCState]):
    """Differentiable Neural Computer (Graves et al., Nature 538, 2016).

    In each step the controller gets the input and the last reads. A linear layer computes the interface vector from the
    controller's output; it sets how the write head and the read heads use the memory. The output is computed from the
    controller's output and the new reads. `masking`, `deallocation` and `sharpening` are the changes of Csordas and
    Schmidhuber (ICLR 2019). Each is an option; `DNC.mds` has all three.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller.
        memory_slots: Number of memory slots, N in the paper, at least 2; `initial_state` can give another number.
        memory_width: Numbers per memory slot, W in the paper.
        num_read_heads: Heads that read, R in the paper, at least 1 and at most `memory_slots`. One head writes.
        controller: `lstm`, `feedforward`, or a module of your own. With your own, `hidden_size` and `num_layers` keep
            their defaults.
        num_layers: Layers of the controller.
        masking: Compare keys with masked slots: the network learns which part of a slot is the key.
        mask_floor: Least number of a mask, from 0 to 1, with `masking` only. Csordas and Schmidhuber take 0.1 for
            associative recall, else 0.
        deallocation: Erase slots that are freed, so that content addressing no longer finds them.
        sharpening: Sharpen the weightings along links, which lose their sharpness with each step.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are kept for the backward;
            the rest is computed again. 0 keeps everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    A trained network can be given another number of memory slots: `initial_state(batch, slots=512)`.

    Raises:
        ValueError: An argument is out of its range, or cannot be given with another.
    """

    state_type = DNCState
    replaced_memory = DNCMemory
    kernels: ClassVar = {
        "cpu": Kernel(
            "lightning_ntm.kernels.dnc.cpu:run",
            "lightning_ntm.kernels.cpu.sequence:refusal",
            loss="lightning_ntm.kernels.dnc.cpu:loss",
            prepared="lightning_ntm.kernels.dnc.cpu:prepared",
        )
    }

    memory_slots = property(attrgetter("memory.memory_slots"), doc="Memory slots, if no others are given.")
    memory_width = property(attrgetter("memory.memory_width"), doc="Numbers per memory slot.")
    num_read_heads = property(attrgetter("memory.num_read_heads"), doc="Heads that read.")
    masking = property(attrgetter("memory.masking"), doc="Whether keys are compared with masked slots.")
    mask_floor = property(attrgetter("memory.mask_floor"), doc="Least number of a mask.")
    deallocation = property(attrgetter("memory.deallocation"), doc="Whether freed slots are erased.")
    sharpening = property(attrgetter("memory.sharpening"), doc="Whether weightings along links are sharpened.")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_slots: int = 128,
        memory_width: int = 20,
        num_read_heads: int = 1,
        controller: Literal["lstm", "feedforward"] | Controller = "lstm",  # type: ignore[type-arg]
        num_layers: int = 1,
        masking: bool = False,
        mask_floor: float = 0.0,
        deallocation: bool = False,
        sharpening: bool = False,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        memory = DNCMemory(
            memory_slots,
            memory_width,
            num_read_heads=num_read_heads,
            masking=masking,
            mask_floor=mask_floor,
            deallocation=deallocation,
            sharpening=sharpening,
        )
        inputs = input_size + memory.read_size
        self._connect(controller_of(DNC, controller, inputs, hidden_size, num_layers), memory)

    def replaced_shapes(self, batch_size: int, state: DNCState) -> Shapes:
        """Return the shapes of state and linear layers."""
        controller: Any = children_of(self)["controller"]
        memory: Any = children_of(self)["memory"]
        sizes = (controller.hidden_size, len(controller.layers), memory.num_read_heads)
        memory_sizes = (state.memory.memory.shape[-2], memory.memory_width, memory.masking, memory.sharpening)
        return shapes_of(type(controller), batch_size, self.input_size, self.output_size, *sizes, *memory_sizes)

    def replaced_numbers(self) -> Numbers:
        """Return the numbers that do not follow from the shapes."""
        memory: Any = children_of(self)["memory"]
        recurrent = type(children_of(self)["controller"]) is LSTMController
        switches = memory.masking, memory.deallocation, memory.sharpening
        return Numbers(recurrent, memory.num_read_heads, *switches, float(memory.mask_floor))

    @classmethod
    def mds(cls, input_size: int, output_size: int, **options: Any) -> "DNC":
        """Return a DNC with masking, deallocation and sharpening, the DNC-MDS of Csordas and Schmidhuber.

        Args:
            input_size: Numbers per step of the input.
            output_size: Logits per step of the output.
            options: Other arguments of `DNC`.
        """
        return cls(input_size, output_size, masking=True, deallocation=True, sharpening=True, **options)

    def initial_state(self, *batch: int, slots: int | None = None) -> DNCState:
        """Return the state before the first step of a sequence: zeros, and the start of a controller of your own.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default `memory_slots`; a sequence keeps the number with which it begins.

        Raises:
            ValueError: `slots` is below 2 or below the number of read heads.
            TypeError: `slots` is not a whole number.
        """
        return DNCState(self._start_memory(batch, slots), self.controller.initial_state(*batch))

    def kernel_start(self, batch_size: int, slots: int | None) -> KernelStart | None:
        """Return the zeros of `initial_state`."""
        start, dtype = self.initial_state(1, slots=slots), self.output.weight.dtype
        shapes = [part.shape[1:] for part in flatten(start)]
        return KernelStart([constant(0.0, batch_size, *shape, dtype=dtype) for shape in shapes], [])
