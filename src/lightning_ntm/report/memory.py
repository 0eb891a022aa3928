"""The memory at work in one episode, drawn as in the paper's figures 3 and 6."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from lightning_ntm.records import write_whole
from lightning_ntm.report.cells import STACK_ACTIONS, TAPE_ACTIONS, around, stack_cells, tape_cells
from lightning_ntm.report.style import INK, WIDTH, color, peaks

_LANDMARK = "landmark: "
_FAINT = 0.22


class Panel(NamedTuple):
    """One picture over time: a row for each channel or slot, a column for each step.

    Args:
        title: Above the picture.
        values: Time first.
        rows: What a row is.
        signed: Whether colours tell the sign. Values are from 0 to 1 if not.
        labels: Of the rows, where they are not counted from 0.
        largest: The absolute value with the darkest colour; `None` for the largest one in the picture.
        heads: The row at which a head is in each step, NaN for none.
    """

    title: str
    values: np.ndarray
    rows: str
    signed: bool = False
    labels: np.ndarray | None = None
    largest: float | None = None
    heads: np.ndarray | None = None


def draw_memory(trace: Mapping[str, np.ndarray], title: str, unit: str) -> Figure:
    """Draw one episode.

    Args:
        trace: Arrays with time first: `inputs`, `targets`, `outputs` and `mask`; for a network with
            a memory also `add`, `reads`, `write_weights` and `read_weights`; for a DNC also `usage`,
            `allocation_weights` and `read_modes`; for one with stacks `stacks` and `stack_actions`; for one with tapes
            `tapes`, `tape_actions` and `moves`; steps to point out as `landmark: NAME`, `(time,)`.
        title: What was run and what it cost, for the line above the picture.
        unit: What an answer is made of, in the singular.
    """
    sides = _panels(trace, unit)
    heights = [[min(30, max(8, panel.values.shape[1])) for panel in panels] for panels in sides]
    # Inches: of a row or slot, and of a title with the room around it.
    tallest = max(0.02 * sum(shares) + 0.36 * len(shares) for shares in heights)
    landmarks = {name.removeprefix(_LANDMARK): trace[name] for name in trace if name.startswith(_LANDMARK)}
    figure = Figure(figsize=(WIDTH, max(4, tallest + 0.9)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    columns: Any = figure.subfigures(1, 2)
    for column, panels, shares in zip(columns, sides, heights, strict=True):
        axes = column.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            _draw(column, axis, panel)
            if not panel.signed:  # a tint would say another number there
                _point_out(axis, landmarks)
        axes[-1].set_xlabel("time (steps)", fontsize=8)
    if landmarks:
        keys = [Patch(color=color(number), alpha=_FAINT, label=name) for number, name in enumerate(landmarks)]
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8)
    return figure


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG and return the paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "svg")]
    for path in paths:
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix[1:], dpi=300)
        write_whole(path, drawn.getbuffer())
    return paths


def save_trace(trace: Mapping[str, np.ndarray], path: Path) -> None:
    """Write the numbers behind a figure as a compressed NumPy archive."""
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **dict(trace))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, packed.getbuffer())


def _panels(trace: Mapping[str, np.ndarray], unit: str) -> tuple[list[Panel], list[Panel]]:
    left = [Panel("Inputs", trace["inputs"], "channel", signed=bool(trace["inputs"].min() < 0))]
    right = _answers(trace, unit)
    if "stacks" in trace or "tapes" in trace:
        return [*left, *_cells(trace)], [*right, *_actions(trace)]
    if "write_weights" not in trace:
        return [*left, *_hidden(trace)], right
    slots = _used_slots(trace)
    shown = _shown(slots, trace["write_weights"].shape[-1])
    for side, vectors, weights, names in (
        (left, trace["add"], trace["write_weights"], ("Adds", "Write weightings")),
        (right, trace["reads"], trace["read_weights"], ("Reads", "Read weightings")),
    ):
        heads = vectors.shape[1]
        for head in range(heads):
            of = _of("head", head, heads)
            side.append(Panel(names[0] + of, vectors[:, head], "width", signed=True))
            side.append(Panel(names[1] + of + shown, weights[:, head, slots], "slot", labels=slots))
    for title, name in (("Usage", "usage"), ("Allocation weighting", "allocation_weights")):
        if name in trace:
            left.append(Panel(title + shown, trace[name][:, slots], "slot", labels=slots))
    return left, [*right, *_read_modes(trace)]


def _cells(trace: Mapping[str, np.ndarray]) -> list[Panel]:
    """Return the contents of stacks and of tapes, one number for each cell."""
    panels = []
    for kind, memories in _stacks_and_tapes(trace):
        for number in range(memories.shape[1]):
            memory = memories[:, number]
            if kind == "stack":
                drawn = stack_cells(memory)
            else:
                drawn = tape_cells(memory, trace["tape_actions"][:, number], trace["moves"])
            shown = _shown(drawn.slots, memory.shape[1])
            title = f"{kind.capitalize()}{_of(kind, number, memories.shape[1])}{shown}"
            title += ": top in slot 0" if kind == "stack" else ": head as dots"
            panels.append(Panel(title, drawn.shades, "slot", True, drawn.slots, heads=drawn.heads))
    return panels


def _actions(trace: Mapping[str, np.ndarray]) -> list[Panel]:
    """Return the weights of the actions on stacks and on tapes."""
    panels = []
    for kind, memories in _stacks_and_tapes(trace):
        names = STACK_ACTIONS if kind == "stack" else TAPE_ACTIONS
        for number in range(memories.shape[1]):
            weights = trace[f"{kind}_actions"][:, number]
            title = f"{kind.capitalize()} actions{_of(kind, number, memories.shape[1])}"
            panels.append(Panel(title, weights, "action", labels=names[: weights.shape[1]]))
    return panels


def _stacks_and_tapes(trace: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(kind, trace[f"{kind}s"]) for kind in ("stack", "tape") if f"{kind}s" in trace]


def _of(kind: str, number: int, count: int) -> str:
    return f", {kind} {number + 1}" if count > 1 else ""


def _shown(slots: np.ndarray, all_slots: int) -> str:
    return f" (slots {slots[0]} to {slots[-1]} of {all_slots})" if len(slots) < all_slots else ""


def _read_modes(trace: Mapping[str, np.ndarray]) -> list[Panel]:
    """Return for each read head of a DNC the shares of its three ways to address."""
    modes, labels = trace.get("read_modes", np.empty((0, 0, 3))), np.array(["backward", "content", "forward"])
    heads = modes.shape[1]
    of = [_of("head", head, heads) for head in range(heads)]
    return [Panel("Read modes" + of[head], modes[:, head], "mode", labels=labels) for head in range(heads)]


def _answers(trace: Mapping[str, np.ndarray], unit: str) -> list[Panel]:
    """Return targets and outputs in the same colours: probabilities, or numbers of any size and sign."""
    answered = trace["mask"][:, None]
    shown = {name: np.where(answered, trace[name.lower()], np.nan) for name in ("Targets", "Outputs")}
    finite = np.concatenate([values[np.isfinite(values)] for values in shown.values()])
    signed = bool(finite.size) and not (finite.min() >= 0 and finite.max() <= 1)
    largest = float(np.abs(finite).max()) if signed else None
    return [Panel(name, values, unit, signed, largest=largest) for name, values in shown.items()]


def _hidden(trace: Mapping[str, np.ndarray]) -> list[Panel]:
    if "hidden" not in trace:
        return []
    units = trace["hidden"].reshape(len(trace["hidden"]), -1)
    return [Panel("Hidden units (the first 64)", units[:, :64], "unit", signed=True)]


def _used_slots(trace: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the slots that some head looked at, as one run around the circle of slots."""
    weights = np.concatenate([trace["write_weights"], trace["read_weights"]], axis=1)
    return around(weights.max(axis=(0, 1)) > 0.1)


