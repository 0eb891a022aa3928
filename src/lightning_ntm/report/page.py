"""The report of an experiment: one page that needs nothing but itself, and its figures as files."""

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from lightning_ntm.records import Series, make_folder, write_whole
from lightning_ntm.records.files import open_regular
from lightning_ntm.records.reading import REGRET
from lightning_ntm.report import tables
from lightning_ntm.report.experiment import OPTIMAL, Experiment, Goal, Network, Run, read_experiment
from lightning_ntm.report.figures import PANELS, Figures, draw
from lightning_ntm.report.lengths import Lengths, lengths_of
from lightning_ntm.report.statistics import reached, spread
from lightning_ntm.report.svg import MARK
from lightning_ntm.report.tables import duration, number


def write_report(folders: Sequence[Path | str], output: Path | str | None = None) -> list[Path]:
    """Write a report on the runs in some folders.

    Args:
        folders: Any that hold run folders, at any depth.
        output: The folder to write `report.html` and `figures` into, or the page itself, as
            `somewhere/ten-seeds.html`; by default the first of `folders`.

    Returns:
        What was written, the page first. Reports that stood there before are replaced.

    Raises:
        ValueError: The folders cannot be reported together (see `read_experiment`), or a file
            stands in the way that no report made.
    """
    experiment = read_experiment(*folders)
    place = Path(folders[0] if output is None else output)
    page = place if place.suffix.lower() in (".html", ".htm") and not place.is_dir() else place / "report.html"
    for file in (parent for parent in page.parents if parent.is_file()):
        raise ValueError(f"{file} is a file; --output takes a folder, or a page whose name ends in .html.")
    _check_ours(page)
    figures = draw(experiment)
    written: dict[Path, bytes] = {page: render(experiment, figures).encode()}
    written |= {page.parent / "figures" / name: data for name, data in figures.files.items()}
    for path in written:
        _check_ours(path)
    make_folder(page.parent / "figures")
    for path, data in written.items():
        write_whole(path, data)
    return list(written)


def _check_ours(path: Path) -> None:
    if not path.exists():
        return
    with suppress(ValueError), open_regular(path, sys.maxsize) as file:
        if MARK.encode() in file.read(4096):
            return
    raise ValueError(f"{path} exists and was not made by ntm report; choose another --output.")


def render(experiment: Experiment, figures: Figures) -> str:
    """Return the page."""
    web = files("lightning_ntm.report") / "web"
    template, style, script = ((web / name).read_text() for name in ("page.html", "page.css", "page.js"))
    differing, shared = tables.configuration(experiment)
    labels = [network.label for network in experiment.networks]
    runs, left = len(experiment.runs), sum(run.state == "not readable" for run in experiment.skipped)
    return Template(template).substitute(
        mark=MARK,
        version=escape(version("lightning-ntm")),
        style=style,
        script=script,
        data=_embedded(_data(experiment)),
        title=escape(f"{_listed(labels)} on {experiment.task}"),
        statements="".join(f"<li>{_statement(network, experiment.goal)}</li>" for network in experiment.networks),
        measures="".join(_choice(measure, place == 0) for place, measure in enumerate(experiment.measures)),
        solved=experiment.goal.means,
        close=experiment.goal.close,
        optimum=_OPTIMUM if experiment.goal is OPTIMAL or tables.knows_regret(experiment) else "",
        warning=_warning(experiment),
        runs=f"{runs} run{'s' * (runs != 1)}" + (f", {left} more not readable" if left else ""),
        chips="".join(_chips(network) for network in experiment.networks),
        success=tables.success(experiment),
        final=tables.final_cost(experiment),
        lengths=_lengths(experiment, figures),
        seeds_note=_seeds_note(experiment),
        each_run=tables.each_run(experiment),
        open="open" if runs <= 40 else "",
        not_finished=tables.not_finished(experiment),
        differing=differing,
        shared=shared,
        provenance=tables.provenance(experiment),
        **{f"{name}_plots": "".join(figures.page[name]) for name in ("validation", "training", "seeds")},
    )


def _listed(labels: list[str]) -> str:
    if len(labels) > 4:
        return f"{len(labels)} networks"
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def _choice(measure: str, chosen: bool) -> str:
    """Return what chooses the measure that figures show."""
    name, words = measure.replace("_", "-"), "regret" if measure == REGRET else measure.replace("_", " ")
    checked = " checked" if chosen else ""
    return f'<input type="radio" name="measure" id="{name}"{checked}><label for="{name}">{words}</label>\n'


