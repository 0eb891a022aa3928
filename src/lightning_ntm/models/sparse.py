"""Networks with a sparse memory: SAM, and the sparse DNC."""

from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple

from lightning_ntm.checks import at_least
from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.models.controlled import ControlledModel
from lightning_ntm.models.controllers import controller_of
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.parts import Controller
from lightning_ntm.models.sparse_memory import SparseMemory


@exportable
class SparseState(NamedTuple):
    """Everything a `SAM` or an `SDNC` remembers between two steps: the states of its parts."""

    memory: Any  # `SparseMemoryState`
    controller: Any  # `LSTMControllerState`, or that of another controller


class SparseModel(ControlledModel[SparseState]):
    """A controller with a sparse memory: what SAM and the sparse DNC share."""

    state_type = SparseState
    replaced_memory = SparseMemory
    kernels: ClassVar = {
        "sparse": Kernel("lightning_ntm.kernels.sparse:run", "lightning_ntm.kernels.sparse:refusal"),
    }

    memory_slots = property(attrgetter("memory.memory_slots"), doc="Memory slots, if no others are given.")
    memory_width = property(attrgetter("memory.memory_width"), doc="Numbers per memory slot.")
    num_read_heads = property(attrgetter("memory.num_read_heads"), doc="Heads that read.")
    num_nearest = property(attrgetter("memory.num_nearest"), doc="Slots that a head reads by content.")

    def initial_state(self, *batch: int, slots: int | None = None) -> SparseState:
        """Return the state before the first step of a sequence: an empty memory, and the start of the controller.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default `memory_slots`; a sequence keeps the number with which it begins.

        Raises:
            ValueError: `slots` is below 2, or below the number of read heads, nearest slots or links.
            TypeError: `slots` is not a whole number.
        """
        return SparseState(self._start_memory(batch, slots), self.controller.initial_state(*batch))


class SAM(SparseModel):
    """Sparse Access Memory (Rae et al. 2016, arXiv 1610.09027): an NTM that reads and writes a few slots in each step.

    In each step the least recently accessed slot is erased. The write goes to that slot and to those that were read in
    the step before, mixed by a gate. Then each head reads the `num_nearest` slots that are nearest to its key. The
    backend `sparse` changes the memory in place and saves only the rows that were read for the backward pass. The bytes
    that a training step saves therefore do not grow with the number of slots, and the time for gradients, writes and
    reads does not depend on it. The search for the nearest slots is exact (the paper's is approximate): it is one
    product of the memory with the keys, without a gradient. The time of this search, and of the search for the least
    recently accessed slot, grows with the number of slots.

    The paper leaves some points open. Here strengths are 1 + softplus as in the DNC. With several read heads there is
    one write head, which takes the mean of their weightings. The softmax is over the nearest slots only. The memory
    begins with zeros, and empty slots are used in their order.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller.
        memory_slots: Number of memory slots, N in the paper, at least 2; `initial_state` can give another number.
        memory_width: Numbers per memory slot.
        num_read_heads: Heads that read, at least 1 and at most `memory_slots`.
        num_nearest: Slots that a head reads, K in the paper, at least 1 and at most `memory_slots`.
        controller: `lstm`, `feedforward`, or a module of your own. With your own, `hidden_size` and `num_layers` keep
            their defaults.
        num_layers: Layers of the controller.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are kept for the backward;
            the rest is computed again. 0 keeps everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    Raises:
        ValueError: An argument is out of its range, or cannot be given with another.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_slots: int = 128,
        memory_width: int = 32,
        num_read_heads: int = 1,
        num_nearest: int = 4,
        controller: Literal["lstm", "feedforward"] | Controller[Any] = "lstm",
        num_layers: int = 1,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        counts = {"num_read_heads": num_read_heads, "num_nearest": num_nearest}
        memory = SparseMemory(memory_slots, memory_width, **counts)
        inputs = input_size + memory.read_size
        self._connect(controller_of(SAM, controller, inputs, hidden_size, num_layers), memory)


class SDNC(SparseModel):
    """Sparse Differentiable Neural Computer (Rae et al. 2016, arXiv 1610.09027, supplement): `SAM` with links.

    A slot has up to `num_links` links to the slots after which it was written. Heads read by content, backward and
    forward along the links, mixed as in the DNC; each of the three reads `num_nearest` slots. It writes as `SAM` does.
    Its cost depends on the number of slots only in the two searches that are described there.

    A link from slot j to slot i fades when slot i is written: N_ij = (1 - w_i) N_ij + w_i p_j. In the DNC it also fades
    when slot j is written. The `num_links` largest entries of each row of links, and of the precedence, are kept. The
    slots that follow a slot are also limited to this number: those with the largest links are kept.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller.
        memory_slots: Number of memory slots, N in the paper, at least 2; `initial_state` can give another number.
        memory_width: Numbers per memory slot.
        num_read_heads: Heads that read, at least 1 and at most `memory_slots`.
        num_nearest: Slots that a head reads in each of the three ways, K in the paper, at least 1 and at most
            `memory_slots`.
        num_links: Links of each slot, K_L in the paper, at least 1 and at most `memory_slots`.
        controller: `lstm`, `feedforward`, or a module of your own. With your own, `hidden_size` and `num_layers` keep
            their defaults.
        num_layers: Layers of the controller.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are kept for the backward;
            the rest is computed again. 0 keeps everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    Raises:
        ValueError: An argument is out of its range, or cannot be given with another.
    """

    num_links = property(attrgetter("memory.num_links"), doc="Links of each slot.")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_slots: int = 128,
        memory_width: int = 32,
        num_read_heads: int = 1,
        num_nearest: int = 4,
        num_links: int = 8,
        controller: Literal["lstm", "feedforward"] | Controller[Any] = "lstm",
        num_layers: int = 1,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        at_least(1, num_links=num_links)
        counts = {"num_read_heads": num_read_heads, "num_nearest": num_nearest, "num_links": num_links}
        memory = SparseMemory(memory_slots, memory_width, **counts)
        inputs = input_size + memory.read_size
        self._connect(controller_of(SDNC, controller, inputs, hidden_size, num_layers), memory)
