"""The figures of a report. Each line that belongs to a run carries the run's number, as `run-3`."""

import math
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_ntm.measures import Measure
from lightning_ntm.records.reading import SPLITS
from lightning_ntm.report.experiment import Experiment, Network
from lightning_ntm.report.lengths import Lengths, lengths_of
from lightning_ntm.report.run import Run
from lightning_ntm.report.statistics import Aligned, align, gather
from lightning_ntm.report.style import (
    INK,
    SOFT,
    Picture,
    Scale,
    add_legend,
    color,
    dashes,
    floor_of,
    new_figure,
    scale_axis,
    scale_share,
)  # fmt: skip

#: Most letters of a network's name in a picture; the page has the whole name.
_WIDEST = 70


def draw_curves(experiment: Experiment, split: str, measure: Measure, scale: Scale) -> Picture:
    """Draw a measure against batches: each network's mean ± std and median, its seeds faintly behind."""
    figure, [axis] = new_figure()
    optimal, chance = _optimal(experiment, split, measure), _chance(experiment, measure)
    both = [_all(experiment.runs, one, measure) for one in SPLITS]  # which are compared
    drawn = Vertical(measure, scale, np.concatenate([*both, list(optimal.values()), chance]))
    for network in reversed(experiment.networks):
        _draw_seeds(axis, network, split, drawn, alpha=_faint(network))
    for network in reversed(experiment.networks):
        curves = [_curve(run, split, measure) for run in network.runs]
        aligned = align(curves, [run.ended for run in network.runs])
        _draw_summary(axis, network, aligned, drawn)
    for shade, value in optimal.items():
        axis.axhline(drawn.shown(value), **{**_OPTIMUM, "color": shade})
    for value in chance if split == "validation" else ():
        axis.axhline(drawn.shown(value), **_CHANCE)
        # Not in the legend: the figure beside this one has the same legend, and so the same height.
        place = {"xycoords": axis.get_yaxis_transform(), "xytext": (0, -4), "textcoords": "offset points"}
        told = f"chance: {value:z.4g}"
        axis.annotate(told, (1, drawn.shown(value)), fontsize=8, color=SOFT, ha="right", va="top", **place)
    drawn.finish(axis)
    axis.set_xlabel("batches")
    _legend(figure, experiment.networks, _named_optimum(optimal))
    return figure


#: The line of a network that guesses.
_CHANCE: dict[str, Any] = {"color": SOFT, "linestyle": (0, (1, 3)), "linewidth": 1.2}


def _chance(experiment: Experiment, measure: Measure) -> list[float]:
    """Return what guessing reaches in validation, a mean over runs, if it is the same up to a hundredth."""
    known = [value for run in experiment.runs if not math.isnan(value := run.chance(measure))]
    alike = known and max(known) <= 1.01 * min(known)
    return [sum(known) / len(known)] if alike else []


def draw_seeds(
    networks: list[Network], measure: Measure, scale: Scale, compared: list[Network] | None = None
) -> Picture:
    """Draw the validation of every seed against batches, a panel for each network.

    Args:
        networks: What is drawn.
        measure: What it shows.
        scale: Linear or logarithmic.
        compared: The networks with which these share the vertical axis; by default themselves.
    """
    figure, axes = new_figure(len(networks), [network.label for network in networks] if len(networks) > 1 else ())
    runs = [run for network in compared or networks for run in network.runs]
    drawn = Vertical(measure, scale, _all(runs, "validation", measure))
    for axis, network in zip(axes, networks, strict=True):
        _draw_seeds(axis, network, "validation", drawn, alpha=_faint(network, 0.8))
        drawn.finish(axis)
        _name_unsolved(axis, network, drawn)
        axis.set_xlabel("batches")
    return figure


def draw_lengths(experiment: Experiment, measure: Measure, scale: Scale) -> Picture:
    """Draw what the kept weights reach at each difficulty that was evaluated."""
    figure, [axis] = new_figure()
    lengths = lengths_of(experiment)
    values = [lengths.values(run, measure.name) for run in experiment.runs]
    drawn = Vertical(measure, scale, np.concatenate([value for _, value in values] or [np.empty(0)]))
    for network in reversed(experiment.networks):
        for run in network.runs:
            place, value = lengths.values(run, measure.name)
            line = {"color": color(network.color), "alpha": _faint(network), "linewidth": 0.9}
            axis.plot(place, drawn.shown(value), gid=f"run-{run.number}", **line)
        gathered = gather([lengths.values(run, measure.name) for run in network.runs])
        _draw_summary(axis, network, gathered, drawn, marker="o")
    optimum = _draw_optimal_lengths(axis, experiment, lengths, drawn) if measure.optimum else []
    drawn.finish(axis)
    _name_difficulties(axis, lengths)
    _legend(figure, experiment.networks, optimum)
    return figure


class Vertical:
    """The vertical axis of a figure, the same for all its panels.

    Args:
        measure: What it shows.
        scale: Linear or logarithmic.
        values: All that is drawn.
    """

    def __init__(self, measure: Measure, scale: Scale, values: np.ndarray):
        self.measure, self.scale, self.values = measure, scale, values
        self.floor = floor_of(values, min(1e-3, max(1e-12, measure.solved / 10)) if measure.solved else 1e-3)

    def shown(self, values: Any) -> Any:
        """Return where values are drawn: those below the axis at its lower end."""
        if self.measure.better == "higher":
            return values
        return np.maximum(values, self.floor if self.scale == "log" else 0.0)

    def finish(self, axis: Any) -> None:
        """Scale and name the axis, once everything is drawn."""
        axis.set_ylabel(self.measure.axis)
        if self.measure.better == "higher":
            scale_share(axis, self.values)
        else:
            finite = self.values[np.isfinite(self.values)]
            scale_axis(axis, self.scale, self.floor, float(finite.max()) if finite.size else math.nan)


