"""The benchmark for GPUs, on the CPU: with Triton's interpreter, a clock for events, and little of everything."""

import importlib.util
import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from tests.forked import scripted

from lightning_ntm import NTM, Copy, Stack
from lightning_ntm.tasks.base import Batch
from lightning_ntm.tasks.randomness import batch_generator

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
DRIVER = """
import runpy, sys
import fake_cuda, interpreter, pytest
from lightning_ntm.training import bench_cuda

interpreter.hasten()
fake_cuda.pretend(pytest.MonkeyPatch(), fake_cuda.WallClock())
bench_cuda._READS, bench_cuda._BLOCKS, bench_cuda._WARM_UP = 1, (64,), 0
bench_cuda.matrix_product_flops = lambda device: 1e9
bench_cuda.copied_bytes = lambda device: 1e9
script = sys.argv.pop(1)
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def gpu():
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.mark.slow
def test_every_figure_is_measured(tmp_path):
    pytest.importorskip("triton")
    words = ["--device", "cpu", "--small", "--skip-tests", "--out", tmp_path / "figures.json"]
    ran = scripted(DRIVER, str(SCRIPT), *words, TRITON_INTERPRET="1")
    figures = json.loads(ran.stdout)
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
    figures.pop("clocks")  # of nvidia-smi
    assert {name: figure["error"] for name, figure in figures.items() if "error" in figure} == {}
    assert list(figures) == [
        "machine", "step", "module_per_head", "reference_loop", "faster", "programs_batch_1", "programs_batch_2",
        "floors_batch_2", "side_by_side", "bf16", "feedforward", "large_memory", "ten_seeds",
    ]  # fmt: skip
    assert figures["machine"]["device"] == "a card"
    assert figures["faster"]["than_module_per_head"] == pytest.approx(
        figures["module_per_head"]["step_ms"] / figures["step"]["step_ms"]
    )
    assert figures["floors_batch_2"]["forward_floor_share"] > 0
    assert figures["ten_seeds"]["steps"] == figures["ten_seeds"]["steps_asked_for"] == 18
    assert len(figures["ten_seeds"]["wrong_bits_at_length"]["by_seed"]) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_it_needs_a_gpu(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("error: --device (='cuda') is not available: this machine has no CUDA device; allowed: auto, cpu.")
    )


def test_what_fails_is_told_and_costs_no_other_figure(gpu, tmp_path, capsys):
    report = gpu.Report(tmp_path / "figures.json", 60)
    report.measure("a", lambda: 1 / 0)
    report.measure("b", lambda: {"ms": 2.0})
    expected = {"a": {"error": "ZeroDivisionError: division by zero"}, "b": {"ms": 2.0}}
    assert report.figures == expected
    assert json.loads((tmp_path / "figures.json").read_text()) == expected
    assert [line.split("s  ")[1] for line in capsys.readouterr().err.splitlines()] == [
        'a: {"error": "ZeroDivisionError: division by zero"}',
        'b: {"ms": 2.0}',
    ]


def test_there_is_no_time_after_the_limit(gpu):
    report = gpu.Report(None, 0)
    report.measure("a", lambda: pytest.fail("measured"))
    assert report.figures == {"a": {"error": "there was no time left"}}


def test_what_there_is_is_printed_when_it_is_told_to_end(gpu, monkeypatch, capsys):
    def measure_all(report, settings):
        report.measure("a", lambda: {"ms": 1.0})
        report.measure("b", lambda: signal.raise_signal(signal.SIGTERM))
        report.measure("c", lambda: pytest.fail("measured"))

    monkeypatch.setattr(gpu, "measure_all", measure_all)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--skip-tests"])
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM)]
    try:
        with pytest.raises(SystemExit) as ended:
            gpu.main()
    finally:
        signal.alarm(0)
        for number, handler in handlers:
            signal.signal(number, handler)
    assert ended.value.code == 128 + signal.SIGTERM
    assert json.loads(capsys.readouterr().out) == {"a": {"ms": 1.0}, "b": {"error": "ended before it was measured"}}


def test_tests_are_summed_up_in_their_last_line(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # of its workers
    path = tmp_path / "test_two.py"
    path.write_text("def test_right():\n    pass\n\ndef test_wrong():\n    assert 1 == 2\n")
    found = gpu.run_tests(paths=[str(path)])
    assert found["summary"].startswith("1 failed, 1 passed in")
    assert found["exit_code"] == 1
    assert len(found["failed"]) == 1
    assert "test_wrong" in found["failed"][0]


def test_tests_that_take_too_long_are_ended(gpu, tmp_path):
    path = tmp_path / "test_slow.py"
    path.write_text("import time\n\ndef test_slow():\n    time.sleep(60)\n")
    assert gpu.run_tests(limit=0.5, paths=[str(path)])["error"] == "not done within 0.5 seconds"


def test_each_network_sees_the_batches_of_its_seed(gpu):
    task = Copy(bits=3, max_length=4)
    drawn = gpu.SeedBatches(task, seeds=(5, 6), steps=gpu.CHUNK + 1, batch_size=2)
    assert len(drawn) == 2
    batches, times = drawn[0]
    assert len(times) == gpu.CHUNK
    last, (time,) = drawn[1]
    assert last.inputs.shape[:3] == (1, 2, 2)
    for step in range(gpu.CHUNK):
        longest = 0
        for network, seed in enumerate((5, 6)):
            alone = task.sample(batch_generator(seed, "train", step), 2)
            own = alone.inputs.shape[1]
            longest = max(longest, own)
            for part, expected in zip(batches, alone, strict=True):
                assert part[step, network, :, :own].equal(expected)
                assert not part[step, network, :, own:].any()
        assert times[step] == longest
    assert time == max(task.sample(batch_generator(seed, "train", gpu.CHUNK), 2).inputs.shape[1] for seed in (5, 6))


@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
def test_networks_side_by_side_have_the_gradients_of_each_alone(gpu, backend):
    task, sizes = Copy(bits=3, max_length=4), {"hidden_size": 4, "memory_slots": 6, "memory_width": 3}
    members = [NTM(4, 3, **sizes) for _ in range(2)]
    batches, (time, *_) = gpu.SeedBatches(task, seeds=(1, 2), steps=1, batch_size=2)[0]
    together = Batch(*(part[0, :, :, :time] for part in batches))
    stack = Stack(members, backend)
    gpu.loss_side_by_side(stack, gpu.objective_of(together), together).loss.backward()
    for seed, member in enumerate(members, start=1):
        found = [parameter.grad[seed - 1] for parameter in stack.parameters()]
        episodes = task.sample(batch_generator(seed, "train", 0), 2)
        nats = task.answer.cost(member(episodes.inputs)[0], episodes)
        (nats.sum() / task.answer.units(episodes).sum()).backward()
        for one, parameter in zip(found, member.parameters(), strict=True):
            torch.testing.assert_close(one, parameter.grad, rtol=1e-5, atol=1e-8)  # rounding of padded steps


def test_training_side_by_side_varies_the_memory_and_ends_at_the_deadline(gpu, monkeypatch):
    settings = gpu.small(gpu.Settings(torch.device("cpu")))
    seen, take = [], gpu.stacked_step
    monkeypatch.setattr(gpu, "stacked_step", lambda *call: seen.append(call[3]) or take(*call))
    monkeypatch.setattr(gpu, "AHEAD", 4)
    stack = Stack([settings.model(seed) for seed in (1, 2)])
    assert gpu.train(stack, settings, (1, 2), float("inf")) == settings.batches == len(seen)
    assert set(seen) == {5, 6, 7, 8}
    assert gpu.train(stack, settings, (1, 2), 0.0) == 4


def test_programs_are_compiled_for_each_block_of_slots(gpu, monkeypatch):
    settings = gpu.small(gpu.Settings(torch.device("cpu")))
    settings.network["memory_slots"] = 70
    stack, seen = Stack([settings.model(seed) for seed in (1, 2)]), []
    start = stack.initial_state
    monkeypatch.setattr(stack, "initial_state", lambda batch, slots: seen.append(slots) or start(batch, slots=slots))
    gpu.compile_sizes(stack, settings, (1, 2))
    assert seen == [8, 16, 32, 64, 70]
    assert all(parameter.grad is None for parameter in stack.parameters())
