"""Networks that no kernel runs: all of them in each operation of the loop over time."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.kernels.torch_internals import has_hooks, is_compiled
from lightning_ntm.models.alike import check_alike, tensors_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.stack import at_once


def logits_of(
    models: Sequence[MemoryModel[Any]], inputs: Sequence[Tensor], slots: Sequence[int | None]
) -> list[Tensor]:
    """Return the logits of networks of one architecture, each on inputs of its own, `(batch, time, inputs)`.

    Shorter inputs are padded at their ends. Networks with equal numbers of sequences and of memory slots are run at
    once.

    Args:
        models: The networks.
        inputs: Of each network.
        slots: Memory slots of each network, by default all.
    """
    alike = defaultdict[tuple[int, int | None], list[int]](list)
    for i, (own, number) in enumerate(zip(inputs, slots, strict=True)):
        alike[len(own), number].append(i)
    found = dict[int, Tensor]()
    for (_, number), group in alike.items():
        logits = _of_group([models[i] for i in group], [inputs[i] for i in group], number)
        found |= dict(zip(group, logits, strict=True))
    return [found[i] for i in range(len(models))]


def _of_group(models: Sequence[MemoryModel[Any]], inputs: Sequence[Tensor], slots: int | None) -> list[Tensor]:
    options = {} if slots is None else {"slots": slots}
    longest = max(own.shape[1] for own in inputs)
    padded = torch.stack([F.pad(own, (0, 0, 0, longest - own.shape[1])) for own in inputs])
    named = [tensors_of(model) for model in models]
    tensors = {f"networks.{name}": torch.stack([own[name] for own in named]) for name in named[0]}

    def run(network: Any, own: Tensor) -> Tensor:
        logits: Tensor = network.unroll(own, network.initial_state(len(own), **options))[0]
        return logits

    together = at_once(models[0], tensors, run, padded).unbind()
    return [logits[:, : own.shape[1]] for logits, own in zip(together, inputs, strict=True)]


def refusal(models: Sequence[MemoryModel[Any]]) -> str | None:
    """Return why networks cannot be run at once, or `None`. The first two are tried on short sequences."""
    for model in models:
        if type(model).forward is not MemoryModel.forward or has_hooks(model) or is_compiled(model):
            return f"{type(model).__name__} has a forward or hooks of its own, or was compiled."
        if model.checkpoint_every:
            return f"checkpoint_every is {model.checkpoint_every}."
    try:
        check_alike(models)
        return _tried(models[:2])
    except Exception as error:  # whatever a network raises
        return f"torch.func.vmap cannot run {type(models[0]).__name__}: {str(error).splitlines()[0]}"


def _tried(models: Sequence[MemoryModel[Any]]) -> str | None:
    name, generator = type(models[0]).__name__, torch.Generator().manual_seed(0)
    like = next(models[0].parameters())
    steps = range(3, 3 + len(models))
    inputs = [torch.rand(2, time, models[0].input_size, generator=generator).to(like) for time in steps]
    before, buffers = torch.get_rng_state(), [buffer.clone() for buffer in models[0].buffers()]
    alone = [model(own)[0] for model, own in zip(models, inputs, strict=True)]
    together = logits_of(models, inputs, [None] * len(models))
    if not torch.equal(torch.get_rng_state(), before):
        torch.set_rng_state(before)
        return f"{name} draws random numbers."
    if not all(map(torch.equal, buffers, models[0].buffers())):
        return f"{name} changes its buffers."
    pairs = [*zip(alone, together, strict=True), *_gradients(models, alone, together)]
    if all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in pairs):
        return None
    return f"{name} computes other numbers at once than alone."


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
