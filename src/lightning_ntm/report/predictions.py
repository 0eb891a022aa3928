"""What a network foretold of random bits, beside the best anyone could, as in the paper's figure 14."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lightning_ntm.report.style import INK, LINE, PAPER, SOFT, WIDTH, color, styled


def draw_predictions(trace: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw the chance that each bit is 1, as the network and the optimal estimator see it, and what the gap costs.

    Args:
        trace: Arrays with time first: `targets`, `outputs` and `optimal`, `(time, bits)`, and `mask`, `(time,)`.
        title: What was run, for the line above the picture.
    """
    bits, network, optimal = _answers(trace)
    places = np.arange(1, len(bits) + 1)
    regret = np.cumsum(_bits(bits, network) - _bits(bits, optimal))
    with styled():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained", facecolor=PAPER)
        figure.suptitle(f"{title}: {told_cost(trace)}", fontsize=10)
        foretold, lost = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        foretold.plot(places, optimal, color=color(1), linewidth=2.4, alpha=0.55, label="optimal estimator")
        foretold.plot(places, network, color=color(0), linewidth=1, label="network")
        foretold.plot(places, bits, "|", color=INK, markersize=5, label="the bit that came")
        foretold.set(ylim=(-0.06, 1.06), ylabel="chance of a 1")
        figure.legend(*foretold.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        lost.axhline(0, color=SOFT, linewidth=0.8)
        lost.plot(places, regret, color=color(0), linewidth=1.2)
        lost.set(xlabel="bit", ylabel="regret (bits)", xlim=(0, len(bits) + 1))
        for axis in (foretold, lost):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", color=LINE, linewidth=0.8)
    return figure


def told_cost(trace: Mapping[str, np.ndarray]) -> str:
    """Return in words what an episode cost, and what the best possible network would have."""
    bits, *foretold = _answers(trace)
    network, optimal = (_bits(bits, chances).sum() for chances in foretold)
    return f"{network:.2f} bits, the optimum {optimal:.2f}"


def _answers(trace: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [trace[name][trace["mask"]].reshape(-1) for name in ("targets", "outputs", "optimal")]


def _bits(bits: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Cost of each bit under the chance given to a 1."""
    given = np.where(bits > 0.5, chances, 1 - chances)
    return np.asarray(-np.log2(np.maximum(given, 1e-12)))
