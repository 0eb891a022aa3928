"""Networks of one architecture that run together, such as the seeds of an experiment."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lightning_ntm.checks import check_kind, one_of
from lightning_ntm.kernels.choice import Kernel, choose_kernel, chosen, load
from lightning_ntm.kernels.loss import Criterion, Loss, obstacle
from lightning_ntm.kernels.torch_internals import has_hooks, is_compiled, multiply
from lightning_ntm.models.alike import check_alike, tensors_of
from lightning_ntm.models.base import MemoryModel, State, run_in_segments
from lightning_ntm.models.passed import check_state
from lightning_ntm.states import flatten, mapped, unflatten

Method = TypeVar("Method", bound=Callable[..., Any])


class _Lock:
    """A lock of its own for each copy of what has it."""

    def __init__(self) -> None:
        self.held = threading.RLock()

    def __reduce__(self) -> tuple[type["_Lock"], tuple[()]]:
        return _Lock, ()


def _in_one_thread(method: Method) -> Method:
    """Let one thread at a time run such methods: calls put tensors of one network in place of those of all."""

    @wraps(method)
    def run(self: Any, *arguments: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            return method(self, *arguments, **options)
        with self._lock.held:
            return method(self, *arguments, **options)

    return run  # type: ignore[return-value]


class Stack(nn.Module, Generic[State]):
    """Networks of one architecture that run side by side in one call.

    Each network has its own weights, inputs and state; all tensors have a leading axis of networks. Network i computes
    what member i computes alone on `inputs[i]`: bit by bit with a CPU kernel, which runs one network after the other,
    and up to rounding where networks run at once.

    The parameters are in `networks`, a network of the members' class that holds the stacked parameters of all members:
    `networks.heads.weight` has the shape `(networks, rows, columns)`. Optimizers that work element by element, as SGD,
    RMSprop and Adam do, train each network as if it were alone.

    Several Python threads can call a stack; their calls run one after the other.

    The loop over `step` runs all networks at once with `torch.func.vmap`. A network of your own must support
    it: no control flow that depends on numbers, and no in-place changes of tensors that do not depend on parameters,
    inputs or state.

    Args:
        members: Networks of one class with the same arguments, at least one. Their weights are copied.
        backend: Replaces the members' own. `auto` takes the fastest program that can run a call: on a CUDA device NTMs
            run in one launch, on the CPU the kernel of the members runs one network after the other. `reference` takes
            the loop over `step`. With the name of a kernel, this kernel runs the call, or an error gives the reason why
            it cannot.

    Shape:
        - inputs: `(networks, batch, time, input_size)`, with at least one step
        - logits: `(networks, batch, time, output_size)`
        - state: the members' `NamedTuple`, each part `(networks, batch, ...)`

    Raises:
        ValueError: There are no members, or they differ in more than the numbers in their parameters and buffers: in
            an attribute, a function, a tensor that is not registered, or a hook of a part; or a member has a `forward`
            or hooks of its own, or on gradients of its parameters, which would not be called.
    """

    networks: MemoryModel[State]

    def __init__(self, members: Sequence[MemoryModel[State]], backend: str = "auto"):
        super().__init__()
        self._lock = _Lock()
        check_alike(members)
        one_of(("auto", "reference", *members[0].kernels), backend=backend)
        self.num_networks = len(members)
        tensors = [tensors_of(member) for member in members]
        stacked = {name: torch.stack([of_one[name].detach() for of_one in tensors]) for name in tensors[0]}
        self.networks = _copy_with(members[0], stacked)
        self.backend = backend

    @_in_one_thread
    def members(self) -> list[MemoryModel[State]]:
        """Return the networks as independent models with copies of the weights."""
        stacked = tensors_of(self.networks).items()
        own = [{name: tensor.detach()[i].clone() for name, tensor in stacked} for i in range(self.num_networks)]
        return [_copy_with(self.networks, tensors) for tensors in own]

    @property
    def backend(self) -> str:
        """The program that runs sequences; see the class."""
        return self.networks.backend

    @backend.setter
    def backend(self, backend: str) -> None:
        self.networks.backend = backend

    @property
    def memory_slots(self) -> int:
        """Default number of memory slots of each network; an error if the members have none."""
        networks: Any = self.networks
        return networks.memory_slots

    @_in_one_thread
    def initial_state(self, *batch: int, slots: int | None = None) -> State:
        """Return the states before the first step of a sequence.

        Args:
            batch: Sizes of the axes after that of the networks.
            slots: Memory slots of each network, if its `initial_state` takes them.
        """
        options = {} if slots is None else {"slots": slots}
        return self._side_by_side(lambda network: network.initial_state(*batch, **options))

    @_in_one_thread
    def step(
        self, x: Float[Tensor, "networks batch inputs"], state: State
    ) -> tuple[Float[Tensor, "networks batch outputs"], State]:
        """Run one step of each network."""
        return self._side_by_side(lambda network, x, state: network.step(x, state), x, state)

    @_in_one_thread
    def forward(
        self, inputs: Float[Tensor, "networks batch time inputs"], state: State | None = None
    ) -> tuple[Float[Tensor, "networks batch time outputs"], State]:
        """Run a sequence through each network; pass the returned state back in to continue it.

        Raises:
            ValueError: Inputs or state have the wrong shape, or `backend` cannot run the call.
            TypeError: The state differs in type or dtype from the states that the networks return.
        """
        state = self._checked(inputs, state)
        steps = self.networks.checkpoint_every
        if not steps or not torch.is_grad_enabled():
            return self._segment(inputs, state)
        return run_in_segments(self._segment, inputs, state, steps)

    @_in_one_thread
    def loss_by_kernel(
        self,
        episodes: Sequence[Shaped[Tensor, "networks batch time ..."]],
        criterion: Criterion,
        state: State | None = None,
    ) -> Loss | None:
        """Return the loss of sequences from a kernel that runs all networks and computes all gradients at once.

        As `MemoryModel.loss_by_kernel`; logits and episodes have a leading axis of networks.
        """
        inputs = episodes[0]
        state = self._checked(inputs, state)
        kernel: Kernel | None = self._ask(choose_kernel, inputs, state)
        if kernel is None or kernel.stacked is None or kernel.loss is None:
            return None
        own = type(self).forward is not Stack.forward or "forward" in self.__dict__
        if own or has_hooks(self) or is_compiled(self) or obstacle(self.networks, episodes):
            return None
        found: Loss = load(kernel.loss)(self.networks, episodes, state, criterion, scaled=True)
        return found

    @_in_one_thread
    def backend_for(self, inputs: Float[Tensor, "networks batch time inputs"]) -> str:
        """Return the name of the backend that runs such inputs: `reference` or a kernel of the members' class."""
        return self._ask(chosen, inputs, self._checked(inputs, None))

    def clip_gradients(self, max_norm: float) -> Float[Tensor, " networks"]:
        """Scale the gradients of each network whose norm exceeds `max_norm` down to it; as `clip_grad_norm_` for each.

        Returns:
            The norms before clipping. Nothing waits for the device.
        """
        gradients = [p.grad.detach() for p in self.parameters() if p.grad is not None]
        if not gradients:
            return next(self.parameters()).new_zeros(self.num_networks)
        # As `clip_grad_norm_` does it, so that the bits are those of each network alone.
        of_each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
        norms = torch.linalg.vector_norm(torch.stack(of_each, dim=1), dim=1)
        scales = (max_norm / (norms + 1e-6)).clamp(max=1)
        multiply(gradients, [scales.view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients])
        return norms

    def _checked(self, inputs: Any, state: State | None) -> State:
        networks, size = self.num_networks, self.networks.input_size
        check_kind(Tensor, f"a tensor of shape ({networks}, batch, time, {size})", inputs=inputs)
        if inputs.ndim != 4 or inputs.shape[::3] != (networks, size) or inputs.shape[2] == 0:
            raise ValueError(
                f"inputs must have shape ({networks}, batch, time, {size}) with at least one step, "
                f"got {tuple(inputs.shape)}."
            )
        if state is None:
            return self.initial_state(inputs.shape[1])
        start = self._call(lambda network: network._start_like(state), self._of_first())
        check_state(state, mapped(lambda part: part.unsqueeze(0), start), inputs.shape[:2])
        return state

    @_in_one_thread
    def _segment(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        kernel: Kernel | None = self._ask(choose_kernel, inputs, state)
        if kernel is None:
            return self._side_by_side(lambda network, *call: network.unroll(*call), inputs, state)
        if kernel.stacked is None:
            return self._one_by_one(load(kernel.program), inputs, state)
        return load(kernel.stacked)(self.networks, inputs, state)

    def _ask(self, question: Callable[..., Any], inputs: Tensor, state: State) -> Any:
        """Ask which kernel runs the call of the first network; the calls of the others differ in numbers only."""
        kernels, backend = self.networks.kernels, self.backend
        first = mapped(lambda part: part[0], state)
        return self._call(lambda *call: question(kernels, backend, *call), self._of_first(), inputs[0], first)

    @torch.no_grad()
    def _of_first(self) -> dict[str, Tensor]:
        return {name: tensor[0] for name, tensor in tensors_of(self).items()}

    def _side_by_side(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function with all networks at once; arguments and results have a leading axis of networks."""
        return at_once(self.networks, tensors_of(self), function, *args)

    def _one_by_one(
        self, program: Callable[..., tuple[Tensor, State]], inputs: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Run a program for each network: with the operations, and so the rounding, of a member alone."""
        results = [self._call(program, *call) for call in self._each(inputs, state)]
        logits, states = zip(*results, strict=True)
        return torch.stack(logits), mapped(lambda *parts: torch.stack(parts), *states)

    def _each(self, inputs: Tensor, state: Any) -> Iterator[tuple[dict[str, Tensor], Tensor, State]]:
        """Yield views of the tensors, the inputs and the state of each network."""
        # The backward of `tensor[i]` would fill a tensor of all networks with zeros; that of `unbind` does not.
        tensors = {name: tensor.unbind() for name, tensor in tensors_of(self).items()}
        parts = [part.unbind() for part in flatten(state)]
        for i, of_one in enumerate(inputs.unbind()):
            own = unflatten(state, [part[i] for part in parts])
            yield {name: of_all[i] for name, of_all in tensors.items()}, of_one, own

    def _call(self, function: Callable[..., Any], tensors: dict[str, Tensor], *args: Any) -> Any:
        """Call a function with a network that temporarily has these tensors."""
        return functional_call(_Caller(self.networks), tensors, (function, *args))


def at_once(network: MemoryModel[Any], tensors: dict[str, Tensor], function: Callable[..., Any], *args: Any) -> Any:
    """Call a function with several networks of one architecture in each of its operations, by `torch.func.vmap`.

    Args:
        network: One of the networks.
        tensors: The parameters and buffers of all, as `tensors_of` names them in a `Stack`. All tensors, and so all
            results, have a leading axis of networks.
        function: Is called with a network and `args`.
        args: Tensors and tuples of tensors.
    """

    def of_one(own: dict[str, Tensor], *call: Any) -> Any:
        return functional_call(_Caller(network), own, (function, *call))

    return vmap(of_one, randomness="different")(tensors, *args)


class _Caller(nn.Module):
    """Calls any function with a network: `functional_call` itself calls only modules."""

    def __init__(self, networks: MemoryModel[Any]):
        super().__init__()
        self.networks = networks

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.networks, *args)


def _copy_with(model: MemoryModel[State], tensors: dict[str, Tensor]) -> MemoryModel[State]:
    """Copy a model with other tensors in place of its parameters and buffers."""
    # `deepcopy` takes what is in the memo as the copy, wherever the model refers to it.
    memo: dict[int, Any] = {}
    for name, tensor in tensors_of(model).items():
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(tensors[name], tensor.requires_grad) if is_parameter else tensors[name]
    return copy.deepcopy(model, memo)
