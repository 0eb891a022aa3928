"""Where in its memory a network writes what has a number, as in the paper's figure 17."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lightning_ntm.report.style import (
    COLORS,
    INK,
    LINE,
    PAPER,
    WIDTH,
    Picture,
    color,
    peaks,
    styled,
    weighting_norm,
    whole_numbers,
)


class Fit(NamedTuple):
    """A line through the slots of one head: slot = `start` + `slope` times the number.

    `places` are the slots that it goes through, counted on past the last one where the head goes on to the first.
    `explained` is the share of their variance, R squared.
    """

    start: float
    slope: float
    explained: float
    places: np.ndarray


def draw_places(trace: Mapping[str, np.ndarray], title: str) -> Picture:
    """Draw the slots written against the numbers, with the line that fits best, and both weightings over time.

    Args:
        trace: Arrays with time first: `placed_by`, `(time,)`, NaN in steps without a number; `write_weights` and
            `read_weights`, `(time, heads, slots)`.
        title: What was run, for the line above the picture.
    """
    numbered = np.isfinite(trace["placed_by"])
    steps, numbers, weights = np.flatnonzero(numbered), trace["placed_by"][numbered], trace["write_weights"][numbered]
    slots = weights.shape[-1]
    found, sharpness = centres(weights)
    fits = [fit(numbers, *head, slots) for head in zip(found.T, sharpness.T, strict=True)]
    best = int(np.argmax([one.explained for one in fits]))
    with styled():
        figure = Picture(figsize=(WIDTH, 3), layout=ConstrainedLayoutEngine(wspace=0.06), facecolor=PAPER)
        figure.suptitle(title, fontsize=10)
        against, written, read = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
        _scatter(against, numbers, sharpness, fits, best)
        _weightings(written, trace["write_weights"][:, best], numbered, f"Writes of head {best + 1}, and its line")
        line = (fits[best].start + fits[best].slope * numbers) % slots
        written.plot(steps, line, "o", mfc="none", mec=color(1), markersize=5, scaley=False)
        after = ~numbered if not numbered.all() else numbered
        _weightings(read, trace["read_weights"].max(axis=1), after, "Reads, by any head")
    return figure


def centres(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where weightings are, in [0, slots), and how much of each is there.

    The slots are a circle: a centre is the direction of the weighting's mean on it, and how much is there is the
    length of that mean, 1 for a single slot and 0 for all alike.

    Shape:
        - weights: `(time, heads, slots)`
        - both results: `(time, heads)`
    """
    slots = weights.shape[-1]
    mean = weights @ np.exp(2j * np.pi * np.arange(slots) / slots)
    return np.angle(mean) * slots / (2 * np.pi) % slots % slots, np.abs(mean)  # twice: -1e-20 % 8 is 8


def fit(numbers: np.ndarray, places: np.ndarray, counts: np.ndarray, slots: int) -> Fit:
    """Fit a line to centres on the circle, which is cut open where the line fits best.

    Args:
        numbers: What the centres may follow.
        places: Centres, in [0, slots).
        counts: How much each counts.
        slots: Slots on the circle.
    """
    cuts = [np.where(places < first, places + slots, places) for first in places]
    lines = [_line(numbers, opened, counts) for opened in cuts]
    # By the distances from the line: the explained share of centres that are all the same is 0, at any wrong cut more.
    return min(lines, key=lambda one: float(counts @ (one.places - one.start - one.slope * numbers) ** 2))


def _line(numbers: np.ndarray, places: np.ndarray, counts: np.ndarray) -> Fit:
    """Least squares, each place counting as much as `counts` says."""
    share = counts / max(float(counts.sum()), 1e-12)
    mean, centre = share @ numbers, share @ places
    spread, total = share @ (numbers - mean) ** 2, share @ (places - centre) ** 2
    slope = float(share @ ((numbers - mean) * (places - centre)) / spread) if spread > 0 else 0.0
    left = share @ (places - centre - slope * (numbers - mean)) ** 2
    return Fit(float(centre - slope * mean), slope, float(1 - left / total) if total > 0 else 0.0, places)


def _scatter(axis: Any, numbers: np.ndarray, sharpness: np.ndarray, fits: Sequence[Fit], best: int) -> None:
    """Draw the slots of all heads, those of the best one in front and larger."""
    others = [head for head in range(len(fits)) if head != best]
    for head in (*others, best):
        one, alone = fits[head], head == best
        shape = {"color": color(head), "marker": "o^sDvP"[head // len(COLORS) % 6], "linewidths": 0}
        alpha = np.clip(sharpness[:, head], 0.15, 1) * (1 if alone else 0.5)
        axis.scatter(numbers, one.places, s=20 if alone else 7, alpha=alpha, **shape)
        axis.scatter([], [], s=14, label=f"head {head + 1}, R² {one.explained:z.2f}", **shape)
    ends, line = np.array([numbers.min(), numbers.max()]), fits[best]
    axis.plot(ends, line.start + line.slope * ends, color=INK, linewidth=1)
    sign = "+" if line.slope >= 0 else "\N{MINUS SIGN}"
    axis.set_title(f"Head {best + 1}: slot = {line.start:z.1f} {sign} {abs(line.slope):.1f} x", fontsize=8, loc="left")
    _label(axis, "number x, as a priority", "memory slot written")
    axis.grid(color=LINE, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    # Below the axis: within it, it would hide dots.
    below = {"loc": "upper center", "bbox_to_anchor": (0.45, -0.2), "frameon": False}
    handles, labels = axis.get_legend_handles_labels()
    ordered = sorted(zip(labels, handles, strict=True), key=lambda pair: pair[0])
    axis.legend([handle for _, handle in ordered], [label for label, _ in ordered],
                fontsize=7, ncols=2, columnspacing=1, handletextpad=0.3, **below)  # fmt: skip


def _label(axis: Any, across: str, along: str) -> None:
    axis.set_xlabel(across, fontsize=8)
    axis.set_ylabel(along, fontsize=8)
    axis.tick_params(labelsize=7)


def _weightings(axis: Any, weights: np.ndarray, shown: np.ndarray, title: str) -> None:
    """Draw weightings over time, `(time, slots)`, of the steps that are shown; between them nothing."""
    steps, slots = np.flatnonzero(shown), weights.shape[1]
    extent = (steps[0] - 0.5, steps[-1] + 0.5, slots - 0.5, -0.5)
    image = np.where(shown[:, None], weights, np.nan)[steps[0] : steps[-1] + 1]
    axis.imshow(peaks(image.T), aspect="auto", cmap="Greys", norm=weighting_norm(), interpolation="nearest",
                extent=extent)  # fmt: skip
    axis.xaxis.set_major_locator(whole_numbers(6))
    axis.yaxis.set_major_locator(whole_numbers(7))
    axis.set_title(title, fontsize=8, loc="left")
    _label(axis, "time (steps)", "memory slot")
