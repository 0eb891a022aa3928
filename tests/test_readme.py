"""The commands and scripts of the README and of the pages on command line, explorer and Python run; links resolve."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from runs import write_run

from lightning_ntm.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMAND_LINE = ROOT / "docs" / "command-line.md"
EXPLORER = ROOT / "docs" / "explorer.md"
PYTHON = ROOT / "docs" / "python.md"
NOTEBOOKS = ROOT / "docs" / "notebooks.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
#: Shortens measurements and animations. All other options stay as written.
LITTLE = {"bench": ["--repeats", "1"], "--animate": ["--lengths", "3"]}
#: Shortens a training.
BRIEF = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--data.validation_sequences=2"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page):
    lines = [shlex.split(line, comments=True) for block in blocks(page, "sh") for line in block.splitlines()]
    return [line[1:] for line in lines if line and line[0] == "ntm"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.setattr("lightning_ntm.training.bench.SHAPES", ((2, 2, 8),))  # small, as BRIEF makes trainings
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for example in (ROOT / "examples").glob("*.py"):
        (tmp_path / example.name).write_text(example.read_text())


@pytest.mark.parametrize("page", [README, COMMAND_LINE, EXPLORER], ids=lambda page: page.name)
def test_every_command_runs(page):
    for command in commands(page):
        trains = (command[0] == "train" and "--resume" not in command) or "--seeds" in command
        brief = [word.replace("1-10", "1") for word in command] + (BRIEF if trains else [])
        brief += [word for part, words in LITTLE.items() if part in command for word in words]
        assert main(brief) == 0, command


def test_the_readme_shows_every_verb():
    verbs = {"train", "sweep", "evaluate", "figure", "explore", "zoo", "export", "report", "bench"}
    assert {command[0] for command in commands(README)} == verbs


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", "".join(blocks(README, "sh")), flags=re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_make_demo_installs_the_package_alone_and_says_what_it_does():
    makefile = (ROOT / "Makefile").read_text()
    rules = dict(re.findall(r"^(\S+): .*\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE))
    assert re.search(r"^demo: \$\(CORE\)$", makefile, flags=re.MULTILINE)
    installed, shown = rules["$(CORE)"].splitlines(), rules["$(CORE)"] + rules["demo"]
    assert "\t@$(PIP) ." in installed, "without what tests need"
    said = re.findall(r'echo "(.*)"', shown)
    assert said[0].startswith("Installing the package")
    assert [line.partition(" ")[0] for line in said[1:]] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize(
    "script", [script for page in (README, PYTHON, EXPLORER, NOTEBOOKS) for script in blocks(page, "python")]
)
def test_every_script_runs(script, tmp_path):
    write_run(tmp_path / "runs" / "copy" / "ntm-copy-seed1")
    if "runs/diverged" in script:
        assert main(["train", "--name", "diverged", "--optimizer.lr", "1e38", *BRIEF]) == 2
    exec(compile(script.replace("5000", "2"), "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
