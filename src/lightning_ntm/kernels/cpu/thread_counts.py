"""How many threads a call of a native program uses.

It is the number of PyTorch's threads, or within `found_by_timing` the number that takes the least time. The results
have the same bits with any number, so the number may change between two calls.
"""

import os
import statistics
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lightning_ntm.kernels.cpu.library import use_new_threads

#: Calls with each of two numbers of threads that are compared, and those after which a much slower one is given up:
#: where other programs use the cores, threads that wait for each other take a multiple of the time.
CALLS, FEW = 16, 2
#: Calls before the first search: a few calls gain nothing from it.
FIRST = 50
#: Calls from the end of a search to the next; twice as many after each search that has changed nothing, up to a limit.
PAUSE, LONGEST_PAUSE = 500, 8000
#: The share of the time that another number of threads has to take at most: more threads take more energy.
_LESS = 0.95
#: The share of the time above which another number is much slower.
_MUCH = 1.3


class ThreadCount:
    """The number of threads for calls of one kind.

    A search compares the number in use with twice as many threads, and then with half as many. It gives calls the two
    numbers in turn, since cores may be busy or idle for a short time. It goes on in a direction as long as that takes
    less time.

    Args:
        most: The largest number.
    """

    def __init__(self, most: int):
        self.numbers = [*(2**i for i in range((most - 1).bit_length())), most]
        self.place, self.pause, self.waiting = 0, PAUSE, FIRST

    def _begin(self) -> None:
        self.ways, self.changed = [1, -1], False
        self._compare()

    def _compare(self) -> None:
        """Compare with the next number in the first of the ways that has one, or wait for the next search."""
        self.ways = [way for way in self.ways if 0 <= self.place + way < len(self.numbers)]
        self.times: list[list[float]] = [[], []]
        self.waiting = 0
        if not self.ways:
            self.waiting = self.pause = PAUSE if self.changed else min(2 * self.pause, LONGEST_PAUSE)

    def call(self, work: float, function: Callable[[int], Any]) -> Any:
        """Call a function with the number of threads.

        Args:
            work: By what the time of the call is divided.
            function: Takes the number of threads.
        """
        if self.waiting:
            self.waiting -= 1
            if not self.waiting:
                self._begin()
            return function(self.numbers[self.place])
        other = len(self.times[1]) < len(self.times[0])
        before = time.perf_counter()
        result = function(self.numbers[self.place + self.ways[0] * other])
        self.times[other].append((time.perf_counter() - before) / work)
        if other and (len(self.times[1]) == FEW or len(self.times[1]) >= CALLS):
            self._decide()
        return result

    def _decide(self) -> None:
        if len(self.times[1]) < CALLS and min(self.times[1]) < _MUCH * min(self.times[0]):
            return
        now, other = map(statistics.median, self.times)
        if other < _LESS * now:
            self.place += self.ways[0]
            self.ways, self.changed = self.ways[:1], True
        else:
            self.ways = self.ways[1:]
        self._compare()


class _Timed:
    """The numbers of threads for calls of all kinds, each up to a largest number."""

    def __init__(self, most: int):
        self.most = most
        self.counts: dict[Hashable, ThreadCount] = {}

    def of(self, kind: Hashable, batch: int) -> ThreadCount:
        found = self.counts.get((kind, batch))
        if found is None:
            found = self.counts[kind, batch] = ThreadCount(max(1, min(self.most, batch)))
        return found


_timed: _Timed | None = None

#: Whether a call of this process may have had several threads.
_had_several = False


def _leave_threads_of_parent() -> None:
    """In a forked process, do not wait for threads that only its parent has."""
    if _had_several or torch.get_num_threads() > 1:
        use_new_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_threads_of_parent)


@contextmanager
def found_by_timing(most: int) -> Iterator[None]:
    """Within this context find the number of threads of each kind of call by timing calls.

    Args:
        most: The largest number, at least 1.
    """
    global _timed
    before, _timed = _timed, _Timed(most) if most > 1 else None
    try:
        yield
    finally:
        _timed = before


def most_threads() -> int:
    """Return the largest number of threads that a call may use now."""
    return torch.get_num_threads() if _timed is None else _timed.most


def with_threads(kind: Hashable, sizes: Any, function: Callable[[int], Any]) -> Any:
    """Call a native program with a number of threads.

    Args:
        kind: Names the program; calls of one kind and batch size take times in proportion to their steps and slots.
        sizes: Its sizes, with `batch`, `time` and `slots`.
        function: Calls it.
    """
    global _had_several
    _had_several = _had_several or most_threads() > 1
    if _timed is None:
        return function(torch.get_num_threads())
    return _timed.of(kind, sizes.batch).call(sizes.time * sizes.slots, function)
