"""Training with a number of memory slots that varies from batch to batch, as `--min_memory_slots` asks.

A network that always has slots to spare comes to rely on them: its heads spread over them where that does no harm, and
it fails once a list fills the memory. With a number that varies it uses only the slots it needs.
"""

from functools import lru_cache
from typing import Any

from lightning_ntm.checks import at_least, check_kind, ordered
from lightning_ntm.evaluation.slots import why_fixed
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.randomness import batch_generator


def drawn_slots(least: int, most: int, seed: int, number: int) -> int:
    """Return the memory slots of the batch of this number: like its episodes, a function of the seed and the number."""
    block, place = divmod(number, _BLOCK)
    return _block_of_slots(least, most, seed, block)[place]


#: Batches whose slots are drawn at once: one alone, between training steps, takes as long as six.
_BLOCK = 64


@lru_cache(256)
def _block_of_slots(least: int, most: int, seed: int, block: int) -> list[int]:
    numbers = range(_BLOCK * block, _BLOCK * (block + 1))
    return [int(batch_generator(seed, "memory", number).integers(least, most, endpoint=True)) for number in numbers]


def check_slots(model: MemoryModel[Any], least: int) -> None:
    """Raise `ValueError` unless sequences of a network can have as few memory slots as `least`; 0 stands for all.

    Raise `TypeError` for something else than a network.
    """
    check_kind(MemoryModel, "a network, as NTM(9, 8)", model=model)
    check_kind(int, "a whole number", min_memory_slots=least)
    at_least(0, min_memory_slots=least)
    if not least:
        return
    if reason := why_fixed(model):
        raise ValueError(f"min_memory_slots (={least}) cannot be given: {reason}")
    start: Any = model.initial_state
    ordered(min_memory_slots=least, memory_slots=getattr(model, "memory_slots"))  # noqa: B009
    try:
        start(1, slots=least)
    except ValueError as error:
        raise ValueError(f"min_memory_slots (={least}) is too low: {error}") from error
