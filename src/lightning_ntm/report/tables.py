"""The tables of a report, as HTML. All texts from files pass `escape`."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from lightning_ntm.checks import counted
from lightning_ntm.intervals import wilson
from lightning_ntm.measures import Measure
from lightning_ntm.records.labels import differences, shorten, shown
from lightning_ntm.report.experiment import Experiment, Network
from lightning_ntm.report.formats import chance_of_error, count, duration, mean_and_std, number, of_seeds
from lightning_ntm.report.lengths import lengths_of
from lightning_ntm.report.run import Run
from lightning_ntm.report.statistics import mann_whitney, reached, spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]], attributes: Iterable[str] = ()) -> str:
    """Return a table that scrolls by itself where the page is narrow; cells are HTML.

    Args:
        head: Column titles; the first column holds names, the others numbers.
        rows: The cells of each row.
        attributes: For each row, what stands in its `tr`.
    """
    marks = iter(attributes)
    cells = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(
        f'<tr {next(marks, "")}><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    inside = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{inside}</div>'


def named(network: Network) -> str:
    """Return a network's name beside its colour."""
    return f'<span class="key network-{network.color % 6}"></span>{escape(network.label)}'


def success(experiment: Experiment) -> str:
    """Return how many seeds were solved, and when."""
    goal = experiment.measures.goal
    head = ["network"]
    if goal is not None:
        head += ["solved of tried", "95 % interval", f"batches to {beyond(goal)}: median", "worst", "seconds: median",
                 "worst"]  # fmt: skip
    head += ["parameters", "time per batch"]
    rows = []
    for network in experiment.networks:
        step = spread([run.step_seconds for run in network.runs if run.step_seconds is not None]).median
        counts = " / ".join(f"{found:,}" for found in parameters(network)) or "&ndash;"
        rows.append([named(network), *(_success(network) if goal else ()), counts, duration(step)])
    return table(head, rows)


def beyond(goal: Measure) -> str:
    """Return what a run that is close to the goal has reached, as a sign and a number."""
    return f"{'&lt;' if goal.better == 'lower' else '&gt;'} {goal.close:g}"


def _success(network: Network) -> list[str]:
    tried = network.tried
    low, high = wilson(network.solved, len(tried))
    batches, seconds = (reached([run.close[place] for run in tried]) for place in (0, 1))
    never = sum(math.isinf(run.close[0]) for run in tried)
    counted = f" ({never} seed{'s' * (never != 1)})" if never else ""
    return [
        f"{network.solved} of {len(tried)}",
        f"{100 * low:.0f} to {100 * high:.0f} %" if tried else "&ndash;",
        count(batches[0]),
        count(batches[1]) + counted,
        count(seconds[0]),
        count(seconds[1]),
    ]


def parameters(network: Network) -> list[int]:
    """Return the different parameter counts that its runs noted; normally there is one."""
    noted = {note.get("parameters") for run in network.runs for note in run.notes}
    return sorted(found for found in noted if isinstance(found, int))


def final_cost(experiment: Experiment) -> str:
    """Return what the last validation measured."""
    measures = experiment.measures.ordered
    head = ["network", *(title for measure in measures for title in _spread_titles(measure))]
    rows = []
    for network in experiment.networks:
        rows.append([named(network)])
        for measure in measures:
            finals = [run.final(measure.name) for run in network.tried]
            rows[-1] += _spread(finals, measure)
    return table(head, rows)


def _spread_titles(measure: Measure) -> list[str]:
    return [f"{escape(measure.label)}: mean ± std", "median", "worst"]


