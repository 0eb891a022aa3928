"""The panels of a picture of one episode, from the quantities of its trace."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lightning_ntm.report.cells import STACK_ACTIONS, TAPE_ACTIONS, around, stack_cells, tape_cells
from lightning_ntm.report.quantities import CELLS, QUANTITIES, Quantity, answered, chosen

#: Rows of a panel with numbers of an unknown meaning; more cannot be told apart.
_MOST_ROWS = 64
#: The first axis of an array with more is that of a matrix; else it counts heads, layers or the like.
_MOST_PARTS = 8
#: Rows with names, and letters of a name, at most; a row counts as used from this value on.
_MOST_NAMES, _LONGEST_NAME, _SEEN = 24, 14, 0.1


class Panel(NamedTuple):
    """One picture over time: a row for each channel or slot, a column for each step.

    Args:
        title: Above the picture.
        values: Time first; of matrices `(time, rows, columns)`.
        rows: What a row is, or a line.
        signed: Whether colours tell the sign. Values are from 0 to 1 if not.
        labels: Of the rows, where they are not counted from 0; of lines their names.
        largest: The absolute value with the darkest colour.
        heads: The row at which a head is in each step, NaN for none.
        faint: Whether small values are darkened, so that weightings over many slots can be seen.
        lines: Whether values are lines, within `limits`.
    """

    title: str
    values: np.ndarray
    rows: str
    signed: bool = False
    labels: np.ndarray | None = None
    largest: float = 1.0
    heads: np.ndarray | None = None
    faint: bool = False
    lines: bool = False
    limits: tuple[float, float] = (0.0, 1.0)


class Panels(NamedTuple):
    """Two columns of panels, and below them matrices at some steps."""

    left: list[Panel]
    right: list[Panel]
    whole: list[Panel]


def panels_of(trace: Mapping[str, np.ndarray], unit: str, show: Sequence[str] = ()) -> Panels:
    """Return the panels of an episode: inputs, targets and outputs, then what is chosen.

    Raises:
        ValueError: A name in `show` is not in the trace.
    """
    panels = Panels([_inputs(trace)], _answers(trace, unit), [])
    names = chosen(trace, show)
    for name in names:
        if name in QUANTITIES:
            _add_known(panels, trace, name, names)
        elif name in CELLS:
            _add_cells(panels, trace, name)
        else:
            _add_unknown(panels, name, np.asarray(trace[name], dtype=float))
    return panels


def largest(*arrays: np.ndarray) -> float:
    """Return the largest absolute value that is finite, at least 1e-6."""
    return max(float(np.abs(array[np.isfinite(array)]).max(initial=1e-6)) for array in arrays)


def _inputs(trace: Mapping[str, np.ndarray]) -> Panel:
    values = trace["inputs"]
    signed = bool(values.min() < 0 or values.max() > 1)
    panel = Panel("Inputs", values, "channel", signed, largest=largest(values) if signed else 1.0)
    return _with_names(panel, trace.get("names: inputs"), np.abs(values).max(axis=0))


def _with_names(panel: Panel, names: np.ndarray | None, used: np.ndarray) -> Panel:
    """Return a panel whose rows have names, of many the ones that are used most.

    Args:
        panel: With a row for each name.
        names: Of the rows, or nothing.
        used: How much each row is used.
    """
    if names is None:
        return panel
    rows = np.arange(len(names))
    if len(names) > _MOST_NAMES:
        rows = np.sort(np.argsort(-used, kind="stable")[: min(_MOST_NAMES, max(2, int((used > _SEEN).sum())))])
    cut = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names[rows].tolist()]
    return panel._replace(values=panel.values[:, rows], rows="", labels=np.array(cut))


def _answers(trace: Mapping[str, np.ndarray], unit: str) -> list[Panel]:
    """Return targets and outputs in the same colours: probabilities, or numbers of any size and sign."""
    steps, names = answered(trace), [name for name in ("targets", "outputs") if name in trace]
    shown = {name: np.where(steps, trace[name], np.nan) for name in names}
    finite = np.concatenate([values[np.isfinite(values)] for values in shown.values()])
    signed = bool(finite.size) and not (finite.min() >= 0 and finite.max() <= 1)
    most = largest(finite) if signed else 1.0
    used = np.nan_to_num(np.stack([*shown.values()])).max(axis=(0, 1))
    return [
        _with_names(Panel(name.capitalize(), values, unit, signed, largest=most), trace.get("names: outputs"), used)
        for name, values in shown.items()
    ]


def _add_known(panels: Panels, trace: Mapping[str, np.ndarray], name: str, names: Sequence[str]) -> None:
    quantity, values = QUANTITIES[name], np.asarray(trace[name], dtype=float)
    if quantity.kind == "matrices":
        panels.whole.append(_matrices(trace, name, names))
        return
    if quantity.kind == "number":
        values = values.reshape(len(values), -1, 1) if values.ndim < 3 else values
    elif values.ndim == 2:
        values = values[:, None]
    for side, what, part in _sides(trace, quantity, values.reshape(len(values), -1, values.shape[-1])):
        panel = _lines(quantity.title, what, part, values) if quantity.kind == "number" else None
        heads = range(part.shape[1])
        drawn = [panel] if panel else [_image(trace, name, what, part, head, names) for head in heads]
        (panels.left if side == "left" else panels.right).extend(drawn)


def _sides(
    trace: Mapping[str, np.ndarray], quantity: Quantity, values: np.ndarray
) -> list[tuple[str, str, np.ndarray]]:
    """Return the parts of a quantity with the sides on which they are drawn, and what each of their rows is."""
    reads, writes = (trace[name].shape[1] if name in trace else 0 for name in ("read_weights", "write_weights"))
    if quantity.side == "heads" and values.shape[1] == reads + writes:
        return [("left", "write head", values[:, reads:]), ("right", "read head", values[:, :reads])]
    what = "layer" if quantity.title in ("Hidden units", "Cells") else "head"
    return [("left" if quantity.side == "left" else "right", what, values)]


def _image(
    trace: Mapping[str, np.ndarray], name: str, what: str, part: np.ndarray, head: int, names: Sequence[str]
) -> Panel:
    quantity, values = QUANTITIES[name], part[:, head]
    title = quantity.title + (f", {what}" if what.endswith(" head") and part.shape[1] == 1 else _of(what, head, part))
    if quantity.kind in ("weighting", "slots"):
        slots = _used_slots(trace, values.shape[-1])
        some = f"\nof {values.shape[-1]}" if len(slots) < values.shape[-1] else ""
        faint = quantity.kind == "weighting"
        return Panel(title, values[:, slots], f"memory\nslot{some}", labels=slots, faint=faint)
    if quantity.kind == "modes":
        return Panel(title, values, "mode", labels=np.array(["backward", "content", "forward"]))
    if quantity.kind == "shift":
        moves = np.arange(values.shape[1]) - values.shape[1] // 2
        return Panel(
            title,
            values,
            "slots",
            labels=np.array([f"{move:+d}".replace("-", "\N{MINUS SIGN}") if move else "0" for move in moves]),
        )
    if quantity.kind == "share":
        return Panel(title, values, "width")
    most = _contents_scale(trace, names) if quantity.kind == "contents" else largest(np.asarray(trace[name], float))
    return _cut(Panel(title, values, "unit" if what == "layer" else "width", True, largest=most))


def _contents_scale(trace: Mapping[str, np.ndarray], names: Sequence[str]) -> float:
    """Return the largest number in the memory, in what is added to it and in what is read, where these are drawn."""
    return largest(*(trace[name] for name in ("memory", "add", "reads") if name in names))


def _lines(title: str, what: str, part: np.ndarray, values: np.ndarray) -> Panel:
    """Return a panel with a line for each head, on an axis that holds the values of all."""
    lines = part[:, :, 0]
    finite = values[np.isfinite(values)]
    within = not finite.size or (finite.min() >= 0 and finite.max() <= 1)
    limits = (0.0, 1.0) if within else (min(0.0, float(finite.min())), float(finite.max()))
    names = np.array([f"{what} {head + 1}" for head in range(lines.shape[1])])
    alone = f", {what}" if what.endswith(" head") and len(names) == 1 else ""
    return Panel(title + alone, lines, "", labels=names if len(names) > 1 else None, lines=True, limits=limits)


def _matrices(trace: Mapping[str, np.ndarray], name: str, names: Sequence[str]) -> Panel:
    values = np.asarray(trace[name], dtype=float)
    slots = _used_slots(trace, values.shape[1])
    shown = _shown(slots, values.shape[1])
    if name == "memory":
        most = _contents_scale(trace, names)
        title = f"Memory after these steps{shown}: a column for each number of a slot"
        return Panel(title, values[:, slots], "memory\nslot", True, slots, most)
    title = f"Links after these steps{shown}: dark where the row's slot was written right after the column's"
    return Panel(title, values[:, slots][:, :, slots], "memory\nslot", labels=slots, faint=True)


def _add_unknown(panels: Panels, name: str, values: np.ndarray) -> None:
    """Add what is not known: one or several numbers for each step, or matrices."""
    title = name.replace("_", " ").capitalize()
    shorter = panels.left if _height(panels.left) <= _height(panels.right) else panels.right
    if values.ndim == 1:
        shorter.append(_lines(title, "", values[:, None, None], values))
        return
    finite = values[np.isfinite(values)]
    signed = bool(finite.size) and not (finite.min() >= 0 and finite.max() <= 1)
    most = largest(values) if signed else 1.0
    parts = values.reshape(len(values), -1, values.shape[-1])
    if values.ndim > 2 and parts.shape[1] > _MOST_PARTS:
        panels.whole.append(Panel(f"{title} after these steps", parts, "row", signed, largest=most))
        return
    for number in range(parts.shape[1]):
        shorter.append(
            _cut(Panel(title + _of("part", number, parts), parts[:, number], "number", signed, largest=most))
        )


def _height(side: list[Panel]) -> int:
    return sum(10 + min(30, panel.values.shape[1]) for panel in side)


def _cut(panel: Panel) -> Panel:
    """Return a panel with the rows that can be told apart."""
    if panel.values.shape[1] <= _MOST_ROWS:
        return panel
    return panel._replace(title=f"{panel.title} (the first {_MOST_ROWS})", values=panel.values[:, :_MOST_ROWS])


def _add_cells(panels: Panels, trace: Mapping[str, np.ndarray], name: str) -> None:
    """Add the contents of stacks or of tapes, one number for each cell, or the weights of their actions."""
    kind = name.removesuffix("s") if name in ("stacks", "tapes") else name.split("_")[0]
    values = trace[name]
    for number in range(values.shape[1]):
        part, of = values[:, number], _of(kind, number, values)
        if name in ("stack_actions", "tape_actions"):
            names = STACK_ACTIONS if kind == "stack" else TAPE_ACTIONS
            title = f"{kind.capitalize()} actions{of}"
            panels.right.append(Panel(title, part, "action", labels=names[: part.shape[1]]))
            continue
        stack = kind == "stack"
        cells = stack_cells(part) if stack else tape_cells(part, trace["tape_actions"][:, number], trace["moves"])
        title = f"{kind.capitalize()}{of}{_shown(cells.slots, part.shape[1])}"
        title += ": top in slot 0" if stack else ": head as dots"
        shades = largest(cells.shades)
        panels.left.append(Panel(title, cells.shades, "memory\nslot", True, cells.slots, shades, cells.heads))


def _of(kind: str, number: int, parts: np.ndarray) -> str:
    return f", {kind} {number + 1}" if parts.shape[1] > 1 else ""


def _shown(slots: np.ndarray, all_slots: int) -> str:
    return f" (slots {slots[0]} to {slots[-1]} of {all_slots})" if len(slots) < all_slots else ""


def _used_slots(trace: Mapping[str, np.ndarray], slots: int) -> np.ndarray:
    """Return the slots that some head looked at, as one run around the circle of slots; all where that is not known."""
    found = [trace[name] for name in ("write_weights", "read_weights") if name in trace]
    used = [weights for weights in found if weights.ndim == 3 and weights.shape[-1] == slots]
    if not used:
        return np.arange(slots)
    return around(np.concatenate(used, axis=1).max(axis=(0, 1)) > 0.1)
