"""Which figures a report has, drawn: for the page and for files of their own."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import get_args

from matplotlib.figure import Figure

from lightning_ntm.records.reading import REGRET
from lightning_ntm.report.curves import draw_curves, draw_lengths, draw_seeds
from lightning_ntm.report.experiment import Experiment
from lightning_ntm.report.style import TITLES, Scale, styled
from lightning_ntm.report.svg import inline, png_of, svg_of

#: Panels that a page shows each on its own; beyond them it would be all pictures.
PANELS = 12

_ALONE = "Regret is measured in validation alone."


@dataclass(frozen=True)
class Figures:
    """All figures of a report.

    Args:
        page: By section (`validation`, `training`, `seeds`, `lengths`) the elements of the page, one for
            each measure and scale (and in `seeds` for each network).
        files: By file name, what belongs into it.
    """

    page: dict[str, list[str]]
    files: dict[str, bytes]


def draw(experiment: Experiment) -> Figures:
    """Draw everything, in each measure there is, with a linear and a logarithmic axis."""
    page: dict[str, list[str]] = {"validation": [], "training": [], "seeds": [], "lengths": []}
    files: dict[str, bytes] = {}
    evaluated = any(run.evaluation for run in experiment.runs)
    with styled():
        for measure, scale in itertools.product(experiment.measures, get_args(Scale)):
            add = partial(_add, page, files, measure, scale)
            for section, split in (("validation", "validation"), ("training", "train")):
                if (split, measure) == ("train", REGRET):
                    page[section].append(f'<p class="note" data-measure="{measure}" data-scale="{scale}">{_ALONE}</p>')
                else:
                    add(section, split, draw_curves(experiment, split, measure, scale))
            if evaluated:
                add("lengths", "evaluation", draw_lengths(experiment, measure, scale))
            page["seeds"] += _each_network(experiment, measure, scale)
            files |= _files(f"seeds{_ending(measure, scale)}", draw_seeds(experiment.networks, measure, scale))
    return Figures(page, files)


def _add(
    page: dict[str, list[str]],
    files: dict[str, bytes],
    measure: str,
    scale: Scale,
    section: str,
    split: str,
    figure: Figure,
) -> None:
    stem = f"{section}{_ending(measure, scale)}"
    drawn = _files(stem, figure)
    files |= drawn
    what = f"{section}: {TITLES[measure]}, mean, deviation and median of each network and each seed"
    page[section].append(_plot(figure, drawn[f"{stem}.svg"], stem, what, split, measure, scale))


def _each_network(experiment: Experiment, measure: str, scale: Scale) -> Iterator[str]:
    for place, network in enumerate(experiment.networks[:PANELS]):
        figure = draw_seeds([network], measure, scale)
        stem, what = (
            f"seeds-{place}{_ending(measure, scale)}",
            f"{network.label}: validation of each seed, {TITLES[measure]}",
        )
        runs = " ".join(str(run.number) for run in network.runs)
        plot = _plot(figure, svg_of(figure), stem, what, "validation", measure, scale, f'data-runs="{runs}"')
        yield plot.replace("<svg", f"<figcaption>{escape(network.label)}</figcaption><svg", 1)


def _plot(
    figure: Figure, svg: bytes, stem: str, what: str, split: str, measure: str, scale: Scale, more: str = ""
) -> str:
    tags = f'data-split="{split}" data-measure="{measure}" data-scale="{scale}" {more}'
    return f'<figure class="plot" {tags}>{inline(figure, svg, f"{stem}-", what)}</figure>'


def _files(stem: str, figure: Figure) -> dict[str, bytes]:
    return {f"{stem}.svg": svg_of(figure), f"{stem}.png": png_of(figure)}


def _ending(measure: str, scale: Scale) -> str:
    return f"-{measure.replace('_', '-')}{'-log' if scale == 'log' else ''}"
