"""Parameters as views of one tensor, and their gradients of another, so that an operation on all of them is one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

from lightning_ntm.kernels.torch_internals import has_own_steps

#: Numbers in a cache line, at which each run begins.
_LINE = 16


class Flat:
    """Parameters that lie in one tensor, with their gradients in another.

    Names, shapes and values of the parameters stay the same. `release` gives each a tensor of its own again.

    Args:
        runs: Parameters of one dtype, each once. Those of a run lie directly one after the other; runs are apart.
    """

    def __init__(self, runs: Sequence[Sequence[nn.Parameter]]):
        self.parameters, places = [p for run in runs for p in run], list[int]()
        self.runs, used = list[slice](), 0
        for run in runs:
            start = used
            for p in run:
                places.append(used)
                used += p.numel()
            self.runs.append(slice(start, used))
            used = used // _LINE * _LINE + _LINE
        self.values, self.gradients = (self.parameters[0].detach().new_zeros(used) for _ in range(2))
        self.places = places
        for p, view in zip(self.parameters, self.views_of(self.values), strict=True):
            view.copy_(p.detach())
            p.data = view
        self.addresses = [p.data_ptr() for p in self.parameters]
        self.views = self.views_of(self.gradients)

    def views_of(self, flat: Tensor) -> list[Tensor]:
        """Return what lies in a tensor of the size of all at the places of the parameters, in their shapes."""
        pairs = zip(self.parameters, self.places, strict=True)
        return [flat[start : start + p.numel()].view(p.shape) for p, start in pairs]

    def holds(self) -> bool:
        """Return whether the parameters still lie here."""
        return [p.data_ptr() for p in self.parameters] == self.addresses

    def install(self) -> None:
        """Have the gradients of the parameters lie here."""
        for p, view in zip(self.parameters, self.views, strict=True):
            if p.grad is not view:
                p.grad = view

    def has_gradients(self) -> bool:
        """Return whether the gradients of the parameters are those that lie here."""
        return all(p.grad is view for p, view in zip(self.parameters, self.views, strict=True))

    def release(self) -> None:
        """Give each parameter, and its gradient, a tensor of its own."""
        for p, view, address in zip(self.parameters, self.views, self.addresses, strict=True):
            if p.data_ptr() == address:
                p.data = p.detach().clone()
            if p.grad is view:
                p.grad = view.clone()


#: Optimizers of PyTorch whose steps by `foreach` treat each number by itself and give the same bits for one tensor.
_BY_NUMBER = (RMSprop, Adam, AdamW, SGD, NAdam, RAdam, Adamax, Adadelta)


class FlatOptimizer:
    """Steps of an optimizer with the parameters as one tensor.

    Between steps the optimizer has its parameters, and a state for each as ever: the tensors are views of those of the
    one tensor.

    Args:
        optimizer: The optimizer.
        flat: Its parameters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, flat: Flat):
        self.optimizer, self.flat, self.known = optimizer, flat, sorted(map(id, flat.parameters))
        self.whole = nn.Parameter(flat.values)
        self.whole.grad = flat.gradients
        self.state: dict[str, Any] = {}
        self.own: list[dict[str, Any]] = []  # of each parameter, as they were given to the optimizer
        self.spread: list[int] = []  # of which tensors
        self.parts: list[tuple[str, list[Tensor]]] = []  # the states of the parameters, by name
        self.single: list[tuple[str, Tensor]] = []  # numbers of the state, with one for each parameter
        self.swapped: list[nn.Parameter] | None = None

    def suits(self) -> bool:
        """Return whether a step with one tensor gives the same numbers as one with all."""
        if type(self.optimizer) not in _BY_NUMBER or len(self.optimizer.param_groups) != 1:
            return False
        (group,) = self.optimizer.param_groups
        if sorted(map(id, group["params"])) != self.known or has_own_steps(self.optimizer):
            return False
        return bool(group["foreach"]) and not any(group.get(way) for way in ("fused", "capturable", "differentiable"))

    def enter(self) -> None:
        """Let the next step be that of one tensor, if the gradients are those of `flat`."""
        (group,) = self.optimizer.param_groups
        if not self.flat.has_gradients() or not self._gathered():
            return
        self.swapped, group["params"] = group["params"], [self.whole]
        self.optimizer.state[self.whole] = self.state

    def leave(self) -> None:
        """Give the optimizer its parameters again."""
        if self.swapped is None:
            return
        self.optimizer.param_groups[0]["params"], self.swapped = self.swapped, None
        self.state = self.optimizer.state.pop(self.whole)
        if [id(value) for value in self.state.values()] != self.spread:
            self._spread()
        for name, each in self.single:
            each.copy_(self.state[name])

    def _gathered(self) -> bool:
        """Return whether the state of all parameters is that of one tensor, after gathering it if it is new."""
        states = [self.optimizer.state.get(p) for p in self.flat.parameters]
        if self.own and all(state is own for state, own in zip(states, self.own, strict=True)) and self._is_current():
            return True
        found = [state for state in states if state]
        self.state, self.own = {}, []
        if not found:
            return True
        if len(found) < len(states) or any(state.keys() != found[0].keys() for state in found):
            return False
        for name in found[0]:
            if not self._gather(name, [state[name] for state in found]):
                return False
        self._spread()
        return True

    def _is_current(self) -> bool:
        """Return whether the states hold the same tensors, and the parameters took no step since by themselves."""
        if any(
            own.get(name) is not part for name, parts in self.parts for own, part in zip(self.own, parts, strict=True)
        ):
            return False
        return all(bool((each == self.state[name]).all()) for name, each in self.single)

    def _gather(self, name: str, parts: list[Any]) -> bool:
        if not all(isinstance(part, Tensor) for part in parts):
            return False
        if all(part.shape == p.shape for part, p in zip(parts, self.flat.parameters, strict=True)):
            self.state[name] = torch.zeros_like(self.flat.values, dtype=parts[0].dtype)
            for view, part in zip(self.flat.views_of(self.state[name]), parts, strict=True):
                view.copy_(part)
            return True
        self.state[name] = parts[0].clone()
        return all(part.ndim == 0 and torch.equal(part, parts[0]) for part in parts)

    def _spread(self) -> None:
        """Give the optimizer a state for each parameter."""
        self.own, self.single, self.parts = [{} for _ in self.flat.parameters], [], []
        self.spread = [id(value) for value in self.state.values()]
        for name, value in self.state.items():
            if value.ndim:
                parts = self.flat.views_of(value)
            else:
                each = value.new_empty(len(self.own))
                each.copy_(value)
                self.single.append((name, each))
                parts = list(each.unbind())
            self.parts.append((name, parts))
            for own, part in zip(self.own, parts, strict=True):
                own[name] = part
        for p, own in zip(self.flat.parameters, self.own, strict=True):
            self.optimizer.state[p] = own
