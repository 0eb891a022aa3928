"""Losses of networks that are called again and again, as in a training.

What a call needs of a network and does not change from step to step is determined once: layers, sizes, and where
weights and gradients are. The gradients of weights and biases lie in memory of the caller's, and each call writes them
there. Several networks are called one directly after the other.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightning_ntm.kernels.cpu import native, whole
from lightning_ntm.kernels.cpu.blocks import Block
from lightning_ntm.kernels.cpu.layout import Layout, layout_of, options_of
from lightning_ntm.kernels.loss import KnownLoss
from lightning_ntm.kernels.plain import PLAIN, is_unreadable, linear_layers


class Prepared:
    """A network whose loss is computed again and again.

    Args:
        network: One of `layout.NETWORKS`.
        model: The network, a `DeclaredNetwork` whose calls the kernel can run. Its layers and their parameters stay the
            same.
        known: The loss.
    """

    def __init__(self, network: str, model: Any, known: KnownLoss):
        layers, numbers = list(linear_layers(model).values()), model.replaced_numbers()
        self.network, self.known, self.input_size = network, known, model.input_size
        self.options = options_of(numbers, keep=True)
        weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        self.tensors = whole.Tensors((), weights, biases)
        self.nothing = [] if numbers.recurrent else [weights[0].new_empty(0)] * 2
        self.learned: whole.Learned | None = None
        shapes = tuple(weight.shape for weight in weights)
        self.plans = _plans(network, shapes, weights[0].dtype, tuple(numbers), known)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Weights and biases in the order in which their gradients lie."""
        found: Any = [*self.tensors.weights, *self.tensors.biases]
        return list(found)

    def bind(self, gradients: Tensor) -> None:
        """Take the addresses of the parameters, and of the memory for their gradients, which must stay."""
        self.learned = whole.learned_in(self.tensors, gradients)

    def reads(self, inputs: Tensor) -> bool:
        """Return whether inputs can be read: a tensor of the network's dtype and sizes on the CPU."""
        weight = self.tensors.weights[-1]
        return (
            type(inputs) in PLAIN
            and inputs.dtype == weight.dtype
            and inputs.device == weight.device
            and inputs.ndim == 3
            and inputs.shape[-1] == self.input_size
            and inputs.numel() > 0
            and not is_unreadable(inputs)
        )

    def plan(self, inputs: Tensor, state: Sequence[Tensor], needed: Sequence[bool]) -> tuple[Layout, whole.Plan]:
        """Return the sizes of a call, and where its arrays are."""
        key = inputs.shape, state[0].shape, needed[0]
        if key not in self.plans:
            if len(self.plans) >= _MOST_PLANS:
                self.plans.clear()
            weights = self.tensors.weights
            layout = layout_of(self.network, inputs, state, weights[:-1], self.options)
            self.plans[key] = layout, whole.planned(layout, self.known, weights[-1], state, needed)
        return self.plans[key]


#: Sizes of calls whose plans are kept, a few kilobytes each.
_MOST_PLANS = 4096


@lru_cache(8)
def _plans(*architecture: Any) -> dict[Any, tuple[Layout, whole.Plan]]:
    """Return the plans of all networks of an architecture, by the sizes of a call."""
    return {}


def losses(
    networks: Sequence[Prepared],
    episodes: Sequence[Sequence[Tensor]],
    states: Sequence[Sequence[Tensor]],
    needed: Sequence[Sequence[bool]],
    noise: Sequence[Tensor | None],
) -> list[whole.Found] | None:
    """Return the losses of networks, each on episodes of its own, or `None` if one cannot be computed so.

    Args:
        networks: The networks.
        episodes: Inputs, targets and mask for each of them.
        states: The tensors of the states before the first step.
        needed: Which of them need a gradient.
        noise: Added to the interface vectors of each network, `(time, batch, numbers)`, in its dtype and contiguous.
    """
    calls, found = list[_Call](), list[whole.Found]()
    for network, parts, state, of_state, added in zip(networks, episodes, states, needed, noise, strict=True):
        weight = network.tensors.weights[-1]
        asked = whole.targets_of(network.known, parts, weight) if network.reads(parts[0]) else None
        if asked is None:
            return None
        inputs, first = parts[0].contiguous(), [*[part.contiguous() for part in state], *network.nothing]
        wanted = [*of_state, *(False for _ in network.nothing)]
        calls.append(_Call(network, *network.plan(inputs, first, wanted), inputs, asked, first, added))
        found.append(whole.results_of(inputs, weight, first, wanted))
    with Block(max(call.plan.size for call in calls)) as base:
        if not all(call.run(base, results) for call, results in zip(calls, found, strict=True)):
            return None
    return found


class _Call(NamedTuple):
    network: Prepared
    layout: Layout
    plan: whole.Plan
    inputs: Tensor
    asked: tuple[Tensor, Tensor]
    state: Sequence[Tensor]
    noise: Tensor | None

    def run(self, base: int, found: whole.Found) -> bool:
        """Call the kernel; return whether all targets are among the symbols."""
        network, layout, plan = self.network, self.layout, self.plan
        assert network.learned is not None
        noise = 0 if self.noise is None else self.noise.data_ptr()
        given = self.inputs, self.asked, self.state, network.learned, found
        pointers = whole.pointers_of(plan, base, *given, noise)
        return native.call_loss(network.tensors.weights[-1], layout, plan.judged, pointers)
