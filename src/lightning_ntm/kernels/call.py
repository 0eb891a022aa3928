"""The arguments of programs that run a controller and a memory: tensors and numbers that a network declares."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from lightning_ntm.kernels.plain import Declared, linear_layers
from lightning_ntm.states import flatten


@runtime_checkable
class DeclaredNetwork(Declared, Protocol):
    """A network that declares what its programs replace."""

    def replaced_numbers(self) -> Any:
        """Return a named tuple of the numbers that do not follow from the shapes of its tensors.

        The first is whether the controller has LSTM layers. All are integers, except the last.
        """
        ...

    def recur(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Run one step without the output layer, as the programs do."""
        ...


class Call(NamedTuple):
    """The tensors of a call, apart from the inputs.

    Args:
        state: The tensors of the memory, hidden and cell; the last two are empty for a controller without a state.
        layers: The linear layers of the controller, and that of the heads, by name.
        output: The output layer, on which no step depends.
        numbers: Everything else.
    """

    state: list[Tensor]
    layers: Mapping[str, nn.Linear]
    output: nn.Linear
    numbers: Any

    @property
    def weights(self) -> list[Tensor]:
        """Weights of the layers."""
        return [layer.weight for layer in self.layers.values()]

    @property
    def biases(self) -> list[Tensor]:
        """Biases of the layers."""
        return [layer.bias for layer in self.layers.values()]


def declared(network: DeclaredNetwork, state: Any) -> Call:
    """Return the arguments of a call that starts from a state."""
    layers = linear_layers(network)
    output = layers.pop("output")
    tensors, hidden, numbers = flatten(state), layers["heads"].in_features, network.replaced_numbers()
    if not numbers.recurrent:
        memory = tensors[0]
        tensors += [memory.new_empty(*memory.shape[:-2], 0, hidden)] * 2
    return Call(tensors, layers, output, numbers)
