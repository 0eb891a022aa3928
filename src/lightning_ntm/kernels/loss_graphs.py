"""The loss of a call and all its gradients as one CUDA graph, for shapes that repeat.

A training step of a kernel is some tens of short operations around two programs, and issuing them takes the host longer
than running them takes the device. A graph issues all of them at once.
"""

from collections.abc import Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from lightning_ntm.kernels import graphs
from lightning_ntm.kernels.capture import Memory
from lightning_ntm.kernels.loss import Gradients, Judge, Judged, Program, Results
from lightning_ntm.kernels.torch_internals import copy_into


def replayed(
    owner: Any,
    program: "partial[Results]",
    judge: Judge,
    episodes: Sequence[Tensor],
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> Program:
    """Return a program that replays a graph of this one, or this one where there is none.

    A shape is captured when it comes for the third time, as long as there is room.

    Args:
        owner: The network. Its graphs end with it.
        program: Is captured. Equal functions with equal arguments compute the same.
        judge: The loss. Equal ones compute the same: a method of an equal object is equal, too.
        episodes: Tensors of the call that are copied into the memory of the graph.
        state: Likewise.
        weights: Tensors that the graph reads where they are.
    """
    if not graphs.can_capture(episodes[0].device):
        return program
    given = [(part.shape, part.dtype) for part in (*episodes, *state)]
    places = [(part.data_ptr(), part.shape, part.stride(), part.dtype) for part in weights]
    key = (*_parts(program), *_parts(judge), *given, *places, *graphs.settings())

    def capture(memory: Memory) -> _Graph:
        return _Graph(memory, program, judge, episodes, state, weights)

    try:
        return graphs.find(owner, key, episodes[0].device, capture) or program
    except TypeError:  # the loss cannot be hashed
        return program


def _parts(function: Any) -> tuple[Any, ...]:
    """Return what makes two functions equal: methods and partial functions are compared as objects by Python."""
    if isinstance(function, MethodType):
        return function.__func__, function.__self__
    return (function.func, *function.args) if isinstance(function, partial) else (function,)


class _Graph:
    """A program that was captured.

    Args:
        memory: Is shared with other graphs.
        program: Is captured.
        judge: The loss.
        episodes: As all calls will have them, but for their numbers.
        state: Likewise.
        weights: Are read where they are.

    Raises:
        RuntimeError: The program cannot be captured.
    """

    def __init__(
        self,
        memory: Memory,
        program: "partial[Results]",
        judge: Judge,
        episodes: Sequence[Tensor],
        state: Sequence[Tensor],
        weights: Sequence[Tensor],
    ):
        self.memory, self.used = memory, 0
        copies = [[part.detach().clone() for part in parts] for parts in (episodes, state)]
        self.given = [*copies[0], *copies[1]]
        work = partial(program, judge, copies[0], [*copies[1], *(weight.detach() for weight in weights)])
        memory.warm_up(lambda: [work().logits])
        self.graph, self.results = memory.capture(work)

    @torch.no_grad()
    def __call__(self, judge: Judge, episodes: Sequence[Tensor], tensors: Sequence[Tensor]) -> Results:
        with self.memory.lock:
            self.memory.take()
            copy_into(self.given, [*episodes, *tensors[: len(self.given) - len(episodes)]])
            self.graph.replay()
            (loss, costs, gradient), logits, gradients = self.results
            lent = Gradients(gradients.tensors, shared=True)
            self.memory.lent.add(lent)
            return Results(Judged(loss.clone(), costs.clone(), gradient), logits.clone(), lent)
