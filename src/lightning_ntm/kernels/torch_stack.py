"""Whole sequences of a Stack-RNN with one layer of Elman units, forward and backward by few operations of PyTorch.

Autograd records one operation for a sequence. The products with the inputs, and those that give the gradients of the
weights, are one each for the whole sequence. Stacks that begin empty have one slot more in each step.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.autocast import full_precision, refused_dtypes
from lightning_ntm.kernels.derivatives import first_only
from lightning_ntm.kernels.plain import changed, linear_layers, transformed


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why this program cannot run the call, or `None`."""
    if inputs.device.type != "cpu":
        return "it needs tensors on the CPU."
    if reason := transformed() or changed(model, inputs, state) or refused_dtypes(model, inputs, state):
        return reason
    layers = len(linear_layers(model)) - 2
    return None if layers == 1 else f"the controller has {layers} layers, not 1."


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    stacks, hidden = state.memory.stacks, state.controller.hidden
    layer, heads, output = linear_layers(model).values()
    slots = stacks.shape[-2] or model.memory.memory_slots
    with full_precision(inputs.device):
        parameters = (layer.weight, layer.bias, heads.weight, heads.bias)
        results = _Sequence.apply(inputs.to(stacks.dtype), stacks, hidden[:, 0], *parameters, slots)
    controlled, stacks, hidden = results
    memory, controller = type(state.memory)(stacks), type(state.controller)(hidden.unsqueeze(1))
    return output(controlled), type(state)(memory, controller)


class _Kept(NamedTuple):
    """What the backward needs, time first.

    `recurrent` are the tops of the stacks and the hidden units before each step, `stacks` those before each step.
    """

    recurrent: Tensor
    stacks: list[Tensor]
    actions: Tensor
    pushed: Tensor


