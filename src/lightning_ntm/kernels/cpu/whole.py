"""The native call of a loss with all gradients: recurrence, output layer, loss and backward in one program.

The losses are those that `KnownLoss` names. What the call needs for a while is one block of memory, and the gradients
of all parameters are views of one tensor.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_ntm.kernels.cpu import native
from lightning_ntm.kernels.cpu.blocks import Block
from lightning_ntm.kernels.cpu.layout import Judged, Layout, padded
from lightning_ntm.kernels.loss import KINDS, Gradients, KnownLoss, Results
from lightning_ntm.kernels.plain import PLAIN, is_unreadable


class Tensors(NamedTuple):
    """The tensors of a call that can need a gradient; the output layer is the last of weights and biases."""

    state: Sequence[Tensor]
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]


def targets_of(known: KnownLoss, episodes: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return targets and mask as the call reads them, or `None` if it cannot read them.

    Args:
        known: The loss.
        episodes: Inputs, targets and mask.
        weight: Of the output layer.
    """
    inputs, targets, mask = episodes
    symbols = known.kind == "symbols"
    shape = mask.shape if symbols else (*mask.shape, weight.shape[0])
    if mask.dtype != torch.bool or mask.shape != inputs.shape[:2] or targets.shape != shape:
        return None
    if symbols and targets.dtype != torch.int64:
        return None
    if any(type(part) not in PLAIN or part.device.type != "cpu" or is_unreadable(part) for part in (targets, mask)):
        return None
    return (targets if symbols else targets.to(weight.dtype)).contiguous(), mask.contiguous()


def loss(
    layout: Layout,
    known: KnownLoss,
    inputs: Tensor,
    asked: tuple[Tensor, Tensor],
    tensors: Tensors,
    needed: Sequence[bool],
) -> Results | None:
    """Return a loss with all gradients, those of the output layer last; `None` if a target is none of the symbols.

    Args:
        layout: Of the call.
        known: The loss.
        inputs: `(batch, time, inputs)`.
        asked: What `targets_of` returned.
        tensors: State, weights and biases.
        needed: Which tensors of the state need a gradient; that of others is `None`.
    """
    inputs, tensors = inputs.contiguous(), Tensors(*([part.contiguous() for part in parts] for parts in tensors))
    learned, weight = [*tensors.weights, *tensors.biases], tensors.weights[-1]
    flat = weight.new_empty(sum(part.numel() for part in learned))
    plan = planned(layout, known, weight, tensors.state, needed)
    with Block(plan.size) as base:
        results = results_of(inputs, weight, tensors.state, needed)
        pointers = pointers_of(plan, base, inputs, asked, tensors.state, learned_in(tensors, flat), results)
        allowed = native.call_loss(weight, layout, plan.judged, pointers)
    gradients, middle = parts_of(flat, learned), len(tensors.weights)
    layers, output = [*gradients[: middle - 1], *gradients[middle:-1]], [gradients[middle - 1], gradients[-1]]
    every = Gradients([*results.dstate, *layers, *output])
    return Results(results.loss, results.costs, results.logits, every, results.errors) if allowed else None


