"""Timing on a GPU: what is timed and how it is summed up, by a clock that is told the time."""

import json
import sys
from types import SimpleNamespace

import fake_cuda
import pytest
import torch
from tests.forked import scripted

from lightning_ntm import NTM, Copy
from lightning_ntm.cli import bench as cli_bench, main
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.training import bench, bench_cuda
from lightning_ntm.training.roofline import backward_cost, forward_cost

CPU = torch.device("cpu")
SIZES = {"hidden_size": 4, "memory_slots": 5, "memory_width": 3}


@pytest.fixture
def clock(monkeypatch):
    clock = fake_cuda.Clock()
    fake_cuda.pretend(monkeypatch, clock)
    return clock


def takes(clock, *milliseconds):
    """Return work whose calls take these times, the last one from then on."""
    left = list(milliseconds)

    def work(*arguments, **options):
        clock.milliseconds += left.pop(0) if len(left) > 1 else left[0]

    return work


def test_a_time_is_the_median_of_calls_after_warm_up(clock):
    assert bench_cuda.milliseconds(takes(clock, 100, 100, 100, 1, 9, 2), 3) == 2


def test_rates_are_what_was_moved_by_the_time_it_took(clock, monkeypatch):
    monkeypatch.setattr(bench_cuda, "milliseconds", lambda work, repeats: (work(), 500.0)[1])
    assert bench_cuda.matrix_product_flops(CPU, size=16) == 2 * 16**3 / 0.5
    assert bench_cuda.copied_bytes(CPU, size=4096) == 2 * 4096 / 0.5


def test_matrix_products_are_measured_without_tensorfloat32(clock, monkeypatch):
    seen = []
    before = torch.backends.cuda.matmul.fp32_precision
    monkeypatch.setattr(
        bench_cuda, "milliseconds", lambda *_: seen.append(torch.backends.cuda.matmul.fp32_precision) or 1.0
    )
    bench_cuda.matrix_product_flops(CPU, size=2)
    assert seen == ["ieee"]
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_the_fastest_way_to_read_the_caches_counts(clock, monkeypatch):
    read = {}

    def read_again(array, programs, repeats, block):
        read[block] = array.numel()
        clock.milliseconds += {4096: 4.0, 8192: 2.0, 16384: 8.0}[block]

    monkeypatch.setitem(sys.modules, "lightning_ntm.kernels.ntm.triton.probe", SimpleNamespace(read_again=read_again))
    # 57,200 numbers are 14, 7 and 3 blocks: 57,344, 57,344 and 49,152 numbers.
    found = bench_cuda.cache_read_bytes(CPU, 57_200, programs=3)
    assert read == {4096: 57_344, 8192: 57_344, 16384: 49_152}
    assert found == pytest.approx(4 * 57_344 * 300 * 3 / 0.002)
    bench_cuda.cache_read_bytes(CPU, 10, programs=1)
    assert read == {4096: 4096, 8192: 8192, 16384: 16384}


class Program:
    """Stands for a Triton program."""

    def __init__(self, work):
        self.work, self.grids = work, []

    def __getitem__(self, grid):
        self.grids.append(grid)
        return self.work


@pytest.fixture
def programs(clock, monkeypatch):
    """Programs that, once warm, take 10 ms and 30 ms, and a pass of a network that takes 5 ms around either."""
    found = SimpleNamespace(forward=Program(takes(clock, *[99] * 4, 10)), backward=Program(takes(clock, *[99] * 4, 30)))
    package = pytest.importorskip("lightning_ntm.kernels.ntm.triton")
    monkeypatch.setattr(package, "programs", found, raising=False)
    monkeypatch.setitem(sys.modules, "lightning_ntm.kernels.ntm.triton.programs", found)

    def both(model, inputs):
        for name in ("forward", "backward"):
            clock.milliseconds += 5
            getattr(found, name)[(len(inputs),)](inputs, KEEP=True)

    monkeypatch.setattr(bench_cuda, "_forward_and_backward", both)
    return found


def test_programs_are_timed_without_what_is_around_them(clock, programs):
    launched = dict(vars(programs))
    times = bench_cuda.program_microseconds(NTM(9, 8, **SIZES), torch.zeros(2, 10, 9), repeats=3)
    assert times == (1000 * 10 / 10, 1000 * 30 / 10)
    assert programs.forward.grids == [(2,)] * 7  # one to compile, three to warm up
    assert len(clock.slept) == 12
    assert vars(programs) == launched


def test_programs_are_left_as_they_were_after_an_error(programs, monkeypatch):
    launched = dict(vars(programs))
    calls = iter([None])
    monkeypatch.setattr(bench_cuda, "_forward_and_backward", lambda model, inputs: next(calls))
    with pytest.raises(StopIteration):
        bench_cuda.program_microseconds(NTM(9, 8, **SIZES), torch.zeros(2, 10, 9), repeats=3)
    assert vars(programs) == launched


