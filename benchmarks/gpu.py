"""Tests and timings of the kernel on a GPU: python benchmarks/gpu.py [--out FILE.json] [--skip-tests].

Runs the kernel's tests on the device, but for those that draw hundreds of configurations, each of which would be
compiled. Then prints one JSON object with a key for each figure, and progress on stderr. A figure that cannot be
measured, or for which no time is left, is {"error": reason}. The script ends within 8 minutes. On SIGTERM it prints the
figures so far. With --out it writes them to the file after each figure.

The network is the paper's copy network (LSTM controller 100, memory 128 x 20, float32) unless stated otherwise. A
training step is on lists of length 20 (41 time steps). Figures:
- step, module_per_head, reference_loop: a training step at batch 8 with the kernel, of an NTM as most implementations
  write it (peers.py), and with the reference loop; faster: the speedup of the kernel.
- programs_batch_N: the kernel's two programs alone, in microseconds per time step of the whole batch.
- floors_batch_N: the lower bound of these times, and the share reached (lightning_ntm.training.roofline).
- bf16, feedforward, large_memory: step and programs at batch 8, with bfloat16 autocast, another controller, 1024 x 64.
- side_by_side: a training step of ten networks in one launch, and of one network.
- ten_seeds: ten networks trained side by side on copy with our recipe, and the wrong bits of each at length 20.

The package need not be installed. PyTorch, Triton, Lightning and their dependencies are enough, and pytest for the
tests.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

from peers import ModulePerHeadNTM  # noqa: E402

from lightning_ntm.evaluation.device import chosen_device, works_ahead  # noqa: E402
from lightning_ntm.evaluation.evaluate import evaluate  # noqa: E402
from lightning_ntm.models.ntm import NTM  # noqa: E402
from lightning_ntm.records import write_whole  # noqa: E402
from lightning_ntm.tasks.answers import Bits  # noqa: E402
from lightning_ntm.tasks.base import Batch  # noqa: E402
from lightning_ntm.tasks.copy import Copy  # noqa: E402
from lightning_ntm.tasks.randomness import batch_generator  # noqa: E402
from lightning_ntm.training.bench_cuda import (  # noqa: E402
    Card,
    milliseconds,
    on_device,
    program_figures,
    program_microseconds,
    training_step,
)
from lightning_ntm.training.loss import Objective, loss_side_by_side  # noqa: E402
from lightning_ntm.training.optimizer import default_optimizer, prefer_fused  # noqa: E402
from lightning_ntm.training.slots import drawn_slots  # noqa: E402

Figure = dict[str, Any]

TESTS = tuple(
    f"tests/{name}.py"
    for name in (
        "kernels/test_triton",
        "kernels/test_graphs",
        "kernels/test_loss",
        "models/test_stack",
        "training/test_device",
    )
)
#: Seconds for the tests; for the script; reserved to evaluate networks after their training; of overtime for a figure
#: before the script is stopped.
TESTS_LIMIT, LIMIT, MEASURING, GRACE = 200, 450, 25, 20
#: Training steps whose batches are sampled and copied to the GPU at once; steps that the host may be ahead.
CHUNK, AHEAD = 16, 128


@dataclass(frozen=True)
class Settings:
    """Sizes of the measurements.

    Args:
        device: Device of all measurements.
        batches: Training steps of the ten networks.
        network: Arguments of the network.
        task: The copy task.
        batch_size: Batch size of a training step.
        programs: Batch sizes at which the programs are timed alone.
        floors: Batch sizes at which their times are compared with the lower bound.
        large_memory: Arguments of the network with a large memory.
        num_networks: Number of networks side by side.
        least_slots: Smallest number of memory slots of a batch in the training on copy.
        repeats: Number of repeats for a median.
        slow_repeats: Number of repeats for measurements that take most of a second.
        num_workers: Processes that sample batches.
        sequences: Episodes on which a trained network is evaluated.
    """

    device: torch.device
    batches: int = 10_000
    network: dict[str, int] = field(default_factory=dict)
    task: Copy = field(default_factory=Copy)
    batch_size: int = 8
    programs: tuple[int, ...] = (1, 8, 32, 128, 1024)
    floors: tuple[int, ...] = (8, 128, 1024)
    large_memory: dict[str, int] = field(default_factory=lambda: {"memory_slots": 1024, "memory_width": 64})
    num_networks: int = 10
    least_slots: int = 24
    repeats: int = 20
    slow_repeats: int = 3
    num_workers: int = 8
    sequences: int = 100

    def model(self, seed: int = 1, **options: Any) -> NTM:
        """Return a network on the device."""
        torch.manual_seed(seed)
        sizes = self.task.input_size, self.task.output_size
        return NTM(*sizes, **{**self.network, **options}).to(self.device)

    def episodes(self, batch_size: int | None = None, seed: int = 1) -> Batch:
        """Return a batch of the longest lists on the device."""
        size = batch_size or self.batch_size
        drawn = self.task.sample(batch_generator(seed, "train", 0), size, **self.task.difficulty)
        return on_device(drawn, self.device)


class Report:
    """Figures by name, stored as they are measured.

    Args:
        out: A file to which all figures are written after each one; `None` for no file.
        seconds: Time limit of all figures.
    """

    def __init__(self, out: Path | None, seconds: float):
        self.out, self.start, self.seconds = out, time.monotonic(), seconds
        self.figures: dict[str, Figure] = {}

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.start + self.seconds - time.monotonic()

    def measure(self, name: str, figure: Callable[[], Figure]) -> None:
        """Measure a figure. An error becomes its value, so that the other figures are still measured."""
        try:
            self.figures[name] = figure() if self.left() > 0 else {"error": "there was no time left"}
        except Exception as error:
            self.figures[name] = {"error": f"{type(error).__name__}: {error}"}
        finally:
            self._keep(name)

    def _keep(self, name: str) -> None:
        self.figures.setdefault(name, {"error": "ended before it was measured"})
        shown = json.dumps(self.figures[name])
        print(f"{time.monotonic() - self.start:6.1f} s  {name}: {shown[:200]}", file=sys.stderr, flush=True)
        if self.out is not None:
            write_whole(self.out, self.as_json())

    def as_json(self) -> str:
        """Return all figures so far."""
        return json.dumps(self.figures, indent=2) + "\n"


def machine(settings: Settings) -> Figure:
    """Return the names and versions of the GPU and the software."""
    import triton

    return {
        "device": torch.cuda.get_device_name(settings.device),
        "multiprocessors": torch.cuda.get_device_properties(settings.device).multi_processor_count,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
    }


def clocks() -> Figure:
    """Return the current clocks in MHz and power in watts of each GPU, from nvidia-smi."""
    names = ("clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.draw", "power.limit")
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return {"gpus": [dict(zip(names, line.split(", "), strict=True)) for line in ran.stdout.splitlines()]}


def run_tests(limit: float = TESTS_LIMIT, paths: Sequence[str] = TESTS) -> Figure:
    """Run tests in a separate process, and return pytest's last line."""
    command = [sys.executable, "-m", "pytest", "-q", *paths, "-o", "addopts=", "-o", "filterwarnings="]
    command += ["-k", "not test_float", *(["-n", str(min(12, os.cpu_count() or 1))] if find_spec("xdist") else [])]
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as late:
        shown = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return {"error": f"not done within {limit} seconds", "summary": _last_line(shown)}
    failed = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"summary": _last_line(ran.stdout) or _last_line(ran.stderr), "exit_code": ran.returncode, "failed": failed}


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def our_step(settings: Settings, repeats: int, **options: Any) -> Figure:
    """Return milliseconds of a training step, and the backend that runs it."""
    model, episodes = settings.model(**options), settings.episodes()
    return {
        "backend": model.backend_for(episodes.inputs),
        "step_ms": milliseconds(training_step(model, episodes), repeats),
    }


