"""A network that is trained can be measured and drawn on the way: nothing of its training changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lightning_ntm.models.base import MemoryModel


@contextmanager
def undisturbed(model: MemoryModel[Any]) -> Iterator[None]:
    """Put a network into evaluation mode, and give every module its mode and PyTorch its random state back."""
    modes = [(module, module.training) for module in model.modules()]
    devices = {part.device for part in model.parameters() if part.is_cuda}
    try:
        with torch.random.fork_rng(list(devices)):
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
