"""Trains the runs of a sweep on a Ray cluster whose nodes share the file system of the folder."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

from lightning_ntm.records import RunFolder, as_json, write_whole
from lightning_ntm.sweep.engine import End, Engine, Worker
from lightning_ntm.sweep.plan import PlannedRun

# Ray sends usage statistics unless this is 0.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import ray
except ImportError as error:
    raise ImportError("Ray is not installed; pip install 'lightning-ntm[ray]'") from error


class RayEngine(Engine):
    """Trains each run as a task of Ray Core. If a worker or its node dies, the run resumes from its last checkpoint.

    Args:
        address: Address of the cluster. Without one, Ray is started on this machine and stopped after the sweep.
        cpus: Cores reserved for each run.
        gpus: GPUs reserved for each run; fractions are allowed.

    Raises:
        ValueError: The cluster cannot be reached.
    """

    def __init__(self, address: str | None, cpus: float = 1.0, gpus: float = 0.0):
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, retry_exceptions=False)(_task())
        self.mine = not ray.is_initialized()
        if self.mine:
            try:
                # Ray puts the folder in which it is started before the standard library in its workers, and imports
                # pyarrow, if it is installed, before a task begins. The standard library's own folder does no harm.
                with chdir(Path(os.__file__).parent):
                    ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ValueError(f"no cluster at {address}: {error}") from error

    def train(self, worker: Worker, runs: Sequence[PlannedRun], look: Callable[[], None]) -> dict[str, End]:
        """Train runs. Each is a task that Ray restarts elsewhere when its worker dies."""
        folder, task = worker.folder.resolve(), self.task.options(max_retries=worker.retries)
        words = (os.getcwd(), str(folder), worker.train, worker.retries)
        tasks = {task.remote(*words, run.name, list(run.words)): run.name for run in runs}
        try:
            waiting = list(tasks)
            while waiting:
                _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)
                look()
            return {name: _end(reference, RunFolder(folder / name)) for reference, name in tasks.items()}
        except BaseException:
            for reference in tasks:
                ray.cancel(reference)  # interrupts the worker; its training saves its state and ends
            with suppress(Exception):
                ray.wait(list(tasks), num_returns=len(tasks), timeout=15)
            raise
        finally:
            if self.mine:
                ray.shutdown()


def _end(reference: Any, folder: RunFolder) -> End:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # the worker died more often than `retries` allows
        folder.path.mkdir(exist_ok=True)
        write_whole(folder.failed, as_json({"message": f"its worker on the cluster: {error}"}) + "\n")
        return "failed"


def _task() -> Callable[..., str]:
    """Return the function that Ray workers run.

    A nested function is sent as code and not imported, so the working folder of the sweep, where a user's own modules
    are, can be put at the end of the path before the first import.
    """

    def task(here: str, folder: str, train: str, retries: int, name: str, words: list[str]) -> str:
        import os
        import sys

        os.chdir(here)
        sys.path[:] = [*(path for path in sys.path if path != here), here]
        from lightning_ntm.sweep.ray import complete

        return complete(folder, train, retries, name, words)

    return task


def complete(folder: str, train: str, retries: int, name: str, words: list[str]) -> End:
    """Train a run in a Ray worker, from the checkpoint of an earlier worker if there is one."""
    return Worker(Path(folder), train, retries, print).complete(PlannedRun(name, tuple(words)))
