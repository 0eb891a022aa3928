"""Sequences with another number of memory slots than the network has; the network stays as it was trained."""

import inspect
from typing import Any

from lightning_ntm.checks import check_whole
from lightning_ntm.models.base import MemoryModel


def why_fixed(model: MemoryModel[Any]) -> str | None:
    """Return why sequences of a network cannot have another number of memory slots, or `None`."""
    if getattr(model, "memory_slots", None) is None:
        return f"{type(model).__name__} has no memory slots."
    if "slots" not in inspect.signature(model.initial_state).parameters:
        return f"{type(model).__name__} has memory slots whose number cannot be set."
    return None


def start_of(model: MemoryModel[Any], batch_size: int, slots: int | None) -> Any:
    """Return the state before the first step with this number of slots; `None`, the network's own start, without one.

    Raises:
        TypeError: The number is not a whole one.
        ValueError: Sequences of the network cannot have this number of slots.
    """
    if slots is None:
        return None
    check_whole(memory_slots=slots)
    if reason := why_fixed(model):
        raise ValueError(f"memory_slots (={slots}) cannot be given: {reason}")
    start: Any = model.initial_state
    try:
        return start(batch_size, slots=slots)
    except ValueError as error:
        raise ValueError(f"memory_slots (={slots}) cannot be given: {error}") from error
    except (RuntimeError, MemoryError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"memory_slots (={slots}) cannot be given: {reason}") from error
