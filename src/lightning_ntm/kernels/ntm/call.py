"""The arguments of the programs for NTMs: tensors and numbers that a network declares."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from lightning_ntm.kernels.plain import Declared, linear_layers
from lightning_ntm.states import flatten


class Numbers(NamedTuple):
    """Numbers of an NTM that do not follow from the shapes of its tensors."""

    recurrent: bool  # LSTM layers, else feed-forward layers
    num_read_heads: int
    num_write_heads: int
    max_shift: int
    gradient_limit: float  # 0 for none


@runtime_checkable
class DeclaredNTM(Declared, Protocol):
    """A network that declares what the programs for NTMs replace."""

    def replaced_numbers(self) -> Numbers:
        """Return the numbers that do not follow from the shapes of its tensors."""
        ...

    def recur(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Run one step without the output layer, as the programs do."""
        ...


class Call(NamedTuple):
    """The tensors of a call, apart from the inputs.

    Args:
        state: Memory, weightings, reads, hidden and cell; the last two are empty for a controller without a state.
        layers: The linear layers of the controller, and that of the heads, by name.
        output: The output layer, on which no step depends.
        numbers: Everything else.
    """

    state: list[Tensor]
    layers: Mapping[str, nn.Linear]
    output: nn.Linear
    numbers: Numbers

    @property
    def weights(self) -> list[Tensor]:
        """Weights of the layers."""
        return [layer.weight for layer in self.layers.values()]

    @property
    def biases(self) -> list[Tensor]:
        """Biases of the layers."""
        return [layer.bias for layer in self.layers.values()]


def declared(network: DeclaredNTM, state: Any) -> Call:
    """Return the arguments of a call that starts from a state."""
    layers = linear_layers(network)
    output = layers.pop("output")
    tensors, hidden = flatten(state), layers["heads"].in_features
    if len(tensors) == 3:
        memory = tensors[0]
        tensors += [memory.new_empty(*memory.shape[:-2], 0, hidden)] * 2
    return Call(tensors, layers, output, network.replaced_numbers())
