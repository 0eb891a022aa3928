"""Runs that are killed, or that last long."""

import fcntl
import getpass
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import safetensors
import torch
from tests.forked import Forked
from tests.torture import watched

from lightning_ntm.records import RunFolder

ROOT = Path(__file__).parents[2]
NTM = [sys.executable, "-m", "lightning_ntm.cli"]
TINY = (
    "--model tests.torture.parts.Forgetful --model.hidden_size 8 --task.bits 2 --task.max_length 3 --data.batch_size 2"
)
OFTEN = "--trainer.val_check_interval 5 --trainer.log_every_n_steps 5 --data.validation_sequences 4"
QUIET = "--trainer.enable_progress_bar false"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **more}


def start(words: str, folder: Path, **more: str) -> Forked:
    """Start `ntm train` with more variables in its environment."""
    return Forked(["train", *words.split()], folder, environment(**more))


def train(words: str, folder: Path, **more: str) -> tuple[int, str]:
    """Run `ntm train` to its end; return the exit code and what it said of errors."""
    process = start(words, folder, **more)
    _, said = process.communicate()
    return process.returncode, said


def scratch() -> Path:
    """A folder on another file system than the one for temporary files, where there is one."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))


def remains(run: Path) -> tuple[object, ...]:
    """All that a run leaves behind, without what depends on the clock."""
    folder = RunFolder(run)
    rows = [{key: value for key, value in row.items() if "second" not in key} for row in folder.rows()]
    state = torch.load(folder.last, weights_only=True)
    for callback in state["callbacks"].values():
        for clock in ("seconds", "interval_seconds"):
            callback.pop(clock, None)
    result = {key: value for key, value in json.loads(folder.result.read_text()).items() if key != "seconds"}
    with safetensors.safe_open(folder.best, framework="pt") as file:
        best = {name: file.get_tensor(name).tolist() for name in file.keys()}, file.metadata()  # noqa: SIM118
    return rows, _plain({key: state[key] for key in _EXACT}), best, result


_EXACT = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "global_step", "epoch")


def _plain(value: object) -> object:
    """Tensors as lists, which can be compared."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def kills(number: int, seed: int, steps: int = 6000) -> str:
    """Kill two trainings again and again, half of `number` times each; both must end as the undisturbed one."""
    folder = scratch()
    try:
        words = f"{TINY} {OFTEN} {QUIET} --trainer.max_steps {steps} --data.batches_per_epoch 7"
        with ThreadPoolExecutor(2) as pool:
            whole = pool.submit(train, f"{words} --name whole", folder)
            shares = (number - number // 2, number // 2)
            parts = [
                pool.submit(_killed, f"{words} --name killed{i}", folder, share, random.Random(f"{seed}/{i}"))
                for i, share in enumerate(shares)
            ]
            assert whole.result() == (0, "")
            done = sum(part.result() for part in parts)
        for i in range(2):
            assert remains(folder / f"runs/killed{i}") == remains(folder / "runs/whole"), f"killed{i} ended otherwise"
        return f"{done} kills in two trainings of {steps} steps, both bit-identical to the undisturbed one"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _killed(words: str, folder: Path, number: int, chance: random.Random) -> int:
    """Train to the end, killed `number` times on the way, if it lasts so long."""
    name = words.rpartition(" ")[2]
    run, done = RunFolder(folder / "runs" / name), 0
    while True:
        goes_on = run.last.exists()
        if not goes_on:
            shutil.rmtree(run.path, ignore_errors=True)
        begun = len(run.notes())
        process = start(f"--resume runs/{name}" if goes_on else words, folder)
        if done < number:
            while process.poll() is None and len(run.notes()) == begun and chance.random() > 0.002:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.4)
            if process.poll() is None:
                process.kill()
                done += 1
        said = process.communicate()[1]
        if process.returncode == 0:
            return done
        assert process.returncode == -9, said


#: How a sweep may end, and where it writes.
ENDS = ("KILL", "HUP", "TERM", "terminal")
OUTPUTS = ("file", "pipe", "nothing")


