"""The predictions of a network beside the best possible ones, as in the paper's figure 14."""

from collections.abc import Mapping

import numpy as np

from lightning_ntm.report.style import INK, LINE, PAPER, SOFT, WIDTH, Picture, color, styled

#: The units of answers whose predictions can be drawn, with the label of the axis.
PREDICTED = {"bit": "chance of a 1", "symbol": "chance of the symbol that came"}


def draw_predictions(trace: Mapping[str, np.ndarray], title: str, unit: str) -> Picture:
    """Draw the predictions of the network and of the optimal estimator, and the cost of the difference.

    Of bits it is the chance that each bit is 1, of symbols the chance of each symbol that came.

    Args:
        trace: Arrays with time first: `targets`, `outputs` and `optimal`, `(time, size)`, and `mask`, `(time,)`.
        title: What was run and what it cost, for the line above the picture.
        unit: `bit` or `symbol`.
    """
    targets, *predicted = (trace[name][trace["mask"]] for name in ("targets", "outputs", "optimal"))
    came = [_of_what_came(targets, chances, unit) for chances in predicted]
    regret = np.cumsum(_bits(came[0]) - _bits(came[1]))
    places = np.arange(1, len(regret) + 1)
    network, optimal = came if unit == "symbol" else (chances.reshape(-1) for chances in predicted)
    with styled():
        figure = Picture(figsize=(WIDTH, 3.6), layout="constrained", facecolor=PAPER)
        figure.suptitle(title, fontsize=10)
        chance, lost = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        chance.plot(places, optimal, color=color(1), linewidth=2.4, alpha=0.55, label="optimal estimator")
        chance.plot(places, network, color=color(0), linewidth=1, label="network")
        if unit == "bit":
            chance.plot(places, targets.reshape(-1), "|", color=INK, markersize=5, label="the bit that came")
        chance.set(ylim=(-0.06, 1.06), ylabel=PREDICTED[unit])
        figure.legend(*chance.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        lost.axhline(0, color=SOFT, linewidth=0.8)
        lost.plot(places, regret, color=color(0), linewidth=1.2)
        lost.set(xlabel=unit, ylabel="regret (bits)", xlim=(0, len(regret) + 1))
        for axis in (chance, lost):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", color=LINE, linewidth=0.8)
    return figure


def _of_what_came(targets: np.ndarray, chances: np.ndarray, unit: str) -> np.ndarray:
    """Return the chance that was given to each bit or symbol that came."""
    if unit == "symbol":
        return np.asarray((targets * chances).sum(axis=1))
    return np.where(targets > 0.5, chances, 1 - chances).reshape(-1)


def _bits(chances: np.ndarray) -> np.ndarray:
    """Return the cost in bits of what came with these chances."""
    return np.asarray(-np.log2(np.maximum(chances, 1e-12)))
