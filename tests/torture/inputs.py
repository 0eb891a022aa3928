"""Configurations and files that are not what they should be, each met by a process of its own."""

import io
import os
import random
import resource
import shutil
import subprocess
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
import yaml
from hypothesis import HealthCheck, Phase, given, seed as hypothesis_seed, settings, strategies as st
from tests.torture import watched
from tests.torture.runs import NTM, QUIET, TINY, environment

from lightning_ntm.cli import main

SECONDS = 30  # of computing
MEGABYTES = 6000


def met(words: list[str], folder: Path) -> tuple[int, str]:
    """Run `ntm` in a forked process, which has everything imported; return exit code and what it said of errors."""

    def begin() -> None:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES * 2**20,) * 2)

    ended = watched.met(lambda: main(words), folder / ".said", SECONDS, begin)
    return ended.code, ended.said


def _warmed() -> None:
    """Do in this process, before it is forked, what only the first run of a process must do: it takes a second."""
    with redirect_stdout(io.StringIO()):
        assert main([*f"train {TINY} {QUIET} --trainer.fast_dev_run 1".split()]) == 0


RUBBISH = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(
            ["lightning_ntm.NTM", "os.system", "subprocess.Popen", "torch.optim.SGD", "null", "..", "-1e400"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


def _places(config: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in config.items():
        found.append((*above, key))
        if isinstance(value, dict):
            found += _places(value, (*above, key))
    return found


def mutated(config: dict[str, Any], place: tuple[str, ...], value: Any, how: str) -> dict[str, Any]:
    config = yaml.safe_load(yaml.safe_dump(config))
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    if how == "remove":
        del inner[place[-1]]
    elif how == "add":
        inner[value if isinstance(value, str) else repr(value)] = value
    else:
        inner[place[-1]] = value
    return config


def configurations(number: int, seed: int) -> str:
    """Train with configurations of which one place is mutated."""
    folder = Path(tempfile.mkdtemp())
    words = [*f"{TINY} {QUIET} --name base --trainer.max_steps 2 --trainer.accelerator cpu".split(), "--print_config"]
    printed = subprocess.run([*NTM, "train", *words], env=environment(), capture_output=True, text=True, check=True)
    base = yaml.safe_load(printed.stdout)
    _warmed()
    codes: dict[int, int] = {}
    broken: list[str] = []

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @hypothesis_seed(seed)
    @given(st.sampled_from(_places(base)), RUBBISH, st.sampled_from(["set", "set", "set", "remove", "add"]))
    def one(place: tuple[str, ...], value: Any, how: str) -> None:
        config = mutated(base, place, value, how)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        code, said = met(["train", "--config", "config.yaml", "--trainer.fast_dev_run", "2"], folder)
        broken.extend(_broken(f"{how} {'.'.join(place)} {value!r}", code, said, folder, {"config.yaml", ".said"}))
        codes[code] = codes.get(code, 0) + 1

    try:
        one()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert not broken, "\n".join(broken)
    return f"{sum(codes.values())} configurations, by exit code {codes}"


def files(number: int, seed: int) -> str:
    """Evaluate and resume runs of which one file is mutated."""
    folder = Path(tempfile.mkdtemp())
    chance = random.Random(seed)
    codes: dict[int, int] = {}
    broken: list[str] = []
    try:
        words = f"{TINY} {QUIET} --name base --trainer.max_steps 4 --trainer.val_check_interval 2".split()
        subprocess.run([*NTM, "train", *words], cwd=folder, env=environment(), check=True, capture_output=True)
        _warmed()
        kept = folder / "kept"
        shutil.move(folder / "runs" / "base", kept)
        names = sorted(path.name for path in kept.iterdir() if path.name != ".lock")
        for case in range(number):
            run = folder / "run"
            shutil.copytree(kept, run)
            what = f"case {case}: {_spoil(run, chance.choice(names), kept, names, chance)}"
            verb = chance.choice([["evaluate", "run"], ["train", "--resume", "run", "--trainer.max_steps", "6"]])
            code, said = met([*verb, *(["--sequences", "2"] if verb[0] == "evaluate" else [])], folder)
            broken += _broken(f"{what}, {verb[0]}", code, said, folder, {"kept", "run", "runs", ".said"})
            codes[code] = codes.get(code, 0) + 1
            shutil.rmtree(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert not broken, "\n".join(broken)
    return f"{number} files, by exit code {codes}"


def _broken(what: str, code: int, said: str, folder: Path, expected: set[str]) -> list[str]:
    """What of the promises was not kept."""
    found = []
    lines = [line for line in said.splitlines() if not line.startswith("ntm: warning: ")]
    if code not in (0, 2) or (code == 2 and len(lines) != 1) or "Traceback" in said:
        found.append(f"{what}: exit code {code}, {said[-1000:]}")
    left = {path.name for path in folder.iterdir()} - expected
    if left:
        found.append(f"{what} left {left}")
        for name in left:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).unlink(missing_ok=True)
    return found


def _spoil(run: Path, name: str, kept: Path, names: list[str], chance: random.Random) -> str:
    path = run / name
    data = bytearray(path.read_bytes())
    how = chance.choice(["cut", "flip", "rubbish", "empty", "other", "gone", "insert"])
    place = chance.randrange(len(data) + 1)
    if how == "cut":
        data = data[:place]
    elif how == "flip":
        for _ in range(chance.choice([1, 10])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == "rubbish":
        data = bytearray(chance.randbytes(chance.choice([1, 100, 10_000])))
    elif how == "empty":
        data = bytearray()
    elif how == "other":
        data = bytearray((kept / chance.choice(names)).read_bytes())
    elif how == "insert":
        data[place:place] = chance.randbytes(chance.choice([1, 8, 100]))
    path.unlink() if how == "gone" else path.write_bytes(data)
    return f"{how} {name}"


torch.set_num_threads(1)
