"""The network of a run at steps of its training, from the weights that `--keep_weights_every` kept."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_ntm.evaluation.weights import load_weights
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import RunFolder

#: Steps at most; of more, some between the first and the last are taken.
MOST_STEPS = 40


def over_training(
    model: MemoryModel[Any], folder: Path, most: int = MOST_STEPS
) -> Iterator[tuple[int, MemoryModel[Any]]]:
    """Yield steps of a training, in their order, and the network as it was then; nothing where no weights were kept.

    Args:
        model: The network of the run, which stays as it is.
        folder: The run folder.
        most: Steps at most, at least 2; the first and the last are among them.

    Raises:
        ValueError: A file of weights is damaged or of another network.
    """
    found = list(RunFolder(folder).weights_by_step().items())
    if len(found) > most:
        found = [found[place * (len(found) - 1) // (most - 1)] for place in range(most)]
    for step, path in found:
        network = copy.deepcopy(model)
        load_weights(network, path)
        yield step, network
