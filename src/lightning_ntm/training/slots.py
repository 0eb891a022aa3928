"""Training with a memory whose size varies from batch to batch, as `--min_memory_slots` asks.

A network that always has slots to spare comes to rely on them: its heads spread over them where that does no harm, and
it fails once a list fills the memory. One that cannot know how many there will be keeps to those it needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_ntm.checks import at_least, ordered
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.randomness import batch_generator


def drawn_slots(least: int, most: int, seed: int, number: int) -> int:
    """Return how many slots a network has for the batch of this number: like its episodes, a function of that."""
    return int(batch_generator(seed, "memory", number).integers(least, most, endpoint=True))


@contextmanager
def lent_slots(model: Any, slots: int) -> Iterator[None]:
    """Let a network have only so many of its memory slots for a while."""
    every, model.memory_slots = model.memory_slots, slots
    try:
        yield
    finally:
        model.memory_slots = every


def check_slots(model: MemoryModel[Any], least: int) -> None:
    """Raise `ValueError` unless a network can be lent as few memory slots as `least`; 0 stands for all."""
    at_least(0, min_memory_slots=least)
    if not least:
        return
    most: Any = getattr(model, "memory_slots", None)
    settable = getattr(getattr(type(model), "memory_slots", None), "fset", None)
    if most is None or not settable:
        why = "has no memory slots" if most is None else "has memory slots whose number cannot be set"
        raise ValueError(f"min_memory_slots (={least}) cannot be given: {type(model).__name__} {why}.")
    ordered(min_memory_slots=least, memory_slots=most)
    try:
        with lent_slots(model, least):
            pass
    except ValueError as error:
        raise ValueError(f"min_memory_slots (={least}) is too low: {error}") from error