def test_rates_are_measured_once_for_all_rows(clock, monkeypatch):
    calls = []
    monkeypatch.setattr(bench_cuda, "matrix_product_flops", lambda device: calls.append("flops") or 1.0)
    monkeypatch.setattr(bench_cuda, "copied_bytes", lambda device: calls.append("memory") or 2.0)
    monkeypatch.setattr(bench_cuda, "cache_read_bytes", lambda device, numbers, programs: calls.append(programs) or 3.0)
    card, model = bench_cuda.Card(CPU), NTM(9, 8, **SIZES)
    assert card.rates(model, 8) == (1.0, 3.0, 2.0, 4)
    card.rates(NTM(9, 8, **{**SIZES, "memory_slots": 7}), 8)
    card.rates(model, 128)
    assert calls == ["flops", "memory", 8, 128]


def measured(monkeypatch):
    """Replace what only a GPU can measure; training steps run on the CPU."""
    monkeypatch.setattr(bench, "works_ahead", lambda device: True)
    monkeypatch.setattr(cli_bench, "works_ahead", lambda device: True)
    monkeypatch.setattr(bench, "SHAPES", ((2, 2, 8), (8, 1, 8)))
    monkeypatch.setattr(bench, "LARGE_SHAPES", ((9, 1, 16),))
    monkeypatch.setattr(bench_cuda, "BACKEND", "cpu")
    monkeypatch.setattr(bench_cuda, "program_microseconds", lambda *_: bench_cuda.ProgramTimes(4.0, 8.0))
    monkeypatch.setattr(bench_cuda, "matrix_product_flops", lambda device: 1e12)
    monkeypatch.setattr(bench_cuda, "copied_bytes", lambda device: 1e15)
    monkeypatch.setattr(bench_cuda, "cache_read_bytes", lambda device, numbers, programs: programs * 1e12)


def test_rows_of_a_gpu_tell_what_was_measured_and_what_was_not(clock, monkeypatch, capsys):
    measured(monkeypatch)
    step = bench_cuda._step_and_forward
    times = {"cpu": (2.0, 0.5), "reference": (200.0, 70.0)}
    monkeypatch.setattr(
        bench_cuda, "_step_and_forward", lambda model, *rest: (step(model, *rest), times[model.backend])[1]
    )
    assert main(["bench", "--device", "cpu", "--json", "--repeats", "1"]) == 0
    small, medium, large = json.loads(capsys.readouterr().out)
    assert [row["shape"]["batch"] for row in (small, medium, large)] == [2, 8, 9]
    assert {row["device"] for row in (small, medium, large)} == {"a card"}
    assert set(small) == set(large)
    assert (medium["step_ms"], medium["reference_step_ms"], medium["speedup"]) == (2.0, 200.0, 100.0)
    assert (large["step_ms"], large["reference_step_ms"], large["speedup"]) == (2.0, None, None)
    assert large["reference_forward_ms"] is None
    model = NTM(9, 8, memory_slots=8)
    for name, cost, took in (("forward", forward_cost(model), 4.0), ("backward", backward_cost(model), 8.0)):
        # Of two sequences half of four multiprocessors compute: 5e11 operations a second.
        floor_us = 1e6 * max(2 * cost.flops / 5e11, cost.cache_bytes / 1e12)
        assert small[f"{name}_us_per_time_step"] == took
        assert small[f"{name}_floor_us"] == pytest.approx(floor_us)
        assert small[f"{name}_floor_share"] == pytest.approx(floor_us / took)
        assert small[f"{name}_floor_limit"] in ("cache", "arithmetic")


def test_the_table_of_a_gpu_says_what_was_not_measured(clock, monkeypatch, capsys):
    measured(monkeypatch)
    monkeypatch.setattr(bench_cuda, "_step_and_forward", lambda *_: (2.0, 0.5))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["bench", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "a card" in printed
    first, last = (next(line for line in printed.splitlines() if shape in line) for shape in ("2 x 2, 8", "9 x 1, 16"))
    assert "not measured" not in first
    assert last.count("not measured") == 2


def test_a_step_that_is_timed_trains():
    torch.manual_seed(0)
    model, episodes = NTM(9, 8, **SIZES), Copy(max_length=2).sample(batch_generator(1, "train", 0), 3)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    bench_cuda.training_step(model, episodes)()
    assert all((before[name] != parameter).any() for name, parameter in model.named_parameters())


def test_rows_of_a_cpu_have_the_same_columns(monkeypatch):
    monkeypatch.setattr(bench, "SHAPES", ((2, 2, 8),))
    row = next(bench.bench(1, CPU))
    assert row["device"] == "cpu"
    assert {name for name, value in row.items() if value is None} == set(bench_cuda.PROGRAM_FIGURES)


PROBE = """
import torch
from lightning_ntm.kernels.ntm.triton.probe import read_again
numbers = torch.arange(96.0)
print(read_again(numbers, 3, 2, 16).tolist(), 2 * float(numbers.sum()))
"""


def test_each_program_of_the_probe_reads_all_numbers_again_and_again():
    pytest.importorskip("triton")
    ran = scripted(PROBE, TRITON_INTERPRET="1")
    assert ran.stdout.split() == ["[9120.0,", "9120.0,", "9120.0]", "9120.0"]


def test_a_device_that_is_not_there_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert main(["bench", "--device", "cuda:1"]) == 2
    expected = "--device (='cuda:1') is not available: this machine has no CUDA device; allowed: auto, cpu."
    assert capsys.readouterr().err == f"ntm: error: {expected}\n"
