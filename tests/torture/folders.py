"""Run folders from anywhere, met by every verb, each time in a process of its own."""

import io
import os
import resource
import shutil
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, seed as hypothesis_seed, settings, strategies as st
from tests import verbs
from tests.forked import fork_servers
from tests.hostile import SPOILED
from tests.torture import watched
from tests.torture.runs import QUIET

import lightning_ntm.explorer
import lightning_ntm.report
from lightning_ntm.cli import main

SECONDS = 5.0  # of computing, more than for the folder as it was
BASE = (
    "--model NTM --model.hidden_size 8 --model.memory_slots 6 --model.memory_width 4 --task.bits 2 --task.max_length 3"
)
SHORT = "--data.batch_size 2 --data.validation_sequences 4 --trainer.val_check_interval 2"
VERBS = [name for name in verbs.WORDS if name not in verbs.WITHOUT_FOLDER]
FILES = [
    "config.yaml", "metrics.jsonl", "about.jsonl", "result.json", "failed.json", "evaluation.json", "nonfinite.json",
    "last.ckpt", "best.safetensors", ".lock", "figures", "config.before-resume-1.yaml", "../plan.yaml",
    "../report.html", "../figures", "lightning_logs", ".metrics.jsonl.tmp", "\x1b[2J",
]  # fmt: skip


def _to(target: str) -> Any:
    return lambda path: path.symlink_to(Path.cwd() / "outside" / target)


WAYS = {
    "link to a file": _to("precious"),
    "link to nothing": _to("new"),
    "link to a folder": _to("."),
    "link to itself": lambda path: path.symlink_to(path.name),
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "rubbish": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "list": lambda path: path.write_text("[" * 500 + "]" * 500 + "\n"),
    "other object": lambda path: path.write_text('{"step": "x", "results": [{}], "message": {"a": "\\u001b[2J"}}\n'),
}


def met(name: str, limit: float) -> watched.Met:
    """Let a verb meet the hostile folder."""

    def run() -> int:
        if verbs.verb_of(name) == "sweep":
            fork_servers()
        return main(verbs.words(name, "hostile/bad", "hostile", "made"))

    shutil.rmtree("made", ignore_errors=True)
    Path("made").mkdir()
    return watched.met(run, Path(".said"), limit)


def folders(number: int, seed: int) -> str:
    """Have every verb meet folders of which some files are not what they should be."""
    scratch, before = Path(tempfile.mkdtemp()), Path.cwd()
    os.chdir(scratch)
    codes: dict[int, int] = {}
    broken: list[str] = []
    try:
        usual = _begin()
        most = 2 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        @settings(
            max_examples=number, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @hypothesis_seed(seed)
        @given(
            st.sampled_from([None, *SPOILED]),
            st.dictionaries(st.sampled_from(FILES), st.sampled_from(list(WAYS)), max_size=2),
            st.sampled_from(VERBS),
        )
        def one(kind: str | None, changes: dict[str, str], verb: str) -> None:
            _spoil(kind, changes)
            code, said, _, used = met(verb, SECONDS + usual[verb])
            codes[code] = codes.get(code, 0) + 1
            lines = [line for line in said.splitlines() if not line.startswith("ntm: warning: ")]
            what = f"{verb} of {kind}, {changes}"
            ends = (0, 1, 2) if verb == "sweep" else (0, 2)  # 1: a run has failed
            if code not in ends or (code == 2 and len(lines) != 1) or "Traceback" in said or "\x1b" in said:
                broken.append(f"{what}: exit code {code}, {said[-2000:]}")
            if used > most:
                broken.append(f"{what}: {used // 1024} MiB, twice what it had is {most // 1024}")
            if Path("outside/precious").read_text() != "as it was" or len(os.listdir("outside")) != 1:
                broken.append(f"{what}: wrote outside: {os.listdir('outside')}")
                _outside()
            if left := {path.name for path in Path().iterdir()} - {"hostile", "kept", "made", "outside", ".said"}:
                broken.append(f"{what}: left {left}")

        one()
    finally:
        os.chdir(before)
        shutil.rmtree(scratch, ignore_errors=True)
    assert not broken, "\n".join(broken)
    return f"{sum(codes.values())} folders, by exit code {codes}"


def _begin() -> dict[str, float]:
    """Make the folder to be spoiled, and return how many seconds each verb takes with it as it is."""
    assert lightning_ntm.report, lightning_ntm.explorer  # with all it imports, here and not in each process
    train_two("kept")
    _outside()
    usual = {}
    for verb in VERBS:
        _spoil(None, {})
        code, said, usual[verb], _ = met(verb, 60)
        assert code == 0, f"{verb}: {code} {said}"
    return usual


def train_two(parent: str) -> None:
    """Make a sweep of two runs that are evaluated and reported."""
    with redirect_stdout(io.StringIO()):
        for name in ("good", "bad"):
            words = f"train {BASE} {SHORT} {QUIET} --trainer.max_steps 4 --runs {parent} --name {name} --seed 1"
            assert main(words.replace("--seed 1", f"--seed {1 + (name == 'good')}").split()) == 0
        assert main(["evaluate", parent, "--sequences", "2"]) == 0
        assert main(["report", parent]) == 0
    runs = {name: ["--trainer.max_steps=4"] for name in ("good", "bad")}
    Path(parent, "plan.yaml").write_text(yaml.safe_dump({"name": parent, "runs": runs}))


def _outside() -> None:
    shutil.rmtree("outside", ignore_errors=True)
    Path("outside").mkdir()
    Path("outside/precious").write_text("as it was")


def _spoil(kind: str | None, changes: dict[str, str]) -> None:
    shutil.rmtree("hostile", ignore_errors=True)
    shutil.copytree("kept", "hostile")
    bad = Path("hostile/bad")
    if kind:
        SPOILED[kind][0](bad)
    for name, way in changes.items():
        path = bad / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        WAYS[way](path)
