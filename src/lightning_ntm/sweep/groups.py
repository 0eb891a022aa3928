"""Which runs of a sweep one process trains side by side."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from lightning_ntm.sweep.plan import PlannedRun

#: Most runs of a group by default: with more, each shares less of what a step costs besides the networks.
_MOST = 16


def grouped(runs: Sequence[PlannedRun], processes: int, most: int | None = None) -> list[list[PlannedRun]]:
    """Return groups of runs that differ in nothing but their seed, in the order of their first runs.

    Args:
        runs: The runs.
        processes: Groups that are trained at a time. With few groups their number is a multiple of it, so that all
            processes end at about the same time.
        most: Most runs of a group; by default that follows from `processes`.
    """
    alike: defaultdict[tuple[str, ...], list[PlannedRun]] = defaultdict(list)
    for run in runs:
        alike[tuple(word for word in run.words if not word.startswith("--seed="))].append(run)
    parts = _parts(len(alike), processes) if most is None else 1
    return [group for same in alike.values() for group in _divided(same, parts, most or _MOST)]


def _parts(sets: int, processes: int) -> int:
    """Return into how many groups to divide each set of runs."""
    if sets >= 4 * processes:
        return 1
    return next(parts for parts in range(1, processes + 1) if sets * parts % processes == 0)


def _divided(runs: Sequence[PlannedRun], parts: int, most: int) -> list[list[PlannedRun]]:
    """Return runs in at least so many parts, if there are as many runs, each of at most `most`; sizes differ by 1."""
    parts = min(len(runs), max(parts, -(-len(runs) // most)))
    cuts = [len(runs) * part // parts for part in range(parts + 1)]
    return [list(runs[first:last]) for first, last in pairwise(cuts)]
