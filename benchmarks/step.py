"""Time of a training step: python benchmarks/step.py [--threads 1] [--steps 30].

The paper's copy network (LSTM controller 100, memory 128 x 20, one read and one write head, float32), batch 8, length
20 (41 time steps): forward, backward, clipping, optimizer. Prints the median over the steps for
- an NTM as most implementations write it (peers.py), our reference loop and our kernel, and the speedup;
- a step inside `ntm train` with the reference loop and with the kernel, and the time that the training loop adds;
- sampling a batch, and checking that loss and gradient are finite.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import ModulePerHeadNTM
from torch.nn import functional as F

from lightning_ntm import NTM, Copy
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.training import EpisodeData, Run, SequenceLearner
from lightning_ntm.training.loss import Objective, loss_of
from lightning_ntm.training.optimizer import default_optimizer, prefer_fused

TASK = Copy(min_length=20, max_length=20)
BACKENDS = ("cpu", "reference")  # the fast one first: the loops fragment the heap, which would slow it down


def milliseconds(work: Callable[[], object], steps: int) -> float:
    """Return the median time of `work`, after three runs to warm up."""
    times = []
    for step in range(steps + 3):
        start = time.perf_counter()
        work()
        if step >= 3:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def training_step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    optimizer = default_optimizer(model.parameters())
    prefer_fused(optimizer)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def peer_step() -> Callable[[], None]:
    model, batch = ModulePerHeadNTM(9, 8), TASK.sample(batch_generator(1, "train", 0), 8)
    return training_step(
        model, lambda: F.binary_cross_entropy(model(batch.inputs)[batch.mask], batch.targets[batch.mask])
    )


def our_step(backend: str) -> Callable[[], None]:
    model, batch = NTM(9, 8, backend=backend), TASK.sample(batch_generator(1, "train", 0), 8)

    return training_step(model, lambda: loss_of(model, Objective(TASK.answer), batch).loss)


def step_in_training(backend: str, steps: int) -> float:
    """Return the median time of a step inside a run without validation, from the run's own log of every 50 steps."""
    options = {
        "max_steps": steps,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "gradient_clip_val": 1.0,
        "log_every_n_steps": 50,
    }
    with tempfile.TemporaryDirectory() as runs:
        folder = RunFolder(Path(runs) / "step")
        Run(SequenceLearner(NTM(9, 8, backend=backend)), EpisodeData(TASK), options, folder, "").fit()
        return 1000 / statistics.median(row["steps_per_second"] for row in folder.rows())


def finite_check() -> Callable[[], bool]:
    """Return the check of one step. The norm of the gradient is already computed, for logging and clipping."""
    norm, loss = torch.ones(()), torch.ones(())
    return lambda: math.isfinite(float(norm)) and math.isfinite(float(loss))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    parser.add_argument(
        "--steps", type=int, default=30, help="number of steps for the median (30); ten times as many inside ntm train"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ours = {backend: milliseconds(our_step(backend), arguments.steps) for backend in BACKENDS}
    inside = {backend: step_in_training(backend, 10 * arguments.steps) for backend in BACKENDS}
    peer = milliseconds(peer_step(), arguments.steps)
    print(f"module per head        {peer:8.2f} ms per step")
    for backend in reversed(BACKENDS):
        alone, run = ours[backend], inside[backend]
        print(f"{backend:<22} {alone:8.2f} ms per step, {peer / alone:.1f} times faster")
        print(
            f"  inside ntm train     {run:8.2f} ms, {peer / run:.1f} times faster; training adds {run - alone:.2f} ms"
        )
    numbers = iter(range(10**9))
    drawn = milliseconds(lambda: TASK.sample(batch_generator(1, "train", next(numbers)), 8), 20 * arguments.steps)
    print(f"sampling a batch       {drawn:8.2f} ms")
    print(f"checking for nan, inf  {milliseconds(finite_check(), 20 * arguments.steps):8.4f} ms")


if __name__ == "__main__":
    main()
