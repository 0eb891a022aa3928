"""Which fused program, if any, runs a sequence."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch


class Kernel(NamedTuple):
    """A fused program, named by where it lives, so that nothing is imported before it is used.

    Args:
        program: `"module:function"`; called as `function(model, inputs, state)`, returns
            `(logits, state)` with the numbers of the model's own loop.
        refusal: `"module:function"`; called with the same arguments, returns `None` when the
            program can run them, else the reason why not, as a sentence for the user.
    """

    program: str
    refusal: str


def choose(kernels: Mapping[str, Kernel], backend: str, *call: Any) -> Callable[..., Any] | None:
    """Return the program that runs this call, or `None` for the model's own loop.

    Args:
        kernels: What the model offers, best first.
        backend: `"auto"`, `"reference"` or a name in `kernels`.
        call: The model, its inputs and its state.

    Raises:
        ValueError: `backend` was asked for by name and does not exist or cannot run this call.
    """
    if backend == "reference" or (backend == "auto" and torch.compiler.is_compiling()):
        return None
    if backend == "auto":
        return next((_load(kernel.program) for kernel in kernels.values() if not _reason(kernel, call)), None)
    if backend not in kernels:
        known = ", ".join(("auto", "reference", *kernels))
        raise ValueError(f"backend (={backend!r}) does not exist for {type(call[0]).__name__}; known: {known}.")
    if reason := _reason(kernels[backend], call):
        raise ValueError(f"backend (={backend!r}) cannot run this call: {reason}")
    return _load(kernels[backend].program)


def _reason(kernel: Kernel, call: tuple[Any, ...]) -> str | None:
    try:
        return _load(kernel.refusal)(*call)
    except ImportError as error:
        return f"{error}."


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
