"""The shapes of the tensors of a DNC that a kernel requires."""

from torch import nn

from lightning_ntm.kernels.plain import Shapes, kept
from lightning_ntm.models.controllers import replaced_shapes
from lightning_ntm.models.dnc_memory import interface_groups


@kept
def shapes_of(
    controller: type[nn.Module],
    batch: int,
    inputs: int,
    outputs: int,
    hidden: int,
    layers: int,
    reads: int,
    slots: int,
    width: int,
    masking: bool,
    sharpening: bool,
) -> Shapes:
    """Return the shapes of a state and of the linear layers of a network."""
    recurrent, weights = replaced_shapes(controller, batch, inputs + reads * width, hidden, layers)
    groups = interface_groups(reads, width, masking=masking, sharpening=sharpening)
    heads, output = (sum(map(sum, groups)), hidden), (outputs, hidden + reads * width)
    of_slots = (batch, slots)
    memory = (batch, slots, width), of_slots, of_slots, (batch, slots, slots), of_slots
    return Shapes([*memory, (batch, reads, slots), (batch, reads, width), *recurrent], [*weights, heads, output])
