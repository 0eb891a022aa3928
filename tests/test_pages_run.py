"""Each page with code is run by a test. Here run the pages on sweeps, formal languages, figures and results.

Trainings are short, and sweeps have plans that are checked and two runs each. Scripts of `benchmarks/` take minutes:
those that measure time are not run, but exist and have the options with which a page calls them.
"""

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pages
import pytest
import yaml

from lightning_ntm.cli import main, sweep
from lightning_ntm.recipes import plans

ROOT = pages.DOCS.parent
HERE = ("sweeps.md", "formal-languages.md", "figures.md", "ten-seeds.md", "results.md")
#: The tests that run the other pages. A list of packages to install is no code that they run.
ELSEWHERE = {
    "README.md": "test_readme.py",
    "babi.md": "tasks/test_babi.py",
    "command-line.md": "test_readme.py",
    "concepts.md": "test_site.py",
    "concepts-dnc.md": "test_site.py",
    "demo.md": "test_site.py",
    "explorer.md": "test_readme.py",
    "notebooks.md": "test_readme.py",
    "python.md": "test_readme.py",
    "start.md": "test_site.py",
    "your-own-data.md": "test_own_data_page.py",
    "your-own-network.md": "test_own_trainer_page.py",
    "your-own-task.md": "test_own_task_page.py",
    "your-own-trainer.md": "test_own_trainer_page.py",
}
BRIEF = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--data.validation_sequences=2"]
LITTLE = {"evaluate": ["--sequences", "2"], "figure": [], "report": []}
#: Lengths that take long, and shorter ones.
SHORTER = (("41-500:20", "41-42"), ("41-500", "41-42"), ("40,160,500", "40,160"))


def has_code(path):
    return re.search(r"^```(python|sh|yaml)\n|^\$ ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_each_page_with_code_is_run_by_a_test():
    found = {path.relative_to(pages.DOCS).as_posix() for path in pages.DOCS.rglob("*.md") if has_code(path)}
    assert {*HERE, *ELSEWHERE} - {"README.md"} == found
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / "tests" / test).read_text(encoding="utf-8"), page


def commands(page):
    """The commands of a page: lines of `sh`, and those after a prompt."""
    prompted = [line[2:] for block in pages.blocks(page, "text") for line in block.splitlines() if line[:2] == "$ "]
    typed = "".join(pages.blocks(page, "sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in (*typed, *prompted)]
    return [line for line in map(without_core, words) if line]


def without_core(words):
    """The words after `taskset -c N`."""
    return words[3:] if words[:1] == ["taskset"] else words


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps."""
    runs = tmp_path_factory.mktemp("trained")
    assert main(["train", "--task", "ReverseString", "--name", "run", "--runs", str(runs), *BRIEF]) == 0
    return runs / "run"


class Copies:
    """In place of an engine: a sweep's runs on the task of one run, or else its first two, are copies of that run."""

    def __init__(self, run):
        self.run = run

    def train(self, worker, runs, look):
        for planned in [one for one in runs if one.name.endswith("-reversestring-seed1")] or runs[:2]:
            shutil.copytree(self.run, worker.folder / planned.name, dirs_exist_ok=True)
        return {planned.name: "done" for planned in runs}


@pytest.fixture
def folder(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "_engine", lambda arguments: Copies(trained))
    (settings,) = pages.blocks("sweeps.md", "yaml")
    Path("plan.yaml").write_text(settings)
    return tmp_path


def expanded(words):
    """The words as a shell expands braces and stars."""
    if not any("*" in word for word in words):
        return words
    shell = ["bash", "-O", "nullglob", "-c", f"printf '%s\\n' {' '.join(words)}"]
    return subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split()


def shortened(words):
    verb, *more = [word.replace("runs/NAME", "runs/copy") for word in words]
    for long, short in SHORTER:
        more = [short if word == long else word for word in more]
    return [verb, *expanded(more), *(BRIEF if verb == "train" else LITTLE.get(verb, []))]


#: Options of `ntm train` as `ntm sweep` has them.
OF_SWEEPS = {f"--{name}": f"--{name}s" for name in ("task", "model", "config")}


@pytest.mark.parametrize("page", HERE)
def test_its_commands_run(page, folder, monkeypatch, capsys):
    ran = 0
    for program, *words in commands(page):
        if program == "python":
            check_script(*words)
        if program != "ntm" or "ray" in words:
            continue
        if words[:1] == ["train"] and "--seeds" in words:  # is a sweep, as the page says
            words = ["sweep", *(OF_SWEEPS.get(word, word) for word in words[1:] if word != "[plain]")]
        with monkeypatch.context() as changed:
            if words[:1] == ["sweep"] and words[1] in plans():  # whose runs tests/sweep/test_plan.py checks
                changed.setattr(sweep, "_check", lambda runs: None)
            assert main(shortened(words)) == 0, (words, capsys.readouterr().err)
        ran += 1
    assert ran


def check_script(path, *words):
    """A script of `benchmarks/` is there, and has the options of a command."""
    text = (ROOT / path).read_text(encoding="utf-8")
    named = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    assert {word for word in words if word.startswith("--")} <= named, (path, words)


def test_the_plan_of_the_page_is_all_that_a_plan_may_have():
    (settings,) = pages.blocks("sweeps.md", "yaml")
    named = sweep._parser().epilog.partition("a plan of your own: ")[2].splitlines()[0].split(", ")
    assert {*yaml.safe_load(settings)} == {*named} - {"configs"}
    assert "`configs: [" in (pages.DOCS / "sweeps.md").read_text(encoding="utf-8")
