"""Which room may import which: the picture of docs/architecture.md, enforced."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "lightning_ntm"
MAY_IMPORT = {
    "checks": set(),
    "functional": set(),
    "kernels": set(),
    "lazy": set(),
    "records": set(),
    "signals": set(),
    "tasks": {"checks"},
    "models": {"checks", "functional", "kernels"},
    "training": {"checks", "lazy", "models", "signals", "tasks", "records"},
    "testing": {"models", "tasks"},
    "report": {"records"},
    "sweep": {"records"},
    "cli": {"checks", "kernels", "models", "signals", "tasks", "training", "sweep", "report", "records"},
    "__init__": {"lazy", "functional", "models", "records", "tasks"},
}
ONLY_IN = {
    "lightning": {"training", "cli"},
    "jsonargparse": {"cli"},
    "matplotlib": {"report"},
    "pandas": {"records"},
    "ray": {"sweep"},
}
WITHOUT_TORCH = {"checks", "lazy", "records", "report", "signals", "sweep"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
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


def loaded_after(statement, *modules):
    code = f"import sys; {statement}; print([m for m in {modules!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_loads_nothing_before_it_is_needed():
    heavy = ("torch", "lightning", "matplotlib", "jsonargparse", "pandas")
    assert loaded_after("import lightning_ntm.records", *heavy) == "[]"
    assert loaded_after("import lightning_ntm, lightning_ntm.cli", *heavy) == "[]"
    assert loaded_after("from lightning_ntm import NTM, Copy", *heavy) == "['torch']"
    assert loaded_after("import lightning_ntm.report", *heavy) == "['matplotlib']"
    assert loaded_after("import lightning_ntm.cli.report", *heavy) == "[]"
    assert "lightning'" not in loaded_after("from lightning_ntm.training import open_run, evaluate", *heavy)
