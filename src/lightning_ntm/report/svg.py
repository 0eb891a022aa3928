"""A figure made ready for a page: its colours follow the page, its curves carry their run, its ids are its own."""

import re
import xml.etree.ElementTree as ET
from html import escape

from lightning_ntm.report.style import COLORS, INK, LINE, PAPER, SOFT, Picture, saved

#: By this a file that was made by a report is known again.
MARK = "lightning-ntm report"
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_VARIABLES = {
    **{value: f"var(--network-{number})" for number, value in enumerate(COLORS)},
    **{INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", PAPER: "var(--paper)"},
}
#: What the ids of curves begin with: one seed's, and those of all seeds of a network.
_RUN, _SUMMARY = "run-", ("mean-", "median-", "deviation-", "end-")
_KEPT = (_RUN, *_SUMMARY)
#: A tenth of a point is less than a pixel.
_NUMBER = re.compile(r"-?\d+\.\d+")


def png_of(figure: Picture) -> bytes:
    """Return a figure as PNG."""
    return saved(figure, "png", metadata={"Software": MARK})


def svg_of(figure: Picture) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes."""
    return saved(figure, "svg", metadata={"Creator": MARK, "Date": None})


def inline(figure: Picture, svg: bytes, prefix: str, label: str) -> str:
    """Return a drawn figure as an element of a page.

    Args:
        figure: The figure with one panel, already drawn.
        svg: What `svg_of` made of it.
        prefix: What its ids begin with, one that no other figure of the page has.
        label: What it shows, for those who cannot see it.
    """
    root = ET.fromstring(svg)
    _drop(root, "metadata", "style")
    used = {match for element in root.iter() for value in element.attrib.values() for match in _references(value)}
    for element in root.iter():
        _rename(element, used, prefix)
        _restyle(element)
    for group in root.iter(f"{_SVG}g"):
        _mark(group)
    body = "".join(ET.tostring(child, encoding="unicode") for child in root)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"|(?<=<)ns\d+:|(?<=</)ns\d+:', "", body)
    box = f'viewBox="{root.attrib["viewBox"]}"'
    return f'<svg {box} role="img" aria-label="{escape(label)}" {_coordinates(figure)}>{body}</svg>'


def _drop(root: ET.Element, *names: str) -> None:
    tags = {f"{_SVG}{name}" for name in names}
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in tags]:
            parent.remove(child)
        parent.text = parent.text if parent.text and parent.text.strip() else None
        parent.tail = None


def _references(value: str) -> list[str]:
    return re.findall(r"url\(#([^)]+)\)", value) + re.findall(r"^#(.+)", value)


def _rename(element: ET.Element, used: set[str], prefix: str) -> None:
    if (link := element.attrib.pop(f"{_XLINK}href", None)) is not None:
        element.attrib["href"] = f"#{prefix}{link[1:]}"
    if clip := element.attrib.get("clip-path"):
        element.attrib["clip-path"] = clip.replace("#", f"#{prefix}")
    if (name := element.attrib.get("id", "")) in used:
        element.attrib["id"] = prefix + name
    elif not name.startswith(_KEPT):
        element.attrib.pop("id", None)


def _restyle(element: ET.Element) -> None:
    if style := element.attrib.get("style"):
        style = re.sub(r"font-family:[^;]*; ?", "", style)
        element.attrib["style"] = re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), style)
    for name in ("x", "y", "transform"):
        if name in element.attrib:
            element.attrib[name] = _rounded(element.attrib[name])
    if path := element.attrib.get("d"):
        element.attrib["d"] = re.sub(r"\s*([A-Za-z])\s*", r"\1", _rounded(path)).strip()


def _rounded(text: str) -> str:
    return _NUMBER.sub(lambda found: f"{float(found[0]):z.1f}".removesuffix(".0"), text)


def _mark(group: ET.Element) -> None:
    """Let the page's style sheet and script find the curve of a run, and those of all runs of a network."""
    name = group.attrib.get("id", "")
    if not name.startswith(_KEPT):
        return
    del group.attrib["id"]
    if name.startswith(_SUMMARY):
        group.attrib["class"] = "summary"
        return
    group.attrib |= {"class": "run", "data-run": name.removeprefix(_RUN)}
    for path in group:
        style = dict(part.split(": ") for part in path.attrib.pop("style", "").split("; ") if part)
        path.attrib |= {name: style[name] for name in ("stroke", "stroke-opacity") if name in style}


def _coordinates(figure: Picture) -> str:
    """Return where the panel stands and what its corners mean, for the script to find a point."""
    axis = next(axis for axis in figure.axes if axis.get_visible())
    (width, height), place = 72 * figure.get_size_inches(), axis.get_position()
    box = (width * place.x0, height * (1 - place.y1), width * place.x1, height * (1 - place.y0))
    numbers = {"box": box, "x": axis.get_xlim(), "y": axis.get_ylim()}
    return " ".join(
        f'data-{name}="{" ".join(f"{value:z.6g}" for value in values)}"' for name, values in numbers.items()
    )
