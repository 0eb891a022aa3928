"""States of networks in files of `torch.export.save` and of `torch.save`."""

from typing import Any, TypeVar

from torch.serialization import add_safe_globals

from lightning_ntm.kernels.torch_internals import make_serializable

StateType = TypeVar("StateType", bound=type[Any])


def exportable(state_type: StateType) -> StateType:
    """Let exported networks with states of this type be saved and loaded with `torch.export`, and states by `torch`.

    A decorator for the state of a network of your own. The file has the import path of the type; loading a file needs
    the type to be imported. `torch.load` then takes states without `weights_only=False`: they are tuples of tensors.

    Args:
        state_type: A `NamedTuple` of tensors and of further such tuples.
    """
    make_serializable(state_type, f"{state_type.__module__}.{state_type.__qualname__}")
    add_safe_globals([state_type])
    return state_type
