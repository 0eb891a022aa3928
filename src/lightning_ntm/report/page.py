"""The report of an experiment: one page that needs nothing but itself, and its figures as files."""

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

from lightning_ntm.measures import Measure, Measures
from lightning_ntm.records import Series, make_folder, without_empty, write_whole
from lightning_ntm.records.files import open_regular
from lightning_ntm.records.parsing import as_embedded
from lightning_ntm.report import heading, tables
from lightning_ntm.report.experiment import Experiment, Network, read_experiments
from lightning_ntm.report.figures import PANELS, Figures, capitalized, draw
from lightning_ntm.report.heading import UNKNOWN, Made
from lightning_ntm.report.lengths import Lengths, lengths_of
from lightning_ntm.report.overview import draw_overview, scores_section, without_score
from lightning_ntm.report.pictures import memory_pictures
from lightning_ntm.report.run import Run
from lightning_ntm.report.scores import chosen_range, scores_of
from lightning_ntm.report.svg import MARK


def write_report(
    folders: Sequence[Path | str], output: Path | str | None = None, task: str | None = None, refresh: int = 0
) -> list[Path]:
    """Write a report on the runs in some folders: on one task in detail, on several their scores over a range.

    Args:
        folders: Any that hold run folders, at any depth.
        output: The folder to write `report.html` and `figures` into, or the page itself, as
            `somewhere/ten-seeds.html`, with the folder `somewhere/ten-seeds-figures`. By default the folder that is
            reported on, with a task its folder `report-TASK`; for several folders, `report` or `report-TASK` in the
            working folder.
        task: The task to report on, where there are several.
        refresh: Seconds after which a browser reads the page again; 0 for never.

    Returns:
        What was written, the page first. Reports that stood there before are replaced.

    Raises:
        ValueError: The folders cannot be reported together (see `read_experiments`), or a file
            stands in the way that no report made.
    """
    experiments = _of_task(read_experiments(*folders), task)
    place = _default_place(folders, experiments[0].task if task else None) if output is None else Path(output)
    page = place if place.suffix.lower() in (".html", ".htm") and not place.is_dir() else place / "report.html"
    for file in (parent for parent in page.parents if parent.is_file()):
        raise ValueError(f"{file} is a file; --output takes a folder, or a page whose name ends in .html.")
    _check_ours(page)
    text, figures = _drawn(experiments, Made(folders, task, refresh, output))
    written: dict[Path, bytes] = {page: text.encode()}
    beside = page.parent / ("figures" if page.name == "report.html" else f"{page.stem}-figures")
    written |= {beside / name: data for name, data in figures.items()}
    for path in written:
        _check_ours(path)
    with without_empty(beside):
        make_folder(beside)
        for path, data in written.items():
            write_whole(path, data)
    return list(written)


def _default_place(folders: Sequence[Path | str], task: str | None) -> Path:
    """Return a place where no report on other runs is expected: that of one folder is in the folder."""
    if len({Path(folder).resolve() for folder in folders}) == 1:
        return Path(folders[0], f"report-{task}" if task else "")
    return Path(f"report-{task}" if task else "report")


def _of_task(experiments: list[Experiment], task: str | None) -> list[Experiment]:
    found = [one for one in experiments if task is None or one.task.casefold() == task.casefold()]
    if not found:
        known = ", ".join(sorted(one.task for one in experiments))
        raise ValueError(f"task (={task!r}) has no runs; there are runs of {known}.")
    return found


def _drawn(experiments: list[Experiment], made: Made) -> tuple[str, dict[str, bytes]]:
    """Return the page and its figures."""
    if len(experiments) > 1:
        overview = draw_overview(experiments, made)
        return overview.page, overview.files
    figures = draw(experiments[0])
    return render(experiments[0], figures, made), figures.files


def _check_ours(path: Path) -> None:
    if not path.exists():
        return
    with suppress(ValueError), open_regular(path, sys.maxsize) as file:
        if MARK.encode() in file.read(4096):
            return
    raise ValueError(f"{path} exists and was not made by ntm report; choose another --output.")


