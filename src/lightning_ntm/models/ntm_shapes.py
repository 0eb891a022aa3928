"""The shapes of the tensors of an NTM that a kernel requires."""

from torch import nn

from lightning_ntm.kernels.plain import Shapes, kept
from lightning_ntm.models.controllers import FeedForwardController, LSTMController
from lightning_ntm.models.ntm_memory import interface_groups


@kept
def shapes_of(
    controller: type[nn.Module],
    batch: int,
    inputs: int,
    outputs: int,
    hidden: int,
    layers: int,
    reads: int,
    writes: int,
    slots: int,
    width: int,
    max_shift: int,
) -> Shapes:
    """Return the shapes of a state and of the linear layers of a network."""
    of_inputs = inputs + reads * width
    recurrent: list[tuple[int, ...]] = []
    if controller is LSTMController:
        weights = LSTMController.shapes(of_inputs, hidden, layers, skip=False)
        recurrent = [(batch, layers, hidden)] * 2
    else:
        weights = FeedForwardController.shapes(of_inputs, hidden, layers)
    weights += (sum(interface_groups(reads, writes, width, max_shift)), hidden), (outputs, hidden + reads * width)
    memory = (batch, slots, width), (batch, reads + writes, slots), (batch, reads, width)
    return Shapes([*memory, *recurrent], weights)
