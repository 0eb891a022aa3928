"""The Neural Turing Machine."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ntm import functional as fn
from lightning_ntm.checks import at_least, at_most, between, one_of
from lightning_ntm.kernels.autocast import full_precision
from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.kernels.plain import LINEAR, Part, Shapes, kept
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.controllers import FeedForwardController, LSTMController, replaced_parts
from lightning_ntm.models.precision import linear, state_dtype

#: What the heads emit is held within this before any activation: it bounds strength and sharpening.
HEAD_LIMIT = 20.0


class NTMState(NamedTuple):
    """Everything an NTM remembers between two steps. Read heads come before write heads."""

    memory: Float[Tensor, "batch slots width"]
    weights: Float[Tensor, "batch heads slots"]
    reads: Float[Tensor, "batch read_heads width"]
    hidden: Float[Tensor, "batch layers hidden"]
    cell: Float[Tensor, "batch layers hidden"]


class HeadParameters(NamedTuple):
    """What the controller tells the heads in one step; `erase` and `add` are for write heads only."""

    key: Float[Tensor, "batch heads width"]
    strength: Float[Tensor, "batch heads"]
    gate: Float[Tensor, "batch heads"]
    shift: Float[Tensor, "batch heads shifts"]
    sharpening: Float[Tensor, "batch heads"]
    erase: Float[Tensor, "batch write_heads width"]
    add: Float[Tensor, "batch write_heads width"]


class NTM(MemoryModel[NTMState]):
    """Neural Turing Machine (Graves et al. 2014, section 3).

    In each step the controller sees the input and what was last read; every head addresses the
    memory as the step before left it; reads come first, then the writes; the output is computed
    from the controller and the new reads.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Units of each layer of the controller.
        memory_slots: Number of memory slots, N in the paper.
        memory_width: Numbers per memory slot, M in the paper.
        num_read_heads: Heads that read, at least 1.
        num_write_heads: Heads that write, at least 1.
        max_shift: Largest move of a head in one step, to either side; `2 * max_shift + 1` must
            not exceed `memory_slots`.
        controller: `lstm` or `feedforward`.
        num_layers: Layers of the controller.
        memory_init: Memory at the start of a sequence: `constant` (1e-6 everywhere), `learned`,
            or `random` (drawn once, then fixed and saved with the network).
        head_init: Where heads look before the first step: `one_hot` (slot 0) or `learned`.
        stay_bias: At the start of training, how much speaks for weightings that stay where they are and stay sharp:
            it is added to the logits of sharpening and, for heads that read, of no shift, and taken from those of the
            gates. It makes for pure moves from slot to slot that hold at any length; where things are found by
            content, 0 lets heads learn to jump sooner.
        lookup_bias: At the start of training, how much speaks for heads that read to look things up: it is added to the
            logits of their gates and, doubled, to those of their key strength. Over hundreds of slots a weighting by
            content is flat, and tells nothing of what it finds, unless it is strong.
        append_bias: At the start of training, how much speaks for heads that write to move on by a slot in each step:
            it is added to the logits of that move and taken from those of their gates.
        gradient_limit: Bound, to either side, of each number of the gradient that flows back into a weighting, step by
            step; 0 sets none. Where a head is at may matter little and be chaotic: through hundreds of steps its
            gradient would grow beyond all others, and beyond what float32 holds. A loss that is a mean over bits has
            gradients below 0.1 there while nothing grows.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain loop.
        checkpoint_every: For long sequences: steps between the states that are kept for the backward;
            the rest is computed again. 0 keeps everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    With `memory_init="constant"` and `head_init="one_hot"` no parameter depends on `memory_slots`:
    a trained network can be given more memory.

    Raises:
        ValueError: An argument is out of its range.
    """

    start_hidden: Tensor
    start_cell: Tensor
    kernels: ClassVar = {
        "cpu": Kernel("lightning_ntm.kernels.cpu.sequence:run", "lightning_ntm.kernels.cpu.sequence:refusal"),
        "triton": Kernel(
            "lightning_ntm.kernels.triton.sequence:run",
            "lightning_ntm.kernels.triton.sequence:refusal",
            "lightning_ntm.kernels.triton.sequence:run_stack",
        ),
    }
    replaced_methods = ("unroll", "step", "_step", "recur", "_head_parameters", "_split")
    initial = ("stay_bias", "lookup_bias", "append_bias")

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
        controller: Literal["lstm", "feedforward"] = "lstm",
        num_layers: int = 1,
        memory_init: Literal["constant", "learned", "random"] = "constant",
        head_init: Literal["one_hot", "learned"] = "one_hot",
        stay_bias: float = 2.0,
        lookup_bias: float = 0.0,
        append_bias: float = 0.0,
        gradient_limit: float = 0.0,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        at_least(0, gradient_limit=gradient_limit)
        biases = {"stay_bias": stay_bias, "lookup_bias": lookup_bias, "append_bias": append_bias}
        between(-HEAD_LIMIT, HEAD_LIMIT, **biases)
        at_least(1, memory_width=memory_width, num_read_heads=num_read_heads, num_write_heads=num_write_heads)
        one_of(("lstm", "feedforward"), controller=controller)
        one_of(("constant", "learned", "random"), memory_init=memory_init)
        one_of(("one_hot", "learned"), head_init=head_init)
        self.num_read_heads, self.num_write_heads = num_read_heads, num_write_heads
        self.max_shift, self.memory_init, self.head_init = max_shift, memory_init, head_init
        self.gradient_limit = float(gradient_limit)
        self._most_slots = math.inf if (memory_init, head_init) == ("constant", "one_hot") else memory_slots
        self.memory_slots, self.memory_width = memory_slots, memory_width

        controller_input = input_size + num_read_heads * memory_width
        self.controller = (
            LSTMController(controller_input, hidden_size, num_layers, init_gain=5.0)
            if controller == "lstm"
            else FeedForwardController(controller_input, hidden_size, num_layers)
        )
        self._head_groups = _head_groups(num_read_heads, num_write_heads, memory_width, max_shift)
        self.heads = nn.Linear(self.controller.output_size, sum(self._head_groups))
        self.output = nn.Linear(self.controller.output_size + num_read_heads * memory_width, output_size)
        self._add_start()
        self._reset_parameters()
        self._bias_heads(*biases.values())

    def replaced_parts(self) -> Iterator[Part]:
        """Yield controller, heads and output."""
        parts = self._modules  # as an attribute, a module takes a microsecond to find
        yield from replaced_parts(parts["controller"], LSTMController, FeedForwardController)
        yield "heads", parts["heads"], LINEAR
        yield "output", parts["output"], LINEAR

    def replaced_shapes(self, batch_size: int) -> Shapes:
        """Return the shapes of state and linear layers."""
        controller: Any = self._modules["controller"]
        sizes = (controller.hidden_size, len(controller.layers), self.num_read_heads, self.num_write_heads)
        memory = (self.memory_slots, self.memory_width, self.max_shift)
        return _shapes(type(controller), batch_size, self.input_size, self.output_size, *sizes, *memory)

    @property
    def memory_slots(self) -> int:
        """Number of memory slots. Set between sequences, to fewer or, where no start fixes their number, to any.

        Raises:
            ValueError: The heads' shifts, or the start of the memory or of the heads, do not fit so many.
        """
        return self._memory_slots

    @memory_slots.setter
    def memory_slots(self, slots: int) -> None:
        at_least(1, memory_slots=slots)
        if not 0 <= 2 * self.max_shift < slots:
            raise ValueError(
                f"max_shift (={self.max_shift}) must be at least 0 and 2 * max_shift + 1 at most "
                f"memory_slots (={slots})."
            )
        at_most(self._most_slots, memory_slots=slots)
        self._memory_slots = slots

    def _add_start(self) -> None:
        layers, slots, width = self.controller.num_layers, self.memory_slots, self.memory_width
        self.start_reads = nn.Parameter(torch.zeros(self.num_read_heads, width))
        for name in ("start_hidden", "start_cell"):
            start = torch.zeros(layers, self.controller.hidden_size)
            if layers:
                self.register_parameter(name, nn.Parameter(start))
            else:
                self.register_buffer(name, start, persistent=False)  # empty: there is nothing to learn
        memory = torch.empty(slots, width).uniform_(-1, 1) / (slots + width) ** 0.5
        if self.memory_init == "learned":
            self.start_memory = nn.Parameter(memory)
        elif self.memory_init == "random":
            self.register_buffer("start_memory", memory)
        if self.head_init == "learned":
            self.start_heads = nn.Parameter(torch.randn(self.num_read_heads + self.num_write_heads, slots))

    def _reset_parameters(self) -> None:
        # Wide recurrent weights (the controller's init_gain) and heads keep every seed off the plateau
        # where the memory is never used.
        nn.init.xavier_uniform_(self.heads.weight, gain=1.4)
        nn.init.normal_(self.heads.bias, std=0.01)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.normal_(self.output.bias, std=0.01)

    @torch.no_grad()
    def _bias_heads(self, stay: float, lookup: float, append: float) -> None:
        # While a list is shown nothing tells a head that reads where to be. One that wanders meets, at the far side of
        # the circle of slots, what was written; one that lets content in, step by step, is nowhere in the end.
        _, fractions, positives, moves = self.heads.bias.split(self._head_groups)
        heads, reads, still = self.num_read_heads + self.num_write_heads, self.num_read_heads, self.max_shift
        gates, moves = fractions[:heads], moves.unflatten(0, (heads, -1))
        gates -= stay
        gates[:reads] += lookup
        gates[reads:] -= append
        positives[:reads] += 2 * lookup  # the key strength
        positives[heads:] += stay  # the sharpening
        moves[:reads, still] += stay
        moves[reads:, still + 1 : still + 2] += append

    def initial_state(self, batch_size: int) -> NTMState:
        """Return the state before the first step of a sequence."""
        dtype = state_dtype(self.start_reads)
        return NTMState(
            memory=self._initial_memory(batch_size, dtype),
            weights=self._initial_weights(batch_size, dtype),
            reads=self.start_reads.to(dtype).expand(batch_size, -1, -1),
            hidden=self.start_hidden.to(dtype).expand(batch_size, -1, -1),
            cell=self.start_cell.to(dtype).expand(batch_size, -1, -1),
        )

    def _initial_memory(self, batch_size: int, dtype: torch.dtype) -> Float[Tensor, "batch slots width"]:
        if self.memory_init == "constant":
            return self.start_reads.new_full((batch_size, self.memory_slots, self.memory_width), 1e-6, dtype=dtype)
        return self.start_memory[: self.memory_slots].to(dtype).expand(batch_size, -1, -1)

    def _initial_weights(self, batch_size: int, dtype: torch.dtype) -> Float[Tensor, "batch heads slots"]:
        heads = self.num_read_heads + self.num_write_heads
        if self.head_init == "learned":
            start = self.start_heads[:, : self.memory_slots].to(dtype)
            return F.softmax(start, dim=-1).expand(batch_size, -1, -1)
        weights = self.start_reads.new_zeros(batch_size, heads, self.memory_slots, dtype=dtype)
        weights[..., 0] = 1
        return weights

    def step(
        self, x: Float[Tensor, "batch inputs"], state: NTMState
    ) -> tuple[Float[Tensor, "batch outputs"], NTMState]:
        """Run one step."""
        logits, state, _, _ = self._step(x, state)
        return logits, state

    def observe(
        self, x: Float[Tensor, "batch inputs"], state: NTMState
    ) -> tuple[Float[Tensor, "batch outputs"], NTMState, dict[str, Tensor]]:
        """Run one step and tell all that addressing computed.

        Returns:
            Logits, the next state, and by name: the fields of `HeadParameters` and of the next
            state, `content_weights`, and `weights` split into `read_weights` and `write_weights`.
        """
        logits, state, heads, content = self._step(x, state)
        read_weights, write_weights = self._split(state.weights)
        seen = {**heads._asdict(), **state._asdict(), "content_weights": content}
        return logits, state, {**seen, "read_weights": read_weights, "write_weights": write_weights}

    def _step(self, x: Tensor, state: NTMState) -> tuple[Tensor, NTMState, HeadParameters, Tensor]:
        answered, state, heads, content = self.recur(x, state)
        return linear(self.output, answered, self.output.weight.dtype), state, heads, content

    def recur(self, x: Tensor, state: NTMState) -> tuple[Tensor, NTMState, HeadParameters, Tensor]:
        """Run one step but for the output layer, which no other step depends on."""
        controlled, hidden, cell = self.controller(
            torch.cat([x, state.reads.flatten(1)], dim=-1), state.hidden, state.cell
        )
        emitted = linear(self.heads, controlled, state.memory.dtype)
        with full_precision(emitted.device):  # under autocast only controller and output compute in fewer bits
            heads = self._head_parameters(emitted.to(state.memory.dtype))
            content = fn.content_weights(state.memory, heads.key, heads.strength)
            weights = fn.location_weights(state.weights, content, heads.gate, heads.shift, heads.sharpening)
            if self.gradient_limit:
                weights = fn.limit_gradient(weights, self.gradient_limit)
            read_weights, write_weights = self._split(weights)
            reads = fn.read(state.memory, read_weights)
            memory = fn.write(state.memory, write_weights, heads.erase, heads.add)
        answered = torch.cat([controlled, reads.flatten(1)], dim=-1)
        return answered, NTMState(memory, weights, reads, hidden, cell), heads, content

    def _split(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        read_weights, write_weights = weights.split([self.num_read_heads, self.num_write_heads], dim=1)
        return read_weights, write_weights

    def _head_parameters(self, emitted: Float[Tensor, "batch emitted"]) -> HeadParameters:
        groups = emitted.clamp(-HEAD_LIMIT, HEAD_LIMIT).split(self._head_groups, dim=-1)
        vectors, fractions, positives, moves = groups
        num_heads, written = self.num_read_heads + self.num_write_heads, self.num_write_heads * self.memory_width
        key, add = vectors.tanh().split([num_heads * self.memory_width, written], dim=-1)
        gate, erase = fractions.sigmoid().split([num_heads, written], dim=-1)
        strength, sharpening = F.softplus(positives).split(num_heads, dim=-1)
        return HeadParameters(
            key=key.unflatten(-1, (num_heads, -1)),
            strength=strength,
            gate=gate,
            shift=moves.unflatten(-1, (num_heads, -1)).softmax(dim=-1),
            sharpening=1 + sharpening,
            erase=erase.unflatten(-1, (self.num_write_heads, -1)),
            add=add.unflatten(-1, (self.num_write_heads, -1)),
        )


@kept
def _shapes(
    controller: type[nn.Module],
    batch: int,
    inputs: int,
    outputs: int,
    hidden: int,
    layers: int,
    reads: int,
    writes: int,
    slots: int,
    width: int,
    max_shift: int,
) -> Shapes:
    """Return the shapes of a state and of the linear layers of a network."""
    given, remembered = inputs + reads * width, 0
    if controller is LSTMController:
        weights, remembered = LSTMController.shapes(given, hidden, layers, skip=False), layers
    else:
        weights = FeedForwardController.shapes(given, hidden, layers)
    weights += (sum(_head_groups(reads, writes, width, max_shift)), hidden), (outputs, hidden + reads * width)
    memory = (batch, slots, width), (batch, reads + writes, slots), (batch, reads, width)
    return Shapes([*memory, *[(batch, remembered, hidden)] * 2], weights)


def _head_groups(reads: int, writes: int, width: int, max_shift: int) -> tuple[int, int, int, int]:
    """Return how many numbers heads emit, grouped by activation: tanh, sigmoid, softplus, softmax.

    One operation of a group serves all heads.
    """
    heads, written = reads + writes, writes * width
    return heads * width + written, heads + written, 2 * heads, heads * (2 * max_shift + 1)
