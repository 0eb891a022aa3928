"""The table of scores, tasks by networks, as HTML, beside the published scores."""

from collections.abc import Sequence
from html import escape

from lightning_ntm.intervals import wilson
from lightning_ntm.measures import Measure
from lightning_ntm.report.formats import of_seeds
from lightning_ntm.report.published import NETWORKS, RANGE, SCORES, TRAINING_LENGTH
from lightning_ntm.report.scores import SOLVED, Score, TaskScores
from lightning_ntm.report.statistics import spread
from lightning_ntm.report.tables import number, table


def score_table(tasks: Sequence[TaskScores]) -> str:
    """Return one table with a row for each task and a column for each network.

    Published scores stand in the cells of networks of the same class, and in columns of their own for those of which
    there is no run.
    """
    labels = {score.label: score.color for task in tasks for score in task.scores}
    columns = sorted(labels, key=lambda label: labels[label])
    present = {score.network for task in tasks for score in task.scores}
    known = any(SCORES.get(task.experiment.task) for task in tasks)
    published = [name for name in NETWORKS if name not in present] if known else []
    head = ["task", *(f'<span class="key network-{labels[label] % 6}"></span>{escape(label)}' for label in columns)]
    head += [f"{NETWORKS[name]}<br><em>published</em>" for name in published]
    rows = []
    for task in tasks:
        name, by_label = task.experiment.task, {score.label: score for score in task.scores}
        own = [_cell(task, by_label[label]) if label in by_label else "&ndash;" for label in columns]
        rows.append([escape(name), *own, *(f"<em>{_published(name, one)}</em>" for one in published)])
    return f'<div class="scores">{table(head, rows)}</div>'


def _cell(task: TaskScores, score: Score) -> str:
    measure = task.measure
    values = score.values(measure)
    end = spread(values, measure.better)
    best = max(values, default=end.mean) if measure.better == "higher" else min(values, default=end.mean)
    others = {"median": end.median, "mean": end.mean, "worst": end.worst}
    tried = len(score.seeds)
    lines = [f"{name} {_shown(value, measure)}" for name, value in others.items()] if tried > 1 else ["one seed"]
    if told := of_seeds(len(values), tried):
        lines.append(f"of the {told} with a finite score")
    if tried > 1 and (bound := _bound(task)):
        reached = task.reached(score)
        low, high = wilson(reached, tried)
        lines += [f"{reached} of {tried} {bound}", f"({100 * low:.0f} to {100 * high:.0f} %)"]
    if score.network in SCORES.get(task.experiment.task, {}):
        lines.append(f"<em>published {_published(task.experiment.task, score.network)}</em>")
    return f'<span class="best">{_shown(best, measure)}</span><small>{"<br>".join(lines)}</small>'


def _shown(value: float, measure: Measure) -> str:
    """Return a share in percent, and other values as they are."""
    return number(value) if measure.better == "lower" or value != value else f"{100 * value:z.1f}"


def _bound(task: TaskScores) -> str:
    """Return the score that is counted, with a sign, as HTML; nothing if there is none."""
    if task.bound is None:
        return ""
    if task.measure.better == "higher":
        return f"&ge; {100 * task.bound:g} %"
    return f"&le; {task.bound:g} {escape(task.measure.quantity)}"


def _published(task: str, network: str) -> str:
    value = SCORES.get(task, {}).get(network)
    return "&ndash;" if value is None else f"{value:z.1f}"


def score_notes(tasks: Sequence[TaskScores], chosen: str) -> list[str]:
    """Return what the numbers of the table are, as HTML."""
    numbers = sorted({one["sequences"] for task in tasks for score in task.scores for _, one in score.seeds})
    sequences = f"{' or '.join(map(str, numbers))} sequence{'s' * (numbers != [1])}"
    several = any(len(score.seeds) > 1 for task in tasks for score in task.scores)
    below = f" Below: median, mean and worst seed{_counts(tasks) or '.'}" if several else ""
    measures = sorted({task.measure.label for task in tasks})
    shares = " Shares are in percent." if any(task.measure.better == "higher" for task in tasks) else ""
    published = any(SCORES.get(task.experiment.task) for task in tasks)
    best = ", which is what Delétang et al. report" if published else ""
    notes = [
        f"Score: {escape(' or '.join(measures))} of the kept weights, mean over the lengths of {escape(chosen)} beyond "
        f"training ({sequences} of each).{shares} Large: the best seed{best}.{below}"
    ]
    if published:
        notes.append(
            "Published: Delétang et al. 2023 (arXiv 2207.02098), table 2: the maximum over 10 seeds, 3 learning rates "
            f"and further settings, trained on lengths 1 to {TRAINING_LENGTH}, over the lengths {RANGE}. The Tape-RNN "
            "is given the length of the string. A dash there: the score could not be checked."
        )
    return notes + _differences(tasks, chosen)


def _counts(tasks: Sequence[TaskScores]) -> str:
    """Return what the counts of seeds in the table are, as HTML; nothing if there are none."""
    bounds = dict.fromkeys(bound for task in tasks if (bound := _bound(task)))
    if not bounds:
        return ""
    solved = (
        f" Delétang et al. (2023) call a task solved from {100 * SOLVED:.0f} % on." if "%" in "".join(bounds) else ""
    )
    return f", and how many seeds have a score {' or '.join(bounds)}, with the 95 % interval of Wilson.{solved}"


def _differences(tasks: Sequence[TaskScores], chosen: str) -> list[str]:
    """Return in what the scores differ from the published ones, or are not of the weights that are kept."""
    known = [task for task in tasks if SCORES.get(task.experiment.task)]
    lengths = {one["training_length"] for task in known for score in task.scores for _, one in score.seeds}
    notes = []
    if known and chosen != RANGE:
        notes.append(f"These scores are over {escape(chosen)}, the published ones over every length of {RANGE}.")
    if lengths - {TRAINING_LENGTH, TRAINING_LENGTH - 1}:  # where all lengths are odd, one less
        notes.append(f"Not all networks were trained on lengths up to {TRAINING_LENGTH}, as the published ones were.")
    old = {run.name for task in tasks for score in task.scores for run, _ in score.seeds if run.outdated}
    if old:
        notes.append(f"Other weights are kept by now, evaluate again: {escape(', '.join(sorted(old)))}.")
    return notes
