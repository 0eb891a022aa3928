"""States of networks in files of `torch.export.save`."""

from typing import Any, TypeVar

from lightning_ntm.kernels.torch_internals import make_serializable

StateType = TypeVar("StateType", bound=type[Any])


def exportable(state_type: StateType) -> StateType:
    """Let exported networks with states of this type be saved and loaded with `torch.export`.

    A decorator for the state of a network of your own. The file has the import path of the type; loading a file needs
    the type to be imported.

    Args:
        state_type: A `NamedTuple` of tensors and of further such tuples.
    """
    make_serializable(state_type, f"{state_type.__module__}.{state_type.__qualname__}")
    return state_type
