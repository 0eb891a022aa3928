"""Sequences of networks with a sparse memory, whose tables are changed in place.

The loop saves for the backward only the rows that a step reads. The gradient of a table is one buffer, of which the
backward of a step changes the same rows as the step. Operations on a table are chained by a token, an empty tensor, so
that autograd runs their backwards in the opposite order.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_ntm.kernels.autocast import full_precision
from lightning_ntm.kernels.derivatives import first_only
from lightning_ntm.kernels.plain import PART_METHODS, replaced, transformed
from lightning_ntm.kernels.torch_internals import (
    backward_number,
    children_of,
    has_dispatch_modes,
    has_global_hooks,
    has_hooks,
)


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why this program cannot run the call, or `None`."""
    if reason := transformed() or replaced(model):
        return reason
    if torch.compiler.is_compiling() or has_dispatch_modes():
        return "it cannot be traced."
    if has_global_hooks():
        return "there are hooks of all modules."
    # The memory is not called, and the output layer once for all steps.
    for name, kind in (("memory", model.replaced_memory), ("output", nn.Linear)):
        part = children_of(model)[name]
        if type(part) is not kind:
            return f"{name} is a {type(part).__name__}, not a {kind.__name__}."
        if has_hooks(part) or not PART_METHODS.isdisjoint(part.__dict__):
            return f"{name} has hooks or a method of its own."
    return None


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    memory, answers = model.memory, []
    tables, own = memory.tables(state.memory, Changed.of), state.memory
    for x in inputs.unbind(dim=1):
        controlled, controller, interface = model._control(x, type(state)(own, state.controller))
        with full_precision(interface.device):
            own, tables, _ = memory.advance(interface, own, tables)
        state = type(state)(own, controller)
        answers.append(model._answer(controlled, own))
    logits = model.output(torch.stack(answers, dim=1).to(model.output.weight.dtype))
    return logits, type(state)(memory.closed(own, tables), state.controller)


class _Table:
    """A tensor that is changed in place, and the buffer of its gradient."""

    def __init__(self, tensor: Tensor):
        self.tensor, self.buffer, self.backward = tensor, torch.empty(0), -1

    def gradient(self) -> Tensor:
        """Return the buffer of the running backward, which begins with zeros."""
        if self.backward != (running := backward_number()):
            self.buffer, self.backward = torch.zeros_like(self.tensor), running
        return self.buffer


class Changed:
    """A table whose rows are replaced in place, and the token of the last operation on it."""

    def __init__(self, table: _Table, token: Tensor):
        self.table, self.token = table, token

    @classmethod
    def of(cls, tensor: Tensor) -> "Changed":
        """Return a table of a copy of a tensor."""
        table = _Table(tensor.detach().clone(memory_format=torch.contiguous_format))
        # Integers have no gradient.
        token = _Start.apply(tensor, table) if tensor.is_floating_point() else tensor.new_empty(0)
        return cls(table, token)

    @property
    def detached(self) -> Tensor:
        """All rows without their gradient, as they are until the next replacement."""
        return self.table.tensor

    @property
    def tensor(self) -> Tensor:
        """All rows, which may not be replaced afterwards."""
        return _End.apply(self.token, self.table) if self._differentiable() else self.table.tensor

    def _differentiable(self) -> bool:
        return self.token.requires_grad and torch.is_grad_enabled()

    def take(self, places: Tensor) -> Tensor:
        """Return the rows at `places`."""
        if not self._differentiable():
            return _rows(self.table.tensor, places)
        rows, self.token = _Take.apply(self.token, self.table, places)
        return rows

    def replace(self, erased: Tensor, places: Tensor, rows: Tensor) -> "Changed":
        """Set the rows at `erased` to 0, then add `rows` at `places`."""
        self.token = _Replace.apply(self.token, rows, self.table, erased, places)
        return self

    def overwrite(self, places: Tensor, rows: Tensor) -> "Changed":
        """Write other rows at `places`, without gradients."""
        self.table.tensor.scatter_(-2, places.unsqueeze(-1).expand_as(rows), rows)
        return self


def _index(tensor: Tensor, places: Tensor) -> Tensor:
    return places.unsqueeze(-1).expand(*places.shape, tensor.shape[-1])


def _rows(tensor: Tensor, places: Tensor) -> Tensor:
    return tensor.gather(-2, _index(tensor, places))


class _Start(torch.autograd.Function):
    """The first token of a table; its backward returns the gradient of the tensor that the table began with."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, table: _Table) -> Tensor:
        ctx.table = table
        return tensor.new_empty(0)

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return ctx.table.gradient(), None


class _Replace(torch.autograd.Function):
    """Replace rows in place."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, rows: Tensor, table: _Table, erased: Tensor, places: Tensor) -> Tensor:
        ctx.table = table
        ctx.save_for_backward(erased, places)
        table.tensor.scatter_(-2, _index(table.tensor, erased), 0)
        table.tensor.scatter_add_(-2, _index(table.tensor, places), rows)
        return token.new_empty(0)

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        erased, places = ctx.saved_tensors
        gradient = ctx.table.gradient()
        rows = _rows(gradient, places)
        gradient.scatter_(-2, _index(gradient, erased), 0)
        return gradients[0], rows, None, None, None


class _Take(torch.autograd.Function):
    """Read rows."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, table: _Table, places: Tensor) -> tuple[Tensor, Tensor]:
        ctx.table = table
        ctx.save_for_backward(places)
        return _rows(table.tensor, places), token.new_empty(0)

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (places,), (rows, token) = ctx.saved_tensors, gradients
        gradient = ctx.table.gradient()
        gradient.scatter_add_(-2, _index(gradient, places), rows)
        return token, None, None


class _End(torch.autograd.Function):
    """The whole table after the last operation."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, table: _Table) -> Tensor:
        ctx.table = table
        return table.tensor.view_as(table.tensor)

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.table.gradient().add_(gradients[0])
        return ctx.table.tensor.new_empty(0), None
