"""The native call as an operator of PyTorch, for what looks at the operations of PyTorch, as `torch.compile` does."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.cpu.layout import layout_of, program_of
from lightning_ntm.kernels.cpu.native import backward, forward
from lightning_ntm.kernels.cpu.saved import check_order
from lightning_ntm.kernels.derivatives import refuse_beyond_first


@torch.library.custom_op("lightning_ntm::sequence", mutates_args=())
def _sequence(
    network: str,
    inputs: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    counts: Sequence[int],
    numbers: Sequence[float],
) -> list[Tensor]:
    """Return the outputs of controller and reads, the last state, and what is saved."""
    layout = layout_of(network, inputs, state, weights, (list(counts), list(numbers)))
    return list(forward(layout, inputs, state, weights, biases))


@_sequence.register_fake
def _(network, inputs, state, weights, biases, counts, numbers):  # type: ignore[no-untyped-def]
    features = weights[-1].shape[1] + state[program_of(network).STATE.index("reads")][0].numel()
    output = inputs.new_empty(inputs.shape[1], inputs.shape[0], features)
    end = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in state]
    shapes = tuple(weight.shape for weight in weights)
    saved = program_of(network).saved_counts(inputs.shape, state[0].shape, shapes, counts)
    return [output, *end, inputs.new_empty(sum(saved.values()))]


@torch.library.custom_op("lightning_ntm::sequence_backward", mutates_args=())
def _sequence_backward(
    network: str,
    inputs: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    output: Tensor,
    buffer: Tensor,
    counts: Sequence[int],
    numbers: Sequence[float],
    gradients: Sequence[Tensor | None],
) -> list[Tensor]:
    """Return the gradients of inputs, state, weights and biases, one after the other."""
    layout = layout_of(network, inputs, state, weights, (list(counts), list(numbers)))
    check_order(buffer, layout)  # hooks may have changed it
    dinputs, *others = backward(layout, inputs, state, weights, (output, buffer), gradients, of_inputs=True)
    assert dinputs is not None
    return [dinputs, *(tensor for part in others for tensor in part)]


@_sequence_backward.register_fake
def _(network, inputs, state, weights, output, buffer, counts, numbers, gradients):  # type: ignore[no-untyped-def]
    alike = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (inputs, *state, *weights)]
    return [*alike, *(weight.new_empty(weight.shape[0]) for weight in weights)]


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.network, given, state, weights, _, counts, numbers = inputs
    ctx.options, ctx.num_states = (list(counts), list(numbers)), len(state)
    ctx.save_for_backward(given, output[0], output[-1], *state, *weights)
    ctx.mark_non_differentiable(output[-1])
    ctx.set_materialize_grads(False)


def _backward_of_operator(ctx: Any, gradients: Sequence[Tensor | None]) -> Any:
    refuse_beyond_first(gradients)
    inputs, output, buffer, *tensors = ctx.saved_tensors
    states = ctx.num_states
    state, weights = tensors[:states], tensors[states:]
    dinputs, *others = torch.ops.lightning_ntm.sequence_backward(
        ctx.network, inputs, state, weights, output, buffer, *ctx.options, list(gradients[:-1])
    )
    end = states + len(weights)
    return None, dinputs, others[:states], others[states:end], others[end:], None, None


_sequence.register_autograd(_backward_of_operator, setup_context=_save)

#: The operator, as what looks at operations sees it.
SEQUENCE = torch.ops.lightning_ntm.sequence
