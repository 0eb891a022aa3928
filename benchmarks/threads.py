"""A training step with one thread and with two, on idle cores and where another program uses one of two cores.

    python benchmarks/threads.py [--batch 64] [--steps 200]

Each figure is from a process of its own that waits as the commands of `ntm` do (GOMP_SPINCOUNT), and, for comparison,
as PyTorch does by default. Prints means: threads that wait for each other have few, very long steps.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

OTHER = "import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {0})\nwhile True: pass"


def measure(threads: int, batch_size: int, steps: int) -> None:
    """Print the mean time of a step in milliseconds."""
    import torch

    from lightning_ntm import NTM, Copy
    from lightning_ntm.training.loss import Objective, loss_of
    from lightning_ntm.training.optimizer import default_optimizer, prefer_fused, total_norm

    torch.set_num_threads(threads)
    task = Copy()
    model, objective = NTM(task.input_size, task.output_size), Objective(task.answer)
    optimizer = default_optimizer(model.parameters())
    prefer_fused(optimizer)
    parameters, times = list(model.parameters()), []
    batch = task.batch(11, "train", 0, batch_size, length=20)
    for _ in range(steps):
        before = time.perf_counter()
        loss_of(model, objective, batch).loss.backward()
        norm = total_norm([p.grad for p in parameters], clipped=True, unread=False)
        torch.nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - before)
    print(1e3 * statistics.mean(times[5:]))


def measured(threads: int, batch_size: int, steps: int, **environment: str) -> float:
    """Return what `measure` prints in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(threads), "--batch", str(batch_size), "--steps", str(steps)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return float(done.stdout)


def report(where: str, batch_size: int, steps: int) -> None:
    """Print the times of one thread and of two."""
    waits = {"GOMP_SPINCOUNT": "10000"}
    alone = measured(1, batch_size, steps, **waits)
    for how, environment in (("as ntm waits", waits), ("by default", {})):
        both = measured(2, batch_size, steps, **environment)
        print(f"{where:12} one thread {alone:6.1f} ms, two {both:6.1f} ms {how}: {alone / both:.2f} times as fast")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="sequences in a batch (64)")
    parser.add_argument("--steps", type=int, default=200, help="steps (200)")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.batch, arguments.steps)
        sys.exit()
    report("idle cores", arguments.batch, arguments.steps)
    other = subprocess.Popen([sys.executable, "-c", OTHER])
    try:
        report("one is busy", arguments.batch, arguments.steps)
    finally:
        other.kill()