def _point_out(axis: Any, landmarks: Mapping[str, np.ndarray]) -> None:
    for number, steps in enumerate(landmarks.values()):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], steps, [False]])))
        for first, after in edges.reshape(-1, 2):
            axis.axvspan(first - 0.5, after - 0.5, color=color(number), alpha=_FAINT, linewidth=0)


def _largest(panel: Panel) -> float:
    return max(1e-6, float(np.nanmax(np.abs(panel.values)))) if panel.largest is None else panel.largest


def _draw(figure: Any, axis: Any, panel: Panel) -> None:
    largest = _largest(panel) if panel.signed else 1.0
    steps, rows = panel.values.shape
    narrow = panel.labels is not None and not panel.signed
    image = axis.imshow(
        peaks(panel.values.T) if narrow else panel.values.T,  # bits would all but end up black
        extent=(-0.5, steps - 0.5, rows - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if panel.signed else "Greys",
        vmin=-largest if panel.signed else 0,
        vmax=largest,
    )
    ticks = 3 if rows <= 12 else 6  # low panels have no room for more
    axis.yaxis.set_major_locator(MaxNLocator(ticks, integer=True) if rows > 1 else FixedLocator([0]))
    if panel.labels is not None:
        labels = dict(enumerate(panel.labels))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda row, _: str(labels.get(round(row), ""))))
    if panel.heads is not None:
        axis.plot(np.arange(steps), panel.heads, ".", color=INK, markersize=2.5, scalex=False, scaley=False)
    axis.set_facecolor("#e8ecf2")  # where no answer is asked for
    axis.set_title(panel.title, fontsize=8, loc="left", pad=2)
    axis.set_ylabel(panel.rows, fontsize=8)
    axis.tick_params(labelsize=7)
    figure.colorbar(image, cax=axis.inset_axes((1.01, 0, 0.03, 1))).ax.tick_params(labelsize=6)
