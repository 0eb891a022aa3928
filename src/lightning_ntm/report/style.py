"""The style of the report's figures: colours that everybody can tell apart, and few lines."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

#: Okabe and Ito (2008), without the yellow that vanishes on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, SOFT, LINE, PAPER = "#1c2024", "#60656c", "#e3e6ea", "#ffffff"
#: Networks beyond the number of colours differ by these.
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (3, 1.5)), (0, (6, 1.5, 1.5, 1.5)))

#: Inches, as the text of a page is wide: in a column of 140 mm (5.5 inches) letters of 8 points are still above 6.
WIDTH = 7.0

#: Multiples of which ticks may be.
_ROUND = [1, 2, 5, 10]

Scale = Literal["linear", "log"]
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lightning-ntm",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "path.simplify_threshold": 0.3,
    "savefig.dpi": 150,
}


class Picture(Figure):
    """A figure that a notebook shows below its cell, without pyplot. Its texts are drawn as they are."""

    def draw(self, renderer: Any) -> None:
        """Draw the figure."""
        with self.literal():
            super().draw(renderer)

    @contextmanager
    def literal(self) -> Iterator[None]:
        """Make no formulas of texts with dollars, as the names of symbols may be."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        with mpl.rc_context({"text.parse_math": False}):  # texts that are made while the figure is drawn
            yield

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=150)
        return drawn.getvalue()

    def pixels(self) -> np.ndarray:
        """Return the picture as an array `(height, width, 3)` of bytes, 100 pixels per inch."""
        canvas = FigureCanvasAgg(self)
        self.set_dpi(100)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in this style."""
    with mpl.rc_context(_RC):  # type: ignore[arg-type]
        yield


def saved(figure: Picture, kind: str, **options: Any) -> bytes:
    """Return a figure as a file of a format, such as "png". Files of one figure have all parts at the same places."""
    if engine := figure.get_layout_engine():
        with figure.literal():
            engine.execute(figure)  # in `savefig` it would cost drawing everything once more
        figure.set_layout_engine(None)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, **options)
    return drawn.getvalue()


def new_figure(panels: int = 1, titles: Sequence[str] = ()) -> tuple[Picture, list[Any]]:
    """Return a figure with panels side by side, at most three in a row, and the panels."""
    columns = min(3, panels)
    rows = -(-panels // columns)
    figure = Picture(figsize=(5.2 * columns, 3.7 * rows), layout="constrained", facecolor=PAPER)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[panels:]:
        axis.set_visible(False)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize=10, loc="left")
    for axis in axes[:panels]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(length=3, width=0.8)
        axis.grid(axis="y", color=LINE, linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes[:panels]


def add_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Add a legend above the panels, in as many columns as its names leave room for, at most four."""
    for columns in (4, 3, 2, 1):
        legend = figure.legend(
            handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=9, handlelength=1.8
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def color(number: int) -> str:
    """Return the colour of a network."""
    return COLORS[number % len(COLORS)]


def dashes(number: int) -> Any:
    """Return the line style of a network."""
    return _DASHES[number // len(COLORS) % len(_DASHES)]


def peaks(weights: np.ndarray, rows: int = 100, columns: int = 500) -> np.ndarray:
    """Return an image with at most so many rows and columns: of the weights that share a place the largest.

    A picture has fewer points than a long episode has steps; the one slot that a head looks at would fall between them.
    """
    for axis, most in enumerate((rows, columns)):
        if weights.shape[axis] > most:
            first = np.linspace(0, weights.shape[axis], most, endpoint=False).astype(int)
            weights = np.fmax.reduceat(weights, first, axis=axis)
    return weights


def weighting_norm() -> PowerNorm:
    """Return how weightings become shades: 1/128, a share of a weighting over all slots, is a light grey."""
    return PowerNorm(0.4, 0, 1)


def whole_numbers(most: int) -> MaxNLocator:
    """Return a locator of ticks at whole, round numbers, at most `most + 1`."""
    return MaxNLocator(most, integer=True, steps=_ROUND)


def round_places(labels: np.ndarray, most: int) -> list[int]:
    """Return the places of the labels that are multiples of 1, 2, 5, 10, ..., at most so many.

    Where the labels begin again at 0, the multiple before it may be near; then only 0 has a place. It is one more where
    otherwise fewer than half as many would be left.
    """
    before: list[int] = []
    for step in (number * 10**power for power in range(9) for number in (1, 2, 5)):
        places = np.flatnonzero(labels % step == 0)
        places = places[np.diff(places, append=np.inf) > step / 2]
        if len(places) <= most:
            return before if len(before) == most + 1 and len(places) < most / 2 else places.tolist()
        before = places.tolist()
    return []


def round_down(value: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is at most a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(step for step in (5, 2, 1, 0.5) if step * power <= value * (1 + 1e-9)) * power)


def floor_of(values: np.ndarray, least: float = 1e-3) -> float:
    """Return the power of ten that stands for zero on a logarithmic axis: at or below all values above `least`."""
    positive = values[np.isfinite(values) & (values > 0)]
    lowest = max(least, float(positive.min())) if positive.size else least
    return float(10.0 ** math.floor(math.log10(lowest) + 1e-6))  # 0.01 in single precision is a little less


def scale_axis(axis: Any, scale: Scale, floor: float, highest: float = math.nan) -> None:
    """Make the vertical axis linear from zero, or logarithmic from a floor that stands for zero too.

    Args:
        axis: With all that is drawn.
        scale: Linear or logarithmic.
        floor: The lowest value on a logarithmic axis.
        highest: The highest value of all panels that are compared; NaN ends the axis above what it shows.
    """
    top = max(axis.get_ylim()[1] if math.isnan(highest) else 1.05 * highest, floor)
    if scale == "log":
        top = max(top, 10 * floor)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(numticks=8))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value, floor)))
        axis.minorticks_off()
        axis.set_ylim(bottom=0.85 * floor, top=1.1 * top)
    else:
        axis.yaxis.set_major_locator(MaxNLocator(6, steps=_ROUND))
        axis.set_ylim(bottom=-0.012 * top, top=top)  # a line at zero shows whole
    _count_steps(axis)


def scale_share(axis: Any, values: np.ndarray) -> None:
    """Make the vertical axis linear, from 0 to 1 if all values are within that."""
    finite = values[np.isfinite(values)]
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=_ROUND))
    if not finite.size or (finite.min() >= 0 and finite.max() <= 1):
        axis.set_ylim(bottom=-0.012, top=1.012)  # lines at both ends show whole
    _count_steps(axis)


def _count_steps(axis: Any) -> None:
    if not np.isfinite(axis.dataLim.intervalx).all():  # a horizontal line has no steps
        axis.set_xticks([])
        axis.text(0.5, 0.5, "nothing was measured", transform=axis.transAxes, ha="center", color=SOFT)
        return
    axis.xaxis.set_major_locator(whole_numbers(6))
    # Around a single step there are no other whole numbers.
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:z,.0f}" if value == round(value) else ""))


def _power(value: float, floor: float) -> str:
    return f"≤ {value:zg}" if value <= floor * 1.001 else f"{value:z,.10g}"
