"""Times of a training step and of its programs on a GPU, and the lower bound (floor) of the programs' times.

All times are between CUDA events, after warm-up. The time of a training step includes the work of the host: events are
recorded between steps that are queued one after the other, as in training. A program of the kernel is timed alone: the
GPU is kept busy until the host has queued the program and the events around it.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_ntm.kernels.torch_internals import occupy_gpu
from lightning_ntm.models.ntm import NTM
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.copy import Copy
from lightning_ntm.training.loss import Objective, loss_of
from lightning_ntm.training.optimizer import default_optimizer, prefer_fused
from lightning_ntm.training.roofline import Rates, backward_cost, floor, forward_cost, recurrent_weights

#: The backend that is timed.
BACKEND = "triton"
#: Largest batch at which the reference loop is also timed. Its step takes 0.2 s at any batch size.
REFERENCE_BATCH = 8
_WARM_UP = 3
#: Clock cycles (about half a millisecond) of waiting on the GPU, in which the host queues a program and its events.
_HEAD_START = 1_000_000
#: Block sizes of the cache probe. The fastest one is used.
_BLOCKS = (4096, 8192, 16384)
#: Number of times that a program of the cache probe reads its array.
_READS = 300


def rows(shapes: tuple[tuple[int, int, int], ...], repeats: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """Time the paper's copy network on a GPU.

    Args:
        shapes: Batch size, list length and memory slots of each row.
        repeats: Number of measurements for a median; for the reference loop a third of it, at least 3.
        device: A CUDA device.

    Yields:
        The name of the `device`, the `shape` and the `backend`; `step_ms` and `forward_ms`, both also for the reference
        loop (`None` for large batches), and the `speedup` of the step. For each of the two programs (for example
        `forward_us_per_time_step`): microseconds, floor, floor divided by time, and what limits the floor.
    """
    card = Card(device)
    for batch, length, slots in shapes:
        with torch.cuda.device(device):
            row = _row(card, Copy(max_length=length), batch, length, slots, repeats)
        yield row


def _row(card: "Card", task: Copy, batch: int, length: int, slots: int, repeats: int) -> dict[str, Any]:
    episodes = on_device(task.sample(np.random.default_rng(0), batch, length=length), card.device)
    torch.manual_seed(0)
    model = NTM(task.input_size, task.output_size, memory_slots=slots, backend=BACKEND).to(card.device)
    step, forward = _step_and_forward(model, episodes, repeats)
    reference: tuple[float | None, float | None] = (None, None)
    if batch <= REFERENCE_BATCH:
        loop = NTM(task.input_size, task.output_size, memory_slots=slots, backend="reference").to(card.device)
        reference = _step_and_forward(loop, episodes, max(3, repeats // 3))
    return {
        "device": card.name,
        "shape": {"batch": batch, "length": length, "memory_slots": slots},
        "threads": None,
        "backend": BACKEND,
        "step_ms": step,
        "reference_step_ms": reference[0],
        "forward_ms": forward,
        "reference_forward_ms": reference[1],
        "speedup": None if reference[0] is None else reference[0] / step,
        "peak_share": None,
        **program_figures(card, model, episodes, repeats),
    }


def _step_and_forward(model: NTM, episodes: Batch, repeats: int) -> tuple[float, float]:
    """Return the milliseconds of a training step and of a forward pass without gradients."""
    step = milliseconds(training_step(model, episodes), repeats)
    with torch.no_grad():
        return step, milliseconds(lambda: model(episodes.inputs), repeats)


def training_step(model: Any, episodes: Batch) -> Callable[[], None]:
    """Return a training step like that of `ntm train`: forward, backward, clipping, optimizer."""
    optimizer, objective = default_optimizer(model.parameters()), Objective(Bits(episodes.targets.shape[-1]))
    prefer_fused(optimizer)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model, objective, episodes).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device."""
    return Batch(*(part.to(device) for part in batch))


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time from one call to the next on the current device, including the work of the host."""
    for _ in range(_WARM_UP):
        work()
    torch.cuda.synchronize()
    events = [_recorded()]
    for _ in range(repeats):
        work()
        events.append(_recorded())
    torch.cuda.synchronize()
    return statistics.median(before.elapsed_time(after) for before, after in itertools.pairwise(events))


def _recorded() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class ProgramTimes(NamedTuple):
    """Median microseconds of each program per time step of the whole batch."""

    forward: float
    backward: float


def program_microseconds(model: NTM, inputs: Tensor, repeats: int) -> ProgramTimes:
    """Time the kernel's two programs alone, in forward and backward passes with gradients."""
    _forward_and_backward(model, inputs)  # compiles
    with _timed_programs() as events:
        for _ in range(_WARM_UP + repeats):
            _forward_and_backward(model, inputs)
    torch.cuda.synchronize()
    steps = inputs.shape[1]
    medians = (
        statistics.median(start.elapsed_time(end) for start, end in events[name][_WARM_UP:])
        for name in ("forward", "backward")
    )
    return ProgramTimes(*(1000 * median / steps for median in medians))


