"""The site of `make docs`: every page is in its contents once, links lead somewhere, and what pages print is true."""

import ast
import contextlib
import importlib
import io
import re
import runpy
import shlex
from collections import Counter
from itertools import pairwise

import pages
import pytest

from lightning_ntm import functional
from lightning_ntm.cli import main

ROOT = pages.DOCS.parent
PAGES = [path.relative_to(pages.DOCS).as_posix() for path in sorted(pages.DOCS.rglob("*.md"))]
DEMO = "demo.md"


def text_of(page):
    return (pages.DOCS / page).read_text(encoding="utf-8")


def test_every_page_is_in_the_contents_once():
    contents = re.findall(r"^```\{toctree\}\n(?:.*\n)*?\n((?:.+\n)+?)```", text_of("index.md"), flags=re.MULTILINE)
    listed = Counter(f"{name}.md" for names in contents for name in names.split())
    assert listed == Counter(page for page in PAGES if page != "index.md")


def test_the_configuration_names_what_the_package_installs():
    names = runpy.run_path(str(pages.DOCS / "conf.py"))
    assert names["project"] == "lightning-ntm"
    pinned = (ROOT / "constraints.txt").read_text()
    for package in ("sphinx", "myst-parser", names["html_theme"]):
        assert f'"{package}>=' in (ROOT / "pyproject.toml").read_text()
        assert f"\n{package}==" in pinned


def anchors(text):
    """The anchors of a page's headings, as code hosts and the site make them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", title).lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_every_link_within_the_docs_leads_to_a_heading(page):
    folder = (pages.DOCS / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        file, _, anchor = target.partition("#")
        if file.startswith("https://"):
            continue
        linked = folder / file if file else pages.DOCS / page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_every_table_has_its_delimiter_below_its_header(page):
    lines = text_of(page).splitlines()
    for above, line in pairwise(lines):
        if "|---" in line or "---|" in line:
            assert re.fullmatch(r"\|(-+\|)+", line), line
            assert above.count("|") == line.count("|"), above


def test_pictures_are_small():
    for picture in ("concepts-copy.png", "ntm.svg"):
        assert (pages.DOCS / picture).stat().st_size < 150_000


def run_in_order(page):
    """Run the Python of a page as one program; yield what each block printed and what the page says."""
    names = {}
    for script, shown in re.findall(
        r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text_of(page), flags=re.DOTALL | re.MULTILINE
    ):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(script, page, "exec"), names)
        yield printed.getvalue(), shown


@pytest.mark.parametrize("page", ["concepts.md", "concepts-dnc.md"])
def test_equations_give_what_is_printed(page):
    import torch

    try:
        blocks = list(run_in_order(page))
    finally:
        torch.set_printoptions(profile="default")
    assert len(blocks) > 5
    for printed, shown in blocks:
        assert printed == shown


def test_every_equation_is_explained():
    text = text_of("concepts.md") + text_of("concepts-dnc.md")
    for name in dir(functional):
        value = getattr(functional, name)
        if callable(value) and not name.startswith("_"):
            assert f"`{name}(" in text, name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the runs that the first steps and the demonstration train, of one step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def commands(page):
    lines = [shlex.split(line) for block in pages.blocks(page, "sh") for line in block.splitlines()]
    return [words for words in lines if words[0] == "ntm"]


@pytest.mark.parametrize("page", ["start.md", DEMO])
def test_its_commands_and_scripts_run(page, folder, capsys):
    brief = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--data.validation_sequences=2"]
    for _, verb, *words in commands(page):
        more = brief if verb == "train" else ["--sequences=2"] if verb == "evaluate" else []
        assert main([verb, *words, *more]) == 0, capsys.readouterr().err
    (script,) = pages.blocks(page, "python")
    exec(compile(script, page, "exec"), {})


def test_the_times_of_the_demonstration_are_of_its_own_commands():
    measured = runpy.run_path(str(ROOT / "benchmarks" / "demo.py"))["commands"](text_of(DEMO))
    ran = [words[3:] for _, words in measured if words[1] == "-m"]
    assert [[word for word in words if word not in ("--html", "page.html")] for words in ran] == [
        words[1:] for words in commands(DEMO)
    ]
    assert [words[2] for _, words in measured if words[1] == "-c"] == pages.blocks(DEMO, "python")
    told = pages.blocks(DEMO, "text")[0]
    for heading, words in measured:
        shown = "python ..." if words[1] == "-c" else shlex.join(["ntm", *words[3:]])
        assert f"  {heading}: {shown}\n" in told


def test_their_first_lines_are_targets_of_make():
    for page in ("start.md", DEMO):
        first = pages.blocks(page, "sh")[0].splitlines()
        assert first == ["make demo", "source .venv/bin/activate"]
    assert re.search(r"^demo:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


#: Rooms whose public names have a place in the API. What is missing here is for the package itself.
ROOMS = (
    "",
    ".functional",
    ".models",
    ".tasks",
    ".training",
    ".evaluation",
    ".exchange",
    ".explorer",
    ".report",
    ".testing",
)


def test_the_api_has_every_public_name():
    documented = api_paths()
    assert len(documented) == len(set(documented))
    names = {path.rsplit(".", 1)[-1] for path in documented}
    for room in ROOMS:
        module = importlib.import_module(f"lightning_ntm{room}")
        for name in public_names(module):
            assert name in names or f"functional.{module_of(name)}" in documented, (room, name)


def test_the_api_has_every_name_that_a_page_imports():
    documented = {path.rsplit(".", 1)[-1] for path in api_paths()}
    for page in PAGES:
        for script in pages.blocks(page, "python"):
            for module, name in imported(script):
                if callable(getattr(importlib.import_module(module), name)):
                    assert name in documented, (page, module, name)


def imported(script):
    """Yield what a script imports from the package: modules and names in them."""
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lightning_ntm"):
            yield from ((node.module, alias.name) for alias in node.names)


def api_paths():
    written = "".join(text_of(page) for page in PAGES if page.startswith("api/"))
    return re.findall(r"^\.\. auto\w+:: lightning_ntm\.([\w.]+)", written, flags=re.MULTILINE)


def public_names(module):
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    found = {name: getattr(module, name) for name in names}
    return [name for name, value in found.items() if callable(value) and value.__module__.startswith(module.__name__)]


def module_of(name):
    return getattr(getattr(functional, name, None), "__module__", "").rsplit(".", 1)[-1]
