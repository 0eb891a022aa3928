"""The page on which a trained network runs: one file that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from os import PathLike
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from torch import Tensor

from lightning_ntm.checks import check_whole, kind_of
from lightning_ntm.evaluation.over_training import over_training
from lightning_ntm.exchange.pretrained import OpenedNetwork, open_network
from lightning_ntm.explorer.episodes import Sample, asked, layout, samples
from lightning_ntm.explorer.network import description, facts, packed, packed_training, why_not
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.dnc import DNC
from lightning_ntm.models.ntm import NTM
from lightning_ntm.models.sparse import SAM, SDNC
from lightning_ntm.records import write_with_folder
from lightning_ntm.records.parsing import as_embedded
from lightning_ntm.report.quantities import ASIDE, QUANTITIES
from lightning_ntm.tasks.base import Task
from lightning_ntm.version import __version__
from lightning_ntm.zoo import located

#: Arrays whose last axis is not that of the slots, though it may be as long.
_VECTORS = [name for name, of in QUANTITIES.items() if of.kind not in ("weighting", "slots")]
#: Numbers of recorded steps on a page, at most: 4 bytes each.
_RECORDED = 2**20
_SCRIPTS = ("dnc.js", "cells.js", "sparse.js", "network.js", "episodes.js", "drawing.js", "page.js")
#: Heads or layers of a recorded array, at most; matrices as the links of a DNC have more rows.
_ROWS = 16
#: What the page shows of an episode that it computes itself, and of one that was recorded at least.
_EPISODE = ("inputs", "targets", "mask")
_ALWAYS = (*_EPISODE, "outputs")
_HELP = "<kbd>←</kbd> <kbd>→</kbd> step, <kbd>Home</kbd> <kbd>End</kbd> first and last, <kbd>Space</kbd> play."
_HELP_OF_SLOTS = " Point at a slot to see which steps wrote and read it."
#: What arrays are called on the page, where the report has the same words for two of them.
_TITLES = {
    **{name: quantity.title.partition(" (")[0] for name, quantity in QUANTITIES.items()},
    "write_weights": "Write weighting",
    "read_weights": "Read weighting",
    "write_content_weights": "Content weighting for writing",
    "add": "Added",
    "erase": "Erased",
    "reads": "Read",
    "cell": "Cells of the LSTM",
}
_HELP_TO_CHANGE = (
    " Click an input to change it; or choose it with <kbd>↑</kbd> <kbd>↓</kbd> and press <kbd>Enter</kbd>, or press "
    "the number of its row."
)
_HELP_OF_HEADS = " Move gate, shift or strength of a head to change what it emits in the chosen step."


class Explorer:
    """A page on which a network runs; Jupyter shows it below the cell.

    Attributes:
        html: The page.
    """

    def __init__(self, html: str):
        self.html = html

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page into a file, which needs nothing but itself. Its folder is made if it is missing.

        Raises:
            OSError: It cannot be written.
        """
        write_with_folder(Path(path), self.html)

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" title="network explorer" '
            'style="width: 100%; height: 900px; border: 0"></iframe>'
        )


Network = MemoryModel[Any] | str | PathLike[str]
Step = tuple[int, dict[str, Tensor]]


def explore(network: Network, task: Task | None = None, *, beside: Network | None = None, seed: int = 1) -> Explorer:
    """Return a page on which a trained network runs step by step, on inputs that the reader draws.

    An NTM, DNC, SAM, SDNC, Stack-RNN, Tape-RNN, RNN, GRU or LSTM runs in the page itself. Of other networks it has the
    recorded steps of a few episodes.

    Args:
        network: A network, a run folder, a folder of `save_pretrained`, or a name that `ntm zoo` lists, as `copy`.
        task: The task it was trained on, by default that of the folder. Without a task the page has no targets.
        beside: A second network on the same task, to be shown beside the first on the same inputs.
        seed: Of the episodes on the page. A run has its own.

    Raises:
        ValueError: A folder has no network, the task does not fit it, or the two networks are on different tasks or
            inputs of different sizes.
    """
    first = opened(network, task, seed)
    if beside is None:
        return Explorer(render(*first, training=_training(network, first.model)))
    second = opened(beside, task, first.seed)
    theirs = first.task if second.task is None else second.task
    if not _same(first.task, theirs):
        raise ValueError(f"two networks side by side must be on one task: {first.task} and {theirs} differ.")
    sizes = [one.model.input_size for one in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"two networks side by side must have one input_size; they have {sizes[0]} and {sizes[1]}.")
    steps = [_training(given, one.model) for given, one in ((network, first), (beside, second))]
    return Explorer(_side_by_side([first.model, second.model], steps, first.task, first.seed))


def _same(task: Task | None, other: Task | None) -> bool:
    """Return whether two tasks are equal; tasks of files are if they have the same files, sizes and answers."""
    if task == other or task is None or other is None:
        return task == other
    mine, theirs = ((one.files, one.input_size, one.answer) for one in (task, other))
    return type(task) is type(other) and bool(task.files) and mine == theirs


def opened(network: Network, task: Task | None, seed: int) -> OpenedNetwork:
    """Return a network with its task and the seed of its episodes.

    Raises:
        TypeError: The network or the task is something else.
        ValueError: A folder has no network.
    """
    if not isinstance(network, MemoryModel | str | PathLike):
        opened = "; give its model and its task" if hasattr(network, "model") and hasattr(network, "task") else ""
        expected = "network must be a network, a folder or a name of ntm zoo"
        raise TypeError(f"{expected}, not {kind_of(network)}{opened}.")
    check_whole(seed=seed)
    if not isinstance(task, Task | None):
        raise TypeError(f"task must be a task, not {kind_of(task)}; a second network is given as beside=.")
    if isinstance(network, MemoryModel):
        return OpenedNetwork(network, task, seed)
    opened = open_network(Path(network))
    return opened if task is None else opened._replace(task=task)


