"""The Tape-RNN: a recurrent controller with tapes."""

from itertools import pairwise
from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lightning_ntm.checks import at_least
from lightning_ntm.models.controllers import controller_of
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.growing import KERNELS, GrowingModel
from lightning_ntm.models.initial_weights import draw
from lightning_ntm.models.parts import Controller
from lightning_ntm.models.precision import linear
from lightning_ntm.models.recurrent_controllers import RECURRENT
from lightning_ntm.models.tape_memory import TapeMemory


@exportable
class TapeRNNState(NamedTuple):
    """Everything a Tape-RNN remembers between two steps: the states of its parts."""

    memory: Any  # `TapeMemoryState`
    controller: Any  # `RNNControllerState`, or that of another controller


class TapeRNN(GrowingModel[TapeRNNState]):
    """Recurrent network with tapes, after the Baby-NTM (Delétang et al. 2023, arXiv 2207.02098).

    h_t = controller([x_t, cells at the heads], h_{t-1}); y_t = V h_t + c. For each tape: a = softmax(A h_t), over the
    actions; w = MLP(h_t), the vector to write; the cell at the head is overwritten with w, then the head moves:
    m_i' = sum over actions of a_k n_{i + d_k}, where n is the tape with w in cell 0 (`functional.update_tape`). Cells
    are counted from the head. The MLP has two layers of `write_hidden_size` ReLU units.

    The actions are to stay (d = 0), and to move by one cell to the left (d = -1) or to the right (d = 1). The network
    of the paper has two more actions, jumps by the length of its input to the left and to the right, and receives this
    length. Here they are an option, `length_oracle`. The network then reads ahead: at the start of a call whose state
    does not have the length, it counts the steps before the first one whose last input is not 0. In the tasks on formal
    languages these are the symbols of the string. To stream a sequence in parts, give the length to `initial_state`.

    Other differences to the code of the paper: there is no ReLU before the output layer, and a tape has 128 cells
    instead of 30 (256 in the paper). There, "left" and "right" are the other way round.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller, at least 1.
        memory_slots: Cells of each tape, at least 2; `initial_state` can give another number. Tapes are circles.
        memory_width: Numbers per cell, at least 1.
        num_tapes: Number of tapes, at least 1.
        write_hidden_size: Units of each of the two layers of the MLP; with 0 the vector to write is linear in h.
        length_oracle: Add jumps by the length of the input; the network then receives this length.
        controller: `rnn` (Elman), `gru`, `lstm`, or a module of your own. With your own, `hidden_size` and `num_layers`
            keep their defaults.
        num_layers: Layers of the controller, from 1 to 1000.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward; the rest is
            computed again. 0 saves everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    A trained network can be given another number of cells: `initial_state(batch, slots=512)`.

    Raises:
        ValueError: An argument is out of its range, or cannot be given with another.
    """

    state_type = TapeRNNState
    kernels: ClassVar = KERNELS
    replaced_memory = TapeMemory

    memory_slots = property(attrgetter("memory.memory_slots"), doc="Cells of each tape, if no others are given.")
    memory_width = property(attrgetter("memory.memory_width"), doc="Numbers per cell.")
    num_tapes = property(attrgetter("memory.num_tapes"), doc="Number of tapes.")
    length_oracle = property(attrgetter("memory.length_oracle"), doc="Whether heads jump by the length of the input.")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 256,
        memory_slots: int = 128,
        memory_width: int = 8,
        num_tapes: int = 1,
        write_hidden_size: int = 64,
        length_oracle: bool = False,
        controller: Literal["rnn", "gru", "lstm"] | Controller = "rnn",  # type: ignore[type-arg]
        num_layers: int = 1,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        at_least(0, write_hidden_size=write_hidden_size)
        if length_oracle and checkpoint_every:
            raise ValueError(
                f"checkpoint_every (={checkpoint_every}) cannot be given with length_oracle, which reads whole "
                "sequences."
            )
        memory = TapeMemory(memory_slots, memory_width, num_tapes=num_tapes, length_oracle=length_oracle)
        of_controller = input_size + memory.read_size
        self.controller = controller_of(TapeRNN, controller, of_controller, hidden_size, num_layers, RECURRENT)
        self.write_hidden_size, controlled = write_hidden_size, self.controller.output_size
        self.heads = nn.Linear(controlled, memory.action_size if write_hidden_size else memory.interface_size)
        sizes = [controlled, write_hidden_size, write_hidden_size, memory.read_size] if write_hidden_size else []
        writer = [nn.Linear(size, after) for size, after in pairwise(sizes)]
        self.writer = nn.ModuleList(writer)
        self.output = nn.Linear(controlled, output_size)
        self.memory = memory
        for layer in (self.heads, *writer, self.output):
            draw(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def reads_ahead(self) -> bool:
        """Whether logits depend on later inputs: with `length_oracle`, on their length."""
        memory: Any = self.memory
        return bool(memory.length_oracle)

    def initial_state(
        self, *batch: int, slots: int | None = None, length: int | Int64[Tensor, "*batch"] = 0
    ) -> TapeRNNState:
        """Return the state before the first step of a sequence: zeros, and the start of a controller of your own.

        Args:
            batch: Sizes of the leading axes.
            slots: Cells of each tape, by default `memory_slots`; a sequence keeps the number with which it begins.
            length: Length of the input, with `length_oracle` only; with 0, `forward` counts it.

        Raises:
            ValueError: `slots` is below 2, or `length` is negative, of another shape or given without `length_oracle`.
            TypeError: `slots` or `length` is not a whole number.
        """
        memory = self._start_memory(batch, slots, length=length)
        return TapeRNNState(memory, self.controller.initial_state(*batch))

    def unroll(
        self, inputs: Float[Tensor, "batch time inputs"], state: TapeRNNState
    ) -> tuple[Float[Tensor, "batch time outputs"], TapeRNNState]:
        """Run the reference: a loop over `step`."""
        return super().unroll(inputs, self.with_length(inputs, state))

    def trace(
        self, inputs: Float[Tensor, "batch time inputs"], state: TapeRNNState | None = None
    ) -> dict[str, Float[Tensor, "batch time ..."]]:
        """Run a sequence step by step and return all that `observe` returns, with a time axis."""
        if self.reads_ahead:
            state = self.with_length(inputs, self._checked(inputs, state))
        return super().trace(inputs, state)

    def _sequence(self, inputs: Tensor, state: TapeRNNState) -> tuple[Tensor, TapeRNNState]:
        return super()._sequence(inputs, self.with_length(inputs, state))

    def with_length(self, inputs: Tensor, state: TapeRNNState) -> TapeRNNState:
        """Return a state with the length of each sequence of a batch, counted where it is 0, for `length_oracle`."""
        if not self.reads_ahead:
            return state
        known, shown = state.memory.length, inputs[..., -1] != 0
        counted = (shown.cumsum(dim=-1) == 0).sum(dim=-1)
        return state._replace(memory=state.memory._replace(length=torch.where(known == 0, counted, known)))

    def _control(self, x: Tensor, state: Any) -> tuple[Tensor, Any, Tensor]:
        controlled, controller, interface = super()._control(x, state)
        if not self.write_hidden_size:
            return controlled, controller, interface
        written = controlled
        for number, layer in enumerate(self.writer):
            written = linear(layer, written.relu() if number else written, interface.dtype)
        return controlled, controller, torch.cat([interface, written.to(interface.dtype)], dim=-1)
