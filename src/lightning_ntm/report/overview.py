"""The report on several tasks: one table of scores, and a figure for each task."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

from lightning_ntm.checks import counted
from lightning_ntm.report.experiment import Experiment
from lightning_ntm.report.heading import UNKNOWN, Made, made_by, refresh_of
from lightning_ntm.report.range_figures import draw_range
from lightning_ntm.report.score_tables import score_notes, score_table
from lightning_ntm.report.scores import TaskScores, chosen_range, scores_of
from lightning_ntm.report.style import styled
from lightning_ntm.report.svg import MARK, inline, png_of, svg_of
from lightning_ntm.report.tables import table


@dataclass(frozen=True)
class Overview:
    """The page, and by file name its figures."""

    page: str
    files: dict[str, bytes]


def draw_overview(experiments: Sequence[Experiment], made: Made = UNKNOWN) -> Overview:
    """Return the report on several tasks.

    Args:
        experiments: One for each task.
        made: How the page is made.

    Raises:
        ValueError: No run was evaluated over a range.
    """
    chosen = chosen_range(experiments)
    if chosen is None:
        tasks = ", ".join(f"{experiment.task} ({experiment.runs[0].name})" for experiment in experiments)
        raise ValueError(
            f"the runs are of different tasks: {tasks}; report them one task at a time with --task, or evaluate them "
            "with ntm evaluate --range for a table of all tasks."
        )
    tasks_scores = scores_of(experiments, chosen)
    plots, drawn = [], dict[str, bytes]()
    with styled():
        for task in tasks_scores:
            if task.scores:
                plots.append(_plot(task, drawn))
    return Overview(_render(tasks_scores, chosen, plots, made), drawn)


def _plot(task: TaskScores, drawn: dict[str, bytes]) -> str:
    """Draw a task, and return the element of the page."""
    name = task.experiment.task
    figure = draw_range(task.scores, task.measure, title=name)
    stem = f"range-{name.lower()}"
    drawn |= {f"{stem}.svg": svg_of(figure), f"{stem}.png": png_of(figure)}
    what = f"{name}: {task.measure.axis} by length, for each network the median and the range of its seeds"
    return f'<figure class="still">{inline(figure, drawn[f"{stem}.svg"], f"{stem}-", what)}</figure>'


def _render(tasks: Sequence[TaskScores], chosen: str, plots: Sequence[str], made: Made) -> str:
    web = files("lightning_ntm.report") / "web"
    template, style = ((web / name).read_text(encoding="utf-8") for name in ("overview.html", "page.css"))
    labels = dict.fromkeys(score.label for task in tasks for score in task.scores)
    runs = [run for task in tasks for run in task.experiment.runs]
    return Template(template).substitute(
        mark=MARK,
        version=escape(version("lightning-ntm")),
        style=style,
        refresh=refresh_of(made),
        made_by=made_by(made),
        title=f"{counted(len(labels), 'network')} on {counted(len(tasks), 'task')}",
        runs=f"{len(runs):,} run{'s' * (len(runs) != 1)}",
        warning=without_score(tasks),
        scores=scores_section(tasks, chosen),
        plots="".join(plots),
        not_finished=_not_finished(tasks),
    )


def scores_section(tasks: Sequence[TaskScores], chosen: str) -> str:
    """Return the table of scores with what its numbers are."""
    notes = "".join(f'<p class="note">{note}</p>' for note in score_notes(tasks, chosen))
    return score_table(tasks) + notes


def without_score(tasks: Sequence[TaskScores]) -> str:
    """Return how many runs of which networks have no score, if there are any."""
    scored = {id(run) for task in tasks for score in task.scores for run, _ in score.seeds}
    experiments = [task.experiment for task in tasks]
    missing = Counter(
        network.label if len(tasks) == 1 else f"{network.label} on {experiment.task}"
        for experiment in experiments
        for network in experiment.networks
        for run in network.runs
        if id(run) not in scored
    )
    if not missing:
        return ""
    runs, listed = missing.total(), ", ".join(f"{escape(name)} ({count})" for name, count in missing.items())
    return f'<p class="warning">{runs} run{"s" * (runs != 1)} without this evaluation: {listed}</p>'


def _not_finished(tasks: Sequence[TaskScores]) -> str:
    runs = [run for task in tasks for run in task.experiment.runs if run.status != "finished"]
    rows = [[escape(run.name), run.status, escape(run.reason)] for run in runs]
    left_out = [[escape(run.name), run.state, escape(run.reason)] for task in tasks for run in task.experiment.skipped]
    rows += [row for number, row in enumerate(left_out) if row not in left_out[:number]]  # unreadable ones are in each
    return table(["run", "state", "why"], rows) if rows else "<p>None: all runs finished.</p>"