def render(experiment: Experiment, figures: Figures, made: Made = UNKNOWN) -> str:
    """Return the page."""
    web = files("lightning_ntm.report") / "web"
    template, style, script = (
        (web / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    differing, shared = tables.configuration(experiment)
    measures = experiment.measures.ordered
    return Template(template).substitute(
        mark=MARK,
        version=escape(version("lightning-ntm")),
        style=style + "\n" + "\n".join(map(_hidden, measures)),
        script=script,
        data=as_embedded(_data(experiment)),
        refresh=heading.refresh_of(made),
        made_by=heading.made_by(made),
        title=escape(heading.title(experiment)),
        statements="".join(f"<li>{heading.statement(network, measures[0])}</li>" for network in experiment.networks),
        measures="".join(_choice(measure, chosen=measure is measures[0]) for measure in measures),
        terms=_terms(experiment),
        worst=_worst(measures),
        warning=_warning(experiment),
        runs=escape(heading.over(experiment)),
        chips="".join(_chips(network) for network in experiment.networks),
        success=tables.success(experiment),
        final=tables.final_cost(experiment),
        comparisons=tables.comparisons(experiment),
        memory=memory_pictures(experiment),
        lengths=_lengths(experiment, figures),
        seeds_note=_seeds_note(experiment),
        each_run=tables.each_run(experiment),
        open="open" if len(experiment.runs) <= 40 else "",
        not_finished=tables.not_finished(experiment),
        differing=differing,
        shared=shared,
        provenance=tables.provenance(experiment),
        **{f"{name}_plots": "".join(figures.page[name]) for name in ("validation", "training", "seeds")},
    )


def _choice(measure: Measure, *, chosen: bool) -> str:
    """Return the radio button of a measure, by which figures are shown."""
    name, checked = _id(measure), " checked" if chosen else ""
    return (
        f'<input type="radio" name="measure" id="{name}"{checked}><label for="{name}">{escape(measure.title)}</label>\n'
    )


def _hidden(measure: Measure) -> str:
    """Return the style by which the radio button of a measure hides the figures of others."""
    name = measure.name
    return f"body:has(#{_id(measure)}:checked) [data-measure]:not([data-measure={name}]) {{ display: none; }}"


def _id(measure: Measure) -> str:
    return f"measure-{measure.name.replace('_', '-')}"


def _terms(experiment: Experiment) -> str:
    """Return what the words of the tables mean."""
    goal = experiment.measures.goal
    terms = {"solved": goal.solved_means} if goal else {}
    terms["tried"] = "Runs that finished or failed. Unfinished runs are not counted in these tables."
    if goal:
        terms["95 % interval"] = "The shares of solved seeds that this outcome does not rule out (Wilson)."
        terms["batches, seconds"] = (
            "Training steps, and time spent in them without validation, up to the first validation with "
            f"{goal.close_means}; a run without one counts as never. Several runs in one loop share its time."
        )
    terms |= {measure.label: measure.description for measure in experiment.evaluated.ordered}
    if experiment.evaluated.with_optimum:
        terms["optimum"] = "What the best possible network reaches: nobody can know all answers of this task."
    return "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(means)}</dd></div>\n" for term, means in terms.items())


def _worst(measures: Sequence[Measure]) -> str:
    """Return which of several values is the worst."""
    shares = " and ".join(measure.label for measure in measures if measure.better == "higher")
    return "the largest" + (f", of {escape(shares)} the smallest" if shares else "")


def _warning(experiment: Experiment) -> str:
    """Return a line that sends the reader to what is missing, if anything is."""
    counts = {state: sum(run.status == state for run in experiment.runs) for state in ("failed", "unfinished")}
    counts |= Counter(run.state for run in experiment.skipped)
    told = [f"{count} {state}" for state, count in counts.items() if count]
    missing = f'<p class="warning"><a href="#not-finished">{escape(", ".join(told))}</a></p>' if told else ""
    if not experiment.left_out:
        return missing
    left_out = f"{capitalized(experiment.left_out)} is left out: these runs were measured without it: "
    return f'{missing}<p class="note">{escape(left_out + ", ".join(experiment.without_it))}.</p>'


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
    return f"Only in the files seeds-*.png and .svg: {'; '.join(left)}." if left else ""


def _lengths(experiment: Experiment, figures: Figures) -> str:
    ranges = _ranges(experiment, figures)
    if not figures.page["lengths"]:
        return ranges or (
            "<p>Nothing was evaluated yet. <code>ntm evaluate RUN --lengths 10,20,40</code> measures the kept weights "
            "of a run at chosen lengths and keeps the result in its folder; the next report shows it.</p>"
        )
    old = [run.name for run in experiment.runs if run.outdated]
    note = f"Other weights are kept by now, evaluate again: {escape(', '.join(old))}." if old else ""
    if other := experiment.old_evaluations:
        note += f" Left out, as they were evaluated on other episodes, evaluate again: {escape(', '.join(other))}."
    plots = f'<div class="plots">{"".join(figures.page["lengths"])}</div>'
    return f'{plots}{tables.by_length(experiment)}<p class="note">{note}</p>{ranges}'


def _ranges(experiment: Experiment, figures: Figures) -> str:
    """Return what was measured over a range of lengths; nothing if nothing was."""
    chosen = chosen_range([experiment])
    if chosen is None:
        return ""
    scores, plots = scores_of([experiment], chosen), "".join(figures.page.get("ranges", ()))
    table = without_score(scores) + scores_section(scores, chosen)
    return f"<h3>Every length of {escape(chosen)}</h3>{plots}{table}"


def _data(experiment: Experiment) -> dict[str, Any]:
    """Return what the script shows when a curve is pointed at."""
    axis, measures = lengths_of(experiment), experiment.measures
    runs = [
        {
            "name": run.name,
            "seed": run.seed,
            "network": network.label,
            "train": _points(run.train, measures),
            "validation": _points(run.validation, measures),
            "evaluation": _evaluated(axis, run, measures),
        }
        for run in experiment.runs
        for network in experiment.networks
        if run in network.runs
    ]
    return {"runs": runs, "axis": axis.name, "words": {measure.name: measure.quantity for measure in measures.each}}


def _evaluated(axis: Lengths, run: Run, measures: Measures) -> dict[str, list[Any]]:
    found = {name: axis.values(run, name) for name in measures.names}
    values = {name: _short(value) for name, (_, value) in found.items()}
    return {"step": found[measures.names[0]][0].tolist(), **values, "written": list(axis.rows(run))}


def _points(series: Series, measures: Measures) -> dict[str, list[Any]]:
    return {"step": series.step.tolist(), **{name: _short(series.values[name]) for name in measures.names}}


def _short(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]
