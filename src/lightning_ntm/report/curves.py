"""The figures of a report. Each line that belongs to a run carries the run's number, as `run-3`."""

import math
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_ntm.report.experiment import Experiment, Network, Run
from lightning_ntm.report.lengths import Lengths, lengths_of
from lightning_ntm.report.statistics import Aligned, align, gather
from lightning_ntm.report.style import (
    INK,
    SOFT,
    TITLES,
    Scale,
    color,
    dashes,
    floor_of,
    new_figure,
    plain,
    scale_axis,
)  # fmt: skip

#: Letters of the name of a network that have room in the picture; the page tells the rest.
_WIDEST = 70


def draw_curves(experiment: Experiment, split: str, measure: str, scale: Scale) -> Figure:
    """Draw a cost against batches: each network's mean ± std and median, its seeds faintly behind."""
    figure, [axis] = new_figure()
    optimal = _optimal(experiment, split, measure)
    floor = floor_of(np.append(_all(experiment.runs, split, measure), list(optimal.values())))
    least = floor if scale == "log" else 0.0
    for network in reversed(experiment.networks):
        _draw_seeds(axis, network, split, measure, least, alpha=_faint(network))
    for network in reversed(experiment.networks):
        curves = [_curve(run, split, measure) for run in network.runs]
        aligned = align(curves, [run.ended for run in network.runs])
        _draw_summary(axis, network, aligned, least)
    for shade, bits in optimal.items():
        axis.axhline(max(least, bits), **{**_OPTIMUM, "color": shade})
    scale_axis(axis, scale, floor)
    axis.set_xlabel("batches")
    axis.set_ylabel(TITLES[measure])
    _legend(figure, experiment.networks, _named_optimum(optimal))
    return figure


def draw_seeds(networks: list[Network], measure: str, scale: Scale) -> Figure:
    """Draw the validation of every seed against batches, a panel for each network."""
    figure, axes = new_figure(len(networks), [network.label for network in networks] if len(networks) > 1 else ())
    floor = floor_of(_all([run for network in networks for run in network.runs], "validation", measure))
    least = floor if scale == "log" else 0.0
    for axis, network in zip(axes, networks, strict=True):
        _draw_seeds(axis, network, "validation", measure, least, alpha=_faint(network, 0.8))
        scale_axis(axis, scale, floor)
        _name_unsolved(axis, network, measure, least)
        axis.set_xlabel("batches")
        axis.set_ylabel(TITLES[measure])
    return figure


def draw_lengths(experiment: Experiment, measure: str, scale: Scale) -> Figure:
    """Draw the cost of the kept weights at each difficulty that was evaluated."""
    figure, [axis] = new_figure()
    lengths = lengths_of(experiment)
    values = [lengths.values(run, measure) for run in experiment.runs]
    floor = floor_of(np.concatenate([value for _, value in values] or [np.empty(0)]))
    least = floor if scale == "log" else 0.0
    for network in reversed(experiment.networks):
        for run in network.runs:
            place, value = lengths.values(run, measure)
            line = {"color": color(network.color), "alpha": _faint(network), "linewidth": 0.9}
            axis.plot(place, np.maximum(value, least), gid=f"run-{run.number}", **line)
        gathered = gather([lengths.values(run, measure) for run in network.runs])
        _draw_summary(axis, network, gathered, least, marker="o")
    optimum = _draw_optimal_lengths(axis, experiment, lengths, least) if measure == "bits_per_sequence" else []
    scale_axis(axis, scale, floor)
    _name_difficulties(axis, lengths)
    axis.set_ylabel(TITLES[measure])
    _legend(figure, experiment.networks, optimum)
    return figure


def _curve(run: Run, split: str, measure: str) -> tuple[np.ndarray, np.ndarray]:
    series = getattr(run, split)
    return series.step, getattr(series, measure)


def _all(runs: list[Run], split: str, measure: str) -> np.ndarray:
    return np.concatenate([_curve(run, split, measure)[1] for run in runs] or [np.empty(0)])


def _draw_seeds(axis: Any, network: Network, split: str, measure: str, least: float, alpha: float) -> None:
    for run in network.runs:
        step, value = _curve(run, split, measure)
        line = {"color": color(network.color), "alpha": alpha, "linewidth": 0.9, "solid_joinstyle": "round"}
        axis.plot(step, np.maximum(value, least), gid=f"run-{run.number}", **line)


