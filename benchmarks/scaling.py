"""How the time of the kernel scales: python benchmarks/scaling.py [--threads 1].

The paper's copy network at batch 8, forward and backward, in microseconds per time step and sequence:
- by length of the sequences (constant is best);
- by number of memory slots, also divided by it (constant or falling is best);
- one thread against two, at batch 8 and 64;
- a training step at batch 8 with one thread and two: time in the kernel, which runs in parallel, and outside it, in
  PyTorch's autograd and optimizer, which run on one thread; and the gain of two threads if the kernel took exactly half
  the time;
- 10,000 time steps with `checkpoint_every=256`: the time, and the growth of the process's memory.
"""

import argparse
import resource
import statistics
import time

import torch
from step import our_step

from lightning_ntm import NTM
from lightning_ntm.kernels.cpu import native


def microseconds(batch: int, length: int, slots: int, repeats: int, checkpoint_every: int = 0) -> float:
    """Return the median time of forward and backward per time step and sequence, after two runs to warm up."""
    model, inputs = NTM(9, 8, memory_slots=slots, checkpoint_every=checkpoint_every), torch.randn(batch, length, 9)
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        model.zero_grad()
        model(inputs)[0].sum().backward()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times[2:]) / batch / length


def parts_of_a_step(threads: int, steps: int = 200) -> tuple[float, float]:
    """Return median milliseconds of a training step at batch 8 and length 20, in the kernel and outside it."""
    torch.set_num_threads(threads)
    call, step, within, around = native._call, our_step("cpu"), [], []
    spent = 0.0

    def timed(*arguments: object, **options: object) -> None:
        nonlocal spent
        start = time.perf_counter()
        call(*arguments, **options)
        spent += time.perf_counter() - start

    native._call = timed
    try:
        for _ in range(steps):
            spent, start = 0.0, time.perf_counter()
            step()
            within.append(spent)
            around.append(time.perf_counter() - start - spent)
    finally:
        native._call = call
    return 1000 * statistics.median(within[10:]), 1000 * statistics.median(around[10:])


def grown_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    torch.set_num_threads(parser.parse_args().threads)
    microseconds(8, 40, 128, 5)
    before = grown_megabytes()
    took = microseconds(8, 10_000, 128, 1, checkpoint_every=256)
    print(f"length 10,000 in parts of 256   {took:7.2f} us, {grown_megabytes() - before:.0f} MB")
    for length, repeats in ((40, 60), (400, 20), (4000, 5)):
        print(f"length {length:>6}                   {microseconds(8, length, 128, repeats):7.2f} us")
    for slots in (128, 256, 512, 1024, 2048, 4096, 8192):
        took = microseconds(8, 41, slots, 30 if slots <= 512 else 5)
        print(f"slots {slots:>7}                   {took:7.2f} us, {1000 * took / slots:.1f} ns per slot")
    for batch in (8, 64):
        by_threads = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            by_threads.append(microseconds(batch, 41, 128, 60))
        print(
            f"batch {batch:>4}, one thread, two     {by_threads[0]:7.2f} and {by_threads[1]:.2f} us, "
            f"{by_threads[0] / by_threads[1]:.2f} times"
        )
    (one, beside), (two, beside_two) = parts_of_a_step(1), parts_of_a_step(2)
    print(f"training step, one thread       {one:.2f} ms in the kernel and {beside:.2f} outside it")
    print(
        f"training step, two threads      {two:.2f} ms in the kernel ({one / two:.2f} times) and "
        f"{beside_two:.2f} outside it: {(one + beside) / (two + beside_two):.2f} times; "
        f"at most {(one + beside) / (one / 2 + beside):.2f}"
    )


if __name__ == "__main__":
    main()
