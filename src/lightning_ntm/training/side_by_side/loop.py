"""Networks that no kernel runs: all of them in each operation of the loop over time."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels.torch_internals import has_hooks, is_compiled
from lightning_ntm.models.alike import check_alike, tensors_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.stack import at_once
from lightning_ntm.states import mapped


def logits_of(
    models: Sequence[MemoryModel[Any]], inputs: Sequence[Tensor], slots: Sequence[int | None]
) -> list[Tensor]:
    """Return the logits of networks of one architecture, each on inputs of its own, `(batch, time, inputs)`.

    Networks with equal numbers of sequences and of memory slots are run at once. One whose inputs end before those of
    others takes no further step.

    Args:
        models: The networks.
        inputs: Of each network.
        slots: Memory slots of each network, by default all.

    Raises:
        ValueError: The networks cannot be run at once.
    """
    alike = defaultdict[tuple[int, int | None], list[int]](list)
    for i, (own, number) in enumerate(zip(inputs, slots, strict=True)):
        alike[len(own), number].append(i)
    found, name, before = dict[int, Tensor](), type(models[0]).__name__, torch.get_rng_state()
    for (_, number), group in alike.items():
        try:
            logits = _of_group([models[i] for i in group], [inputs[i] for i in group], number)
        except Exception as error:  # whatever a network raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"torch.func.vmap cannot run {name}: {reason}") from error
        found |= dict(zip(group, logits, strict=True))
    if not torch.equal(torch.get_rng_state(), before):
        torch.set_rng_state(before)
        raise ValueError(f"{name} draws random numbers.")
    return [found[i] for i in range(len(models))]


def _of_group(models: Sequence[MemoryModel[Any]], inputs: Sequence[Tensor], slots: int | None) -> list[Tensor]:
    named = [tensors_of(model) for model in models]
    tensors = {f"networks.{name}": torch.stack([own[name] for own in named]) for name in named[0]}
    options, batch, begun = {} if slots is None else {"slots": slots}, len(inputs[0]), 0
    state = at_once(models[0], tensors, lambda network: network.initial_state(batch, **options))
    running, parts = list(range(len(models))), [list[Tensor]() for _ in models]
    for end in sorted({own.shape[1] for own in inputs}):
        kept = [place for place, i in enumerate(running) if inputs[i].shape[1] >= end]
        if len(kept) < len(running):
            running = [running[place] for place in kept]
            state = mapped(lambda part, kept=kept: part[kept], state)
            tensors = {name: tensor[kept] for name, tensor in tensors.items()}
        segment = torch.stack([inputs[i][:, begun:end] for i in running])
        logits, state = at_once(models[0], tensors, lambda network, *call: network.unroll(*call), segment, state)
        for i, own in zip(running, logits.unbind(), strict=True):
            parts[i].append(own)
        begun = end
    return [torch.cat(of_one, dim=1) for of_one in parts]


def refusal(models: Sequence[MemoryModel[Any]], inputs: Sequence[Tensor]) -> str | None:
    """Return why networks cannot be run at once, or `None`. They are tried on inputs, each on its own."""
    name = type(models[0]).__name__
    for model in models:
        if type(model).forward is not MemoryModel.forward or any(map(has_hooks, model.modules())) or is_compiled(model):
            return f"{name} has a forward or hooks of its own, or was compiled."
        if model.reads_ahead:
            return f"{name} must see each sequence as a whole."
        if model.checkpoint_every:
            return f"checkpoint_every is {model.checkpoint_every}."
    tensors = [tensor for model in models for tensor in tensors_of(model).values()]
    before, random = [tensor.detach().clone() for tensor in tensors], torch.get_rng_state()
    try:
        check_alike(models)
        same = _computes_the_same(models, inputs)
    except Exception as error:  # whatever a network raises alone, too
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    finally:
        drawn, changed = not torch.equal(torch.get_rng_state(), random), not all(map(torch.equal, before, tensors))
        torch.set_rng_state(random)
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
    if drawn:
        return f"{name} draws random numbers."
    if changed:
        return f"{name} changes its parameters or buffers."
    return None if same else f"{name} computes other numbers at once than alone."


def _computes_the_same(models: Sequence[MemoryModel[Any]], inputs: Sequence[Tensor]) -> bool:
    """Return whether logits and gradients are those of the networks alone."""
    alone = [model(own)[0] for model, own in zip(models, inputs, strict=True)]
    together = logits_of(models, inputs, [None] * len(models))
    pairs = [*zip(alone, together, strict=True), *_gradients(models, alone, together)]
    return all(torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True) for one, other in pairs)


def _gradients(models: Sequence[MemoryModel[Any]], *outputs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the gradients of all parameters for both outputs, in pairs."""
    parameters = [p for model in models for p in model.parameters() if p.requires_grad]
    found = [
        torch.autograd.grad(
            torch.stack([logits.square().sum() for logits in of_all]).sum(),
            parameters,
            allow_unused=True,
            materialize_grads=True,
        )
        for of_all in outputs
    ]
    return list(zip(*found, strict=True))