def parts_of(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return what lies in one tensor, one part after the other, in the shapes of other tensors."""
    parts = flat.split([part.numel() for part in like])
    return [part if one.ndim == 1 else part.view(one.shape) for part, one in zip(parts, like, strict=True)]


class Found(NamedTuple):
    """Tensors that a call fills."""

    loss: Tensor
    costs: Tensor
    errors: Tensor
    logits: Tensor
    dstate: Sequence[Tensor | None]


def results_of(inputs: Tensor, weight: Tensor, state: Sequence[Tensor], needed: Sequence[bool]) -> Found:
    """Return tensors for the results of a call; the arguments are those of `loss`."""
    costs, errors = weight.new_empty(2, len(inputs))
    return Found(
        weight.new_empty(()),
        costs,
        errors,
        weight.new_empty(*inputs.shape[:2], len(weight)),
        [torch.empty_like(part) if need else None for part, need in zip(state, needed, strict=True)],
    )


class Learned(NamedTuple):
    """Pointers to weights and biases, and to their gradients, those of the output layer last."""

    weights: Sequence[int]
    biases: Sequence[int]
    dweights: Sequence[int]
    dbiases: Sequence[int]


def learned_in(tensors: Tensors, flat: Tensor) -> Learned:
    """Return the pointers of a call whose gradients, of the weights and then of the biases, lie in one tensor."""
    starts, middle = _starts(flat, [*tensors.weights, *tensors.biases]), len(tensors.weights)
    weights, biases = ([part.data_ptr() for part in parts] for parts in (tensors.weights, tensors.biases))
    return Learned(weights, biases, starts[:middle], starts[middle:])


class Plan(NamedTuple):
    """Where the arrays of a call are in its block, in bytes; -1 for none."""

    judged: Judged
    size: int
    output: int
    saved: list[int]
    of_layers: list[list[int]]  # saved
    arranged: list[int]
    dgates: list[int]
    demitted: int
    dlogits: int
    doutput: int
    dstate: list[int]


def planned(layout: Layout, known: KnownLoss, weight: Tensor, state: Sequence[Tensor], needed: Sequence[bool]) -> Plan:
    """Return where the arrays of a call are; the arguments are those of `loss`."""
    key = known, weight.shape[0], weight.dtype, needed[0]
    if key not in layout.plans:
        layout.plans[key] = _plan(layout, known, weight, [part.numel() for part in state], of_memory=needed[0])
    return layout.plans[key]


def _plan(layout: Layout, known: KnownLoss, weight: Tensor, state: Sequence[int], *, of_memory: bool) -> Plan:
    sizes, outputs, size, used = layout.sizes, weight.shape[0], weight.element_size(), 0
    steps = sizes.batch * sizes.time

    def room(count: int) -> int:
        nonlocal used
        start, used = used, used + size * padded(count)
        return start

    saved = room(layout.total)
    judged = Judged(KINDS.index(known.kind), outputs, known.mean, known.end, known.tolerance)
    of_layers = [
        [-1 if start is None else saved + size * start for start in starts] for starts in layout.starts_of_layers
    ]
    places = {
        "output": room(steps * layout.output),
        "saved": [saved + size * start for start in layout.starts],
        "of_layers": of_layers,
        "arranged": [room(count) for count in layout.arranged],
        "dgates": [room(steps * layout.gates) for _ in range(sizes.layers)],
        "demitted": room(steps * layout.emitted),
        "dlogits": room(steps * outputs),
        "doutput": room(steps * layout.output),
        # The call computes in the gradient of the state, except that of the memory.
        "dstate": [-1 if i == 0 and not of_memory else room(count) for i, count in enumerate(state)],
    }
    return Plan(judged=judged, size=used, **places)  # type: ignore[arg-type]


def pointers_of(
    plan: Plan,
    base: int,
    inputs: Tensor,
    asked: tuple[Tensor, Tensor],
    state: Sequence[Tensor],
    learned: Learned,
    found: Found,
    noise: int = 0,
) -> tuple[list[tuple[int, ...]], tuple[int, ...], tuple[int, ...]]:
    """Return the pointers of a call in the order of `LAYER`, `ARRAYS` and `PLACES`.

    The block of the plan is at `base`. `asked` is what `targets_of` returned. `noise` is added to the interface
    vectors. All tensors are contiguous.
    """
    weights, biases, dweights, dbiases = learned
    layers = [
        (
            weights[i], biases[i], base + plan.arranged[i], *_at(base, plan.of_layers[i]), base + dgates,
            dweights[i], dbiases[i],
        )
        for i, dgates in enumerate(plan.dgates)
    ]  # fmt: skip
    nothing = (0,) * len(state)
    arrays = (
        inputs.data_ptr(), weights[-2], biases[-2], base + plan.arranged[-1], noise, base + plan.output,
        *_at(base, plan.saved), *map(Tensor.data_ptr, state), *nothing, base + plan.doutput,
        base + plan.demitted, dweights[-2], dbiases[-2], 0,
        *(at if own is None else own.data_ptr() for own, at in zip(found.dstate, _at(base, plan.dstate), strict=True)),
        *nothing,
    )  # fmt: skip
    places = (
        weights[-1], biases[-1], *map(Tensor.data_ptr, asked), found.logits.data_ptr(), base + plan.dlogits,
        base + plan.doutput, dweights[-1], dbiases[-1],
        *map(Tensor.data_ptr, (found.costs, found.errors, found.loss)),
    )  # fmt: skip
    return layers, arrays, places


def _at(base: int, starts: Sequence[int]) -> Iterator[int]:
    return (0 if start < 0 else base + start for start in starts)


def _starts(flat: Tensor, like: Sequence[Tensor]) -> list[int]:
    size = flat.element_size()
    return list(accumulate((size * part.numel() for part in like[:-1]), initial=flat.data_ptr()))
