"""The base classes of the parts of a memory network: controller and memory.

Both are modules without hidden state: everything they remember is in the state that `step` takes and returns.
"""

import abc
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_ntm.kernels.torch_internals import has_hooks
from lightning_ntm.models.arguments import KeepsArguments
from lightning_ntm.states import named

ControllerState = TypeVar("ControllerState")
MemoryState = TypeVar("MemoryState")

# Constructors name `Controller` and `Memory` without a type of state: jsonargparse takes no parts for `Memory[Any]`.


class Controller(KeepsArguments, nn.Module, abc.ABC, Generic[ControllerState]):
    """Computes a vector in each step from the input and the last reads; heads and output are computed from it.

    A subclass sets both sizes and gives `initial_state` and `step`. `ControllerState` is a `NamedTuple` of tensors and
    of further such tuples; a controller without a state returns one without fields.
    """

    #: Numbers per step of the controller's input: the network's input and the last reads.
    input_size: int
    #: Numbers per step of the controller's output.
    output_size: int

    @abc.abstractmethod
    def initial_state(self, *batch: int) -> ControllerState:
        """Return the state before the first step; each tensor begins with the axes `*batch`."""

    @abc.abstractmethod
    def step(
        self, x: Float[Tensor, "*batch inputs"], state: ControllerState
    ) -> tuple[Float[Tensor, "*batch outputs"], ControllerState]:
        """Run one step. Pure: returns the next state, changes nothing."""

    def forward(
        self, x: Float[Tensor, "*batch inputs"], state: ControllerState
    ) -> tuple[Float[Tensor, "*batch outputs"], ControllerState]:
        """Run one step with the hooks of the module."""
        return self.step(x, state)


class Memory(KeepsArguments, nn.Module, abc.ABC, Generic[MemoryState]):
    """A memory that is read and written in each step, as the interface vector of the controller says.

    A subclass sets both sizes and gives `initial_state`, `step` and `reads`. `MemoryState` is a `NamedTuple` of tensors
    and of further such tuples.
    """

    #: Numbers per step of the interface vector, which a linear layer computes from the output of the controller.
    interface_size: int
    #: Numbers per step that are read.
    read_size: int
    #: Names of attributes that `repr` shows.
    shown: ClassVar[tuple[str, ...]] = ()
    #: The type of a state with any number of slots, whose first tensor is `(..., slots, width)`.
    state_type: ClassVar[type[tuple[Any, ...]] | None] = None
    #: Whether `initial_state` takes `like`.
    takes_like: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Find out whether the `initial_state` of a subclass takes `like`."""
        super().__init_subclass__(**options)
        if "initial_state" in vars(cls):
            cls.takes_like = "like" in inspect.signature(cls.initial_state).parameters

    @abc.abstractmethod
    def initial_state(self, *batch: int, slots: int | None = None) -> MemoryState:
        """Return the state before the first step; each tensor begins with the axes `*batch`.

        It may take a further argument, `like`: a parameter of the network, whose device and dtype the state then has.

        Args:
            batch: Sizes of the leading axes.
            slots: Memory slots, by default those the memory was made with.

        Raises:
            ValueError: The memory cannot have this number of slots.
        """

    @abc.abstractmethod
    def step(self, interface: Float[Tensor, "*batch interface"], state: MemoryState) -> MemoryState:
        """Run one step. Pure: returns the next state, changes nothing."""

    @abc.abstractmethod
    def reads(self, state: MemoryState) -> Float[Tensor, "*batch reads"]:
        """Return the reads of the step that led to a state."""

    def extra_repr(self) -> str:
        """Return the arguments in `shown` for `repr`."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)

    def slots_of(self, state: Any) -> int | None:
        """Return the slots of a state, or `None` if their number is fixed or the state is of another type."""
        first = state[0] if self.state_type and isinstance(state, self.state_type) else None
        return first.shape[-2] if isinstance(first, Tensor) and first.ndim > 1 else None

    def observe(
        self, interface: Float[Tensor, "*batch interface"], state: MemoryState
    ) -> tuple[MemoryState, dict[str, Tensor]]:
        """Run one step and return its state and tensors for a trace: by default, those of the state."""
        state = self.step(interface, state)
        return state, named(state)

    def forward(self, interface: Float[Tensor, "*batch interface"], state: MemoryState) -> MemoryState:
        """Run one step with the hooks of the module."""
        return self.step(interface, state)


def traced(
    memory: Memory[MemoryState], interface: Float[Tensor, "*batch interface"], state: MemoryState
) -> tuple[MemoryState, dict[str, Tensor]]:
    """Run one step of a memory and return what it observes; or the tensors of the state, if it would observe another.

    It would if there are hooks, or if its `step` was overridden and `observe` was not.
    """
    own, order = memory.__dict__, type(memory).__mro__
    step, observe = (next(kind for kind in order if name in kind.__dict__) for name in ("step", "observe"))
    overridden = "step" in own or "forward" in own
    if observe is not Memory:  # its own observes whatever the step is
        overridden = overridden or order.index(step) < order.index(observe)
    if has_hooks(memory) or (overridden and "observe" not in own):
        state = memory(interface, state)
        return state, named(state)
    return memory.observe(interface, state)


class PlacedMemory(Memory[MemoryState]):
    """A memory without parameters: its state is like the network that it is a part of.

    A memory used alone has the device and dtype that it was moved to; an empty buffer keeps track of them.
    """

    _like: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_like", torch.empty(0), persistent=False)


def follow_parameters(network: nn.Module, _: Any = None) -> None:
    """Give the memories in a network the device and dtype of its parameters, where these are the same for all.

    A hook of `load_state_dict`, which with `assign=True` replaces the parameters and moves nothing.
    """
    parameters = [*network.parameters()]
    if len({parameter.device for parameter in parameters}) != 1 or len({one.dtype for one in parameters}) != 1:
        return
    like: dict[str, Any] = {"device": parameters[0].device, "dtype": parameters[0].dtype}
    for memory in network.modules():
        if isinstance(memory, PlacedMemory) and like != {name: getattr(memory._like, name) for name in like}:
            memory._like = torch.empty_like(memory._like, **like)


def keep_defaults(network: type[nn.Module], part: str, options: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an option that configures a built-in part, if the user passed a part of their own.

    Args:
        network: The class of the network; its signature has the defaults.
        part: Name of the part in messages.
        options: Options of the built-in part with their values.
    """
    defaults = inspect.signature(network).parameters
    for name, value in options.items():
        if value != defaults[name].default:
            raise ValueError(f"{name} (={value}) cannot be given with a {part} of your own.")
