"""The figures of a report, for the page and as files."""

from dataclasses import dataclass
from html import escape
from typing import get_args

import numpy as np

from lightning_ntm.measures import Measure
from lightning_ntm.records.reading import SPLITS
from lightning_ntm.report.curves import draw_curves, draw_lengths, draw_seeds
from lightning_ntm.report.experiment import Experiment, Network
from lightning_ntm.report.range_figures import draw_range
from lightning_ntm.report.scores import chosen_range, scores_of
from lightning_ntm.report.style import Picture, Scale, styled
from lightning_ntm.report.svg import inline, png_of, svg_of

#: Panels that a page shows each on its own; beyond them it would be all pictures.
PANELS = 12


@dataclass(frozen=True)
class Figures:
    """All figures of a report.

    Args:
        page: By section (`validation`, `training`, `seeds`, `lengths`, `ranges`) the elements of the page, one for
            each measure and scale (and in `seeds` for each network).
        files: By file name, what belongs into it.
    """

    page: dict[str, list[str]]
    files: dict[str, bytes]


@dataclass(frozen=True)
class View:
    """What some figures show: a measure, on an axis of some scale."""

    measure: Measure
    scale: Scale

    @property
    def tags(self) -> str:
        """Attributes by which the page shows a figure or hides it. One that has no other scale is always shown."""
        scale = f' data-scale="{self.scale}"' if len(scales(self.measure)) > 1 else ""
        return f'data-measure="{self.measure.name}"{scale}'

    @property
    def ending(self) -> str:
        """What the names of files end in."""
        return f"-{self.measure.name.replace('_', '-')}{'-log' if self.scale == 'log' else ''}"


def scales(measure: Measure) -> tuple[Scale, ...]:
    """Return the scales of a measure: shares come close to 1, where a logarithmic axis shows nothing."""
    return get_args(Scale) if measure.better == "lower" else ("linear",)


def draw(experiment: Experiment) -> Figures:
    """Draw every measure, with a linear and a logarithmic axis."""
    page: dict[str, list[str]] = {"validation": [], "training": [], "seeds": [], "lengths": [], "ranges": []}
    figures = Figures(page, {})
    evaluated = any(run.evaluation for run in experiment.runs)
    [ranged] = scores_of([experiment], chosen_range([experiment]))
    with styled():
        for measure in experiment.measures.ordered:
            for view in (View(measure, scale) for scale in scales(measure)):
                _draw_splits(figures, experiment, view)
                if evaluated:
                    known = experiment.evaluated.named(measure.name)
                    _add(figures, view, "lengths", "evaluation", draw_lengths(experiment, known, view.scale))
                if ranged.scores:
                    _add_still(figures, view, draw_range(ranged.scores, measure, view.scale))
                _add_seeds(figures, experiment, view)
    return figures


def _draw_splits(figures: Figures, experiment: Experiment, view: View) -> None:
    measure = view.measure
    for section, split in (("validation", "validation"), ("training", "train")):
        if split == "train" and _in_validation_alone(experiment, measure):
            note = f"{capitalized(measure.title)} is measured in validation alone."
            figures.page[section].append(f'<p class="note" {view.tags}>{escape(note)}</p>')
        else:
            _add(figures, view, section, split, draw_curves(experiment, split, measure, view.scale))


def _in_validation_alone(experiment: Experiment, measure: Measure) -> bool:
    train, validation = (
        any(np.isfinite(getattr(run, split).values[measure.name]).any() for run in experiment.runs) for split in SPLITS
    )
    return bool(measure.above) or (validation and not train and any(len(run.train.step) for run in experiment.runs))


def capitalized(text: str) -> str:
    """Return a text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def _add(figures: Figures, view: View, section: str, split: str, figure: Picture) -> None:
    stem = f"{section}{view.ending}"
    drawn = _files(stem, figure)
    figures.files.update(drawn)
    what = f"{section}: {view.measure.axis}, mean, deviation and median of each network and each seed"
    figures.page[section].append(_plot(figure, drawn[f"{stem}.svg"], stem, what, f'data-split="{split}" {view.tags}'))


def _add_still(figures: Figures, view: View, figure: Picture) -> None:
    """Add the figure of a range. It has too many points for the script to name them."""
    stem = f"range{view.ending}"
    drawn = _files(stem, figure)
    figures.files.update(drawn)
    what = f"{view.measure.axis} by length, for each network the median and the range of its seeds"
    svg = inline(figure, drawn[f"{stem}.svg"], f"{stem}-", what)
    figures.page["ranges"].append(f'<figure class="still" {view.tags}>{svg}</figure>')


def _add_seeds(figures: Figures, experiment: Experiment, view: View) -> None:
    stem, networks = f"seeds{view.ending}", experiment.networks
    every = draw_seeds(networks, view.measure, view.scale)
    drawn = _files(stem, every)
    figures.files.update(drawn)
    if len(networks) == 1:  # the page shows the same picture
        figures.page["seeds"].append(_network(networks[0], view, 0, every, drawn[f"{stem}.svg"]))
        return
    for place, network in enumerate(networks[:PANELS]):
        figure = draw_seeds([network], view.measure, view.scale, networks)
        figures.page["seeds"].append(_network(network, view, place, figure, svg_of(figure)))


def _network(network: Network, view: View, place: int, figure: Picture, svg: bytes) -> str:
    stem = f"seeds-{place}{view.ending}"
    what = f"{network.label}: validation of each seed, {view.measure.axis}"
    runs = " ".join(str(run.number) for run in network.runs)
    tags = f'data-split="validation" {view.tags} data-runs="{runs}"'
    plot = _plot(figure, svg, stem, what, tags)
    return plot.replace("<svg", f"<figcaption>{escape(network.label)}</figcaption><svg", 1)


def _plot(figure: Picture, svg: bytes, stem: str, what: str, tags: str) -> str:
    return f'<figure class="plot" {tags}>{inline(figure, svg, f"{stem}-", what)}</figure>'


def _files(stem: str, figure: Picture) -> dict[str, bytes]:
    return {f"{stem}.svg": svg_of(figure), f"{stem}.png": png_of(figure)}
