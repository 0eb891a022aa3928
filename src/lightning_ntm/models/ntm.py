"""The Neural Turing Machine: a controller, a memory with heads, and the layers that connect them."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ntm.checks import between, check_kind, one_of
from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.kernels.ntm.numbers import Numbers
from lightning_ntm.kernels.plain import Shapes
from lightning_ntm.kernels.torch_internals import children_of, own_parameters
from lightning_ntm.models.controlled import ControlledModel
from lightning_ntm.models.controllers import LSTMController, LSTMControllerState, controller_of
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.ntm_memory import HEAD_LIMIT, NTMMemory
from lightning_ntm.models.ntm_shapes import shapes_of
from lightning_ntm.models.parts import Controller, Memory, keep_defaults
from lightning_ntm.models.precision import repeated, state_dtype
from lightning_ntm.models.starts import KernelStart, constant, on_first_slot, repeated_for_kernel


@exportable
class NTMState(NamedTuple):
    """The state of an NTM: the states of its parts."""

    memory: Any  # `NTMMemoryState`, or that of another memory
    controller: Any  # `LSTMControllerState`, or that of another controller


#: Options that a memory of the user's own takes the place of.
_OF_MEMORY = (
    *("memory_slots", "memory_width", "num_read_heads", "num_write_heads", "max_shift"),
    *("min_sharpening", "gradient_limit"),
)


class NTM(ControlledModel[NTMState]):
    """Neural Turing Machine (Graves et al. 2014, section 3).

    In each step the controller gets the input and the last reads. A linear layer computes the interface vector from the
    controller's output; it sets how the heads read and write the memory. The output is computed from the controller's
    output and the new reads.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller.
        memory_slots: Number of memory slots, N in the paper; `initial_state` can give another number.
        memory_width: Numbers per memory slot, M in the paper.
        num_read_heads: Heads that read, at least 1.
        num_write_heads: Heads that write, at least 1.
        max_shift: Largest move of a head in one step, to either side; `2 * max_shift + 1` must
            not exceed `memory_slots`.
        controller: `lstm`, `feedforward`, or a module of your own. The initial state of an LSTM is learned. With your
            own, `hidden_size` and `num_layers` must keep their defaults.
        num_layers: Layers of the controller.
        memory_init: Memory at the start of a sequence: `constant` (1e-6 everywhere), `learned`,
            or `random` (drawn once, then fixed and saved with the network).
        head_init: Weightings before the first step: `one_hot` (slot 0) or `learned`.
        stay_bias: Initial bias towards keeping the previous weighting: it is added to the logits of sharpening and, for
            read heads, of no shift, and subtracted from those of the gates. Heads then learn pure shifts, which
            generalise to any length. With a `stay_bias` of 0, heads learn earlier to jump by content.
        lookup_bias: Initial bias of read heads towards addressing by content: it is added to the logits of their gates
            and, doubled, to those of their key strength. Over hundreds of slots a weighting by content is nearly
            uniform, and reads are uninformative, unless the strength is large. With -20, the least logit of a gate,
            read heads begin with shifts alone.
        append_bias: Initial bias of write heads towards a shift by one slot in each step: it is added to the logits of
            that shift and subtracted from those of their gates.
        follow_bias: Initial bias of read heads towards a shift by one slot in each step: it is added to the logits of
            that shift. With `append_bias` a read head then moves along with the write heads. When the answer begins, it
            is at the slot that was written last. This helps where the answer is in reverse order, or the memory is used
            as a stack. Use it with a `stay_bias` of 0.
        min_sharpening: Least sharpening of a weighting, at least 1; 1 is that of the paper. Above 1, every step makes
            the smaller weights of a head still smaller. A head then cannot stay at two places at once, and small errors
            do not add up over long sequences.
        gradient_limit: Bound on the absolute value of each number of the gradient with respect to a weighting, in each
            step; 0 sets none. If a head has little effect on the output, its dynamics can be chaotic: over hundreds of
            steps its gradient can exceed all others and the range of float32. With a loss that is a mean over bits
            these gradients are normally below 0.1.
        memory: A memory of your own instead of the paper's. Options of memory and heads must then keep their defaults.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward; the rest is
            computed again. 0 saves everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    A trained network can be given another number of memory slots: `initial_state(batch, slots=512)`. With a learned or
    random start it can only be lower.

    Raises:
        ValueError: An argument is out of its range, or cannot be given with a part of your own.
    """

    state_type = NTMState
    start_memory: Tensor
    start_hidden: Tensor
    start_cell: Tensor
    kernels: ClassVar = {
        "cpu": Kernel(
            "lightning_ntm.kernels.ntm.cpu:run",
            "lightning_ntm.kernels.cpu.sequence:refusal",
            loss="lightning_ntm.kernels.ntm.cpu:loss",
            prepared="lightning_ntm.kernels.ntm.cpu:prepared",
        ),
        "triton": Kernel(
            "lightning_ntm.kernels.ntm.triton.sequence:run",
            "lightning_ntm.kernels.ntm.triton.refusals:refusal",
            "lightning_ntm.kernels.ntm.triton.sequence:run",
            "lightning_ntm.kernels.ntm.triton.sequence:loss",
        ),
    }
    replaced_memory = NTMMemory
    initial = ("stay_bias", "lookup_bias", "append_bias", "follow_bias")

    memory_slots = property(attrgetter("memory.memory_slots"), doc="Default number of memory slots.")
    memory_width = property(attrgetter("memory.memory_width"), doc="Numbers per memory slot.")
    num_read_heads = property(attrgetter("memory.num_read_heads"), doc="Heads that read.")
    num_write_heads = property(attrgetter("memory.num_write_heads"), doc="Heads that write.")
    max_shift = property(attrgetter("memory.max_shift"), doc="Largest move of a head in one step.")
    min_sharpening = property(attrgetter("memory.min_sharpening"), doc="Least sharpening of a weighting.")
    gradient_limit = property(attrgetter("memory.gradient_limit"), doc="Bound on gradients of weightings, 0 for none.")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_slots: int = 128,
        memory_width: int = 20,
        num_read_heads: int = 1,
        num_write_heads: int = 1,
        max_shift: int = 1,
        controller: Literal["lstm", "feedforward"] | Controller = "lstm",  # type: ignore[type-arg]
        num_layers: int = 1,
        memory_init: Literal["constant", "learned", "random"] = "constant",
        head_init: Literal["one_hot", "learned"] = "one_hot",
        stay_bias: float = 2.0,
        lookup_bias: float = 0.0,
        append_bias: float = 0.0,
        follow_bias: float = 0.0,
        min_sharpening: float = 1.0,
        gradient_limit: float = 0.0,
        memory: Memory | None = None,  # type: ignore[type-arg]
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        given = locals()
        biases = {name: given[name] for name in NTM.initial}
        between(-HEAD_LIMIT, HEAD_LIMIT, **biases)
        one_of(("constant", "learned", "random"), memory_init=memory_init)
        one_of(("one_hot", "learned"), head_init=head_init)
        self.memory_init, self.head_init = memory_init, head_init
        part: Any = _memory_of(given, {"memory_init": memory_init, "head_init": head_init, **biases})
        self.controller = controller_of(NTM, controller, input_size + part.read_size, hidden_size, num_layers)
        self.heads = nn.Linear(self.controller.output_size, part.interface_size)
        self.output = nn.Linear(self.controller.output_size + part.read_size, output_size)
        self.memory: Memory[Any] = part
        self._starts_memory, self._starts_controller = memory is None, controller == "lstm"
        self._add_start()
        self._reset_parameters(*biases.values())

    def replaced_shapes(self, batch_size: int, state: NTMState) -> Shapes:
        """Return the shapes of state and linear layers."""
        controller: Any = children_of(self)["controller"]
        memory: Any = children_of(self)["memory"]
        sizes = (controller.hidden_size, len(controller.layers), memory.num_read_heads, memory.num_write_heads)
        slots = state.memory.memory.shape[-2]
        memory_sizes = (slots, memory.memory_width, memory.max_shift)
        return shapes_of(type(controller), batch_size, self.input_size, self.output_size, *sizes, *memory_sizes)

    def replaced_numbers(self) -> Numbers:
        """Return the numbers that do not follow from the shapes."""
        memory: Any = children_of(self)["memory"]
        recurrent = type(children_of(self)["controller"]) is LSTMController
        counts = memory.num_read_heads, memory.num_write_heads, memory.max_shift
        return Numbers(recurrent, *counts, float(memory.gradient_limit), float(memory.min_sharpening))

    def _add_start(self) -> None:
        """Add the learned or random initial states of built-in parts; parts of a user define their own."""
        memory: Any = self.memory
        if self._starts_memory:
            self.start_reads = nn.Parameter(torch.zeros(memory.num_read_heads, memory.memory_width))
        if self._starts_controller:
            for name, part in self.controller.initial_state()._asdict().items():
                self.register_parameter(f"start_{name}", nn.Parameter(torch.zeros(part.shape)))
        if not self._starts_memory:
            return
        slots, width = memory.memory_slots, memory.memory_width
        start = torch.empty(slots, width).uniform_(-1, 1).div_((slots + width) ** 0.5)
        if self.memory_init == "learned":
            self.start_memory = nn.Parameter(start)
        elif self.memory_init == "random":
            self.register_buffer("start_memory", start)
        if self.head_init == "learned":
            self.start_heads = nn.Parameter(torch.randn(memory.num_heads, slots))

    def _reset_parameters(self, *biases: float) -> None:
        # Wide recurrent weights (the controller's init_gain) and heads keep every seed off the plateau
        # where the memory is never used.
        nn.init.xavier_uniform_(self.heads.weight, gain=1.4)
        nn.init.normal_(self.heads.bias, std=0.01)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.normal_(self.output.bias, std=0.01)
        if self._starts_memory:
            memory: Any = self.memory
            memory.bias_heads(self.heads.bias, *biases)

    def initial_state(self, *batch: int, slots: int | None = None) -> NTMState:
        """Return the state before the first step of a sequence.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default `memory_slots`; the number stays the same within a sequence.

        Raises:
            ValueError: The memory cannot have this number of slots.
            TypeError: `slots` is not a whole number.
        """
        return NTMState(self._initial_memory(batch, slots), self._initial_controller(batch))

    def kernel_start(self, batch_size: int, slots: int | None) -> KernelStart | None:
        """Return the numbers of `initial_state`, unless memory or heads are learned or random."""
        memory: Any = children_of(self)["memory"]
        slots = memory.memory_slots if slots is None else slots
        recurrent = type(children_of(self)["controller"]) is LSTMController
        if not self._starts_memory or (recurrent and not self._starts_controller):
            return None
        if (self.memory_init, self.head_init) != ("constant", "one_hot") or slots <= 2 * memory.max_shift:
            return None
        parameters: Any = own_parameters(self)
        learned = [
            p for name in ("start_reads", "start_hidden", "start_cell") if (p := parameters.get(name)) is not None
        ]
        dtype = learned[0].dtype
        tensors = [
            constant(1e-6, batch_size, slots, memory.memory_width, dtype=dtype),
            on_first_slot(batch_size, memory.num_heads, slots, dtype=dtype),
            *(repeated_for_kernel(start, batch_size) for start in learned),
        ]
        return KernelStart(tensors, list(enumerate(learned, start=2)))

    def _initial_memory(self, batch: tuple[int, ...], slots: int | None) -> Any:
        memory: Any = self.memory
        if not self._starts_memory:
            return self._start_memory(batch, slots)
        start: dict[str, Tensor] = {"reads": self.start_reads}
        if self.memory_init != "constant":
            start["memory"] = self.start_memory[:slots]
        if self.head_init == "learned":
            start["weights"] = F.softmax(self.start_heads[:, :slots].to(state_dtype(self.start_heads)), dim=-1)
        if slots is not None and len(start) > 1 and slots > memory.memory_slots:
            raise ValueError(
                f"slots (={slots}) must be at most {memory.memory_slots}: with memory_init={self.memory_init} and "
                f"head_init={self.head_init} the start of a sequence is that of so many."
            )
        return self._start_memory(batch, slots, **start)

    def _like(self) -> Tensor:
        return self.start_reads if self._starts_memory else super()._like()

    def _initial_controller(self, batch: tuple[int, ...]) -> Any:
        if not self._starts_controller:
            return self.controller.initial_state(*batch)
        hidden, cell = self.start_hidden, self.start_cell
        dtype = state_dtype(hidden)
        return LSTMControllerState(repeated(hidden, batch, dtype), repeated(cell, batch, dtype))


def _memory_of(given: Mapping[str, Any], others: Mapping[str, Any]) -> Memory[Any]:
    """Return the paper's memory in the given sizes, or that of a user, with which no option says how to make one."""
    memory, sizes = given["memory"], {name: given[name] for name in _OF_MEMORY}
    if memory is None:
        return NTMMemory(**sizes)
    check_kind(Memory, "a module of the class Memory", memory=memory)
    keep_defaults(NTM, "memory", {**sizes, **others})
    own: Memory[Any] = memory
    return own