def _faint(network: Network, darkest: float = 0.3) -> float:
    """Return the opacity of one seed's line; many lines together must not hide what they add up to."""
    return float(np.clip(10 * darkest / len(network.runs), 0.2 * darkest, darkest))


def _draw_summary(axis: Any, network: Network, aligned: Aligned, least: float, **more: Any) -> None:
    own, number = {"color": color(network.color)}, network.color
    low, high, mean, median = (
        np.maximum(value, least)
        for value in (aligned.mean - aligned.std, aligned.mean + aligned.std, aligned.mean, aligned.median)
    )
    axis.fill_between(aligned.step, low, high, alpha=0.14, linewidth=0, gid=f"deviation-{number}", **own)
    axis.plot(aligned.step, median, linestyle=(0, (1, 1.6)), linewidth=1.4, gid=f"median-{number}", **own)
    axis.plot(aligned.step, mean, linestyle=dashes(number), linewidth=2, gid=f"mean-{number}", **own, **more)


#: The line of the best possible network.
_OPTIMUM: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 3)), "linewidth": 1.2}


def _optimal(experiment: Experiment, split: str, measure: str) -> dict[str, float]:
    """Return what the best possible network costs, as figure 13 of the paper shows it, by the colour of the line.

    It is measured in validation alone. Where networks have seeds whose sequences differ by more than a hundredth of
    it, each has a line of its own.
    """
    if (split, measure) != ("validation", "bits_per_sequence"):
        return {}
    each = {color(network.color): network.optimal_bits for network in experiment.networks}
    found = {shade: bits for shade, bits in each.items() if math.isfinite(bits)}
    if found and max(found.values()) <= 1.01 * min(found.values()):
        return {INK: sum(found.values()) / len(found)}
    return found


def _named_optimum(optimal: dict[str, float]) -> list[Any]:
    """Return what names the optimum in a legend, with its number if it is one for all networks."""
    label = f"optimum ({optimal[INK]:.1f})" if INK in optimal else "optimum on its seeds"
    return [Line2D([], [], label=label, **_OPTIMUM)] if optimal else []


def _draw_optimal_lengths(axis: Any, experiment: Experiment, lengths: Lengths, least: float) -> list[Any]:
    optimal = gather([lengths.values(run, "optimal_bits") for run in experiment.runs])
    if not optimal.step.size:
        return []
    shown = np.maximum(optimal.mean, least)
    return list(axis.plot(optimal.step, shown, label="optimum", marker="_", markersize=9, **_OPTIMUM))


def _legend(figure: Figure, networks: list[Network], more: list[Any]) -> None:
    handles: list[Any] = [
        Line2D([], [], color=color(network.color), linestyle=dashes(network.color), linewidth=2, label=plain(label))
        for network, label in ((network, shorten(network.label, _WIDEST, placeholder=" …")) for network in networks)
    ]
    handles += [
        Patch(color=SOFT, alpha=0.2, linewidth=0, label="mean ± std"),
        Line2D([], [], color=SOFT, linestyle=(0, (1, 1.6)), linewidth=1.4, label="median"),
        *more,
    ]
    for columns in (4, 3, 2, 1):  # as many as the names leave room for
        legend = figure.legend(
            handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=9, handlelength=1.8
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def _name_unsolved(axis: Any, network: Network, measure: str, least: float) -> None:
    """Write the seed at the end of the worst curves of runs that are not solved, where there is room for it."""
    unsolved = [run for run in network.runs if not run.solved and math.isfinite(run.final(measure) or math.nan)]
    taken: list[float] = []
    for run in sorted(unsolved, key=lambda run: -(run.final(measure) or 0))[:4]:
        step, value = _curve(run, "validation", measure)
        at = (float(step[-1]), max(least, float(value[-1])))
        height = axis.transData.transform(at)[1]
        if all(abs(height - other) > 14 for other in taken):
            taken.append(height)
            axis.annotate(f"seed {run.seed}", at, xytext=(3, 0), textcoords="offset points", fontsize=8, color=SOFT,
                          va="center", annotation_clip=False, gid=f"end-{run.number}")  # fmt: skip


def _name_difficulties(axis: Any, lengths: Lengths) -> None:
    axis.set_xlabel(plain(shorten(lengths.name, _WIDEST, placeholder=" …")))
    axis.set_xticks(list(lengths.places.values()), list(lengths.places))
