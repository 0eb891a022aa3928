"""The memory at work in one episode, drawn as in the paper's figures 3 and 6."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from lightning_ntm.records import write_whole
from lightning_ntm.report.panels import Panel, panels_of
from lightning_ntm.report.style import (
    INK,
    WIDTH,
    Picture,
    color,
    peaks,
    round_down,
    round_places,
    saved,
    weighting_norm,
    whole_numbers,
)

_LANDMARK = "landmark: "
_FAINT = 0.22
_BLANK = "#e8ecf2"  # where no answer is asked for
#: Inches of a title and of the room around a panel; of a number on an axis.
_AROUND, _NUMBER = 0.36, 0.1
#: Letters of 8 points that have room above a panel in a column, and above a wide one.
_LETTERS, _LETTERS_WIDE = 44, 100
#: Rows by which columns may differ; and the most by which panels grow where they differ more.
_LITTLE, _MOST_GROWTH = 60, 5
#: Most matrices side by side.
_MOST_FRAMES = 7


def draw_memory(trace: Mapping[str, np.ndarray], title: str, unit: str, show: Sequence[str] = ()) -> Picture:
    """Draw one episode.

    Args:
        trace: Arrays with time first: `inputs`, `outputs` and `mask`, and `targets` if they are known; what the
            network's `observe` returns, by name; steps to point out as `landmark: NAME`, `(time,)`.
        title: What was run and what it cost, for the line above the picture.
        unit: What an answer is made of, in the singular.
        show: Names of what is drawn below inputs and outputs, as `chosen` of `report.quantities` takes them.

    Raises:
        ValueError: A name in `show` is not in the trace.
    """
    panels = panels_of(trace, unit, show)
    sides, heights = (panels.left, panels.right), [[_rows(panel) for panel in side] for side in panels[:2]]
    tallest = max(map(_height, heights))
    upper = max(3.0, tallest) + 0.4
    lower = [0.02 * max(20, _rows(panel)) + 0.6 for panel in panels.whole]
    landmarks = {name.removeprefix(_LANDMARK): trace[name] for name in trace if name.startswith(_LANDMARK)}
    figure = Picture(figsize=(WIDTH, upper + sum(lower) + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.add_gridspec(1 + len(lower), 2, height_ratios=[upper, *lower])
    for place, (side, shares) in enumerate(zip(sides, heights, strict=True)):
        column = figure.add_subfigure(grid[0, place])
        _draw_column(column, side, _filled(tallest, shares), landmarks, upper - 0.4)
    for row, panel in enumerate(panels.whole, start=1):
        wide = figure.add_subfigure(grid[row, :])
        _draw_frames(wide, wide.subplots(), panel)
    if landmarks:
        keys = [Patch(color=color(number), alpha=_FAINT, label=name) for number, name in enumerate(landmarks)]
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8)
    return figure


def _height(shares: Sequence[int]) -> float:
    """Return the inches of panels of so many rows: of a row, and of a title with the room around it."""
    return 0.02 * sum(shares) + _AROUND * len(shares)


def _filled(tallest: float, shares: list[int]) -> list[int]:
    """Return the rows of panels that grow to the height of the other column, and the rows to leave blank below them."""
    left = _left(tallest, shares)
    if left <= _LITTLE:
        return shares
    grown = [round(share * min(_MOST_GROWTH, 1 + left / sum(shares))) for share in shares]
    rest = _left(tallest, grown)
    return [*grown, rest] if rest > _LITTLE else grown


def _left(tallest: float, shares: list[int]) -> int:
    return int((tallest - _height(shares)) / 0.02)


def _draw_column(
    column: Any, side: Sequence[Panel], shares: Sequence[int], landmarks: Mapping[str, np.ndarray], inches: float
) -> None:
    row = (inches - _AROUND * len(shares)) / sum(shares)
    axes = column.subplots(len(shares), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
    for axis in axes[len(side) :]:
        axis.set_axis_off()
    for axis, panel, share in zip(axes[: len(side)], side, shares, strict=False):
        _draw(column, axis, panel, landmarks, share * row)
    axes[len(side) - 1].set_xlabel("time (steps)", fontsize=8)
    axes[len(side) - 1].tick_params(labelbottom=True)


def save_figure(figure: Picture, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG and return the paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "svg")]
    for path in paths:
        write_whole(path, saved(figure, path.suffix[1:], dpi=300))
    return paths


def save_trace(trace: Mapping[str, np.ndarray], path: Path) -> None:
    """Write the numbers behind a figure as a compressed NumPy archive."""
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **dict(trace))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, packed.getbuffer())


def _rows(panel: Panel) -> int:
    if panel.lines:
        return 14
    rows = panel.values.shape[1]
    return max(8, 5 * rows) if _named(panel) else min(30, max(rows, 22 if "\n" in panel.rows else 8))


def _named(panel: Panel) -> bool:
    return panel.labels is not None and panel.labels.dtype.kind == "U"


def _point_out(axis: Any, landmarks: Mapping[str, np.ndarray]) -> None:
    for number, steps in enumerate(landmarks.values()):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], steps, [False]])))
        for first, after in edges.reshape(-1, 2):
            axis.axvspan(first - 0.5, after - 0.5, color=color(number), alpha=_FAINT, linewidth=0)


def _name(axis: Any, panel: Panel, letters: int) -> None:
    """Write a title above a panel, in smaller letters where it would reach beyond it, and what its rows are."""
    axis.set_title(panel.title, fontsize=8 * min(1, letters / len(panel.title)), loc="left", pad=2)
    axis.set_ylabel(panel.rows, fontsize=7 if "\n" in panel.rows else 8, linespacing=0.9)
    axis.tick_params(labelsize=7)


def _draw(figure: Any, axis: Any, panel: Panel, landmarks: Mapping[str, np.ndarray], inches: float) -> None:
    if panel.lines:
        _draw_lines(axis, panel)
    else:
        _draw_image(figure, axis, panel, int(inches / _NUMBER))
    if not panel.signed:  # a tint would say another number there
        _point_out(axis, landmarks)
    _name(axis, panel, _LETTERS)
    axis.xaxis.set_major_locator(whole_numbers(7))


def _draw_image(figure: Any, axis: Any, panel: Panel, room: int) -> None:
    steps, rows = panel.values.shape
    narrow = panel.labels is not None and not panel.signed
    values = peaks(panel.values.T) if narrow else panel.values.T  # bits would all but end up black
    image = axis.imshow(
        values, extent=(-0.5, steps - 0.5, rows - 0.5, -0.5), aspect="auto", interpolation="nearest", **_colors(panel)
    )
    if panel.heads is not None:
        axis.plot(np.arange(steps), panel.heads, ".", color=INK, markersize=2.5, scalex=False, scaley=False)
    _name_rows(axis, panel, rows, room)
    axis.set_facecolor(_BLANK)
    _add_bar(figure, axis, image, panel, 0.03, room)


def _colors(panel: Panel) -> dict[str, Any]:
    if panel.signed:
        return {"cmap": "RdBu_r", "norm": Normalize(-panel.largest, panel.largest)}
    return {"cmap": "Greys", "norm": weighting_norm() if panel.faint else Normalize(0, 1)}


def _add_bar(figure: Any, axis: Any, image: Any, panel: Panel, width: float, room: int) -> None:
    """Add the bar of the colours, with room for so many numbers."""
    bar = figure.colorbar(image, cax=axis.inset_axes((1.01, 0, width, 1)))
    if panel.signed:
        end = round_down(panel.largest)
        bar.set_ticks(MaxNLocator(min(6, room - 1), steps=[1, 2, 5, 10]) if room > 3 else [-end, end])
    else:
        bar.set_ticks([0, 1] if room < 3 else [0, 0.1, 0.5, 1] if panel.faint and room > 5 else [0, 0.5, 1])
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:zg}".replace("-", "\N{MINUS SIGN}")))
    bar.ax.tick_params(labelsize=6)


def _name_rows(axis: Any, panel: Panel, rows: int, room: int) -> None:
    """Label rows at round numbers, at most as many as have room, or all if they have names."""
    most = max(1, min(4 if rows <= 12 else 7, room))
    if panel.labels is None:
        axis.yaxis.set_major_locator(whole_numbers(max(1, most - 1)) if rows > 1 else FixedLocator([0]))
        return
    labels = dict(enumerate(panel.labels))
    axis.yaxis.set_major_locator(FixedLocator(list(labels) if _named(panel) else round_places(panel.labels, most)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda row, _: str(labels.get(round(row), ""))))


def _draw_lines(axis: Any, panel: Panel) -> None:
    steps = np.arange(len(panel.values))
    for number in range(panel.values.shape[1]):
        label = None if panel.labels is None else str(panel.labels[number])
        axis.plot(steps, panel.values[:, number], color=color(number), linewidth=1, drawstyle="steps-mid", label=label)
    low, high = panel.limits
    room = 0.06 * (high - low or 1)
    axis.set(xlim=(-0.5, len(steps) - 0.5), ylim=(low - room, high + room))
    axis.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    if panel.labels is not None:
        # Beside the panel, where others have the bar of their colours.
        axis.legend(fontsize=5, loc="upper left", bbox_to_anchor=(1, 1.1), frameon=False, handlelength=0.6, borderpad=0)


def frames(steps: int) -> list[int]:
    """Return the steps whose matrices are drawn: round numbers, and the last one, which replaces one close to it."""
    ticks, last = whole_numbers(_MOST_FRAMES - 1).tick_values(0, steps - 1), steps - 1
    found = [int(tick) for tick in ticks if 0 <= tick < last and last - tick > (ticks[1] - ticks[0]) / 2]
    return [*found, last][-_MOST_FRAMES:]


def _draw_frames(figure: Any, axis: Any, panel: Panel) -> None:
    """Draw the matrices of some steps side by side."""
    chosen = frames(len(panel.values))
    matrices = [panel.values[step] for step in chosen]
    if not panel.signed:
        matrices = [peaks(matrix, 100, 100) for matrix in matrices]
    rows, columns = panel.values.shape[1], matrices[0].shape[1]
    gap = np.full((matrices[0].shape[0], max(1, columns // 8)), np.nan)
    joined = np.concatenate([part for matrix in matrices for part in (gap, matrix)][1:], axis=1)
    image = axis.imshow(
        joined, extent=(0, joined.shape[1], rows - 0.5, -0.5), aspect="auto", interpolation="nearest", **_colors(panel)
    )
    middles = [columns / 2 + number * (columns + gap.shape[1]) for number in range(len(chosen))]
    axis.set_xticks(middles, [str(step) for step in chosen])
    _name_rows(axis, panel, rows, 7)
    _name(axis, panel, _LETTERS_WIDE)
    axis.set_xlabel("time (steps)", fontsize=8)
    axis.tick_params(axis="x", length=0)
    axis.set_facecolor(_BLANK)
    axis.spines[:].set_visible(False)
    _add_bar(figure, axis, image, panel, 0.012, 6)