class _Sequence(torch.autograd.Function):
    """Outputs of the controller, last stacks and last hidden units."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        stacks: Tensor,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        heads: Tensor,
        heads_bias: Tensor,
        slots: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all steps."""
        ctx.save_for_backward(inputs, weight, heads)
        _, time, size = inputs.shape
        kept, stack = _buffers(stacks, hidden, time), stacks
        width = kept.recurrent.shape[-1] - hidden.shape[-1]
        driven = F.linear(inputs.transpose(0, 1), weight[:, :size], bias)
        recurrent, interface = weight[:, size:].t().contiguous(), heads.t().contiguous()
        for step in range(time):
            kept.stacks.append(stack)
            after = kept.recurrent[step + 1]
            units = torch.tanh(torch.addmm(driven[step], kept.recurrent[step], recurrent))
            after[:, width:] = units
            logits, pushed = torch.addmm(heads_bias, units, interface).split([heads.shape[0] - width, width], dim=-1)
            torch.softmax(logits.view(kept.actions[step].shape), dim=-1, out=kept.actions[step])
            kept.pushed[step] = pushed.view(kept.pushed[step].shape)
            stack = _updated(stack, kept.actions[step], kept.pushed[step], slots)
            after[:, :width].view(stack[:, :, 0].shape).copy_(stack[:, :, 0])
            if not any(ctx.needs_input_grad):
                kept.stacks.clear()
        ctx.kept, ctx.depth = kept, stack.shape[-2]
        controlled = kept.recurrent[1:, :, width:].transpose(0, 1).contiguous()
        end = F.pad(stack, (0, 0, 0, slots - stack.shape[-2])) if stack.shape[-2] < slots else stack.clone()
        return controlled, end, kept.recurrent[-1, :, width:].clone()

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all tensors."""
        inputs, weight, heads = ctx.saved_tensors
        kept: _Kept = ctx.kept
        of_controlled, of_stacks, of_hidden = gradients
        assert of_controlled is not None
        assert of_stacks is not None
        assert of_hidden is not None
        size, width = inputs.shape[-1], kept.recurrent.shape[-1] - of_hidden.shape[-1]
        count = heads.shape[0] - width
        of_sums = torch.empty_like(kept.recurrent[1:, :, width:])
        of_interface = inputs.new_empty(inputs.shape[1], inputs.shape[0], heads.shape[0])
        # Of the tops and the hidden units after a step, but for what flows through the stacks.
        of_recurrent = F.pad(of_hidden, (width, 0))
        stack, recurrent = of_stacks[:, :, : ctx.depth].clone(), weight[:, size:].contiguous()
        for step in reversed(range(inputs.shape[1])):
            stack[:, :, 0] += of_recurrent[:, :width].view(stack[:, :, 0].shape)
            actions = kept.actions[step]
            before, of_actions = _of_update(stack, kept.stacks[step], actions, kept.pushed[step])
            of_logits = actions * (of_actions - (of_actions * actions).sum(dim=-1, keepdim=True))
            of_interface[step, :, :count] = of_logits.flatten(1)
            of_interface[step, :, count:] = (stack[:, :, 0] * actions[..., :1]).flatten(1)
            units = kept.recurrent[step + 1, :, width:]
            of_units = torch.addmm(of_recurrent[:, width:], of_interface[step], heads).add_(of_controlled[:, step])
            torch.addcmul(of_units, of_units * units, units, value=-1, out=of_sums[step])
            of_recurrent, stack = of_sums[step] @ recurrent, before
        if stack.shape[-2]:
            stack[:, :, 0] += of_recurrent[:, :width].view(stack[:, :, 0].shape)
        flat, flat_interface = of_sums.flatten(0, 1), of_interface.flatten(0, 1)
        from_input = flat.t() @ inputs.transpose(0, 1).reshape(-1, size)
        of_weight = torch.cat([from_input, flat.t() @ kept.recurrent[:-1].flatten(0, 1)], dim=1)
        of_heads = flat_interface.t() @ kept.recurrent[1:, :, width:].flatten(0, 1)
        of_inputs = (of_sums @ weight[:, :size]).transpose(0, 1)
        biases = flat.sum(dim=0), flat_interface.sum(dim=0)
        return of_inputs, stack, of_recurrent[:, width:], of_weight, biases[0], of_heads, biases[1], None


def _buffers(stacks: Tensor, hidden: Tensor, time: int) -> _Kept:
    """Return what a sequence fills, with the tops and the hidden units before it."""
    batch, count, slots, width = stacks.shape
    recurrent = stacks.new_zeros(time + 1, batch, count * width + hidden.shape[-1])
    recurrent[0, :, count * width :] = hidden
    if slots:
        recurrent[0, :, : count * width] = stacks[:, :, 0].flatten(1)
    actions, pushed = stacks.new_empty(time, batch, count, 3), stacks.new_empty(time, batch, count, width)
    return _Kept(recurrent, [], actions, pushed)


def _updated(stack: Tensor, actions: Tensor, pushed: Tensor, slots: int) -> Tensor:
    """Return the next stacks, as `functional.update_stack`, with one slot more if there are fewer than `slots`."""
    batch, count, have, width = stack.shape
    push, pop, noop = actions[..., None, None].unbind(2)
    moved = min(have, slots - 1)
    after = stack.new_empty(batch, count, moved + 1, width)
    torch.mul(pushed.unsqueeze(2), push, out=after[:, :, :1])
    torch.mul(stack[:, :, :moved], push, out=after[:, :, 1:])
    after[:, :, :have].addcmul_(stack, noop)
    after[:, :, : max(have - 1, 0)].addcmul_(stack[:, :, 1:], pop)
    return after


def _of_update(of_after: Tensor, stack: Tensor, actions: Tensor, pushed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the stacks before an update, and of the weights of its actions."""
    have, moved = stack.shape[2], of_after.shape[2] - 1
    push, pop, noop = actions[..., None, None].unbind(2)
    before = of_after[:, :, :have] * noop
    before[:, :, :moved].addcmul_(of_after[:, :, 1:], push)
    before[:, :, 1:].addcmul_(of_after[:, :, : max(have - 1, 0)], pop)
    pushes = _dot(of_after[:, :, 1:], stack[:, :, :moved]) + _dot(of_after[:, :, :1], pushed.unsqueeze(2))
    pops = _dot(of_after[:, :, : max(have - 1, 0)], stack[:, :, 1:])
    return before, torch.stack([pushes, pops, _dot(of_after[:, :, :have], stack)], dim=-1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner products of stacks, `(batch, stacks)`."""
    batch, count, slots, width = one.shape
    shape = (batch * count, slots * width)
    return torch.bmm(one.reshape(shape).unsqueeze(1), other.reshape(shape).unsqueeze(2)).view(batch, count)