def _training(network: Network, model: MemoryModel[Any]) -> list[Step]:
    """Return the weights that a run kept at steps of its training, if the page can run its network."""
    if isinstance(network, MemoryModel) or why_not(model):
        return []
    return [(step, dict(one.state_dict())) for step, one in over_training(model, located(Path(network)))]


def _side_by_side(models: Sequence[MemoryModel[Any]], steps: Sequence[list[Step]], task: Task | None, seed: int) -> str:
    """Return a page with the pages of two networks. If one of them has recorded steps, both have its episodes."""
    recorded = any(why_not(model) for model in models)
    names = [type(model).__name__ for model in models]
    shared: Any = {"paired": True, "recorded": recorded}
    pages = [render(model, task, seed, training=of, **shared) for model, of in zip(models, steps, strict=True)]
    return Template(_web("pair.html")).substitute(
        title=escape(f"{names[0]} and {names[1]}" + (f" on {type(task).__name__}" if task else "")),
        version=escape(__version__ or ""),
        first=escape(pages[0]),
        first_title=escape(names[0]),
        second=escape(pages[1]),
        second_title=escape(names[1]),
        script=_web("pair.js"),
    )


def _web(name: str) -> str:
    return (files("lightning_ntm.explorer") / "web" / name).read_text(encoding="utf-8")


def render(
    model: MemoryModel[Any],
    task: Task | None,
    seed: int,
    *,
    paired: bool = False,
    recorded: bool = False,
    training: Sequence[Step] = (),
) -> str:
    """Return the page of one network.

    Args:
        model: The network.
        task: Its task.
        seed: Of the episodes.
        paired: Whether the page is one of two, which show the same step of the same episode.
        recorded: Whether the other page has recorded steps, so that only sampled episodes can be shown.
        training: Steps of the training, and the weights of the network then.
    """
    reason, trained = why_not(model), packed_training(list(training))
    seen = list(samples(model, task, seed, recorded=recorded or reason is not None))
    drawn, left_out = _recorded(seen) if reason else (_run_there(seen), [])
    data = {
        **{"paired": paired, "training": trained, "network": None if reason else description(model)},
        "layout": None if recorded else layout(task),
        **{**asked(task), "titles": _TITLES, "vectors": _VECTORS},
        "samples": [_packed_sample(*sample) for sample in drawn],
        "left_out": left_out,
    }
    return Template(_web("page.html")).substitute(
        title=escape(_title(model, task)),
        facts=escape(f"{facts(model)}.{_told(trained)}"),
        how=escape(f"{reason} It shows steps that were recorded." if reason else "The network runs in this page."),
        help=_help(model, reason is None, drawn[0][1]),
        version=escape(__version__ or ""),
        style=_web("page.css"),
        data=as_embedded(data),
        script="\n".join(map(_web, _SCRIPTS)),
    )


def _title(model: MemoryModel[Any], task: Task | None) -> str:
    return type(model).__name__ + (f" on {type(task).__name__}" if task else "")


def _run_there(drawn: list[Sample]) -> list[Sample]:
    return [(label, _chosen(seen, (*_EPISODE, "logits"))) for label, seen in drawn]


def _help(model: MemoryModel[Any], runs: bool, recorded: Mapping[str, Any]) -> str:
    slots = "read_weights" in recorded or (runs and isinstance(model, NTM | DNC | SAM | SDNC))
    told = {_HELP_OF_SLOTS: slots, _HELP_TO_CHANGE: runs, _HELP_OF_HEADS: runs and isinstance(model, NTM)}
    return _HELP + "".join(text for text, holds in told.items() if holds)


def _packed_sample(label: str, seen: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"label": label, "arrays": {name: packed(array) for name, array in seen.items()}}


def _told(training: dict[str, Any]) -> str:
    """Return what the page says of the weights of the training."""
    if not (count := len(training["steps"])):
        return ""
    return f" It has weights of {count} steps of the training{', rounded to float16' if training['half'] else ''}."


def _chosen(seen: dict[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: np.asarray(seen[name]) for name in names if name in seen}


def _recorded(drawn: list[Sample]) -> tuple[list[Sample], list[str]]:
    """Return the episodes with as much of what happened as a page has room for, and the names of the rest.

    Small arrays come first. Episodes share the room, and an array that the first has no room for is left out of all.
    """
    time = len(drawn[0][1]["inputs"])
    first = {name: array for name, array in drawn[0][1].items() if _is_told(name) and _is_recorded(array, time)}
    room, names = _RECORDED // 4, [name for name in first if name in _ALWAYS]
    for name, array in sorted(first.items(), key=lambda item: (item[0] != "memory", item[1].size)):
        shown = name == "memory" or array.ndim < 3 or array.shape[1] <= _ROWS
        if name not in names and shown and array.size <= room:
            names.append(name)
            room -= array.size
    kept: list[Sample] = []
    room = _RECORDED
    for label, seen in drawn:
        chosen = _chosen(seen, tuple(names))
        size = sum(array.size for array in chosen.values())
        if not kept or size <= room:
            kept.append((label, chosen))
            room -= size
    return kept, sorted(first.keys() - {*names, "errors", "measured", "logits"})


def _is_told(name: str) -> bool:
    return ":" not in name and name not in ASIDE


def _is_recorded(array: np.ndarray, time: int) -> bool:
    return 0 < array.ndim < 4 and array.shape[0] == time and bool(np.isfinite(array).all())
