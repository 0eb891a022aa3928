"""The report of an experiment: one page that needs nothing but itself, and its figures as files."""

import json
import math
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from lightning_ntm.records import write_whole
from lightning_ntm.records.reading import MEASURES
from lightning_ntm.report import tables
from lightning_ntm.report.experiment import Experiment, Network, Run, read_experiment
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
    if page.parent.is_file():
        raise ValueError(f"{page.parent} is a file; --output takes a folder, or a page whose name ends in .html.")
    _check_ours(page)
    figures = draw(experiment)
    written: dict[Path, bytes] = {page: render(experiment, figures).encode()}
    written |= {page.parent / "figures" / name: data for name, data in figures.files.items()}
    for path in written:
        _check_ours(path)
    (page.parent / "figures").mkdir(parents=True, exist_ok=True)
    for path, data in written.items():
        write_whole(path, data)
    return list(written)


def _check_ours(path: Path) -> None:
    if path.exists() and not (path.is_file() and MARK.encode() in path.read_bytes()[:4096]):
        raise ValueError(f"{path} exists and was not made by ntm report; choose another --output.")


def render(experiment: Experiment, figures: Figures) -> str:
    """Return the page."""
    web = files("lightning_ntm.report") / "web"
    template, style, script = ((web / name).read_text() for name in ("page.html", "page.css", "page.js"))
    differing, shared = tables.configuration(experiment)
    labels = [network.label for network in experiment.networks]
    runs, left = len(experiment.runs), len(experiment.skipped)
    return Template(template).substitute(
        mark=MARK,
        version=escape(version("lightning-ntm")),
        style=style,
        script=script,
        data=_embedded(_data(experiment)),
        title=escape(f"{_listed(labels)} on {experiment.task}"),
        statements="".join(f"<li>{_statement(network)}</li>" for network in experiment.networks),
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


def _statement(network: Network) -> str:
    """Return what became of a network, in a sentence with numbers."""
    tried, waiting = len(network.tried), len(network.runs) - len(network.tried)
    name = f"<strong>{tables.named(network)}</strong>"
    more = f" {waiting} not finished yet." if waiting else ""
    if not tried:
        return f"{name}: no run has ended yet.{more}"
    solved = f"{name}: <b>{network.solved} of {tried}</b> seed{'s' * (tried != 1)} solved"
    batches, seconds = (reached([run.near_zero[place] for run in network.tried])[0] for place in (0, 1))
    if math.isfinite(batches):
        after = f"median <b>{number(batches)}</b> batches ({duration(seconds)}) to under 0.1 wrong bits"
        return f"{solved}, {after}.{more}"
    found = [value for run in network.tried if (value := run.final("wrong_bits")) is not None]
    end = spread([value for value in found if math.isfinite(value)])
    if math.isnan(end.mean):
        return f"{solved}; no validation was measured.{more}"
    cost = f"<b>{number(end.mean)} ± {number(end.std)}</b> wrong bits at the end (median {number(end.median)})"
    return f"{solved}; {cost}.{more}"


def _warning(experiment: Experiment) -> str:
    """Return a line that sends the reader to what is missing, if anything is."""
    counts = {state: sum(run.status == state for run in experiment.runs) for state in ("failed", "unfinished")}
    counts["not readable"] = len(experiment.skipped)
    told = [f"{count} {state}" for state, count in counts.items() if count]
    return f'<p class="warning"><a href="#not-finished">{escape(", ".join(told))}</a></p>' if told else ""


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
            "train": _points(run.train.step, *(getattr(run.train, measure) for measure in MEASURES)),
            "validation": _points(run.validation.step, *(getattr(run.validation, measure) for measure in MEASURES)),
            "evaluation": _evaluated(axis, run),
        }
        for run in experiment.runs
        for network in experiment.networks
        if run in network.runs
    ]
    return {"runs": runs, "axis": axis.name}


def _evaluated(axis: Lengths, run: Run) -> dict[str, list[Any]]:
    (step, wrong), (_, bits) = (axis.values(run, measure) for measure in MEASURES)
    return {**_points(step, wrong, bits), "written": list(axis.rows(run))}


def _points(step: np.ndarray, wrong: np.ndarray, bits: np.ndarray) -> dict[str, list[Any]]:
    measured = {"wrong_bits": wrong, "bits_per_sequence": bits}
    return {
        "step": step.tolist(),
        **{name: [_short(value) for value in values.tolist()] for name, values in measured.items()},
    }


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _embedded(data: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