def _forward_and_backward(model: NTM, inputs: Tensor) -> None:
    model.zero_grad()
    model(inputs)[0].sum().backward()


_Events = dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]]


@contextmanager
def _timed_programs() -> Iterator[_Events]:
    """Record events around each launch of the kernel's programs."""
    from lightning_ntm.kernels.ntm.triton import programs

    events: _Events = {"forward": [], "backward": []}
    untimed = {name: getattr(programs, name) for name in events}
    try:
        for name, program in untimed.items():
            setattr(programs, name, _Timed(program, events[name]))
        yield events
    finally:
        for name, program in untimed.items():
            setattr(programs, name, program)


class _Timed:
    """A Triton program that records events before and after each launch."""

    def __init__(self, program: Any, events: list[tuple[torch.cuda.Event, torch.cuda.Event]]):
        self.program, self.events = program, events

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, **options: Any) -> None:
            occupy_gpu(_HEAD_START)
            start = _recorded()
            self.program[grid](*arguments, **options)
            self.events.append((start, _recorded()))

        return launch


#: Keys of the dictionary that `program_figures` returns.
PROGRAM_FIGURES = tuple(
    f"{program}_{figure}"
    for program in ProgramTimes._fields
    for figure in ("us_per_time_step", "floor_us", "floor_share", "floor_limit")
)


class Card:
    """A GPU and its rates. Each rate is measured on first use.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device):
        self.device, self.name = device, torch.cuda.get_device_name(device)
        self.multiprocessors: int = torch.cuda.get_device_properties(device).multi_processor_count
        self._flops: float | None = None
        self._memory_bytes: float | None = None
        self._cache_bytes: dict[tuple[int, int], float] = {}

    def rates(self, model: NTM, sequences: int) -> Rates:
        """Return the rates that bound a batch of this many sequences."""
        if self._flops is None or self._memory_bytes is None:
            self._flops, self._memory_bytes = matrix_product_flops(self.device), copied_bytes(self.device)
        key = recurrent_weights(model), sequences
        if key not in self._cache_bytes:
            self._cache_bytes[key] = cache_read_bytes(self.device, *key)
        return Rates(self._flops, self._cache_bytes[key], self._memory_bytes, self.multiprocessors)


def program_figures(card: Card, model: NTM, episodes: Batch, repeats: int) -> dict[str, Any]:
    """Return time, floor, floor divided by time, and limit of each program, per time step of the whole batch."""
    batch = len(episodes.inputs)
    times, rates = program_microseconds(model, episodes.inputs, repeats), card.rates(model, batch)
    values: list[float | str] = []
    for measured, cost in zip(times, (forward_cost(model), backward_cost(model)), strict=True):
        least = floor(cost, rates, batch)
        values += [measured, 1e6 * least.seconds, 1e6 * least.seconds / measured, least.limit]
    return dict(zip(PROGRAM_FIGURES, values, strict=True))


def matrix_product_flops(device: torch.device, size: int = 8192) -> float:
    """Return the floating point operations per second of a large float32 matrix product, without TF32."""
    a, b = torch.randn(2, size, size, device=device)
    before, torch.backends.cuda.matmul.fp32_precision = torch.backends.cuda.matmul.fp32_precision, "ieee"
    try:
        return 2 * size**3 / (milliseconds(lambda: a @ b, 5) / 1000)
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def copied_bytes(device: torch.device, size: int = 2**29) -> float:
    """Return the bytes per second, read and written, of a copy of `size` bytes within the GPU's main memory."""
    source, target = torch.ones(2, size // 4, device=device)
    return 2 * size / (milliseconds(lambda: target.copy_(source), 10) / 1000)


def cache_read_bytes(device: torch.device, numbers: int, programs: int) -> float:
    """Return the bytes per second that parallel programs together read from the caches.

    Each program reads the same array of float32 numbers repeatedly, as the programs of an NTM read its weights. An
    array that fits into the L1 cache of a multiprocessor is read from there. The fastest of several block sizes is
    used.

    Args:
        device: A CUDA device.
        numbers: Size of the array. It is rounded to whole blocks.
        programs: Number of programs, one for each sequence. The GPU runs at once as many as fit.
    """
    from lightning_ntm.kernels.ntm.triton.probe import read_again

    fastest = 0.0
    for block in _BLOCKS:
        array = torch.ones(max(1, round(numbers / block)) * block, device=device)
        took = milliseconds(partial(read_again, array, programs, _READS, block), 5)
        fastest = max(fastest, 4 * array.numel() * _READS * programs / (took / 1000))
    return fastest
