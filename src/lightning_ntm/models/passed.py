"""States that users pass to a network."""

from typing import Any

from torch import Tensor


def check_state(state: Any, start: Any, batch: tuple[int, ...], name: str = "state") -> None:
    """Raise an error unless a state has the types, shapes and dtypes of an initial state.

    Args:
        state: The state that a user passed.
        start: An initial state with the same number of leading axes.
        batch: Sizes of the leading axes.
        name: Name of the state in messages.

    Raises:
        TypeError: The state, or one in it, is of another type, or a tensor of another dtype.
        ValueError: A tensor has another shape.
    """
    if not isinstance(state, type(start)):
        raise TypeError(
            f"{name} must be of type {type(start).__name__}, as forward and initial_state return it, "
            f"got {type(state).__name__}."
        )
    for field, part in start._asdict().items():
        given, path = state._asdict()[field], f"{name}.{field}"
        if isinstance(part, tuple):
            check_state(given, part, batch, path)
        else:
            _check_tensor(given, part, batch, path)


def _check_tensor(given: Any, start: Tensor, batch: tuple[int, ...], name: str) -> None:
    shape = (*batch, *start.shape[len(batch) :])
    if not isinstance(given, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(given).__name__}.")
    if tuple(given.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(given.shape)}.")
    if given.dtype != start.dtype:
        raise TypeError(f"{name} must have dtype {start.dtype}, got {given.dtype}.")
