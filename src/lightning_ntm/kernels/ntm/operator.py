"""The native call as an operator of PyTorch, for what looks at the operations of PyTorch, as `torch.compile` does."""

from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.derivatives import refuse_beyond_first
from lightning_ntm.kernels.ntm.layout import layout_of, saved_counts
from lightning_ntm.kernels.ntm.native import backward, forward


@torch.library.custom_op("lightning_ntm::sequence", mutates_args=())
def _sequence(
    inputs: Tensor,
    memory: Tensor,
    looks: Tensor,
    reads: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    counts: list[int],
    limit: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    state = memory, looks, reads, hidden, cell
    layout = layout_of(inputs, state, weights, (counts, limit))
    output, *end, buffer = forward(layout, inputs, state, weights, biases)
    last_memory, last_looks, last_reads, last_hidden, last_cell = end
    return output, last_memory, last_looks, last_reads, last_hidden, last_cell, buffer


@_sequence.register_fake
def _(inputs, memory, looks, reads, hidden, cell, weights, biases, counts, limit):  # type: ignore[no-untyped-def]
    output = inputs.new_empty(inputs.shape[1], inputs.shape[0], weights[-1].shape[1] + reads.shape[1] * reads.shape[2])
    state = (memory, looks, reads, hidden, cell)
    end = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in state]
    saved = saved_counts(inputs.shape, memory.shape, tuple(weight.shape for weight in weights), counts)
    return output, *end, inputs.new_empty(sum(saved.values()))


@torch.library.custom_op("lightning_ntm::sequence_backward", mutates_args=())
def _sequence_backward(
    inputs: Tensor,
    state: list[Tensor],
    weights: list[Tensor],
    output: Tensor,
    buffer: Tensor,
    counts: list[int],
    limit: float,
    gradients: list[Tensor | None],
) -> list[Tensor]:
    """Return the gradients of inputs, state, weights and biases, one after the other."""
    layout = layout_of(inputs, state, weights, (counts, limit))
    dinputs, *others = backward(layout, inputs, state, weights, (output, buffer), gradients, of_inputs=True)
    assert dinputs is not None
    return [dinputs, *(tensor for part in others for tensor in part)]


@_sequence_backward.register_fake
def _(inputs, state, weights, output, buffer, counts, limit, gradients):  # type: ignore[no-untyped-def]
    alike = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (inputs, *state, *weights)]
    return [*alike, *(weight.new_empty(weight.shape[0]) for weight in weights)]


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    given, *state, weights, _, counts, limit = inputs
    ctx.options = counts, limit
    ctx.save_for_backward(given, output[0], output[-1], *state, *weights)
    ctx.mark_non_differentiable(output[-1])
    ctx.set_materialize_grads(False)


def _backward_of_operator(ctx: Any, *gradients: Tensor | None) -> Any:
    refuse_beyond_first(gradients)
    inputs, output, buffer, *tensors = ctx.saved_tensors
    state, weights = tensors[:5], tensors[5:]
    dinputs, *others = torch.ops.lightning_ntm.sequence_backward(
        inputs, state, weights, output, buffer, *ctx.options, list(gradients[:6])
    )
    end = 5 + len(weights)
    return dinputs, *others[:5], others[5:end], others[end:], None, None


_sequence.register_autograd(_backward_of_operator, setup_context=_save)

#: The operator, as what looks at operations sees it.
SEQUENCE = torch.ops.lightning_ntm.sequence