_OPTIMUM = (
    "<div><dt>optimum, regret</dt><dd>Nobody can foretell all answers of this task: the best possible network costs "
    "the optimum. Regret is what a network costs above it, in bits per sequence, on the same sequences.</dd></div>"
)


def _statement(network: Network, goal: Goal) -> str:
    """Return what became of a network, in a sentence with numbers."""
    tried, waiting = len(network.tried), len(network.runs) - len(network.tried)
    name = f"<strong>{tables.named(network)}</strong>"
    more = f" {waiting} not finished yet." if waiting else ""
    if not tried:
        return f"{name}: no run has ended yet.{more}"
    solved = f"{name}: <b>{network.solved} of {tried}</b> seed{'s' * (tried != 1)} solved"
    batches, seconds = (reached([run.close[place] for run in network.tried])[0] for place in (0, 1))
    if math.isfinite(batches):
        after = f"median <b>{number(batches)}</b> batches ({duration(seconds)}) to under {goal.close}"
        return f"{solved}, {after}.{more}"
    found = [value for run in network.tried if (value := run.final(goal.measure)) is not None]
    end = spread([value for value in found if math.isfinite(value)])
    if math.isnan(end.mean):
        return f"{solved}; no validation was measured.{more}"
    cost = f"<b>{number(end.mean)} ± {number(end.std)}</b> {goal.unit} at the end (median {number(end.median)})"
    return f"{solved}; {cost}.{more}"


def _warning(experiment: Experiment) -> str:
    """Return a line that sends the reader to what is missing, if anything is."""
    counts = {state: sum(run.status == state for run in experiment.runs) for state in ("failed", "unfinished")}
    counts |= Counter(run.state for run in experiment.skipped)
    told = [f"{count} {state}" for state, count in counts.items() if count]
    missing = f'<p class="warning"><a href="#not-finished">{escape(", ".join(told))}</a></p>' if told else ""
    old = escape(", ".join(experiment.without_optimum))
    return missing + (
        f'<p class="note">Regret is left out: these runs were measured without it: {old}.</p>' if old else ""
    )


def _chips(network: Network) -> str:
    buttons = "".join(
        f'<button type="button" data-run="{run.number}" aria-pressed="false" title="{escape(run.name)}">'
        f"{run.seed}</button>"
        for run in network.runs
    )
    return (
        f'<div class="seeds network-{network.color % 6}"><span>{tables.named(network)}</span><div>{buttons}</div></div>'
    )


def _seeds_note(experiment: Experiment) -> str:
    """Say where the panels are that the page has no room for."""
    left = [escape(network.label) for network in experiment.networks[PANELS:]]
    return f"Only in figures/seeds-*.png and .svg: {'; '.join(left)}." if left else ""


def _lengths(experiment: Experiment, figures: Figures) -> str:
    if not figures.page["lengths"]:
        return (
            "<p>Nothing was evaluated yet. <code>ntm evaluate RUN --lengths 10,20,40</code> measures the kept weights "
            "of a run at chosen lengths and keeps the result in its folder; the next report shows it.</p>"
        )
    old = [run.name for run in experiment.runs if run.outdated]
    note = f"Other weights are kept by now, evaluate again: {escape(', '.join(old))}." if old else ""
    if other := experiment.old_evaluations:
        note += f" Left out, as they were evaluated on other episodes, evaluate again: {escape(', '.join(other))}."
    plots = f'<div class="plots">{"".join(figures.page["lengths"])}</div>'
    return f'{plots}{tables.by_length(experiment)}<p class="note">{note}</p>'


def _data(experiment: Experiment) -> dict[str, Any]:
    """Return what the script shows when a curve is pointed at."""
    axis = lengths_of(experiment)
    runs = [
        {
            "name": run.name,
            "seed": run.seed,
            "network": network.label,
            "train": _points(run.train, experiment.measures),
            "validation": _points(run.validation, experiment.measures),
            "evaluation": _evaluated(axis, run, experiment.measures),
        }
        for run in experiment.runs
        for network in experiment.networks
        if run in network.runs
    ]
    return {"runs": runs, "axis": axis.name}


def _evaluated(axis: Lengths, run: Run, measures: Sequence[str]) -> dict[str, list[Any]]:
    measured = {measure: _short(axis.values(run, measure)[1]) for measure in measures}
    return {"step": axis.values(run, measures[0])[0].tolist(), **measured, "written": list(axis.rows(run))}


def _points(series: Series, measures: Sequence[str]) -> dict[str, list[Any]]:
    return {"step": series.step.tolist(), **{measure: _short(getattr(series, measure)) for measure in measures}}


def _short(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]


def _embedded(data: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
