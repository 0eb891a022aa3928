"""Where run folders stand below the folders a user names."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lightning_ntm.records.folder import RunFolder

#: A folder with one of these was made by a run; `config.yaml` alone is a name that others use too.
_SIGNS = {"metrics.jsonl", "about.jsonl", "result.json", "failed.json"}


def find(*folders: Path | str) -> dict[str, RunFolder]:
    """Return the run folders in each folder given, at any depth, by a name that only one of them has.

    The name is the path below the folder given; where two would be the same, the whole path. A run
    that is met twice counts once. A folder that cannot be looked into may be one, and is among them.

    Raises:
        ValueError: A folder does not exist, or has no run folder in it.
    """
    found: dict[object, tuple[Path, Path]] = {}
    for given in map(Path, folders):
        if not given.is_dir():
            if given.is_file():
                RunFolder(given).require()
            raise ValueError(f"{given} is not a folder." if given.exists() else f"folder {given} does not exist.")
        here = dict(_runs(given))
        if not here:
            raise ValueError(f"{given} is not a run folder and has none in it.")
        for run, place in here.items():
            found.setdefault(place, (given, run))
    return dict(sorted(_named(list(found.values())).items(), key=lambda item: _natural(item[0])))


def _runs(given: Path) -> Iterator[tuple[Path, object]]:
    """Yield the run folders at or below one, each with what identifies it; of links only those to a run are followed.

    In a folder from elsewhere a link may lead to all there is on this machine.
    """
    seen: set[object] = set()
    left = [(given, False)]
    while left:
        folder, is_link = left.pop()
        place: object = folder
        try:
            status = folder.stat()
            place = status.st_dev, status.st_ino
            if place in seen:
                continue
            with os.scandir(folder) as entries:
                inside = [(entry.name, entry.is_dir(), entry.is_symlink()) for entry in entries]
        except FileNotFoundError:  # it went away meanwhile
            continue
        except OSError:  # it is closed to us: who reads it says so
            yield folder, place
            continue
        names = {name for name, *_ in inside}
        is_run = names & _SIGNS or names >= {"config.yaml", ".lock"}
        if is_run or not is_link:
            seen.add(place)
        if is_run:
            yield folder, place
        elif not is_link:
            left += [(folder / name, link) for name, is_folder, link in inside if is_folder and name[0] != "."]


def _named(runs: list[tuple[Path, Path]]) -> dict[str, RunFolder]:
    short = [RunFolder(run).place.name if run == given else run.relative_to(given).as_posix() for given, run in runs]
    unique = {name for name in short if short.count(name) == 1} if len(set(short)) < len(short) else set(short)
    named = zip(short, runs, strict=True)
    return {name if name in unique else run.as_posix(): RunFolder(run) for name, (_, run) in named}


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort seed2 before seed10."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", name)]
