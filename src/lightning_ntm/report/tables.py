"""The tables of a report, as HTML. All texts from files pass `escape`."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from lightning_ntm.intervals import in_words, none_of, wilson
from lightning_ntm.measures import Measure
from lightning_ntm.records.labels import differences, shorten, shown
from lightning_ntm.report.experiment import Experiment, Network
from lightning_ntm.report.lengths import lengths_of
from lightning_ntm.report.run import Run
from lightning_ntm.report.statistics import Spread, reached, spread


def number(value: float | None) -> str:
    """Return a number with about three digits and a comma for thousands, a dash for NaN, `never` for infinity."""
    if value is None or math.isnan(value):
        return "&ndash;"
    if math.isinf(value):
        return "never"
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.1g}"


def duration(seconds: float | None) -> str:
    """Return a time in hours, minutes, seconds or milliseconds."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds)
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1000:.3g} ms" if seconds < 0.1 else f"{seconds:.2g} s"


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
        counts = " / ".join(f"{count:,}" for count in parameters(network)) or "&ndash;"
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
        number(batches[0]),
        number(batches[1]) + counted,
        number(seconds[0]),
        number(seconds[1]),
    ]


def parameters(network: Network) -> list[int]:
    """Return the numbers of parameters noted by its runs; one, if all is well."""
    noted = {note.get("parameters") for run in network.runs for note in run.notes}
    return sorted(count for count in noted if isinstance(count, int))


def final_cost(experiment: Experiment) -> str:
    """Return what the last validation measured."""
    measures = experiment.measures.ordered
    head = ["network", *(title for measure in measures for title in _spread_titles(measure))]
    rows = []
    for network in experiment.networks:
        rows.append([named(network)])
        for measure in measures:
            finals = [run.final(measure.name) for run in network.tried]
            rows[-1] += _spread([value for value in finals if value is not None and math.isfinite(value)], measure)
    return table(head, rows)


def _spread_titles(measure: Measure) -> list[str]:
    return [f"{escape(measure.label)}: mean ± std", "median", "worst"]


def _spread(values: Iterable[float | None], measure: Measure) -> list[str]:
    found = [value for value in values if value is not None]
    end = spread(found, measure.better)
    return [_mean(end, len(found)), number(end.median), number(end.worst)]


def _mean(of: Spread, count: int) -> str:
    if count < 2:
        return number(of.mean) if count else "&ndash;"
    return f"{number(of.mean)} ± {number(of.std)}"


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
    if right == tried:
        return f"100 % (none of {tried:,} is wrong: {in_words(none_of(tried))} are)"
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
        columns[f"batches to {beyond(goal)}"] = [number(run.close[0]) for run in runs]
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
        return f"<p>None: all {len(experiment.runs)} runs finished.</p>"
    return table(["run", "state", "why"], rows)


def configuration(experiment: Experiment) -> tuple[str, str]:
    """Return the options in which the networks differ, and those that they share."""
    configs = [network.runs[0].config for network in experiment.networks]
    differing = differences(configs)
    rows = [[escape(name), *(escape(shown(value)) for value in values)] for name, values in differing.items()]
    same = [[escape(name), escape(shown(value))] for name, value in configs[0].items() if name not in differing]
    head = ["option", *(named(network) for network in experiment.networks)]
    return table(head, rows) if rows else "<p>In nothing but their seeds.</p>", table(["option", "value"], same)


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
            escape(value) + ("" if alone else f" ({count} runs)") for value, count in found.most_common()
        )])  # fmt: skip
    return table(["what", "in the last training of each run"], rows)


def _noted(run: Run) -> dict[str, str]:
    """Return what the last training of a run was done with."""
    note: dict[str, Any] = run.notes[-1] if run.notes else {}
    versions = note.get("versions")
    told = dict(versions) if isinstance(versions, dict) else {}
    names = ("machine", "device", "backend", "threads", "own_commit", "commit", "task_version")
    told |= {name.replace("_", " "): note[name] for name in names if note.get(name) is not None}
    return {shorten(str(name)): shorten(str(value)) for name, value in told.items()}


def seeds(network: Network) -> str:
    """Return the seeds of a network, as `1-10, 12`."""
    parts: list[list[int]] = []
    for seed in sorted({run.seed for run in network.runs}):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
