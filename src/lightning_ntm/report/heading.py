"""The words at the top and the bottom of a page: what was compared, what came of it, when and how."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from lightning_ntm.checks import counted
from lightning_ntm.measures import Measure
from lightning_ntm.records import RunFolder
from lightning_ntm.report import tables
from lightning_ntm.report.experiment import Experiment, Network
from lightning_ntm.report.formats import count, duration, mean_and_std, number, of_seeds
from lightning_ntm.report.run import Run
from lightning_ntm.report.statistics import reached, spread

#: Letters of a network's name and of its options in a title.
_WIDEST, _WIDEST_OPTIONS = 60, 40
_FEW = 3  # runs that are named at the top of a page


class Made(NamedTuple):
    """How a page is made: from which folders, for which task, after how many seconds a browser reads it, and where."""

    folders: Sequence[Path | str] = ()
    task: str | None = None
    refresh: int = 0
    output: Path | str | None = None


UNKNOWN = Made()


def title(experiment: Experiment) -> str:
    """Return one sentence on the results of the networks, and which of them have none yet."""
    ended = [network for network in experiment.networks if network.tried]
    waiting = [network for network in experiment.networks if not network.tried]
    if not ended:
        return f"{_listed(waiting)} on {experiment.task}: no run has ended yet"
    return _results(experiment, ended) + (f"; no run of {_listed(waiting)} has ended yet" if waiting else "")


def _results(experiment: Experiment, networks: Sequence[Network]) -> str:
    task, best = experiment.task, networks[0]
    if all(run.final(experiment.measures.ordered[0].name) is None for one in networks for run in one.tried):
        return f"{_listed(networks)} on {task}: no validation was measured"
    if experiment.measures.goal is None:
        return _without_goal(networks, experiment.measures.ordered[0], task)
    if not any(network.solved for network in networks):
        return f"{_listed(networks)} on {task}: {'no seed' if len(networks) > 1 else _share(best)} solved"
    told = f"{_name(best)} solves {task} with {_share(best)}"
    if len(networks) == 2:
        return f"{told}, {_name(networks[1])} with {_share(networks[1])}"
    others = [network for network in networks[1:] if network.solved == len(network.tried) == network.solved > 0]
    if best.solved == len(best.tried) and others:
        return f"{len(others) + 1} of {len(networks)} networks solve {task} with all seeds"
    if len(networks) > 1:
        solves = "solves" if best.solved == 1 else "solve"
        return f"{_name(best)} does best of {len(networks)} networks on {task}: {_share(best)} {solves} it"
    return told


def _without_goal(networks: Sequence[Network], measure: Measure, task: str) -> str:
    if len(networks) > 1:
        side = "lowest" if measure.better == "lower" else "highest"
        return f"{_name(networks[0])} has the {side} {measure.label} of {len(networks)} networks on {task}"
    found = [value for run in networks[0].tried if (value := run.final(measure.name)) is not None]
    middle = spread(found).median
    ended = "" if math.isnan(middle) else f" with a median of {number(middle)} {measure.quantity}"
    return f"{_name(networks[0])} ends{ended} on {task}"


def _share(network: Network) -> str:
    return f"{network.solved} of {len(network.tried)} seed{'s' * (len(network.tried) != 1)}"


def _name(network: Network) -> str:
    """Return a network's name, with the options that tell it from others in brackets: a title has other commas."""
    name, _, options = network.label.partition(", ")
    named = shorten(name, _WIDEST, placeholder=" …")
    return f"{named} ({shorten(options, _WIDEST_OPTIONS, placeholder=' …')})" if options else named


def _listed(networks: Sequence[Network]) -> str:
    labels = [_name(network) for network in networks]
    if len(labels) > 3:
        return f"{len(labels)} networks"
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def over(experiment: Experiment) -> str:
    """Return how many runs there are, or which, of which sweep, and when they were trained."""
    runs, skipped = experiment.runs, Counter(run.state for run in experiment.skipped)
    names = f" ({', '.join(shorten(run.name, _WIDEST, placeholder=' …') for run in runs)})" if len(runs) <= _FEW else ""
    left = "".join(f", {skipped[state]} more {state}" for state in ("not readable", "repeated") if skipped[state])
    return f"{counted(len(runs), 'run')}{names}{_of_sweeps(runs)}{left}{_when(experiment)}"


def _of_sweeps(runs: Sequence[Run]) -> str:
    """Return which sweeps runs are of, and how many are if others stand alone."""
    of = [folder for run in runs if _is_sweep(folder := RunFolder(run.folder).place.parent)]
    names = dict.fromkeys(folder.name for folder in of)
    some = "" if len(of) == len(runs) else f", {len(of)} of them"
    return f"{some} of the sweep{'s' * (len(names) > 1)} {', '.join(names)}" if names else ""


def _is_sweep(folder: Path) -> bool:
    return folder.joinpath("plan.yaml").is_file()


def _when(experiment: Experiment) -> str:
    days = [day for run in experiment.runs for note in run.notes if (day := _day(note.get("started")))]
    if not days:
        return ""
    first, last = _written(min(days)), _written(max(days))
    return f", trained on {first}" if first == last else f", trained from {first} to {last}"


def _day(text: object) -> date | None:
    try:
        return datetime.fromisoformat(str(text)).date()
    except ValueError:
        return None


def _written(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def refresh_of(made: Made) -> str:
    """Return what lets a browser read the page again; nothing if it does not change."""
    return f'<meta http-equiv="refresh" content="{made.refresh}">' if made.refresh else ""


def made_by(made: Made) -> str:
    """Return the command that makes the page, and the day."""
    if not made.folders:
        return ""
    options = {"--task": made.task, "--output": made.output}
    words = ["ntm", "report", *map(str, made.folders)]
    words += [str(word) for option in options.items() if option[1] is not None for word in option]
    return f"{_written(datetime.now(UTC).date())}: <code>{escape(shlex.join(words))}</code>"


def statement(network: Network, measure: Measure) -> str:
    """Return the result of a network, in a sentence with numbers."""
    tried, waiting = len(network.tried), len(network.runs) - len(network.tried)
    name = f"<strong>{tables.named(network)}</strong>"
    more = f" {waiting} not finished yet." if waiting else ""
    if not tried:
        return f"{name}: no run has ended yet.{more}"
    if measure.solved is None:
        return f"{name}: {tried} seed{'s' * (tried != 1)}; {_cost(network, measure)}.{more}"
    solved = f"{name}: <b>{network.solved} of {tried}</b> seed{'s' * (tried != 1)} solved"
    batches, seconds = (reached([run.close[place] for run in network.tried])[0] for place in (0, 1))
    if math.isfinite(batches):
        after = f"median <b>{count(batches)}</b> batches ({duration(seconds)}) to {escape(measure.close_means)}"
        return f"{solved}, {after}.{more}"
    return f"{solved}; {_cost(network, measure)}.{more}"


def _cost(network: Network, measure: Measure) -> str:
    found = [value for run in network.tried if (value := run.final(measure.name)) is not None]
    finite = [value for value in found if math.isfinite(value)]
    end = spread(finite)
    if math.isnan(end.mean):
        return "the last validation of no seed is finite" if found else "no validation was measured"
    cost = f"<b>{mean_and_std(end, len(finite))}</b> {escape(measure.quantity)}"
    some = f", of the {told} with a finite value" if (told := of_seeds(len(finite), len(network.tried))) else ""
    return f"{cost} at the end (median {number(end.median)}){some}"