def sweeps(number: int, seed: int) -> str:
    """End sweeps in every way; their runs must have saved and ended within seconds, with nothing left behind."""
    folder, cases = scratch(), [*itertools.product(ENDS, OUTPUTS)]
    random.Random(seed).shuffle(cases)
    try:
        seconds = [end_sweep(folder / str(i), *cases[i % len(cases)]) for i in range(number)]
        most = f"{max(seconds):.1f} s of computing"
        return f"{number} sweeps ended in {len(cases)} ways, all runs saved and ended within {most}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_sweep(folder: Path, end: str, output: str, engine: str = "local") -> float:
    """End a sweep of two runs, and return the seconds of computing until they had saved and ended."""
    folder.joinpath("tmp").mkdir(parents=True)
    words = f"{TINY} {OFTEN} --trainer.max_steps 1000000".replace("--model ", "--models ", 1)
    command = f"sweep {words} --name a --seeds 1-2 --processes 2 --engine {engine}"
    own, its = os.openpty()
    reader, writer = os.pipe()
    streams = {"file": "> said", "pipe": "", "nothing": ">&- 2>&- <&-"}[output]
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *NTM, *command.split()],
        cwd=folder, env=environment(TMPDIR=str(folder / "tmp")), stdin=its, stdout=writer, stderr=writer,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
    )  # fmt: skip
    for descriptor in (its, reader, writer):  # nobody reads the pipe
        os.close(descriptor)
    runs = [RunFolder(folder / f"runs/a/forgetful-copy-seed{i}") for i in (1, 2)]
    try:
        _wait(folder, lambda: all(run.last.exists() for run in runs) or process.poll() is not None, 120)
        assert process.poll() is None, f"{output}: the sweep ended by itself, {process.returncode}"
        if end == "terminal":
            os.close(own)
        else:
            process.send_signal(signal.Signals[f"SIG{end}"])
        seconds = _wait(folder, lambda: process.poll() is not None and not any(run.in_use() for run in runs), 15)
    finally:
        process.kill()
        process.wait()
    number = signal.Signals["SIGHUP" if end == "terminal" else f"SIG{end}"]
    assert process.returncode == (-number if end == "KILL" else 128 + number), f"{end}, {output}"
    _wait(
        folder, lambda: not watched.working_in(folder), 15
    )  # a run says its last line after it has let go of its folder
    for run in runs:
        said = folder.joinpath(f"runs/a/logs/{run.path.name}.log").read_text().splitlines()[-1]
        step = torch.load(run.last, weights_only=True)["global_step"]
        assert said.startswith(f"ended by SIGTERM at step {step}; to go on: "), f"{end}, {output}: {said}"
    left = {path.name for path in folder.joinpath("tmp").iterdir()} - {f"torchinductor_{getpass.getuser()}"}
    assert not left, f"{end}, {output}: {left} in the folder for temporary files, besides the cache of PyTorch"
    return seconds


def _wait(folder: Path, condition: Callable[[], bool], computing: float, sleeping: float = 15) -> float:
    """Wait for a condition; return the CPU seconds of the processes that work in a folder meanwhile."""
    watch = watched.Watch(lambda: watched.working_in(folder), computing, sleeping)
    while not condition():
        assert not (over := watch.over()), f"the processes of the sweep {over}"
        time.sleep(0.02)
    return watch.computed


def soak(steps: int, seed: int) -> str:
    """Train for long; memory and the computing of a step must not grow, and the metrics no faster than the steps."""
    folder = scratch()
    try:
        seldom = (
            f"--trainer.val_check_interval {steps // 20} --data.validation_sequences 4 --trainer.log_every_n_steps 50"
        )
        process = start(f"{TINY} {seldom} {QUIET} --trainer.max_steps {steps} --seed {seed} --name soak", folder)
        run, seen = RunFolder(folder / "runs" / "soak"), []
        while process.poll() is None:
            rows = run.rows() if run.metrics.exists() else []
            if rows and rows[-1]["step"] > (seen[-1][0] if seen else 0) + steps // 40:
                size = run.metrics.stat().st_size
                seen.append((rows[-1]["step"], _resident(process.pid), watched.computed(process.pid), size))
            time.sleep(0.2)
        assert process.returncode == 0, process.communicate()[1]
        warm = [row for row in seen if row[0] >= steps // 10]
        (first, memory, seconds, size), (last, memory_end, seconds_end, size_end) = warm[0], warm[-1]
        middle = warm[len(warm) // 2]
        assert memory_end <= 1.05 * memory, f"memory grew from {memory} to {memory_end} kB"
        assert size_end / last <= 1.1 * size / first, "the metrics grew faster than the steps"
        early = (middle[2] - seconds) / (middle[0] - first)
        late = (seconds_end - middle[2]) / (last - middle[0])
        assert late <= 1.25 * early, f"a step took {early:.5f} s, later {late:.5f} s"
        return (
            f"{steps} steps: memory {memory} to {memory_end} kB, {1000 * early:.2f} to {1000 * late:.2f} ms of "
            f"computing and {size_end / last:.1f} bytes of metrics a step"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