def _curve(run: Run, split: str, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    series = getattr(run, split)
    return series.step, series.values[measure.name]


def _all(runs: list[Run], split: str, measure: Measure) -> np.ndarray:
    return np.concatenate([_curve(run, split, measure)[1] for run in runs] or [np.empty(0)])


def _draw_seeds(axis: Any, network: Network, split: str, drawn: Vertical, alpha: float) -> None:
    for run in network.runs:
        step, value = _curve(run, split, drawn.measure)
        line = {"color": color(network.color), "alpha": alpha, "linewidth": 0.9, "solid_joinstyle": "round"}
        axis.plot(step, drawn.shown(value), gid=f"run-{run.number}", **line, **_dot(value, 3))


def _dot(values: np.ndarray, size: float) -> dict[str, Any]:
    """Return how a single value is drawn, which has no line: a dot."""
    return {"marker": "o", "markersize": size, "markeredgewidth": 0} if np.isfinite(values).sum() == 1 else {}


def _faint(network: Network, darkest: float = 0.3) -> float:
    """Return the opacity of one seed's line; many lines together must not hide what they add up to."""
    return float(np.clip(10 * darkest / len(network.runs), 0.2 * darkest, darkest))


def _draw_summary(axis: Any, network: Network, aligned: Aligned, drawn: Vertical, **more: Any) -> None:
    own, number, below = {"color": color(network.color)}, network.color, aligned.mean - aligned.std
    if drawn.scale == "log":  # where the mean less the deviation is often below zero
        below = np.maximum(below, aligned.least)
    low, high, mean, median = (
        drawn.shown(value) for value in (below, aligned.mean + aligned.std, aligned.mean, aligned.median)
    )
    axis.fill_between(aligned.step, low, high, alpha=0.14, linewidth=0, gid=f"deviation-{number}", **own)
    axis.plot(aligned.step, median, linestyle=(0, (1, 1.6)), linewidth=1.4, gid=f"median-{number}", **own)
    more = {**_dot(mean, 5), **more}
    axis.plot(aligned.step, mean, linestyle=dashes(number), linewidth=2, gid=f"mean-{number}", **own, **more)


#: The line of the best possible network.
_OPTIMUM: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 3)), "linewidth": 1.2}


def _optimal(experiment: Experiment, split: str, measure: Measure) -> dict[str, float]:
    """Return the best possible value, as figure 13 of the paper shows it, by the colour of the line.

    It is known in validation alone. Where the optima of networks differ by more than a hundredth, since their seeds
    have other sequences, each network has a line of its own.
    """
    if split != "validation" or not measure.optimum:
        return {}
    each = {color(network.color): network.optimum for network in experiment.networks}
    found = {shade: value for shade, value in each.items() if math.isfinite(value)}
    if found and max(found.values()) <= 1.01 * min(found.values()):
        return {INK: sum(found.values()) / len(found)}
    return found


def _named_optimum(optimal: dict[str, float]) -> list[Any]:
    """Return what names the optimum in a legend, with its number if it is one for all networks."""
    label = f"optimum ({optimal[INK]:z.1f})" if INK in optimal else "optimum on its seeds"
    return [Line2D([], [], label=label, **_OPTIMUM)] if optimal else []


def _draw_optimal_lengths(axis: Any, experiment: Experiment, lengths: Lengths, drawn: Vertical) -> list[Any]:
    optimal = gather([lengths.values(run, drawn.measure.optimum) for run in experiment.runs])
    if not optimal.step.size:
        return []
    return list(
        axis.plot(optimal.step, drawn.shown(optimal.mean), label="optimum", marker="_", markersize=9, **_OPTIMUM)
    )


def _legend(figure: Picture, networks: list[Network], more: list[Any]) -> None:
    handles: list[Any] = [
        Line2D([], [], color=color(network.color), linestyle=dashes(network.color), linewidth=2, label=label)
        for network, label in ((network, shorten(network.label, _WIDEST, placeholder=" …")) for network in networks)
    ]
    handles += [
        Patch(color=SOFT, alpha=0.2, linewidth=0, label="mean ± std"),
        Line2D([], [], color=SOFT, linestyle=(0, (1, 1.6)), linewidth=1.4, label="median"),
        *more,
    ]
    add_legend(figure, handles)


def _name_unsolved(axis: Any, network: Network, drawn: Vertical) -> None:
    """Write the seed at the end of the worst curves of runs that are not solved, where there is room for it."""
    ends = [(run, value) for run in network.runs if (value := run.final(drawn.measure.name)) is not None]
    unsolved = [(run, value) for run, value in ends if not run.solved and math.isfinite(value)]
    unsolved.sort(key=lambda end: end[1], reverse=drawn.measure.better == "lower")
    taken: list[float] = []
    for run, _ in unsolved[:4]:
        step, values = _curve(run, "validation", drawn.measure)
        at = (float(step[-1]), float(drawn.shown(values[-1])))
        height = axis.transData.transform(at)[1]
        if all(abs(height - other) > 14 for other in taken):
            taken.append(height)
            axis.annotate(f"seed {run.seed}", at, xytext=(3, 0), textcoords="offset points", fontsize=8, color=SOFT,
                          va="center", annotation_clip=False, gid=f"end-{run.number}")  # fmt: skip


def _name_difficulties(axis: Any, lengths: Lengths) -> None:
    axis.set_xlabel(shorten(lengths.name, _WIDEST, placeholder=" …"))
    axis.set_xticks(list(lengths.places.values()), list(lengths.places))
