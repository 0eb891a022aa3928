"""The Stack-RNN: a recurrent controller with continuous stacks."""

from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple

from torch import nn

from lightning_ntm.models.controllers import controller_of
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.growing import KERNELS, GrowingModel
from lightning_ntm.models.initial_weights import draw
from lightning_ntm.models.parts import Controller
from lightning_ntm.models.recurrent_controllers import RECURRENT
from lightning_ntm.models.stack_memory import StackMemory


@exportable
class StackRNNState(NamedTuple):
    """Everything a Stack-RNN remembers between two steps: the states of its parts."""

    memory: Any  # `StackMemoryState`
    controller: Any  # `RNNControllerState`, or that of another controller


class StackRNN(GrowingModel[StackRNNState]):
    """Recurrent network with stacks (Joulin and Mikolov 2015, arXiv 1503.01007).

    h_t = controller([x_t, tops of the stacks], h_{t-1}); y_t = V h_t + c. For each stack:
    a = softmax(A h_t), over push, pop and no-op; v = P h_t + q, the vector to push; and
    s_i' = a_push s_{i-1} + a_pop s_{i+1} + a_noop s_i with s_{-1} = v and zeros below the last slot
    (`functional.update_stack`). The layer `heads` computes the logits of all actions, then the vectors to push.

    This is the Stack-RNN of the code of Delétang et al. (arXiv 2207.02098), apart from three points: with several
    stacks each has a softmax of its own, as in Joulin and Mikolov, where the code has one over the actions of all
    stacks; there is no ReLU before the output layer; and the number of slots is 128 instead of 30. Joulin and Mikolov
    push sigmoid(P h_t), and let the output depend on h_t as here.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller, at least 1.
        memory_slots: Slots of each stack, at least 1; `initial_state` can give another number.
        memory_width: Numbers per slot, at least 1.
        num_stacks: Number of stacks, at least 1.
        controller: `rnn` (Elman), `gru`, `lstm`, or a module of your own. With your own, `hidden_size` and `num_layers`
            keep their defaults.
        num_layers: Layers of the controller, from 1 to 1000.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward; the rest is
            computed again. 0 saves everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    A trained network can be given another number of slots: `initial_state(batch, slots=512)`.

    Raises:
        ValueError: An argument is out of its range, or cannot be given with a controller of your own.
    """

    state_type = StackRNNState
    kernels: ClassVar = KERNELS
    replaced_memory = StackMemory

    memory_slots = property(attrgetter("memory.memory_slots"), doc="Slots of each stack, if no others are given.")
    memory_width = property(attrgetter("memory.memory_width"), doc="Numbers per slot.")
    num_stacks = property(attrgetter("memory.num_stacks"), doc="Number of stacks.")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 256,
        memory_slots: int = 128,
        memory_width: int = 8,
        num_stacks: int = 1,
        controller: Literal["rnn", "gru", "lstm"] | Controller = "rnn",  # type: ignore[type-arg]
        num_layers: int = 1,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        memory = StackMemory(memory_slots, memory_width, num_stacks=num_stacks)
        of_controller = input_size + memory.read_size
        self.controller = controller_of(StackRNN, controller, of_controller, hidden_size, num_layers, RECURRENT)
        self.heads = nn.Linear(self.controller.output_size, memory.interface_size)
        self.output = nn.Linear(self.controller.output_size, output_size)
        self.memory = memory
        for layer in (self.heads, self.output):
            draw(layer.weight)
            nn.init.zeros_(layer.bias)

    def initial_state(self, *batch: int, slots: int | None = None) -> StackRNNState:
        """Return the state before the first step of a sequence: zeros, and the start of a controller of your own.

        Args:
            batch: Sizes of the leading axes.
            slots: Slots of each stack, by default `memory_slots`; a sequence keeps the number with which it begins.

        Raises:
            ValueError: `slots` is below 1.
            TypeError: `slots` is not a whole number.
        """
        return StackRNNState(self._start_memory(batch, slots), self.controller.initial_state(*batch))
