"""The documentation site: `make docs`."""

from importlib.metadata import version as version_of
from typing import Any

project = "lightning-ntm"
version = release = version_of(project)
copyright = "the lightning-ntm developers"
exclude_patterns: list[str] = []
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

html_theme = "furo"
html_title = f"{project} {version}"
html_show_sphinx = False
html_math_renderer = "mathml"  # of browsers: pages need no script from elsewhere

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Docstrings mark code as Markdown does, by one backtick.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Shape", "notes_style")]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}


def setup(app: Any) -> None:
    """Register the renderer of equations, and keep the examples of tasks as they are laid out."""
    app.connect("autodoc-process-docstring", _keep_examples, priority=400)  # before napoleon
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


def _keep_examples(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    for number in reversed(range(len(lines) - 1)):
        if lines[number].endswith(":") and lines[number + 1].startswith("    inputs "):
            lines[number : number + 1] = [f"{lines[number]}:", ""]


def _inline(translator: Any, node: Any) -> None:
    _write(translator, node, display=False)


def _block(translator: Any, node: Any) -> None:
    _write(translator, node, display=True)


def _write(translator: Any, node: Any, *, display: bool) -> None:
    from docutils import nodes
    from docutils.utils.math.latex2mathml import tex2mathml

    formula = "".join(tex2mathml(node.astext(), as_block=display))
    translator.body.append(f'<div class="math">{formula}</div>' if display else formula)
    raise nodes.SkipNode
