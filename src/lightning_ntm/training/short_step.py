"""A training step in few operations, for networks whose loss and gradients are one call of a kernel.

Parameters and gradients of all networks of a loop lie in one tensor each, so that the norm, clipping and the optimizer
are few operations, and nothing passes through autograd but what learned initial states need. It needs a loop in which
nothing of the user's runs between the steps; everything else takes the general way, with the same bits.
"""

from collections.abc import Iterator, Sequence
from inspect import signature
from types import FunctionType
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Callback
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from lightning_ntm.kernels.cpu.prepared import Prepared, losses
from lightning_ntm.kernels.loss import Loss, obstacle
from lightning_ntm.kernels.plain import transformed
from lightning_ntm.kernels.torch_internals import has_gradient_hooks
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.states import flatten
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.flat import Flat, FlatOptimizer


class ShortStep:
    """The loss and all gradients of networks, each on a batch of its own.

    Args:
        models: The networks.
        prepared: What computes the loss of each; that of none is `None`.
    """

    def __init__(self, models: Sequence[MemoryModel[Any]], prepared: Sequence[Prepared | None]):
        self.models, self.prepared = models, [network for network in prepared if network is not None]
        runs, self.gradients = list[list[nn.Parameter]](), list[list[Tensor]]()
        for model, network in zip(models, self.prepared, strict=True):
            runs += _runs(model, network)
        self.flat = Flat(runs)
        self._bind()
        self.optimizer: FlatOptimizer | None = None
        #: Whether the gradients are those of the last call.
        self.taken = False

    def _bind(self) -> None:
        """Let kernels write gradients where they lie, and note the gradients of each network."""
        parts, views = iter(self.flat.runs), dict(zip(map(id, self.flat.parameters), self.flat.views, strict=True))
        self.starts = list[_Start]()
        for model, network in zip(self.models, self.prepared, strict=True):
            runs = _runs(model, network)
            of_model = [self.flat.gradients[next(parts)] for _ in runs]
            network.bind(of_model[0])
            self.starts.append(_Start(model, {id(p): views[id(p)] for (p, *_) in runs[1:]}))
            # In the order of the parameters, as in the general way, which rounds the norm.
            order = list(map(id, model.parameters()))
            first = [min(order.index(id(p)) for p in run) for run in runs]
            self.gradients.append([of_model[i] for i in sorted(range(len(first)), key=first.__getitem__)])

    def losses(
        self, batches: Sequence[Batch], slots: Sequence[int | None], noise: Sequence[Tensor | None]
    ) -> list[Loss] | None:
        """Return the losses, after writing all gradients but those of initial states; `None` if that is not possible.

        Args:
            batches: Of each network.
            slots: Memory slots of each network, by default all.
            noise: Added to the interface vectors of each network.
        """
        self.taken = False
        if transformed() or obstacle(self.models[0], batches[0], scaled=False) or not self.flat.holds():
            return None
        if any(not p.requires_grad or has_gradient_hooks(p) for p in self.flat.parameters):  # since the start
            return None
        calls = zip(self.starts, batches, slots, strict=True)
        states = [start.of(len(batch.inputs), number) for start, batch, number in calls]
        found = losses(self.prepared, batches, states, [start.needed for start in self.starts], noise)
        if found is None:
            return None
        self.dstates = [of.dstate for of in found]
        self.taken = True
        return [Loss(of.loss, of.costs, of.logits, of.errors) for of in found]

    def backward(self) -> None:
        """Compute the gradients of learned initial states, and give all gradients to the parameters."""
        self.flat.install()
        for start, dstate in zip(self.starts, self.dstates, strict=True):
            start.backward(dstate)

    def begin_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer update all parameters as one tensor, where it can."""
        if not self.taken:
            return
        if self.optimizer is None or self.optimizer.optimizer is not optimizer:
            self.optimizer = FlatOptimizer(optimizer, self.flat)
        if self.optimizer.suits():
            self.optimizer.enter()

    def end_update(self) -> None:
        """Give the optimizer its parameters again."""
        if self.optimizer is not None:
            self.optimizer.leave()

    def release(self) -> None:
        """Give each parameter a tensor of its own again."""
        self.flat.release()


class _Start:
    """The initial states of a network, and the gradients of the parameters in them.

    Args:
        model: The network.
        gradients: Where the gradients lie, by the `id` of the parameter.
    """

    def __init__(self, model: Any, gradients: dict[int, Tensor]):
        self.model, self.gradients = model, gradients
        self.state = flatten(model.initial_state(1))
        self.needed = [part.requires_grad for part in self.state]
        self.simple = all(self._is_simple(batch) for batch in (1, 2))

    def _is_simple(self, batch: int) -> bool:
        """Return whether the state for kernels is that of `initial_state`."""
        start, state = self.model.kernel_start(batch, None), flatten(self.model.initial_state(batch))
        if start is None or len(start.tensors) != len(state):
            return False
        learned = {place for place, p in start.learned if id(p) in self.gradients}
        return all(map(torch.equal, start.tensors, state)) and learned == {
            i for i, need in enumerate(self.needed) if need
        }

    def of(self, batch: int, slots: int | None) -> list[Tensor]:
        """Return the tensors of the state for sequences of a batch, with so many memory slots or, by default, all."""
        start = self.model.kernel_start(batch, slots) if self.simple else None
        if start is None:
            self.learned = None
            self.state = flatten(self.model.initial_state(batch, **({} if slots is None else {"slots": slots})))
            return self.state
        self.learned = start.learned
        return start.tensors

    def backward(self, dstate: Sequence[Tensor | None]) -> None:
        """Write the gradients of the parameters, from those of the state."""
        if self.learned is not None:
            for place, p in self.learned:
                torch.sum(dstate[place], 0, out=self.gradients[id(p)])
            return
        for gradient in self.gradients.values():
            gradient.zero_()
        parts = [part for part, need in zip(self.state, self.needed, strict=True) if need]
        if parts:
            torch.autograd.backward(parts, [gradient for gradient in dstate if gradient is not None])
        self.state = []


def _runs(model: MemoryModel[Any], network: Prepared) -> list[list[nn.Parameter]]:
    """Return the parameters of the layers, and each other one by itself."""
    layers = network.parameters
    of_layers = set(map(id, layers))
    return [layers, *([p] for p in model.parameters() if id(p) not in of_layers)]


def step_refusal(trainer: L.Trainer, model: MemoryModel[Any], prepared: Prepared | None) -> str | None:
    """Return why the steps of a training cannot be short, or `None`.

    Args:
        trainer: Trains the network, alone or beside others.
        model: The network.
        prepared: What computes its loss.
    """
    if prepared is None:
        return "no kernel computes loss and gradients of such sequences in one call."
    if trainer.accumulate_grad_batches != 1:
        return "gradients are accumulated."
    if trainer.precision not in ("32-true", "64-true"):
        return f"precision {trainer.precision} may change gradients."
    foreign = next(_foreign(trainer), None)
    return _parameters_refusal(model, prepared) if foreign is None else f"{foreign} may use or change gradients."


def _foreign(trainer: L.Trainer) -> Iterator[str]:
    """Yield the names of what a Trainer calls in a step and may do more than this package knows of."""
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    called: list[tuple[Sequence[Any], tuple[str, ...]]] = [
        (trainer.callbacks, ()),  # type: ignore[attr-defined]
        ([*trainer.optimizers, *schedulers], ("torch.",)),
        ([trainer.strategy, trainer.precision_plugin, trainer.accelerator], ("lightning.",)),
    ]
    for parts, packages in called:
        yield from (type(one).__name__ for one in parts if not type(one).__module__.startswith((_OURS, *packages)))
    if type(trainer.strategy) is not SingleDeviceStrategy:
        yield type(trainer.strategy).__name__


_OURS = "lightning_ntm."


def _parameters_refusal(model: Any, prepared: Prepared) -> str | None:
    """Return which parameter gets no gradient from the kernel and none from the initial state, or `None`."""
    layers, of_layers = prepared.parameters, set(map(id, prepared.parameters))
    named = dict(model.named_parameters())
    for name, p in named.items():
        if type(p) is not nn.Parameter or not p.requires_grad or p.dtype != layers[0].dtype or has_gradient_hooks(p):
            return f"{name} is not trained, has hooks or another dtype."
    others = {name: p for name, p in named.items() if id(p) not in of_layers}
    if len(of_layers) < len(layers) or len(others) + len(layers) != len(named):
        return "layers share parameters."
    if not others:
        return None
    with torch.enable_grad():
        learned = [part.sum() for part in flatten(model.initial_state(1)) if part.requires_grad]
        reached = torch.autograd.grad(learned, list(others.values()), allow_unused=True) if learned else [None]
    return next((f"{name} is not used." for name, one in zip(others, reached, strict=False) if one is None), None)


#: Hooks that Lightning calls in each step.
_HOOKS = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end",
)  # fmt: skip


def _unused_hooks(module: L.LightningModule) -> Iterator[tuple[Any, str]]:
    """Yield the module or callback, and the name, of each hook that does nothing.

    Lightning prepares each call of a hook, which takes a tenth of a short step. It calls no hook that is `None`.
    """
    callbacks: list[Callback] = module.trainer.callbacks  # type: ignore[attr-defined]
    for part, base in [(module, L.LightningModule), *((callback, Callback) for callback in callbacks)]:
        for hook in _HOOKS:
            if getattr(type(part), hook) is getattr(base, hook) and hook not in part.__dict__:
                yield part, hook


class TakesShortSteps(L.LightningModule):
    """A module whose training steps can be those of a `ShortStep`, where its `training_step` has taken one."""

    short: ShortStep | None = None
    unused: Sequence[tuple[Any, str]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the signature of the training step: Lightning asks for it in each step."""
        super().__init_subclass__(**kwargs)
        if isinstance(step := cls.__dict__.get("training_step"), FunctionType):
            step.__signature__ = signature(step)  # type: ignore[attr-defined]

    def begin_short_steps(self, short: ShortStep) -> None:
        """Take short steps from now on.

        The hooks are set here and not by the class: Lightning warns of classes that have them and accumulate gradients.
        """
        self.short, self.unused = short, list(_unused_hooks(self))
        for part, hook in self.unused:
            part.__dict__[hook] = None
        self.__dict__.update(optimizer_zero_grad=self._zero_grad, backward=self._backward, optimizer_step=self._step)

    def end_short_steps(self) -> None:
        """Give each parameter a tensor of its own again."""
        if self.short is not None:
            for hook in ("optimizer_zero_grad", "backward", "optimizer_step"):
                del self.__dict__[hook]
            for part, hook in self.unused:
                part.__dict__.pop(hook, None)
            self.short.release()
            self.short = None

    def _zero_grad(self, *args: Any) -> None:
        """Set the gradients to `None`; a short step has written all of them anew."""
        if self.short is None or not self.short.taken:
            L.LightningModule.optimizer_zero_grad(self, *args)

    def _backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute gradients, or what a short step has left to compute."""
        if self.short is not None and self.short.taken:
            self.short.backward()
        else:
            L.LightningModule.backward(self, loss, *args, **kwargs)

    def _step(self, *args: Any, **kwargs: Any) -> None:
        """Compute the loss and its gradients, and update the parameters."""
        try:
            L.LightningModule.optimizer_step(self, *args, **kwargs)
        finally:
            if self.short is not None:
                self.short.end_update()

    def begin_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer update the parameters of a short step as one tensor; called after clipping."""
        if self.short is not None:
            self.short.begin_update(optimizer)
