"""Times of a training step on this machine, with each backend."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from lightning_ntm.evaluation.device import works_ahead
from lightning_ntm.models.ntm import NTM
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.copy import Copy
from lightning_ntm.training import bench_cuda
from lightning_ntm.training.loss import Objective, loss_of
from lightning_ntm.training.optimizer import default_optimizer, prefer_fused

#: Batch size, list length, memory slots. Everything else is as in the paper's copy network.
SHAPES = ((8, 20, 128), (64, 20, 128), (8, 20, 1024), (8, 200, 128))
#: Also measured on a GPU, which runs one sequence per multiprocessor at once.
LARGE_SHAPES = ((128, 20, 128), (1024, 20, 128))


def bench(repeats: int = 10, device: torch.device | None = None) -> Iterator[dict[str, Any]]:
    """Time a training step and a forward pass, for each shape; on a CPU on one thread and on all.

    Args:
        repeats: Number of measurements for a median.
        device: The CPU, which is the default, or a CUDA device.

    Yields:
        The name of the `device`, the `shape`, `threads` and `backend`; `step_ms` (forward, backward, clipping,
        optimizer) and `forward_ms`, both also for the reference, and the `speedup` of the step. On a CPU also
        `peak_share`: the rate of useful operations of forward and backward, relative to a large matrix product on this
        machine. On a GPU also the values of `bench_cuda.program_figures`. Values that were not measured are `None`.
    """
    if device is not None and works_ahead(device):
        yield from bench_cuda.rows(SHAPES + LARGE_SHAPES, repeats, device)
    else:
        yield from _cpu_rows(repeats)


def number_of_rows(device: torch.device) -> int:
    """Return how many rows `bench` yields for a device."""
    if works_ahead(device):
        return len(SHAPES + LARGE_SHAPES)
    return len(SHAPES) * len({1, torch.get_num_threads()})


def _cpu_rows(repeats: int) -> Iterator[dict[str, Any]]:
    before = torch.get_num_threads()
    try:
        for threads in sorted({1, before}):
            torch.set_num_threads(threads)
            peak = matrix_product_flops()
            for batch, length, slots in SHAPES:
                yield _row(batch, length, slots, threads, peak, repeats)
    finally:
        torch.set_num_threads(before)


def _timed(task: Copy, episodes: Batch, model: NTM, repeats: int) -> tuple[float, float, float]:
    """Return the milliseconds of a step, of its forward and backward, and of a forward without gradients."""
    optimizer, objective = default_optimizer(model.parameters()), Objective(task.answer)
    prefer_fused(optimizer)

    def gradients() -> None:
        model.zero_grad()
        loss_of(model, objective, episodes).loss.backward()

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def forward() -> None:
        with torch.no_grad():
            model(episodes.inputs)

    both, updating = _milliseconds(gradients, repeats), _milliseconds(update, repeats)
    return both + updating, both, _milliseconds(forward, repeats)


def _row(batch: int, length: int, slots: int, threads: int, peak: float, repeats: int) -> dict[str, Any]:
    task = Copy(max_length=length)
    episodes = task.sample(np.random.default_rng(0), batch, length=length)
    timed = {}
    for backend, runs in (("cpu", repeats), ("reference", max(3, repeats // 3))):
        torch.manual_seed(0)
        model = NTM(task.input_size, task.output_size, memory_slots=slots, backend=backend)
        timed[backend] = _timed(task, episodes, model, runs)
    step, both, forwarding = timed["cpu"]
    flops = 3 * forward_flops(NTM(task.input_size, task.output_size, memory_slots=slots))
    return {
        "device": "cpu",
        "shape": {"batch": batch, "length": length, "memory_slots": slots},
        "threads": threads,
        "backend": "cpu",
        "step_ms": step,
        "reference_step_ms": timed["reference"][0],
        "forward_ms": forwarding,
        "reference_forward_ms": timed["reference"][2],
        "speedup": timed["reference"][0] / step,
        "peak_share": flops * batch * episodes.inputs.shape[1] / (both / 1000) / peak,
        **dict.fromkeys(bench_cuda.PROGRAM_FIGURES),
    }


def forward_flops(model: NTM) -> int:
    """Return the useful operations of a time step of one sequence: multiplications and additions of all products.

    Two for each weight of the controller, the heads and the output. For each number of the memory: two for the norm of
    its slot, two for each head's cosine, two for each read, and five for each write.
    """
    weights = sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))
    heads = model.num_read_heads + model.num_write_heads
    passes = 2 + 2 * heads + 2 * model.num_read_heads + 5 * model.num_write_heads
    return 2 * weights + passes * model.memory_slots * model.memory_width


def matrix_product_flops(size: int = 1024) -> float:
    """Return the floating point operations per second of a large matrix product on this machine."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / (_milliseconds(lambda: a @ b, 10) / 1000)


def _milliseconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for repeat in range(repeats + 2):
        start = time.perf_counter()
        work()
        if repeat >= 2:  # two to warm up
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
