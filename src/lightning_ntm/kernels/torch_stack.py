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
        results = _Sequence.apply(
            inputs.to(stacks.dtype), stacks, hidden[:, 0], *parameters, slots, torch.is_grad_enabled()
        )
    controlled, stacks, hidden = results
    memory, controller = type(state.memory)(stacks), type(state.controller)(hidden.unsqueeze(1))
    return output(controlled), type(state)(memory, controller)


class _Kept(NamedTuple):
    """What the backward needs, time first. Rows are the stacks of all sequences; a stack is one row of its slots.

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
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all steps; `keep` tells whether the backward will need what they computed."""
        ctx.save_for_backward(inputs, weight, heads)
        size, (batch, count, _, width) = inputs.shape[-1], stacks.shape
        kept = _buffers(stacks, hidden, inputs.shape[1])
        stack, reads = stacks.flatten(2).flatten(0, 1), count * width
        tops, units = kept.recurrent[1:].split([reads, hidden.shape[-1]], dim=-1)
        driven = F.linear(inputs.transpose(0, 1), weight[:, :size], bias)
        recurrent, interface = weight[:, size:].t().contiguous(), heads.t().contiguous()
        for top, unit, own, before, actions, pushed in zip(
            tops.unflatten(-1, (count, width)).unbind(), units.unbind(), driven.unbind(), kept.recurrent.unbind()[:-1],
            kept.actions.unbind(), kept.pushed.unbind(), strict=True,
        ):  # fmt: skip
            if keep:
                kept.stacks.append(stack)
            torch.tanh(torch.addmm(own, before, recurrent), out=unit)
            logits, vectors = torch.addmm(heads_bias, unit, interface).split([3 * count, reads], dim=-1)
            torch.softmax(logits.reshape(actions.shape), dim=-1, out=actions)
            pushed.copy_(vectors.reshape(pushed.shape))
            stack = _updated(stack, actions, pushed, slots)
            top.copy_(stack[:, :width].view(top.shape))
        ctx.kept, ctx.columns = kept, stack.shape[-1]
        end = F.pad(stack, (0, slots * width - stack.shape[-1])).view(batch, count, slots, width)
        return units.transpose(0, 1).contiguous(), end, units[-1].clone()

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
        size, hidden, (time, rows, width) = inputs.shape[-1], of_hidden.shape[-1], kept.pushed.shape
        reads = kept.recurrent.shape[-1] - hidden
        units = kept.recurrent[1:, :, reads:]
        of_sums, of_interface = torch.empty_like(units), heads.new_empty(*units.shape[:2], heads.shape[0])
        of_logits, of_pushed = of_interface.split([heads.shape[0] - reads, reads], dim=-1)
        # Of the tops and the hidden units after a step, but for what flows through the stacks.
        of_recurrent, recurrent = F.pad(of_hidden, (reads, 0)), weight[:, size:].contiguous()
        stack = of_stacks.flatten(2).flatten(0, 1)[:, : ctx.columns].clone()
        for step in reversed(range(time)):
            top = stack[:, :width]
            top += of_recurrent[:, :reads].reshape(rows, width)
            actions = kept.actions[step]
            before, of_actions = _of_update(stack, kept.stacks[step], actions, kept.pushed[step])
            of_actions.sub_(torch.linalg.vecdot(of_actions, actions).unsqueeze(-1)).mul_(actions)
            of_logits[step] = of_actions.view(of_logits[step].shape)
            of_pushed[step] = (top * actions[:, :1]).view(of_pushed[step].shape)
            unit, of_sum = units[step], of_sums[step]
            of_unit = torch.addmm(of_recurrent[:, reads:], of_interface[step], heads).add_(of_controlled[:, step])
            torch.addcmul(of_unit, of_unit * unit, unit, value=-1, out=of_sum)
            of_recurrent, stack = of_sum @ recurrent, before
        if stack.shape[-1]:
            stack[:, :width] += of_recurrent[:, :reads].reshape(rows, width)
        flat, flat_interface = of_sums.flatten(0, 1), of_interface.flatten(0, 1)
        seen = torch.cat([inputs.transpose(0, 1), kept.recurrent[:-1]], dim=-1).flatten(0, 1)
        of_inputs = (of_sums @ weight[:, :size]).transpose(0, 1)
        of_heads = flat_interface.t() @ units.flatten(0, 1)
        of_stacks = stack.view(*of_stacks.shape[:2], -1, width)
        of_layers = flat.t() @ seen, flat.sum(dim=0), of_heads, flat_interface.sum(dim=0)
        return of_inputs, of_stacks, of_recurrent[:, reads:], *of_layers, None, None


def _buffers(stacks: Tensor, hidden: Tensor, time: int) -> _Kept:
    """Return what a sequence fills, with the tops and the hidden units before it."""
    batch, count, slots, width = stacks.shape
    tops = stacks[:, :, 0].flatten(1) if slots else stacks.new_zeros(batch, count * width)
    recurrent = stacks.new_empty(time + 1, batch, count * width + hidden.shape[-1])
    torch.cat([tops, hidden], dim=-1, out=recurrent[0])
    rows = batch * count
    return _Kept(recurrent, [], stacks.new_empty(time, rows, 3), stacks.new_empty(time, rows, width))


def _updated(stack: Tensor, actions: Tensor, pushed: Tensor, slots: int) -> Tensor:
    """Return the next stacks, as `functional.update_stack`, with one slot more if there are fewer than `slots`."""
    (rows, have), width = stack.shape, pushed.shape[-1]
    push, pop, noop = actions.split(1, dim=-1)
    moved = min(have, (slots - 1) * width)
    after = stack.new_empty(rows, width + moved)
    torch.mul(pushed, push, out=after[:, :width])
    torch.mul(stack[:, :moved], push, out=after[:, width:])
    if have:
        after[:, :have].addcmul_(stack, noop)
        after[:, : have - width].addcmul_(stack[:, width:], pop)
    return after


def _of_update(of_after: Tensor, stack: Tensor, actions: Tensor, pushed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the stacks before an update, and of the weights of its actions."""
    have, width, dot = stack.shape[-1], pushed.shape[-1], torch.linalg.vecdot
    push, pop, noop = actions.split(1, dim=-1)
    top, rest = of_after.tensor_split([width], dim=-1)
    if not have:
        return stack, torch.stack([dot(top, pushed), *[torch.zeros_like(top[:, 0])] * 2], dim=-1)
    moved, same, above = stack[:, : rest.shape[-1]], of_after[:, :have], of_after[:, : have - width]
    before = same * noop
    before[:, : rest.shape[-1]].addcmul_(rest, push)
    before[:, width:].addcmul_(above, pop)
    pushes = dot(rest, moved) + dot(top, pushed)
    return before, torch.stack([pushes, dot(above, stack[:, width:]), dot(same, stack)], dim=-1)
