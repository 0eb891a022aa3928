"""The figure of a range: a measure against length, with the lengths of training shaded."""

from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_ntm.measures import Measure
from lightning_ntm.report.curves import Vertical
from lightning_ntm.report.scores import Score
from lightning_ntm.report.statistics import envelope
from lightning_ntm.report.style import LINE, SOFT, Picture, Scale, add_legend, color, dashes, new_figure

#: Most networks with a band each: more of them would hide one another.
_BANDS = 3


def draw_range(scores: tuple[Score, ...], measure: Measure, scale: Scale = "linear", title: str = "") -> Picture:
    """Draw the median over seeds of each network, and a band from the worst seed to the best.

    Of more than three networks the best at each length is a thin line instead.

    Args:
        scores: The networks, at least one.
        measure: What is drawn.
        scale: Of the vertical axis.
        title: Above the panel.
    """
    figure, [axis] = new_figure(1, [title] if title else ())
    curves = {score.label: score.curves(measure) for score in scores}
    values = np.concatenate([value for each in curves.values() for _, value in each] or [np.empty(0)])
    drawn = Vertical(measure, scale, values)
    trained, longest = max(score.training_length for score in scores), 1.0
    axis.axvspan(0, trained + 0.5, color=LINE, linewidth=0)
    for score in reversed(scores):
        steps, low, median, high = envelope(curves[score.label])
        longest = max(longest, *steps) if steps.size else longest
        line = {"color": color(score.color), "linestyle": dashes(score.color)}
        if len(scores) <= _BANDS:
            axis.fill_between(steps, drawn.shown(low), drawn.shown(high), color=line["color"], alpha=0.2, linewidth=0)
        else:
            best = high if measure.better == "higher" else low
            axis.plot(steps, drawn.shown(best), **line, alpha=0.7, linewidth=0.7)
        axis.plot(steps, drawn.shown(median), **line, linewidth=1.8)
    drawn.finish(axis)
    axis.set_xlim(0, longest)
    axis.set_xlabel("length")
    _legend(figure, scores)
    return figure


def _legend(figure: Picture, scores: tuple[Score, ...]) -> None:
    handles: list[Any] = [
        Line2D([], [], color=color(score.color), linestyle=dashes(score.color), linewidth=1.8, label=score.label)
        for score in scores
    ]
    several = any(len(score.seeds) > 1 for score in scores)
    if several and len(scores) <= _BANDS:
        handles.append(Patch(color=SOFT, alpha=0.2, linewidth=0, label="worst to best seed"))
    elif several:
        handles.append(Line2D([], [], color=SOFT, linewidth=0.7, label="best seed"))
    handles.append(Patch(color=LINE, linewidth=0, label="lengths of training"))
    add_legend(figure, handles)
