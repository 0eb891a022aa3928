"""The loss of a sequence and all gradients as one CUDA graph, for shapes that repeat.

Around the kernel's two programs there are tens of short operations. The host needs more time to launch them than the
GPU needs to run them. A graph launches all of them at once.
"""

from collections.abc import Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels import graphs
from lightning_ntm.kernels.capture import Memory
from lightning_ntm.kernels.loss import Criterion, Gradients, Program, Results
from lightning_ntm.kernels.torch_internals import copy_into


def replayed(
    owner: Any,
    program: "partial[Results]",
    criterion: Criterion,
    episodes: Sequence[Tensor],
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> Program:
    """Return a program that replays a graph of the given program, or the program itself if there is no graph.

    The third call of a shape is captured, up to the maximum number of graphs.

    Args:
        owner: The network. Its graphs are freed with it.
        program: The program. Equal functions with equal arguments must compute the same.
        criterion: Computes the loss. Methods of equal objects must compute the same.
        episodes: Tensors that are copied into the memory of the graph.
        state: Likewise.
        weights: Tensors that the graph reads in place.
    """
    if not graphs.can_capture(episodes[0].device):
        return program
    given = [(part.shape, part.dtype) for part in (*episodes, *state)]
    places = [(part.data_ptr(), part.shape, part.stride(), part.dtype) for part in weights]
    key = (*_parts(program), *_parts(criterion), *given, *places, *graphs.settings())

    try:
        hash(key)
    except TypeError:  # of an answer with a field that has no hash
        return program

    def capture(memory: Memory) -> _Graph:
        return _Graph(memory, program, criterion, episodes, state, weights)

    return graphs.find(owner, key, episodes[0].device, capture) or program


def _parts(function: Any) -> tuple[Any, ...]:
    """Return what identifies a function. Python compares methods and partial functions by identity, not by value."""
    if isinstance(function, MethodType):
        return function.__func__, function.__self__
    return (function.func, *function.args) if isinstance(function, partial) else (function,)


class _Graph:
    """A captured program.

    Args:
        memory: Memory that is shared with other graphs.
        program: The program to capture.
        criterion: Computes the loss.
        episodes: Tensors of the shapes and dtypes of all calls.
        state: Likewise.
        weights: Tensors that are read in place.

    Raises:
        RuntimeError: The program cannot be captured.
    """

    def __init__(
        self,
        memory: Memory,
        program: "partial[Results]",
        criterion: Criterion,
        episodes: Sequence[Tensor],
        state: Sequence[Tensor],
        weights: Sequence[Tensor],
    ):
        self.memory, self.used = memory, 0
        copies = [[part.detach().clone() for part in parts] for parts in (episodes, state)]
        self.given = [*copies[0], *copies[1]]
        work = partial(program, criterion, copies[0], [*copies[1], *(weight.detach() for weight in weights)])
        memory.warm_up(lambda: [work().logits])
        self.graph, self.results = memory.capture(work)

    @torch.no_grad()
    def __call__(self, criterion: Criterion, episodes: Sequence[Tensor], tensors: Sequence[Tensor]) -> Results:
        with self.memory.lock:
            self.memory.take()
            copy_into(self.given, [*episodes, *tensors[: len(self.given) - len(episodes)]])
            self.graph.replay()
            loss, costs, logits, gradients, _ = self.results
            lent = Gradients(gradients.tensors, shared=True)
            self.memory.lent.add(lent)
            return Results(loss.clone(), costs.clone(), logits.clone(), lent)