def _spread(values: Sequence[float | None], measure: Measure) -> list[str]:
    """Return mean, median and worst of those that are finite, and how many these are if not all."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    end = spread(found, measure.better)
    some = f" ({told})" if (told := of_seeds(len(found), len(values))) else ""
    return [mean_and_std(end, len(found)) + some, number(end.median), number(end.worst)]


#: Networks of which all pairs are compared; of more, the best one with each other.
_ALL_PAIRS = 4


def comparisons(experiment: Experiment) -> str:
    """Return a test of the difference between networks in the last validation; nothing of a single network."""
    measure, networks = experiment.measures.ordered[0], experiment.networks
    ends = {network.label: _ranked(network, measure) for network in networks}
    tried = [network for network in networks if ends[network.label]]
    pairs = [(a, b) for place, a in enumerate(tried) for b in tried[place + 1 :]]
    if len(tried) > _ALL_PAIRS:
        pairs = [(tried[0], other) for other in tried[1:]]
    if not pairs:
        return ""
    rows, least = [], 1.0
    for first, second in pairs:
        found = mann_whitney(ends[first.label], ends[second.label])
        least = min(least, found.least)
        rows.append([named(first), named(second), f"{100 * found.superiority:.0f} %", chance_of_error(found.p)])
    head = ["network", "against", "share of pairs of runs in which it is better", "p"]
    note = (
        f"Mann-Whitney U test of the last {measure.label} of the runs that ended, exact and two-sided; p is not "
        f"corrected for several comparisons, and with so few runs cannot be below {least:.2g}."
    )
    return f'<h3>Differences between networks</h3>{table(head, rows)}<p class="note">{escape(note)}</p>'


def _ranked(network: Network, measure: Measure) -> list[float]:
    """Return the last validations of the runs that ended, lower for better ones; infinity for NaN."""
    return [measure.rank(value) for run in network.tried if (value := run.final(measure.name)) is not None]


def by_length(experiment: Experiment) -> str:
    """Return what the kept weights reach at each difficulty that was evaluated."""
    lengths, measures = lengths_of(experiment), experiment.evaluated
    first, *others = (measure for measure in measures.ordered if not measure.above)
    above = [measure for measure in measures.each if measure.above]
    head = ["network", escape(lengths.name), "seeds", *_spread_titles(first)]
    head += [_spread_titles(measure)[0] for measure in others]
    head += [f"{escape(measures.without_error)} (95 % confidence)"]
    head += [title for measure in above for title in _spread_titles(measure)]
    rows = []
    for network in experiment.networks:
        for written in lengths.places:
            found = [row for run in network.runs if (row := lengths.rows(run).get(written))]
            if not found:
                continue
            cells = [named(network), escape(written), str(len(found)), *_measured(found, first)]
            cells += [_measured(found, measure)[0] for measure in others]
            cells += [_without_error(found)]
            rows.append(cells + [cell for measure in above for cell in _measured(found, measure)])
    return table(head, rows)


def _measured(rows: list[dict[str, Any]], measure: Measure) -> list[str]:
    return _spread([row.get(measure.name) for row in rows], measure)


def _without_error(rows: list[dict[str, Any]]) -> str:
    """Return the share of sequences without an error, and its confidence interval."""
    tried = sum(row["sequences"] for row in rows)
    right = sum(round(row["perfect"] * row["sequences"]) for row in rows)
    low, high = wilson(right, tried)
    return f"{100 * right / tried:.3g} % ({100 * low:.3g} to {100 * high:.3g} %)"


def each_run(experiment: Experiment) -> str:
    """Return a line for every run."""
    goal, runs = experiment.measures.goal, experiment.runs
    by_run = {run.number: network for network in experiment.networks for run in network.runs}
    columns: dict[str, list[str]] = {
        "run": [escape(run.name) for run in runs],
        "network": [named(by_run[run.number]) for run in runs],
        "seed": [str(run.seed) for run in runs],
        "state": [run.status for run in runs],
    }
    if goal is not None:
        columns["solved"] = ["yes" if run.solved else "no" for run in runs]
        columns[f"batches to {beyond(goal)}"] = [count(run.close[0]) for run in runs]
        columns[f"best {escape(goal.quantity)}"] = [number(run.best) for run in runs]
    for measure in experiment.measures.ordered:
        columns[f"last {escape(measure.quantity)}"] = [number(run.final(measure.name)) for run in runs]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return table(list(columns), rows, [f'data-run="{run.number}"' for run in runs])


def not_finished(experiment: Experiment) -> str:
    """Return the runs that failed, do not have a result yet, or cannot be read."""
    rows = [[escape(run.name), run.status, escape(run.reason)] for run in experiment.runs if run.status != "finished"]
    rows += [[escape(run.name), run.state, escape(run.reason)] for run in experiment.skipped]
    if not rows:
        return "<p>None: all runs finished.</p>"
    return table(["run", "state", "why"], rows)


def configuration(experiment: Experiment) -> tuple[str, str]:
    """Return the options in which the networks differ, and those that they share."""
    configs = [network.runs[0].config for network in experiment.networks]
    differing = differences(configs)
    rows = [[escape(name), *(escape(shown(value)) for value in values)] for name, values in differing.items()]
    same = [[escape(name), escape(shown(value))] for name, value in configs[0].items() if name not in differing]
    head = ["option", *(named(network) for network in experiment.networks)]
    alike = "In nothing but their seeds." if len(experiment.runs) > 1 else "There is one run."
    return table(head, rows) if rows else f"<p>{alike}</p>", table(["option", "value"], same)


def provenance(experiment: Experiment) -> str:
    """Return versions, machines and seeds; where runs differ, how many have which."""
    rows = [[f"seeds of {named(network)}", escape(seeds(network))] for network in experiment.networks]
    told: dict[str, Counter[str]] = {}
    for run in experiment.runs:
        for name, value in _noted(run).items():
            told.setdefault(name, Counter())[value] += 1
    for name, found in told.items():
        alone = len(found) == 1
        rows.append([escape(name), "<br>".join(
            escape(value) + ("" if alone else f" ({counted(count, 'run')})")
            for value, count in found.most_common()
        )])  # fmt: skip
    commands = [[named(network), words] for network in experiment.networks if (words := _commands(network))]
    folded = table(["network", "commands of its first run, in their order"], commands)
    more = f"<details><summary>commands</summary>{folded}</details>" if commands else ""
    return table(["what", "in the last training of each run"], rows) + more


def _commands(network: Network) -> str:
    """Return the commands that began and resumed a network's first run as HTML, each once; nothing without notes."""
    noted = (note.get("command") for note in network.runs[0].notes)
    return "<br>".join(dict.fromkeys(_command(words) for words in noted if isinstance(words, list)))


def _command(words: list[Any]) -> str:
    # An option is not broken after its dashes.
    spans = "".join(f"<span>{escape(shorten(shlex.quote(str(word))))}</span> " for word in words)
    return f'<code class="command">{spans}</code>'


def _noted(run: Run) -> dict[str, str]:
    """Return what the last training of a run was done with."""
    note: dict[str, Any] = run.notes[-1] if run.notes else {}
    versions = note.get("versions")
    told = dict(versions) if isinstance(versions, dict) else {}
    names = ("machine", "device", "backend", "threads", "kernel_threads", "own_commit", "commit", "task_version")
    told |= {_NOTED.get(name, name): note[name] for name in names if note.get(name) is not None}
    return {shorten(str(name)): shorten(str(value)) for name, value in told.items()}


_NOTED = {
    "kernel_threads": "threads of the CPU kernel, at most",
    "own_commit": "commit of the source of lightning-ntm",
    "commit": "commit of the working folder",
    "task_version": "task version",
}


def seeds(network: Network) -> str:
    """Return the seeds of a network, as `1-10, 12`."""
    parts: list[list[int]] = []
    for seed in sorted({run.seed for run in network.runs}):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
