"""The optimiser of the default recipe, and what is set or measured around any optimiser."""

import math
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from lightning_ntm.training.precision import check_eps


def default_optimizer(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """Return the optimiser of the default recipe."""
    return torch.optim.RMSprop(parameters, lr=3e-4, alpha=0.95, momentum=0.9)


def prepare(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer update many parameters in one call.

    Raises:
        ValueError: It cannot take a step with its settings.
    """
    check_eps(optimizer)
    prefer_fused(optimizer)
    _try_step(optimizer)


def _try_step(optimizer: torch.optim.Optimizer) -> None:
    """Let a copy of an optimizer of PyTorch take a step."""
    if not type(optimizer).__module__.startswith("torch.optim."):
        return
    for group in optimizer.param_groups:
        if not group["params"]:
            continue
        p = torch.nn.Parameter(group["params"][0].detach().new_ones(2, 2))
        settings = {name: group[name] for name in optimizer.defaults if name in group}
        if isinstance(settings.get("lr"), float):
            settings["lr"] = 1e-3  # one that is too large is a matter of the training
        kind: Any = type(optimizer)
        arguments = {name: settings[name] for name in settings.keys() & signature(kind).parameters.keys()}
        try:
            kind([{**settings, "params": [p]}], **arguments).step(lambda p=p: _square(p))
        except Exception as error:  # of any kind: PyTorch asserts, divides, or takes from an empty list
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{kind.__name__} cannot take a step with these settings: {reason}") from error


def _square(p: Tensor) -> Tensor:
    p.grad = p.detach().clone()
    return (p.detach() ** 2).sum() / 2


def prefer_fused(optimizer: torch.optim.Optimizer) -> None:
    """Set Adam to update all parameters in one call, and other optimisers to take each stage in one.

    Settings of the user are left as they are. This is set here and not by `fused=True`, with which Lightning refuses
    to clip gradients in mixed precision.
    """
    for group in optimizer.param_groups:
        chosen = any(group.get(way) for way in ("foreach", "fused", "capturable", "differentiable"))
        if chosen or not all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in group["params"]):
            continue
        way = "fused" if isinstance(optimizer, torch.optim.Adam) else "foreach"
        if group.get(way, False) is None:
            group[way] = True


def total_norm(gradients: list[Tensor], *, clipped: bool, unread: bool) -> Tensor:
    """Return the norm of all gradients together.

    Args:
        gradients: Of all parameters, `together`.
        clipped: Whether they are clipped by it. Then a norm that is too large for the dtype is computed in float64.
        unread: Whether the norm must not be read here, as on a GPU, where that would wait.
    """
    if not gradients:  # a training step that returned nothing
        return torch.zeros(())
    if unread:
        return _norm_on_device(gradients, clipped)
    norm = _norm(gradients)
    if clipped and not math.isfinite(norm):
        # Over hundreds of steps a gradient can be so large that its square is infinite in float32. Once clipped it is
        # like any other; not clipped, it would spoil the optimiser's averages for good.
        # In float16 the norm itself would be beyond the largest number.
        whole = torch.nn.utils.get_total_norm([gradient.double() for gradient in gradients])
        norm = whole.to(torch.promote_types(norm.dtype, torch.float32))
    return norm


#: Up to so many gradients, as those of a short step, calls cost more than the numbers.
_FEW = 8


def _norm(gradients: list[Tensor]) -> Tensor:
    """Return what `get_total_norm` returns, for gradients on one device in fewer calls."""
    if len(gradients) > _FEW or any(type(one) is not Tensor or one.device.type != "cpu" for one in gradients):
        return torch.nn.utils.get_total_norm(gradients)
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in gradients]))


def clip(gradients: list[Tensor], max_norm: float, norm: Tensor) -> None:
    """Multiply gradients so that their norm is at most `max_norm`; as `clip_grads_with_norm_`, but the norm is read."""
    if float(norm) < 0.99 * max_norm:
        return
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:
        for gradient in gradients:
            gradient.mul_(factor.to(gradient.device))


def together(gradients: list[Tensor]) -> list[Tensor]:
    """Return gradients as fewer tensors in the same memory: those that follow each other in one storage are one.

    A kernel that computes all gradients in one call puts them into one tensor.
    """
    if any(type(gradient) is not Tensor or gradient.layout is not torch.strided for gradient in gradients):
        return gradients
    groups: list[list[int]] = []
    for number in sorted(range(len(gradients)), key=lambda number: gradients[number].data_ptr()):
        if groups and _follows(gradients[groups[-1][-1]], gradients[number]):
            groups[-1].append(number)
        else:
            groups.append([number])
    # In an order that does not depend on addresses, which would round the norm.
    return [_one([gradients[number] for number in group]) for group in sorted(groups, key=min)]


def _one(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else parts[0].as_strided((sum(part.numel() for part in parts),), (1,))


def _follows(before: Tensor, after: Tensor) -> bool:
    return (
        before.data_ptr() + before.nbytes == after.data_ptr()
        and before.dtype == after.dtype
        and before.device.type == "cpu"
        and before.is_contiguous()
        and after.is_contiguous()
        and before.untyped_storage().data_ptr() == after.untyped_storage().data_ptr()
    )


def _norm_on_device(gradients: list[Tensor], clipped: bool) -> Tensor:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return torch.linalg.vector_norm(flat, dtype=torch.float64 if clipped else None).to(flat)


def late_decay(optimizer: torch.optim.Optimizer, decay_after: float, all_steps: Callable[[], float]) -> LRScheduler:
    """Return a learning rate that stays, then falls linearly to zero.

    Args:
        optimizer: Whose learning rate it is.
        decay_after: Share of all steps in which it stays.
        all_steps: Returns how many steps there are; infinity for a training without a known end, which never decays.
    """

    def share(step: int) -> float:
        if step == 0:
            return 1.0  # asked before a resumed training knows where it stands
        steps = all_steps()
        tail = (1 - decay_after) * steps
        return min(1.0, max(0.0, (steps - step) / tail)) if 0 < tail < float("inf") else 1.0

    return LambdaLR(optimizer, share)


def with_schedule(
    optimizer: torch.optim.Optimizer, schedule: Callable[[torch.optim.Optimizer], LRScheduler | ReduceLROnPlateau]
) -> dict[str, Any]:
    """Return an optimiser and its schedule as Lightning takes them: the schedule moves on with every step.

    Raises:
        ValueError: The optimiser cannot take a step with its settings.
    """
    prepare(optimizer)
    made = schedule(optimizer)
    settings: dict[str, Any] = {"scheduler": made, "interval": "step"}
    if isinstance(made, ReduceLROnPlateau):
        # Lightning saves and restores it, but counts batches within an epoch: the learner moves it on.
        settings |= {"monitor": "validation_loss", "frequency": 2**62}
    return {"optimizer": optimizer, "lr_scheduler": settings}