def module_per_head(settings: Settings) -> Figure:
    """Return milliseconds of a training step of an NTM with one module per head."""
    torch.manual_seed(1)
    model = ModulePerHeadNTM(settings.task.input_size, settings.task.output_size).to(settings.device)
    episodes, optimizer = settings.episodes(), default_optimizer(model.parameters())
    prefer_fused(optimizer)

    def step() -> None:
        optimizer.zero_grad()
        answers = model(episodes.inputs)
        F.binary_cross_entropy(answers[episodes.mask], episodes.targets[episodes.mask]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return {"step_ms": milliseconds(step, settings.slow_repeats)}


def faster(figures: dict[str, Figure]) -> Figure:
    """Return the speedup of our step over the others."""
    ours = figures["step"]["step_ms"]
    return {f"than_{name}": figures[name]["step_ms"] / ours for name in ("module_per_head", "reference_loop")}


def programs(settings: Settings, batch_size: int) -> Figure:
    """Return microseconds of each program alone per time step of the whole batch."""
    return _programs(settings.model(backend="triton"), settings, batch_size)


def _programs(model: nn.Module, settings: Settings, batch_size: int) -> Figure:
    times = program_microseconds(model, settings.episodes(batch_size).inputs, settings.repeats)
    return {f"{name}_us_per_time_step": microseconds for name, microseconds in times._asdict().items()}


def floors(settings: Settings, batch_size: int) -> Figure:
    """Return times, lower bounds and shares of the programs, and the rates of the GPU behind the bounds."""
    model, episodes, card = settings.model(backend="triton"), settings.episodes(batch_size), Card(settings.device)
    figures = program_figures(card, model, episodes, settings.repeats)
    return {**figures, "rates_per_second": card.rates(model, batch_size)._asdict()}


class Autocast(nn.Module):
    """A network whose forward runs under bfloat16 autocast."""

    def __init__(self, model: nn.Module, device: torch.device):
        super().__init__()
        self.model, self.device = model, device

    def forward(self, inputs: Tensor, state: Any = None) -> Any:
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.model(inputs, state)


def variant(settings: Settings, *, autocast: bool = False, **options: Any) -> Figure:
    """Return the time of a training step and of the programs of another network."""
    model: nn.Module = settings.model(backend="triton", **options)
    if autocast:
        model = Autocast(model, settings.device)
    step = milliseconds(training_step(model, settings.episodes()), settings.repeats)
    return {"step_ms": step, **_programs(model, settings, settings.batch_size)}


def side_by_side(settings: Settings) -> Figure:
    """Return milliseconds of a training step of many networks in one call and of one network, and the speedup."""
    from lightning_ntm.models.stack import Stack

    seeds = range(1, settings.num_networks + 1)
    stack = Stack([settings.model(seed) for seed in seeds]).to(settings.device)
    drawn = zip(*(settings.episodes(seed=seed) for seed in seeds), strict=True)
    episodes = Batch(*(torch.stack(parts) for parts in drawn))
    optimizer = default_optimizer(stack.parameters())
    prefer_fused(optimizer)
    together = milliseconds(partial(stacked_step, stack, optimizer, episodes), settings.repeats)
    one = milliseconds(training_step(settings.model(), settings.episodes()), settings.repeats)
    return {
        "networks": settings.num_networks,
        "step_ms": together,
        "one_network_ms": one,
        "times_faster_than_one_by_one": settings.num_networks * one / together,
    }


def objective_of(episodes: Batch) -> Objective:
    """Return what training on copy minimises."""
    return Objective(Bits(episodes.targets.shape[-1]))


def stacked_step(stack: Any, optimizer: torch.optim.Optimizer, episodes: Batch, slots: int | None = None) -> None:
    """Take a training step of each network, with `slots` memory slots or all. Each is clipped by its own norm."""
    optimizer.zero_grad()
    state = stack.initial_state(episodes.inputs.shape[1], slots=slots)
    loss_side_by_side(stack, objective_of(episodes), episodes, state).loss.backward()
    stack.clip_gradients(1.0)
    optimizer.step()


class SeedBatches(Dataset[tuple[Batch, list[int]]]):
    """Training batches of networks side by side. An item holds the batches of CHUNK steps.

    Each network sees the batches that `ntm train` samples for its seed. Their lengths differ within a step, so all are
    padded. The second part of an item is the number of time steps that each step needs.
    """

    def __init__(self, task: Copy, seeds: Sequence[int], steps: int, batch_size: int):
        self.task, self.seeds, self.steps, self.batch_size = task, seeds, steps, batch_size

    def __len__(self) -> int:
        return -(-self.steps // CHUNK)

    def __getitem__(self, number: int) -> tuple[Batch, list[int]]:
        numbers = range(number * CHUNK, min(self.steps, (number + 1) * CHUNK))
        drawn = [[self._draw(seed, step) for seed in self.seeds] for step in numbers]
        times = [max(batch.inputs.shape[1] for batch in step) for step in drawn]
        return Batch(*(self._padded(drawn, name, max(times)) for name in Batch._fields)), times

    def _draw(self, seed: int, step: int) -> Batch:
        return self.task.sample(batch_generator(seed, "train", step), self.batch_size)

    def _padded(self, drawn: list[list[Batch]], name: str, time: int) -> Tensor:
        """Return a field of the batches: steps x networks x batch x time, then the axes of the field."""
        padded = []
        for step in drawn:
            parts = [getattr(batch, name) for batch in step]
            after = [(0, 0) * (part.ndim - 2) + (0, time - part.shape[1]) for part in parts]
            padded.append(torch.stack([F.pad(part, pad) for part, pad in zip(parts, after, strict=True)]))
        return torch.stack(padded)


def batches_on_device(settings: Settings, seeds: Sequence[int]) -> Iterator[Batch]:
    """Yield the batch of each training step on the device. Processes sample them; they are copied in the background."""
    loader = DataLoader(
        SeedBatches(settings.task, seeds, settings.batches, settings.batch_size),
        batch_size=None,
        num_workers=settings.num_workers,
        pin_memory=works_ahead(settings.device),
    )
    for drawn, times in loader:
        chunk = Batch(*(part.to(settings.device, non_blocking=True) for part in drawn))
        for step, needed in enumerate(times):
            yield Batch(*(part[step, :, :, :needed] for part in chunk))


def ten_seeds(settings: Settings, seconds: float) -> Figure:
    """Train networks side by side on copy with our recipe, for at most `seconds`, and evaluate each.

    Two things differ from the recipe recipes/copy.yaml. All networks share the number of memory slots of a step, which
    is drawn for the first seed. The last weights are evaluated, not those with the best validation.
    """
    from lightning_ntm.models.stack import Stack

    start, seeds = time.monotonic(), range(1, settings.num_networks + 1)
    members = [settings.model(seed, controller="feedforward", stay_bias=0.0) for seed in seeds]
    stack = Stack(members).to(settings.device)
    compile_sizes(stack, settings, seeds)
    compiled = time.monotonic()
    steps = train(stack, settings, seeds, start + seconds)
    trained = time.monotonic()
    difficulty, sequences = settings.task.difficulty, settings.sequences
    results = [
        evaluate(member, settings.task, difficulty, sequences=sequences, seed=seed)
        for seed, member in zip(seeds, stack.members(), strict=True)
    ]
    return {
        "networks": settings.num_networks,
        "steps": steps,
        "steps_asked_for": settings.batches,
        "wrong_bits_at_length": {"length": difficulty["length"], "by_seed": [one["wrong_bits"] for one in results]},
        "compiling_seconds": compiled - start,
        "training_seconds": trained - compiled,
        "seconds": time.monotonic() - start,
        "steps_per_second": steps / (trained - compiled),
    }


def compile_sizes(stack: Any, settings: Settings, seeds: Sequence[int]) -> None:
    """Compile the programs for each memory size of the training. There is one program for each power of two."""
    most = stack.memory_slots
    drawn = zip(*(settings.episodes(seed=seed) for seed in seeds), strict=True)
    episodes = Batch(*(torch.stack(parts) for parts in drawn))
    powers = {1 << (slots - 1).bit_length(): slots for slots in range(settings.least_slots, most + 1)}
    for slots in powers.values():
        state = stack.initial_state(settings.batch_size, slots=slots)
        loss_side_by_side(stack, objective_of(episodes), episodes, state).loss.backward()
    stack.zero_grad()
    _wait(settings.device)


def train(stack: Any, settings: Settings, seeds: Sequence[int], deadline: float) -> int:
    """Train until all steps are done or the deadline has passed; return the number of steps."""
    most, steps, tail = stack.memory_slots, settings.batches, settings.batches / 2
    optimizer = default_optimizer(stack.parameters())
    prefer_fused(optimizer)
    schedule = LambdaLR(optimizer, lambda step: min(1.0, (steps - step) / tail))
    done = 0
    for done, episodes in enumerate(batches_on_device(settings, seeds), start=1):
        slots = drawn_slots(settings.least_slots, most, seeds[0], done - 1)
        stacked_step(stack, optimizer, episodes, slots)
        schedule.step()
        if done % AHEAD == 0:
            _wait(settings.device)  # otherwise the host would queue more steps than fit before the deadline
            if time.monotonic() > deadline:
                break
    _wait(settings.device)
    return done


def _wait(device: torch.device) -> None:
    if works_ahead(device):
        torch.cuda.synchronize(device)


def measure_all(report: Report, settings: Settings) -> None:
    """Measure every figure."""
    report.measure("machine", partial(machine, settings))
    report.measure("step", partial(our_step, settings, settings.repeats))
    report.measure("module_per_head", partial(module_per_head, settings))
    report.measure("reference_loop", partial(our_step, settings, settings.slow_repeats, backend="reference"))
    report.measure("faster", partial(faster, report.figures))
    for batch_size in settings.programs:
        report.measure(f"programs_batch_{batch_size}", partial(programs, settings, batch_size))
    report.measure("clocks", clocks)
    for batch_size in settings.floors:
        report.measure(f"floors_batch_{batch_size}", partial(floors, settings, batch_size))
    report.measure("side_by_side", partial(side_by_side, settings))
    report.measure("bf16", partial(variant, settings, autocast=True))
    report.measure("feedforward", partial(variant, settings, controller="feedforward"))
    report.measure("large_memory", partial(variant, settings, **settings.large_memory))
    report.measure("ten_seeds", lambda: ten_seeds(settings, report.left() - MEASURING))


def end(number: int, frame: FrameType | None) -> None:
    """End with the figures so far."""
    raise SystemExit(128 + number)


def small(settings: Settings) -> Settings:
    """Return settings that take seconds on a CPU, to test that everything runs."""
    return Settings(
        settings.device,
        batches=min(settings.batches, CHUNK + 2),
        network={"hidden_size": 8, "memory_slots": 8, "memory_width": 4},
        task=Copy(max_length=1),
        batch_size=1,
        programs=(1, 2),
        floors=(2,),
        large_memory={"memory_slots": 16, "memory_width": 4},
        num_networks=2,
        least_slots=5,
        repeats=1,
        slow_repeats=1,
        num_workers=0,
        sequences=4,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the figures to this file, after each figure")
    parser.add_argument("--skip-tests", action="store_true", help="do not run the tests")
    parser.add_argument("--batches", type=int, default=10_000, help="training steps of the ten networks (10000)")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"time limit in seconds ({LIMIT})")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N (cuda)")
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        settings = Settings(chosen_device(arguments.device), arguments.batches)
    except ValueError as error:
        parser.error(f"--{error}")
    if works_ahead(settings.device):
        torch.cuda.set_device(settings.device.index or 0)  # events are recorded on the current device
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    signal.alarm(arguments.limit + GRACE)
    report = Report(arguments.out, arguments.limit)
    try:
        if not arguments.skip_tests:
            report.measure("tests", run_tests)
        measure_all(report, small(settings) if arguments.small else settings)
    finally:
        print(report.as_json(), end="")


if __name__ == "__main__":
    main()
