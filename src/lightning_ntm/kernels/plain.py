"""Checks that a kernel computes exactly what a call would: methods, modules and tensors are as the model declares.

A kernel reads weights and calls no modules. It would ignore hooks, adapters, parametrizations and subclasses, and read
beyond an array if a part had another size.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, wraps
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_ntm.kernels.torch_internals import (
    has_dispatch_modes,
    has_function_modes,
    has_global_hooks,
    has_hooks,
    in_forward_mode,
    in_functorch_transform,
    own_parameters,
)
from lightning_ntm.states import flatten, named

#: Types of tensors whose numbers are at their address and that have no behaviour of their own.
PLAIN = (Tensor, nn.Parameter)

#: Methods of parts that kernels replace, apart from the methods that these call.
PART_METHODS = frozenset(("forward", "step", "reads", "recur"))

Function = TypeVar("Function", bound=Callable[..., Any])

#: A name, the module, and the types that it may have.
Part = tuple[str, Any, tuple[type[nn.Module], ...]]


class Shapes:
    """Shapes of the tensors of a state, and of weights and biases of linear layers.

    Args:
        state: All shapes.
        weights: All shapes; those of the biases follow.
    """

    def __init__(self, state: Sequence[tuple[int, ...]], weights: Sequence[tuple[int, int]]):
        self.state, self.weights, self.biases = state, weights, [shape[:1] for shape in weights]


@runtime_checkable
class Declared(Protocol):
    """A model that declares what its kernels replace."""

    #: Methods of the class that declares `kernels`.
    replaced_methods: tuple[str, ...]

    def replaced_parts(self) -> Iterator[Part]:
        """Yield modules, each before its children: the children are read only if the type of the module was allowed."""
        ...

    def replaced_shapes(self, batch_size: int, state: Any) -> Shapes:
        """Return the required shapes of the tensors of a state, and of the weight and bias of each linear layer."""
        ...


def kept(function: Function) -> Function:
    """Cache results by arguments, except while PyTorch traces: then sizes may be symbols."""
    cached = lru_cache(256)(function)

    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        return function(*arguments) if _traced() else cached(*arguments)

    return wrapped  # type: ignore[return-value]


def transformed() -> str | None:
    """Return why an active function transform rules out a kernel, or `None`."""
    if in_functorch_transform():
        return "it cannot be transformed by torch.func."
    if in_forward_mode():
        return "it has no forward-mode derivative."
    if not torch.compiler.is_compiling() and has_function_modes():
        return "a mode sees or changes the functions of PyTorch."
    return None


def changed(model: Declared, inputs: Tensor, state: Any) -> str | None:
    """Return what differs from the declaration of the model, so that no kernel can run the call, or `None`."""
    if reason := replaced(model):
        return reason
    if has_global_hooks():
        return "there are hooks of all modules."
    if not _traced() and (type(inputs) not in PLAIN or is_unreadable(inputs)):
        return f"the inputs are a {type(inputs).__name__} that cannot be read by its address."
    names, weights, biases = [], [], []
    for name, part, types in model.replaced_parts():
        if type(part) not in types:
            return f"{name} is a {type(part).__name__}, not a {' or a '.join(t.__name__ for t in types)}."
        if has_hooks(part):
            return f"{name} has hooks."
        if not PART_METHODS.isdisjoint(part.__dict__):
            return f"{name} has a method of its own: {', '.join(PART_METHODS & part.__dict__.keys())}."
        if types == LINEAR:
            names.append(name)
            parameters = own_parameters(part)
            weights.append(parameters.get("weight"))
            biases.append(parameters.get("bias"))
    shapes = model.replaced_shapes(inputs.shape[0], state)
    return (
        unlike(lambda: [f"state.{name}" for name in named(state)], flatten(state), shapes.state, inputs)
        or unlike(lambda: [f"{name}.weight" for name in names], weights, shapes.weights, inputs)
        or unlike(lambda: [f"{name}.bias" for name in names], biases, shapes.biases, inputs)
    )


#: The types of a part whose weight and bias a kernel reads.
LINEAR = (nn.Linear,)


def linear_layers(model: Declared) -> dict[str, nn.Linear]:
    """Return the linear layers that a model declares, by name, in the order of `replaced_shapes`."""
    return {name: part for name, part, types in model.replaced_parts() if types == LINEAR}


def replaced(model: Any) -> str | None:
    """Return which method that kernels replace is another one, of a subclass or of the network alone, or `None`."""
    if reason := overridden(type(model)):
        return reason
    for method in model.replaced_methods:
        if method in model.__dict__:
            return f"{method} of the network was replaced."
    return None


@kept
def overridden(kind: type[Any]) -> str | None:
    """Return which method that kernels replace a subclass overrides, or `None`."""
    declaring = next(parent for parent in kind.__mro__ if "kernels" in parent.__dict__)
    for method in kind.replaced_methods:
        if getattr(kind, method) is not getattr(declaring, method):
            return f"{kind.__name__}.{method} is not {declaring.__name__}.{method}."
    return None


def unlike(
    names: Callable[[], list[str]], tensors: Sequence[Any], shapes: Sequence[tuple[int, ...]], inputs: Tensor
) -> str | None:
    """Return which tensor has an unexpected type, shape, device or dtype; names are computed only for the message."""
    traced, device, dtype = _traced(), inputs.device, getattr(tensors[0], "dtype", None)
    if len(tensors) != len(shapes):
        return f"{', '.join(names())} are {len(tensors)} tensors, not {len(shapes)}."
    for i, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        if tensor is None:
            return f"{names()[i]} is not a parameter."
        if not traced and (type(tensor) not in PLAIN or tensor.layout is not torch.strided or is_unreadable(tensor)):
            return f"{names()[i]} is a {type(tensor).__name__} that cannot be read by its address."
        if tensor.shape != shape:
            return f"{names()[i]} has shape {tuple(tensor.shape)}, not {shape}."
        if tensor.device != device:
            return f"{names()[i]} is on {tensor.device}, the inputs are on {device}."
        if tensor.dtype != dtype:
            return f"{names()[i]} is {tensor.dtype}, {names()[0]} is {dtype}."
    return None


def is_unreadable(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor are not those at its address.

    The tensor has the negative bit, or its storage was resized and is too small.
    """
    if tensor.is_neg():
        return True
    # Views with strides of 0 are also larger than their storage, but valid.
    return tensor.untyped_storage().nbytes() < tensor.nbytes and tensor.is_contiguous()


def _traced() -> bool:
    """Return whether operations are traced: then tensors may stand for others."""
    return torch.compiler.is_compiling() or has_dispatch_modes()
