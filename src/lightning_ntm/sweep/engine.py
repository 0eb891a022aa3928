"""Trains the unfinished runs of a plan, each in a process of its own."""

import abc
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from typing import Literal

from lightning_ntm.checks import message_of
from lightning_ntm.cores import cores
from lightning_ntm.records import RunFolder, as_json, claim, make_folder, write_whole
from lightning_ntm.records.files import open_regular
from lightning_ntm.sweep.groups import grouped
from lightning_ntm.sweep.plan import PlannedRun
from lightning_ntm.sweep.processes import Processes, processes_of
from lightning_ntm.sweep.server import ServerError

End = Literal["done", "failed", "stopped", "elsewhere"]
#: Of `ntm train` for what a second attempt would not change.
_HOPELESS = 2
_LOST = 255  # for the exit code that nobody can tell: the server of the process was killed
_PATIENCE = 30.0  # seconds, for another process to let go of a run
_SAID = 2**16  # bytes of what a training said last
_GRACE = 10.0  # seconds, for a training to finish its step and save


class Worker:
    """Trains one run after the other in a process each. Doing so again does what is left to do.

    Args:
        folder: Of the sweep.
        train: The import path of a function, called in a process of its own with words for `ntm train` and the file
            for what it says; exits with the code of the command. Its module is loaded once for all processes.
        retries: Times a run that crashed is started again from its last checkpoint.
        tell: Is told of every crash.
    """

    def __init__(self, folder: Path, train: str, retries: int, tell: Callable[[str], None]):
        self.folder, self.train, self.retries, self.tell = folder, train, retries, tell
        self.stopping = Event()

    def complete(self, run: PlannedRun) -> End:
        """Train a run to its end, unless it has ended or another process is training it."""
        run_folder = RunFolder(self.folder / run.name)
        if _is_done(run_folder):
            return "done"  # also in a folder that cannot be written
        claims = self.folder / ".claims"
        try:
            make_folder(claims)
            let_go = claim(claims / run.name, run.name)
        except ValueError:
            return "elsewhere"
        except OSError as error:
            self.tell(f"{run.name}: {message_of(error)}")
            return "failed"
        try:
            return "done" if _is_done(run_folder) else self._attempts(run, run_folder)
        except OSError as error:  # of the folder, or of what starts processes; a training says so itself
            self.tell(f"{run.name}: {message_of(error)}")
            return "failed"
        finally:
            let_go()

    def complete_together(self, runs: Sequence[PlannedRun]) -> dict[str, End]:
        """Train runs side by side in one process; what is not done afterwards is trained alone.

        Runs cannot be trained side by side if each needs a Trainer of its own, as for callbacks. A run that diverges
        is trained again alone from its last checkpoint, which shows how it ends.
        """
        if len(runs) > 1:
            with ExitStack() as claims:
                mine = [
                    run
                    for run in runs
                    if not _is_done(RunFolder(self.folder / run.name)) and self._claimed(run, claims)
                ]
                if len(mine) > 1:
                    self._attempt_together(mine)
        return {run.name: self.complete(run) for run in runs}

    def _claimed(self, run: PlannedRun, claims: ExitStack) -> bool:
        """Claim a run that can be trained now, until the stack is closed."""
        folder = RunFolder(self.folder / run.name)
        try:
            make_folder(self.folder / ".claims")
            claims.callback(claim(self.folder / ".claims" / run.name, run.name))
        except (ValueError, OSError):
            return False
        usable = not folder.path.is_symlink() and (folder.last.exists() or not folder.began())
        return usable and not self._taken(folder)

    def _attempt_together(self, runs: Sequence[PlannedRun]) -> None:
        """Train runs side by side, again from their last checkpoints if the process was killed."""
        log = self.folder / "logs" / f"{runs[0].name}.log"
        for attempt in range(1, self.retries + 2):
            try:
                make_folder(log.parent)
                members = [[str(log.with_name(f"{run.name}.log")), *self._words(run)] for run in runs]
                code = self._run(["--together", json.dumps(members)], log)
            except (OSError, ServerError):  # each run is tried alone, and says what fails
                return
            runs = [run for run in runs if not _is_done(RunFolder(self.folder / run.name))]
            if code >= 0 or self.stopping.is_set() or len(runs) < 2:
                return
            self.tell(f"{runs[0].name} and others: {_in_words(code, [])} (attempt {attempt} of {self.retries + 1})")

    def _taken(self, folder: RunFolder) -> bool:
        """Whether another training is at it; one whose parent was killed is saving, and ends within seconds."""
        deadline = time.monotonic() + _PATIENCE
        while (taken := folder.in_use()) and time.monotonic() < deadline and not self.stopping.wait(0.2):
            pass
        return taken

    def _attempts(self, run: PlannedRun, folder: RunFolder) -> End:
        code, message, attempt = 0, "", 0
        while attempt <= self.retries and code != _HOPELESS:
            if self._taken(folder):
                return "elsewhere"
            folder.failed.unlink(missing_ok=True)
            code, message = self._attempt(run, folder)
            if _is_done(folder):
                return "done"
            if self.stopping.is_set():
                return "stopped"
            attempt += 1
            again = "" if code == _HOPELESS else f" (attempt {attempt} of {self.retries + 1})"
            self.tell(f"{run.name}: {message}{again}")
        make_folder(folder.path)
        write_whole(folder.failed, as_json({"attempts": attempt, "exit_code": code, "message": message}) + "\n")
        return "failed"

    def _attempt(self, run: PlannedRun, folder: RunFolder) -> tuple[int, str]:
        """Return the exit code of one attempt, and how it ended in words."""
        if folder.path.is_symlink():
            return _HOPELESS, f"{folder.path} is a symbolic link; nothing is written through it."
        if not folder.last.exists() and folder.began():
            return _HOPELESS, f"{folder.path} holds files but no checkpoint; it is left as it is."
        words = self._words(run)
        log = self.folder / "logs" / f"{run.name}.log"
        make_folder(log.parent)
        before = log.stat().st_size if log.exists() else 0
        try:
            code = self._run(words, log)
        except ServerError as error:
            return _LOST, str(error)
        said = _lines_after(log, before) if log.exists() else []
        return code, _in_words(code, said)

    def _words(self, run: PlannedRun) -> list[str]:
        """Return the words for `ntm train`: to resume the run, or to begin it in a new folder.

        Files of a run that ended before its first checkpoint are removed.
        """
        folder = RunFolder(self.folder / run.name)
        if folder.last.exists():
            words = ["--resume", str(folder.path), *_factories(run.words)]
        else:
            shutil.rmtree(folder.path, ignore_errors=True)
            words = [*run.words, "--runs", str(self.folder), "--name", run.name]
        return [*words, "--trainer.enable_progress_bar=false"]

    def _run(self, words: list[str], log: Path) -> int:
        """Return the exit code, or the negative number of the signal that ended it."""
        if self.stopping.is_set():
            return -signal.SIGTERM
        processes, code = processes_of(self.train), None
        child = processes.start(words, log)
        try:
            while not self.stopping.is_set() and (code := processes.exit_code(child)) is None:
                time.sleep(0.05)
        finally:
            if code is None:
                code = _ended(processes, child)
        return code

    def stop(self) -> None:
        """Have all runs finish their step and save; `complete` returns when they have."""
        self.stopping.set()


