"""The number of threads of a native program, found by timing calls."""

import itertools
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from lightning_ntm import DNC, NTM, StackRNN, TapeRNN
from lightning_ntm.cores import threads
from lightning_ntm.kernels.cells import cpu as cells
from lightning_ntm.kernels.cpu import native, thread_counts
from lightning_ntm.kernels.cpu.thread_counts import (
    FIRST,
    LONGEST_PAUSE,
    PAUSE,
    ThreadCount,
    found_by_timing,
    most_threads,
    with_threads,
)


class Machine:
    """A clock, and calls whose time depends on the number of threads."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.used = 0.0, seconds, []
        self.random = random.Random(3)
        monkeypatch.setattr(thread_counts.time, "perf_counter", lambda: self.now)

    def run(self, count, calls):
        """Make calls of work between 1 and 20, and return the numbers of threads that they had."""
        begin = len(self.used)
        for _ in range(calls):
            work = self.random.randint(1, 20)
            assert count.call(work, lambda number, work=work: self.take(number, work)) == "result"
        return self.used[begin:]

    def take(self, number, work):
        self.used.append(number)
        self.now += work * self.seconds(number) * self.random.uniform(0.9, 1.1)
        return "result"


@pytest.mark.parametrize("most", [1, 2, 3, 4, 6, 8, 64])
def test_as_many_threads_as_make_calls_faster(most, monkeypatch):
    machine = Machine(monkeypatch, lambda number: 1 / number)
    used = machine.run(ThreadCount(most), 400)
    assert set(used[-100:]) == {most}
    assert max(used) == most


@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_no_more_threads_than_make_calls_faster(best, monkeypatch):
    machine = Machine(monkeypatch, lambda number: max(number / best, best / number))
    assert set(machine.run(ThreadCount(16), 400)[-100:]) == {best}


def test_a_few_calls_have_one_thread(monkeypatch):
    machine = Machine(monkeypatch, lambda number: 1 / number)
    assert set(machine.run(ThreadCount(8), FIRST)) == {1}


def test_more_threads_that_gain_nothing_are_not_used(monkeypatch):
    machine = Machine(monkeypatch, lambda number: 1.0)
    assert set(machine.run(ThreadCount(2), 400)[-100:]) == {1}


def test_one_thread_is_used_again_when_other_programs_use_the_cores(monkeypatch):
    machine = Machine(monkeypatch, lambda number: 1 / number)
    count = ThreadCount(2)
    assert machine.run(count, 400)[-1] == 2
    machine.seconds = lambda number: 40.0 if number > 1 else 1.0
    assert set(machine.run(count, 3 * PAUSE)[-100:]) == {1}
    machine.seconds = lambda number: 1 / number
    assert set(machine.run(count, 2 * PAUSE)[-100:]) == {2}


def test_busy_cores_cost_little(monkeypatch):
    machine = Machine(monkeypatch, lambda number: 10.0 if number > 1 else 1.0)
    used = machine.run(ThreadCount(8), 40_000)
    assert used.count(2) < 20
    assert max(used) == 2
    last = len(used) - 1 - used[::-1].index(2)
    assert len(used) - last < LONGEST_PAUSE + 10  # it still looks


def test_kinds_and_batches_have_numbers_of_their_own(monkeypatch):
    machine = Machine(monkeypatch, lambda number: 1 / number)
    with found_by_timing(8):
        for batch, kind in itertools.product([1, 3, 100], ["forward", "backward"]):
            sizes = SimpleNamespace(batch=batch, time=5, slots=7)
            for _ in range(400):
                with_threads(kind, sizes, lambda number: machine.take(number, 35))
            assert machine.used[-1] == min(batch, 8)
        assert most_threads() == 8
    assert most_threads() == torch.get_num_threads()


def test_without_timing_it_is_the_number_of_pytorch(monkeypatch):
    sizes = SimpleNamespace(batch=9, time=5, slots=7)
    assert {with_threads("any", sizes, lambda number: number) for _ in range(50)} == {torch.get_num_threads()}
    with found_by_timing(4), found_by_timing(1):
        assert {with_threads("any", sizes, lambda number: number) for _ in range(50)} == {torch.get_num_threads()}


@pytest.mark.parametrize(
    ("said", "expected"), [(None, 6), ("", 6), ("1", 1), ("4,2", 4), (" 3 ", 3), ("99", 6), ("0", 6), ("many", 6)]
)
def test_threads_are_one_for_each_core_or_what_the_environment_says(said, expected, monkeypatch):
    monkeypatch.setattr("lightning_ntm.cores.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads() == expected


@pytest.mark.parametrize("batch", [1, 2, 8, 9, 19])
@pytest.mark.parametrize("kind", [NTM, DNC, StackRNN, TapeRNN], ids=lambda kind: kind.__name__)
def test_outputs_and_gradients_have_the_same_bits_with_any_number_of_threads(kind, batch, monkeypatch):
    torch.manual_seed(0)
    model, inputs = kind(4, 3, hidden_size=37, backend="cpu"), torch.randn(batch, 11, 4, requires_grad=True)
    found = []
    for count in (1, 2, 3, 8):
        for module in (cells, native):
            monkeypatch.setattr(module, "with_threads", lambda kind, sizes, call, count=count: call(count))
        outputs, _ = model(inputs)
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), [inputs, *model.parameters()])])
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


FORKED = """
import os, signal, sys, torch
from lightning_ntm import NTM
from lightning_ntm.kernels.cpu.thread_counts import found_by_timing

def calls():
    with found_by_timing(3):
        return [NTM(4, 3, backend="cpu")(torch.zeros(8, 5, 4))[0].sum().backward() for _ in range(90)]

torch.set_num_threads(1)
if sys.argv[1] == "opened":
    calls()
elif sys.argv[1] == "others":
    torch.set_num_threads(3)
    (torch.rand(512, 512) @ torch.rand(512, 512)).sum()
if not (child := os.fork()):
    signal.alarm(60)
    torch.set_num_threads(1)
    calls()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked")
@pytest.mark.parametrize("parent", ["new", "opened", "others"])
def test_a_forked_process_does_not_wait_for_the_threads_of_its_parent(parent):
    done = subprocess.run([sys.executable, "-c", FORKED, parent], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n", done.stderr
