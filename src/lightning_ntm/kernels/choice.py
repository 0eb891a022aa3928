"""Which fused program, if any, runs a sequence."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple


class Kernel(NamedTuple):
    """A fused program, named by where it lives, so that nothing is imported before it is used.

    Args:
        program: `"module:function"`; called as `function(model, inputs, state)`, returns
            `(logits, state)` with the numbers of the model's own loop.
        refusal: `"module:function"`; called with the same arguments, returns `None` when the
            program can run them, else the reason why not, as a sentence for the user.
        stacked: `"module:function"`; called with a model whose parameters are those of many networks of one
            architecture, and with their inputs and states, all with a leading axis of networks. Without one, `program`
            is called for each network.
        loss: `"module:function"`; called as `function(model, episodes, state, criterion, scaled=...)`, for several
            networks with a model as for `stacked`. Returns a `kernels.loss.Loss` with the gradients of the model's own
            loop. Without it, autograd computes the gradients of what `program` returns.
        prepared: `"module:function"`; called as `function(model, known)` with a `kernels.loss.KnownLoss`. Returns a
            `kernels.cpu.prepared.Prepared`, for losses of the same network in each step of a training.
    """

    program: str
    refusal: str
    stacked: str | None = None
    loss: str | None = None
    prepared: str | None = None


def choose(kernels: Mapping[str, Kernel], backend: str, *call: Any) -> Callable[..., Any] | None:
    """Return the program that runs this call, or `None` for the model's own loop; as `choose_kernel`."""
    kernel = choose_kernel(kernels, backend, *call)
    return load(kernel.program) if kernel else None


def choose_kernel(kernels: Mapping[str, Kernel], backend: str, *call: Any) -> Kernel | None:
    """Return the kernel that runs this call, or `None` for the model's own loop.

    Args:
        kernels: What the model offers, best first.
        backend: `"auto"`, `"reference"` or a name in `kernels`.
        call: The model, its inputs and its state.

    Raises:
        ValueError: `backend` was asked for by name and does not exist or cannot run this call.
    """
    if backend == "reference":
        return None
    if backend == "auto":
        for kernel in kernels.values():
            if not _reason(kernel, call):
                return kernel
        return None
    if backend not in kernels:
        known = ", ".join(("auto", "reference", *kernels))
        raise ValueError(f"backend (={backend!r}) does not exist for {type(call[0]).__name__}; known: {known}.")
    if reason := _reason(kernels[backend], call):
        raise ValueError(f"backend (={backend!r}) cannot run this call: {reason}")
    return kernels[backend]


def chosen(kernels: Mapping[str, Kernel], backend: str, *call: Any) -> str:
    """Return the name of what `choose` returns for the same arguments."""
    names = list(kernels) if backend == "auto" else [backend]
    return next((name for name in names if name in kernels and not _reason(kernels[name], call)), "reference")


def _reason(kernel: Kernel, call: tuple[Any, ...]) -> str | None:
    try:
        return load(kernel.refusal)(*call)
    except ImportError as error:
        return f"{error}."


def prepare(kernels: Mapping[str, Kernel]) -> None:
    """Load what can be loaded, so that `torch.compile` meets functions and no imports."""
    for kernel in kernels.values():
        with suppress(ImportError):
            load(kernel.program)
            load(kernel.refusal)


_loaded: dict[str, Callable[..., Any]] = {}


def load(path: str) -> Callable[..., Any]:
    """Return the function named as `"module:function"`."""
    if path not in _loaded:
        module, _, name = path.partition(":")
        _loaded[path] = getattr(import_module(module), name)
    return _loaded[path]
