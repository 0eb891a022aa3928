"""The native program for DNCs."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lightning_ntm.kernels.call import DeclaredNetwork
from lightning_ntm.kernels.cpu import sequence
from lightning_ntm.kernels.cpu.prepared import Prepared
from lightning_ntm.kernels.loss import Criterion, KnownLoss, Loss


def run(model: DeclaredNetwork, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence."""
    return sequence.run("dnc", model, inputs, state)


def loss(model: DeclaredNetwork, episodes: Sequence[Tensor], state: Any, criterion: Criterion, *, scaled: bool) -> Loss:
    """Return the loss of a whole sequence, with all gradients."""
    return sequence.loss("dnc", model, episodes, state, criterion, scaled=scaled)


def prepared(model: DeclaredNetwork, known: KnownLoss) -> Prepared:
    """Return the network for losses in each step of a training."""
    return Prepared("dnc", model, known)
