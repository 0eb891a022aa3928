"""Which room may import which: the picture of docs/architecture.md, enforced."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from runs import write_run

PACKAGE = Path(__file__).parents[1] / "src" / "lightning_ntm"
MAY_IMPORT = {
    "checks": set(),
    "cores": set(),
    "functional": set(),
    "intervals": set(),
    "kernels": {"states"},
    "lazy": set(),
    "measures": set(),
    "recipes": {"records"},
    "records": {"checks", "measures"},
    "signals": set(),
    "states": set(),
    "tasks": {"checks", "measures"},
    "models": {"checks", "functional", "kernels", "states"},
    "zoo": {"measures", "records"},
    "evaluation": {"checks", "intervals", "lazy", "measures", "models", "records", "states", "tasks", "zoo"},
    "training": {
        "checks",
        "cores",
        "evaluation",
        "lazy",
        "measures",
        "kernels",
        "models",
        "signals",
        "tasks",
        "records",
        "report",
        "states",
        "version",
    },
    "exchange": {
        "checks",
        "evaluation",
        "functional",
        "kernels",
        "lazy",
        "models",
        "records",
        "states",
        "tasks",
        "version",
        "zoo",
    },
    "explorer": {
        "checks",
        "evaluation",
        "exchange",
        "kernels",
        "lazy",
        "measures",
        "models",
        "records",
        "report",
        "states",
        "tasks",
        "version",
        "zoo",
    },
    "testing": {"models", "states", "tasks"},
    "report": {"checks", "intervals", "lazy", "measures", "records"},
    "sweep": {"checks", "cores", "measures", "records", "signals"},
    "cli": {
        "checks",
        "cores",
        "evaluation",
        "exchange",
        "explorer",
        "intervals",
        "kernels",
        "measures",
        "models",
        "recipes",
        "records",
        "report",
        "signals",
        "sweep",
        "tasks",
        "training",
        "zoo",
    },
    "__main__": {"cli"},
    "__init__": {"lazy", "functional", "models", "records", "tasks"},
}
ONLY_IN = {
    "lightning": {"training", "cli"},
    "jsonargparse": {"cli"},
    "matplotlib": {"report"},
    "pandas": {"records", "tasks"},
    "ray": {"sweep"},
}
WITHOUT_TORCH = {
    "checks",
    "intervals",
    "lazy",
    "measures",
    "recipes",
    "records",
    "report",
    "signals",
    "sweep",
    "version",
    "zoo",
}


def imports(path):
    return imports_of(ast.parse(path.read_text()), path)


def imports_of(tree, path):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"{path} imports from above itself"
            assert path.name == "__init__.py", f"{path} imports relatively outside a facade"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_picture(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "lightning_ntm":
            assert rest[0] in MAY_IMPORT[room] | {room}, f"{room} may not import {rest[0]} ({path}: {name})"
        assert room in ONLY_IN.get(top, {room}), f"{top} belongs to {ONLY_IN[top]} only ({path})"
        assert top != "torch" or room not in WITHOUT_TORCH, f"{room} does without torch ({path})"


def imports_at_module_level_of(path):
    top = ast.parse(path.read_text())
    top.body = [node for node in top.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return set(imports_of(top, path))


def imports_at_module_level(path):
    return {name.split(".")[0] for name in imports_at_module_level_of(path)}


#: Files of programs of a GPU. A program is one function, which names each of its arguments in a line.
PROGRAMS = ("access", "addressing", "backward", "basics", "controllers", "forward", "heads")


def test_only_programs_import_triton():
    at_module_level = {path for path in PACKAGE.rglob("*.py") if "triton" in imports_at_module_level(path)}
    assert at_module_level == {PACKAGE / "kernels" / "ntm" / "triton" / f"{name}.py" for name in (*PROGRAMS, "probe")}


def loaded_after(statement, *modules):
    code = f"import sys; {statement}; print([m for m in {modules!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_loads_nothing_before_it_is_needed():
    heavy = ("torch", "lightning", "matplotlib", "jsonargparse", "pandas")
    assert loaded_after("import lightning_ntm.records", *heavy) == "[]"
    assert loaded_after("import lightning_ntm, lightning_ntm.cli", *heavy) == "[]"
    assert loaded_after("from lightning_ntm import NTM, Copy", *heavy) == "['torch']"
    assert loaded_after("import lightning_ntm.report", *heavy) == "[]"
    drawn = ("lightning_ntm.report.page", "matplotlib.animation")
    assert loaded_after("from lightning_ntm.report import draw_episode, save_figure", *drawn) == "[]"
    assert loaded_after("import lightning_ntm.cli.report", *heavy) == "[]"


def test_measuring_drawing_and_reporting_load_no_lightning(tmp_path):
    words = [
        ["evaluate", "copy", "--lengths", "3", "--sequences", "2"],
        ["figure", "copy", "--lengths", "3", "--output", str(tmp_path)],
        ["report", str(write_run(tmp_path / "run"))],
    ]
    statement = f"from lightning_ntm.cli import main; assert not any(map(main, {words!r}))"
    assert loaded_after(statement, "lightning", "jsonargparse", "torch._dynamo", "sympy").endswith("[]")


RUNS = """
import torch
from lightning_ntm import NTM

for options in ({}, {"backend": "triton"}):
    model = NTM(3, 2, hidden_size=4, memory_slots=5, memory_width=3, **options)
NTM(3, 2)(torch.zeros(1, 2, 3))[0].sum().backward()
NTM(3, 2, memory_slots=5).bfloat16()(torch.zeros(1, 2, 3, dtype=torch.bfloat16))  # refused by the C++ kernel
"""


def test_triton_is_not_loaded_before_there_are_tensors_of_a_gpu():
    # In a process of its own: here the interpreter is.
    assert loaded_after("import lightning_ntm, lightning_ntm.cli", "triton") == "[]"
    assert loaded_after(f"exec({RUNS!r})", "triton", "lightning_ntm.kernels.ntm.triton.programs") == "[]"


def test_no_file_imports_itself_through_others():
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    needs = {}
    for name, path in files.items():
        if path.name != "__init__.py":  # re-exports what is below it
            names = imports_at_module_level_of(path)
            needs[name] = {found for full in names for found in (full, full.rpartition(".")[0]) if found in files}
    tuple(TopologicalSorter(needs).static_order())  # raises CycleError, with the cycle


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def test_half_of_all_functions_have_at_most_five_lines():
    nodes = [node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    bodies = [
        node.body[1:] if ast.get_docstring(node) else node.body for node in nodes if isinstance(node, ast.FunctionDef)
    ]
    assert statistics.median(body[-1].end_lineno - body[0].lineno + 1 if body else 0 for body in bodies) <= 5


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    if path.parent.name != "triton" or path.stem not in PROGRAMS:
        assert {name: lines for name, lines in functions(path) if lines > 40} == {}


def test_the_picture_names_every_file_once():
    picture = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    named = re.findall(r"[a-z_0-9]+\.py", picture)
    names = [path.name for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert sorted(named) == sorted(names)


def test_shapes_are_checked_in_every_module_that_annotates_them():
    options = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"][
        "ini_options"
    ]
    *packages, _ = options["addopts"].partition("=")[2].split(",")
    checked = tuple(f"{PACKAGE}{name.removeprefix('lightning_ntm').replace('.', '/')}" for name in packages)
    for path in PACKAGE.rglob("*.py"):
        if "from jaxtyping" in path.read_text(encoding="utf-8"):
            assert str(path.with_suffix("")).startswith(checked), path
