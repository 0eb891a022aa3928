"""The loop of a model for one input shape as two CUDA graphs: one of the forward, one of the backward.

A graph works on fixed memory: inputs are copied in and results are copied out. Parameters are read in place, so a graph
sees their updates. Several graphs share the memory for the activations that a backward needs, so it holds those of the
latest call only. The backward of an earlier call first replays its forward, so calls and backwards may come in any
order.
"""

import copy
import pickle
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import disable_saved_tensors_hooks

from lightning_ntm.kernels.derivatives import first_only
from lightning_ntm.kernels.torch_internals import clear_cublas_workspaces, leave_pool
from lightning_ntm.states import flatten, unflatten

Gradients = Sequence[Tensor | None]
Results = TypeVar("Results")


class Memory:
    """Memory that several graphs share; one replays at a time. It holds the activations of the call `latest`."""

    def __init__(self, device: torch.device):
        self.device, self.lock, self.latest = device, threading.Lock(), object()
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
        self.lent = WeakSet[Any]()

    def warm_up(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Run work on the stream of the captures, so that nothing is initialised during a capture."""
        outside = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(outside)
        with torch.random.fork_rng([self.device], device_type="cuda"), torch.cuda.stream(self.stream):
            before = self._random_states()
            results = [work() for _ in range(3)][-1]
            after = self._random_states()
        outside.wait_stream(self.stream)
        if before != after:
            raise RuntimeError("its step draws random numbers")  # a replayed forward would draw other numbers
        return results

    def take(self) -> None:
        """Make the memory free for a replay: what was lent from it is copied, and activations in it are lost."""
        for gradients in list(self.lent):
            gradients.keep()
        self.lent.clear()
        self.latest = object()

    def _random_states(self) -> bytes:
        states = torch.get_rng_state().tolist(), torch.cuda.get_rng_state(self.device).tolist()
        return pickle.dumps((states, random.getstate(), np.random.get_state()))

    def capture(self, work: Callable[[], Results]) -> tuple[Any, Results]:
        """Return work as a graph, and its results, which each replay overwrites."""
        graph = torch.cuda.CUDAGraph()
        clear_cublas_workspaces()  # the graph then allocates one in its own pool, which lives as long as it does
        try:
            # A failed capture leaves its stream current. Other threads, such as one that pins memory, may continue.
            with (
                torch.cuda.stream(self.stream),
                torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"),
            ):
                return graph, work()
        except RuntimeError:
            with suppress(RuntimeError):  # it also leaves the pool of the allocator active
                leave_pool(self.stream.device_index, self.pool)
            raise
        finally:
            clear_cublas_workspaces()


class Graph:
    """The loop of a model over inputs of one shape.

    Args:
        memory: Memory that is shared with other graphs.
        model: The model. Only the addresses of its tensors are used later.
        inputs: Inputs like those of all calls, apart from the numbers.
        state: A state like those of all calls, apart from the numbers.
        tensors: All tensors of the model, parameters and others.

    Raises:
        RuntimeError: The loop cannot be captured.
    """

    def __init__(self, memory: Memory, model: Any, inputs: Tensor, state: Any, tensors: Sequence[Tensor]):
        self.memory, self.used = memory, 0
        saved = _saved(tensors)
        # Separate leaves: hooks of parameters, and the streams of their gradients, must not be captured.
        arguments = [_leaf(t.detach().clone(), t) for t in (inputs, *flatten(state))]
        own = [_leaf(t.detach(), t) for t in tensors]
        twin = copy.deepcopy(model, {id(t): leaf for t, leaf in zip(tensors, own, strict=True)})
        for part in twin.modules():
            if hasattr(part, "unroll"):  # a model that is part of this one
                part.backend = "reference"

        def forward() -> list[Tensor]:
            logits, end = twin.unroll(arguments[0], unflatten(state, arguments[1:]))
            return [logits, *flatten(end)]

        def trial() -> list[Tensor]:
            outputs = forward()
            _backward(outputs, [torch.ones_like(o) if o.requires_grad else None for o in outputs], [*arguments, *own])
            return outputs

        tried = memory.warm_up(trial)
        if _changed(saved):
            raise RuntimeError("its step changes tensors of the model")
        if _has_leaves_beside(tried, [*arguments, *own]):
            raise RuntimeError("its step uses a tensor that needs a gradient and is not part of the model")
        self.gradients = [torch.empty_like(o) if o.requires_grad else None for o in tried]
        del tried
        self.forward_graph, outputs = memory.capture(forward)
        if any(gradient is not None for gradient in self.gradients):
            work = partial(_backward, outputs, self.gradients, [*arguments, *own])
            self.backward_graph, self.results = memory.capture(work)
        self.inputs, self.outputs = [t.detach() for t in arguments], [t.detach() for t in outputs]

    def forward(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], object]:
        """Return the outputs for inputs and state, and an object that identifies this call."""
        with self.memory.lock:
            self._replay_forward(tensors)
            return [output.clone() for output in self.outputs], self.memory.latest

    def backward(self, call: object, tensors: Sequence[Tensor], gradients: Gradients) -> Gradients:
        """Return the gradients of inputs, state and tensors of the model in a call, from those of its outputs."""
        with self.memory.lock:
            if self.memory.latest is not call:
                self._replay_forward(tensors)
            self.memory.take()  # a backward overwrites activations
            for static, gradient in zip(self.gradients, gradients, strict=True):
                if static is not None:
                    static.zero_() if gradient is None else static.copy_(gradient)
            self.backward_graph.replay()
            return [result if result is None else result.clone() for result in self.results]

    def _replay_forward(self, tensors: Sequence[Tensor]) -> None:
        for static, tensor in zip(self.inputs, tensors, strict=False):  # those of the model are read in place
            static.copy_(tensor)
        self.memory.take()
        self.forward_graph.replay()


class Replay(torch.autograd.Function):
    """Runs a graph for `(graph, inputs, *tensors of the state, *tensors of the model)`."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return logits and state."""
        ctx.graph = graph
        ctx.save_for_backward(*tensors)  # for a second forward; PyTorch also detects changes in place
        ctx.set_materialize_grads(False)
        outputs, ctx.call = graph.forward(tensors)
        ctx.mark_non_differentiable(*(o for o, g in zip(outputs, graph.gradients, strict=True) if g is None))
        return tuple(outputs)

    @staticmethod
    @first_only
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of all tensors."""
        return None, *ctx.graph.backward(ctx.call, ctx.saved_tensors, gradients)


class _Saved(torch.autograd.Function):
    """Saves tensors for a backward that never runs: autograd then finds whether one was changed in place."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return result.clone()


def _saved(tensors: Sequence[Tensor]) -> Any:
    """Return tensors as they are saved for a backward."""
    with torch.enable_grad(), disable_saved_tensors_hooks("hooks for saved tensors are on"):
        return _Saved.apply(torch.zeros((), requires_grad=True), *tensors).grad_fn


def _changed(saved: Any) -> bool:
    """Return whether one of saved tensors was changed in place since, even to the same numbers."""
    try:
        return saved.saved_tensors is None
    except RuntimeError:
        return True


def _leaf(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.requires_grad_(torch.is_grad_enabled() and like.requires_grad)


def _backward(outputs: Sequence[Tensor], gradients: Gradients, leaves: Sequence[Tensor]) -> Gradients:
    """Return the gradient of each leaf, or `None`."""
    flowing = [(output, gradient) for output, gradient in zip(outputs, gradients, strict=True) if gradient is not None]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    if not flowing:
        return []
    ends, starts = zip(*flowing, strict=True)
    found = iter(torch.autograd.grad(ends, wanted, starts, allow_unused=True))
    return [next(found) if leaf.requires_grad else None for leaf in leaves]


def _has_leaves_beside(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> bool:
    """Return whether the outputs depend on other leaves than these."""
    known = {id(leaf) for leaf in leaves}
    nodes = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if id(getattr(node, "variable", leaves[0])) not in known:
            return True
        new = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= new
        nodes += new
    return False
