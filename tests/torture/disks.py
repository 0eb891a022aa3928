"""Runs of which one operation on a file fails or is the last."""

import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.torture.runs import OFTEN, QUIET, TINY, remains, scratch, train

from lightning_ntm.records import RunFolder

WORDS = f"{TINY} {OFTEN} {QUIET} --trainer.max_steps"


class Disk:
    """A folder in which trainings run whose operations on files are counted and fail.

    Args:
        path: The folder.
        steps: Length of a training.
    """

    def __init__(self, path: Path, steps: int):
        self.path, self.words, library = path, f"{WORDS} {steps}", path / "faults.so"
        compiler = ["cc", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("faults.c"), "-ldl"]
        subprocess.run([str(word) for word in compiler], check=True)
        self._under = {"LD_PRELOAD": str(library), "FAULT_UNDER": str(path / "runs")}
        (path / "runs").mkdir()  # all trainings have the same operations
        self.operations = self.trained("whole")

    def folder(self, name: str) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "runs" / name)

    def trained(self, name: str, resume: bool = False) -> list[str]:
        """Train to the end, and return the kinds of operations in their order."""
        log = self.path / f"{name}.log"
        assert self._train(name, resume, FAULT_LOG=str(log)) == (0, "")
        return [line.split()[0] for line in log.read_text().splitlines()]

    def fault(self, name: str, at: int, kind: str, resume: bool = False) -> tuple[int, str]:
        """Train with a fault at an operation, and return the exit code and what was said of errors."""
        return self._train(name, resume, FAULT_AT=str(at), FAULT_KIND=kind)

    def finish(self, name: str) -> None:
        """Resume a run, or begin it anew if there is nothing to resume, and compare it with the whole one."""
        resume = self.folder(name).config.exists()
        assert self._train(name, resume) == (0, "")
        assert remains(self.folder(name).path) == remains(self.folder("whole").path)
        left = [path.name for path in self.folder(name).path.iterdir() if path.suffix == ".tmp"]
        assert not left, f"left {left}"

    def _train(self, name: str, resume: bool, **fault: str) -> tuple[int, str]:
        words = f"--resume runs/{name}" if resume else f"{self.words} --name {name}"
        return train(words, self.path, **(self._under | fault if fault else {}))


@contextmanager
def disk(steps: int) -> Iterator[Disk]:
    """A disk with one whole training."""
    folder = scratch()
    try:
        yield Disk(folder, steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def faults(number: int, seed: int) -> str:
    """Let one operation on a file fail in each of `number` trainings."""
    with disk(40) as of:
        chance, calls = random.Random(seed), len(of.operations)
        cases = [(i, chance.randint(1, calls), chance.choice(["full", "broken", "partial"])) for i in range(number)]
        told = _each(_faulty, of, cases)
        return (
            f"{number} faults among {calls} calls, {sum(told)} ended the run with one line; all went on to the same end"
        )


def _faulty(of: Disk, case: int, at: int, kind: str) -> bool:
    name = f"faulty{case}"
    code, said = of.fault(name, at, kind)
    assert code in (0, 2), f"exit code {code}, {said}"
    assert code == 0 or said.count("\n") == 1, said
    rows, whole = of.folder(name).rows(), of.folder("whole").rows()
    assert [row["step"] for row in rows] == [row["step"] for row in whole[: len(rows)]]
    of.finish(name) if code else _same(of, name)
    return code == 2


def _same(of: Disk, name: str) -> None:
    assert remains(of.folder(name).path) == remains(of.folder("whole").path)


def operations(number: int, seed: int) -> str:
    """Kill a fresh run and a resumed one at each operation on a file, in all `number` times at most."""
    with disk(10) as of:
        *_, second, _ = (at for at, kind in enumerate(of.operations, start=1) if kind == "rename")  # checkpoint, result
        assert of.fault("begun", second, "killed") == (-9, "")
        assert of.folder("begun").last.exists()
        _copy(of, "begun", "resumed")
        resumed = of.trained("resumed", resume=True)
        _same(of, "resumed")
        cases = [*_kills(of.operations, "fresh"), *_kills(resumed, "resumed")]
        cases = random.Random(seed).sample(cases, min(number, len(cases)))
        _each(_killed, of, cases)
        counts = Counter(how for how, _, _ in cases)
        done = f"{counts['fresh']} kills at {len(of.operations)} operations of a fresh run"
        return f"{done}, {counts['resumed']} at {len(resumed)} of a resumed one; all went on to the same end"


def _kills(kinds: list[str], how: str) -> Iterator[tuple[str, int, str]]:
    for at, kind in enumerate(kinds, start=1):
        yield how, at, "killed"
        if kind == "write":
            yield how, at, "torn"


def _killed(of: Disk, how: str, at: int, kind: str) -> None:
    name = f"{how}{at}{kind}"
    if how == "resumed":
        _copy(of, "begun", name)
    assert of.fault(name, at, kind, resume=how == "resumed") == (-9, "")
    of.finish(name)
    shutil.rmtree(of.folder(name).path)


def _copy(of: Disk, name: str, other: str) -> None:
    shutil.copytree(of.folder(name).path, of.folder(other).path)


def _each(function: Callable[..., Any], of: Disk, cases: list[Any]) -> list[Any]:
    def named(case: Any) -> Any:
        try:
            return function(of, *case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(named, cases))