def _is_done(folder: RunFolder) -> bool:
    """Return whether a run is done. One that cannot be read is not: its training says why."""
    try:
        return folder.done()
    except (OSError, ValueError):
        return False


def _ended(processes: Processes, child: int) -> int:
    """Make a process save and end, and return its exit code."""
    deadline = time.monotonic() + _GRACE
    with suppress(ServerError):  # without the server it ends as well
        processes.end(child)
        while (code := processes.exit_code(child)) is None:
            time.sleep(0.05)
            if time.monotonic() > deadline:
                processes.kill(child)
        return code
    return _LOST


class Engine(abc.ABC):
    """Where the runs of a sweep are trained."""

    @abc.abstractmethod
    def train(self, worker: Worker, runs: Sequence[PlannedRun], look: Callable[[], None]) -> dict[str, End]:
        """Train runs; `look` is called about twice a second meanwhile. Return how each ended, by name.

        Raises:
            KeyboardInterrupt: It came from `look` or the user; all children have saved and ended.
        """


class LocalEngine(Engine):
    """Trains on this machine.

    Args:
        processes: That many processes at a time; one for each core by default.
        side_by_side: Most runs that one process trains side by side; 1 trains each alone. By default it follows from
            the number of runs that differ in nothing but their seed.
    """

    def __init__(self, processes: int | None = None, side_by_side: int | None = None):
        self.processes, self.side_by_side = processes or cores(), side_by_side

    def train(self, worker: Worker, runs: Sequence[PlannedRun], look: Callable[[], None]) -> dict[str, End]:
        """Train groups of runs, each in a process, watched by a thread each."""
        done = [run for run in runs if _is_done(RunFolder(worker.folder / run.name))]
        groups = grouped([run for run in runs if run not in done], self.processes, self.side_by_side)
        with ThreadPoolExecutor(self.processes) as pool:
            try:
                ends = [pool.submit(worker.complete_together, group) for group in [*([run] for run in done), *groups]]
                waiting: set[Future[dict[str, End]]] = set(ends)
                while waiting:
                    waiting = wait(waiting, 0.5, FIRST_COMPLETED).not_done
                    look()
            except BaseException:
                worker.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return {name: end for future in ends for name, end in future.result().items()}


def _factories(words: Sequence[str]) -> list[str]:
    """Return the words that may name functions, which are not taken from the configuration of a run."""
    return [word for word in words if word.startswith(("--optimizer=", "--scheduler=")) and "." in word]


def _lines_after(log: Path, start: int) -> list[str]:
    with suppress(OSError, ValueError), open_regular(log, sys.maxsize) as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - _SAID))
        return file.read(_SAID).decode(errors="replace").strip().splitlines()
    return []


def _in_words(code: int, said: list[str]) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    last = said[-1].removeprefix("ntm: error: ") if said else "it said nothing"
    return last if code == _HOPELESS else f"ended with exit code {code}: {last}"
