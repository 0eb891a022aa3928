"""The shapes of the tensors of an NTM that a kernel requires."""

from torch import nn

from lightning_ntm.kernels.plain import Shapes, kept
from lightning_ntm.models.controllers import replaced_shapes
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
    recurrent, weights = replaced_shapes(controller, batch, of_inputs, hidden, layers)
    heads = (sum(interface_groups(reads, writes, width, max_shift)), hidden)
    memory = (batch, slots, width), (batch, reads + writes, slots), (batch, reads, width)
    return Shapes([*memory, *recurrent], [*weights, heads, (outputs, hidden + reads * width)])
