"""Time and memory of the DNC's native program: taskset -c 1 python benchmarks/dnc.py.

LSTM controller 100, memory 128 x 32, four read heads, batch 16, float32, one thread; forward and backward. Programs
alternate, and the lowest CPU time of each counts. Prints
- a DNC as most implementations write it (peers.py), after a check that it gives the numbers of our loop, our loop and
  the native program, for 40 and 100 steps;
- the native program by steps and by slots, in microseconds per step and sequence;
- what a sequence of 1,000 steps takes with 256 slots, in MB;
- how many floating-point operations a step needs, and how long they take at the rate of a large matrix product.
"""

import argparse
import resource
import time

import torch
from peers import ModulePerPartDNC
from timing import milliseconds

from lightning_ntm import DNC

SIZES = {"hidden_size": 100, "memory_width": 32, "num_read_heads": 4}
WIDTH, READS, BATCH = 32, 4, 16


def network(slots: int = 128, backend: str = "cpu") -> DNC:
    torch.manual_seed(1)
    return DNC(9, 8, memory_slots=slots, backend=backend, **SIZES)  # type: ignore[arg-type]


def peer() -> ModulePerPartDNC:
    """Return the other DNC with the weights of ours, if both give the same numbers."""
    other, ours = ModulePerPartDNC(9, 8, 100, 128, WIDTH, READS).double(), network(backend="reference").double()
    other.take(dict(ours.state_dict()))
    inputs = torch.randn(3, 12, 9, dtype=torch.float64)
    results = []
    for run in (lambda x: ours(x)[0], other):
        leaf = inputs.clone().requires_grad_()
        logits = run(leaf)
        logits.square().sum().backward()
        results.append((logits, leaf.grad))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    return other.float()


def compare(length: int, repeats: int) -> None:
    inputs, loop, ours, other = torch.randn(BATCH, length, 9), network(backend="reference"), network(), peer()
    programs = {"module per part": lambda: other(inputs), "reference": lambda: loop(inputs)[0]}
    found = milliseconds({**programs, "cpu": lambda: ours(inputs)[0]}, repeats)
    for name, took in found.items():
        print(f"{length:>4} steps  {name:<16} {took:8.1f} ms, {took / found['cpu']:5.1f} times the native program")


def operations(slots: int = 128) -> float:
    """Return the floating-point operations of a step of one sequence, forward and backward, without exponentials.

    A backward of a product is two products. Of the link matrix each number is updated, and read for each head in both
    directions: 4 + 4 R operations forward, 8 R + 9 backward, and the update once more where it was not saved.
    """
    hidden = SIZES["hidden_size"]
    emitted = (READS + 3) * WIDTH + 5 * READS + 3
    controller = 4 * hidden * (9 + READS * WIDTH + hidden) + emitted * hidden
    memory = (2 * READS + 1 + 1 + 1) * slots * WIDTH  # lookups, reads, the write, the lengths of the slots
    return 6.0 * (controller + memory) + (12 * READS + 17) * slots**2


def rate(size: int = 768) -> float:
    """Return the floating-point operations in a microsecond of a product of square matrices."""
    left, right = torch.randn(2, size, size)
    took = []
    for _ in range(20):
        start = time.process_time()
        torch.mm(left, right)
        took.append(time.process_time() - start)
    return 2 * size**3 / min(took) / 1e6


def print_bound() -> None:
    needed, fastest = operations(), rate()
    print(f"a step needs {needed / 1e6:.2f} million operations: {needed / fastest:.1f} us at the rate of a")
    print(f"matrix product, {fastest / 1e3:.0f} in a nanosecond")


def scale(length: int, slots: int, repeats: int) -> None:
    inputs, model = torch.randn(BATCH, length, 9), network(slots)
    took = milliseconds({"cpu": lambda: model(inputs)[0]}, repeats)["cpu"]
    each = 1000 * took / BATCH / length
    link = 1000 * each / slots**2
    print(f"{length:>4} steps, {slots:>4} slots  {each:7.1f} us per step and sequence, {link:.2f} ns a link")


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory(length: int, slots: int) -> None:
    model = network(slots)
    before = megabytes()
    model(torch.randn(BATCH, length, 9))[0].square().mean().backward()
    print(f"{length:>4} steps, {slots:>4} slots  {(megabytes() - before) / BATCH:7.1f} MB a sequence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, after one to warm up (5)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    milliseconds({"cpu": lambda: network()(torch.randn(BATCH, 10, 9))[0]}, 1)
    measure_memory(1000, 256)
    for length in (40, 100):
        compare(length, repeats)
    for length in (50, 100, 200, 400):
        scale(length, 128, repeats)
    for slots in (64, 256, 512):
        scale(50, slots, repeats)
    print_bound()


if __name__ == "__main__":
    main()
