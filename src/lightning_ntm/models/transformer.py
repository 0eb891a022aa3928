"""A Transformer encoder, causal with a cache of keys and values, or bidirectional."""

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ntm.checks import at_least, between, check_whole, one_of
from lightning_ntm.kernels.choice import Kernel
from lightning_ntm.models import positions as encodings
from lightning_ntm.models.attention import Attend, AttentionLayer, Sight, attend
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.initial_weights import draw
from lightning_ntm.models.layered import MOST_LAYERS
from lightning_ntm.models.precision import linear, state_dtype
from lightning_ntm.states import mapped


@exportable
class TransformerState(NamedTuple):
    """Keys and values of the last steps of each layer: step n is in slot n modulo the slots."""

    keys: Float[Tensor, "*batch layers slots hidden"]
    values: Float[Tensor, "*batch layers slots hidden"]
    steps: Int64[Tensor, "*batch"]  # that were seen


class Transformer(MemoryModel[TransformerState]):
    """Transformer encoder (Vaswani et al. 2017), with the sizes of Delétang et al. (2023, arXiv 2207.02098).

    e_t = sqrt(hidden_size) E x_t, plus the positional encoding if it is sinusoidal. In each layer
    h = norm(e + O attention(e)), e' = norm(h + B relu(A h + a) + b), with attention softmax(q k / sqrt(d) + bias) v for
    each head of d numbers. The logits are V e + c.

    With `causal` each step attends to itself and the steps before it, at most `memory_slots` in all. Their keys and
    values are the state, so sequences can be streamed without end. Exception: a NaN or infinite input also affects
    earlier steps of the same call. Without `causal` each step attends to all steps of the sequence, as in the paper.
    The network then reads whole sequences: it has no `step` and takes no state.

    Differences to the code of the paper: there is no dropout; sinusoidal positions count from the start of the
    sequence instead of its end.

    Args:
        input_size: Numbers per step of the input.
        output_size: Logits per step of the output.
        hidden_size: Numbers per step within the network, a multiple of `num_heads`.
        num_layers: Layers, from 1 to 1000.
        num_heads: Heads of the attention of each layer, at least 1.
        feedforward_size: Units of the feed-forward network of each layer, at least 1.
        positions: `none`; `sinusoidal` (Vaswani et al. 2017); `alibi`, biases linear in the distance (Press et al.
            2022); `rope`, rotated queries and keys (Su et al. 2021); `relative`, logits of the distance (Dai et al.
            2019, Transformer-XL). All extend to sequences of any length.
        causal: Whether no step sees a later one.
        memory_slots: Steps that a step attends to, itself included, at least 1; `initial_state` can give another
            number. Not used without `causal`.
        backend: `auto` takes the fastest program that can run a call, `reference` the plain operations.
        checkpoint_every: For long sequences: steps between the states that are saved for the backward; the rest is
            computed again. 0 saves everything, and must be taken without `causal`.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`

    Raises:
        ValueError: An argument is out of its range, or cannot be given with another.
    """

    kernels: ClassVar = {
        "torch": Kernel("lightning_ntm.kernels.torch_attention:run", "lightning_ntm.kernels.torch_attention:refusal")
    }
    replaced_methods = ("unroll", "step", "run_with")

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 64,
        num_layers: int = 5,
        num_heads: int = 8,
        feedforward_size: int = 256,
        positions: Literal["none", "sinusoidal", "alibi", "rope", "relative"] = "sinusoidal",
        causal: bool = True,
        memory_slots: int = 128,
        backend: str = "auto",
        checkpoint_every: int = 0,
    ):
        super().__init__(input_size, output_size, backend, checkpoint_every)
        between(1, MOST_LAYERS, num_layers=num_layers)
        at_least(1, feedforward_size=feedforward_size, memory_slots=memory_slots)
        _check_sizes(hidden_size, num_heads, positions)
        if checkpoint_every and not causal:
            raise ValueError(f"checkpoint_every (={checkpoint_every}) must be 0 without causal.")
        self.hidden_size, self.num_layers, self.num_heads = hidden_size, num_layers, num_heads
        self.feedforward_size, self.positions = feedforward_size, positions
        self.causal = causal
        if causal:
            self.memory_slots = memory_slots
        self.embedding = nn.Linear(input_size, hidden_size, bias=False)
        layers = (
            AttentionLayer(hidden_size, num_heads, feedforward_size, positions, causal) for _ in range(num_layers)
        )
        self.layers = nn.ModuleList(layers)
        self.output = nn.Linear(hidden_size, output_size)
        nn.init.trunc_normal_(self.embedding.weight, std=0.02, a=-0.04, b=0.04)
        draw(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def reads_ahead(self) -> bool:
        """Whether logits depend on later inputs: without `causal`."""
        return not self.causal

    def initial_state(self, *batch: int, slots: int | None = None) -> TransformerState:
        """Return the state before the first step of a sequence: no step was seen.

        Args:
            batch: Sizes of the leading axes.
            slots: Steps that a step attends to, by default `memory_slots`.

        Raises:
            ValueError: `slots` is below 1, or given without `causal`.
            TypeError: `slots` is not a whole number.
        """
        if slots is not None:
            check_whole(slots=slots)
            at_least(1, slots=slots)
            if not self.causal:
                raise ValueError(f"slots (={slots}) cannot be given without causal: each step sees the whole sequence.")
        return self._empty(batch, (slots or self.memory_slots) if self.causal else 0)

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"],
        state: TransformerState | None = None,
        lengths: Int64[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], TransformerState]:
        """Run a sequence; see `MemoryModel`. Without `causal`, no state can be given, and the returned one is empty."""
        return super().forward(inputs, state, lengths)

    def step(
        self, x: Float[Tensor, "*batch inputs"], state: TransformerState
    ) -> tuple[Float[Tensor, "*batch outputs"], TransformerState]:
        """Run one step.

        Raises:
            ValueError: The network is not causal.
        """
        if not self.causal:
            raise ValueError("a Transformer without causal reads whole sequences: it has no single steps.")
        batch = x.shape[:-1]
        flat = mapped(lambda part: part.reshape((math.prod(batch), *part.shape[len(batch) :])), state)
        logits, state = self.run_with(attend, x.reshape(math.prod(batch), 1, x.shape[-1]), flat)
        return logits.reshape(*batch, logits.shape[-1]), mapped(
            lambda part: part.reshape((*batch, *part.shape[1:])), state
        )

    def unroll(
        self, inputs: Float[Tensor, "batch time inputs"], state: TransformerState
    ) -> tuple[Float[Tensor, "batch time outputs"], TransformerState]:
        """Run all steps at once, with attention by plain operations; an overridden `step` runs step by step."""
        if self._steps_otherwise():
            return super().unroll(inputs, state)
        return self.run_with(attend, inputs, state)

    def run_with(
        self, attend: Attend, inputs: Float[Tensor, "batch time inputs"], state: TransformerState
    ) -> tuple[Float[Tensor, "batch time outputs"], TransformerState]:
        """Run all steps at once, with a program for the attention."""
        hidden, state = self._encode(attend, inputs, state)
        return linear(self.output, hidden, self.output.weight.dtype), state

    def _steps_otherwise(self) -> bool:
        return type(self).step is not Transformer.step or "step" in self.__dict__

    @torch.no_grad()
    def trace(
        self, inputs: Float[Tensor, "batch time inputs"], state: TransformerState | None = None
    ) -> dict[str, Float[Tensor, "batch time ..."]]:
        """Run a sequence at once and return `logits`, and the output of the last layer as `hidden`.

        An overridden `step` runs step by step; see `MemoryModel.trace`.
        """
        if self._steps_otherwise():
            return super().trace(inputs, state)
        hidden, _ = self._encode(attend, inputs, self._checked(inputs, state))
        return {"logits": linear(self.output, hidden, self.output.weight.dtype), "hidden": hidden}

    def _checked(self, inputs: Any, state: Any, slots: int | None = None) -> TransformerState:
        if state is not None and not self.causal:
            raise ValueError("state cannot be given to a Transformer without causal, which reads whole sequences.")
        checked = super()._checked(inputs, state, slots)
        # Without slots it is known that no step was seen: all sequences then have the same positions.
        return checked if state is not None or slots is not None else self._empty(inputs.shape[:1], 0)

    def _start_like(self, state: Any) -> TransformerState:
        keys = state.keys if isinstance(state, TransformerState) else None
        slots = keys.shape[-2] if isinstance(keys, Tensor) and keys.ndim > 1 else None
        return self.initial_state(1, slots=slots)

    def _empty(self, batch: tuple[int, ...], slots: int) -> TransformerState:
        like = self.embedding.weight
        shape, dtype = (*batch, self.num_layers, slots, self.hidden_size), state_dtype(like)
        keys, values = (like.new_zeros(shape, dtype=dtype) for _ in range(2))
        return TransformerState(keys, values, like.new_zeros(batch, dtype=torch.int64))

    def _encode(self, attend: Attend, inputs: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        cached, time = state.keys.shape[-2], inputs.shape[1]
        slots, dtype = cached or getattr(self, "memory_slots", 0), state.keys.dtype
        steps = state.steps if cached else state.steps.new_zeros(1)
        sight = self._sight(steps, cached, time, slots)
        hidden = linear(self.embedding, inputs, dtype).to(dtype) * self.hidden_size**0.5
        if self.positions == "sinusoidal":
            hidden = hidden + encodings.sinusoids(sight.where, self.hidden_size, dtype)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for layer, *seen in zip(self.layers, state.keys.unbind(1), state.values.unbind(1), strict=True):
            hidden, key, value = layer(hidden, *seen, sight, attend)
            for cache, old, new in zip((keys, values), seen, (key, value), strict=True):
                cache.append(_cache(old, new, steps, slots) if self.causal else old)
        after = state.steps + time if self.causal else state.steps
        return hidden, TransformerState(torch.stack(keys, dim=1), torch.stack(values, dim=1), after)

    def _sight(self, steps: Tensor, cached: int, time: int, slots: int) -> Sight:
        where = steps.unsqueeze(-1) + torch.arange(time, device=steps.device)
        places = torch.cat([_places(steps, cached), where], dim=-1)
        distances = where.unsqueeze(-1) - places.unsqueeze(-2)
        if not self.causal:
            return Sight(where, distances, torch.ones_like(distances, dtype=torch.bool))
        return Sight(where, distances, (distances >= 0) & (distances < slots) & (places >= 0).unsqueeze(-2))


def _places(steps: Tensor, slots: int) -> Tensor:
    """Return the number of the step that is in each slot after so many steps, negative for an empty slot."""
    last = steps.unsqueeze(-1) - 1
    return last - (last - torch.arange(slots, device=steps.device)) % max(slots, 1)


def _cache(old: Tensor, new: Tensor, steps: Tensor, slots: int) -> Tensor:
    """Return the slots after new steps."""
    time = new.shape[1]
    if not old.shape[1]:
        if time <= slots:
            return F.pad(new, (0, 0, 0, slots - time))
        old = new.new_zeros(new.shape[0], slots, new.shape[2])
    places, before = _places(steps + time, slots), steps.unsqueeze(-1)
    unchanged = torch.arange(slots, device=new.device)
    index = torch.where(places >= before, slots + places - before, unchanged)
    both = torch.cat([old, new], dim=1)
    return both.gather(1, index.unsqueeze(-1).expand(*both.shape[:1], slots, *both.shape[2:]))


def _check_sizes(hidden_size: int, num_heads: int, positions: str) -> None:
    at_least(1, hidden_size=hidden_size, num_heads=num_heads)
    one_of(encodings.POSITIONS, positions=positions)
    if hidden_size % num_heads:
        raise ValueError(f"hidden_size (={hidden_size}) must be a multiple of num_heads (={num_heads}).")
    if positions in ("sinusoidal", "relative") and hidden_size % 2:
        raise ValueError(f"hidden_size (={hidden_size}) must be even with positions={positions}.")
    if positions == "rope" and hidden_size // num_heads % 2:
        raise ValueError(
            f"hidden_size (={hidden_size}) must be an even multiple of num_heads (={num_heads}) with positions=rope."
        )
