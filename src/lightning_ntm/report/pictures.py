"""Pictures of the memory of each network, as `ntm figure` drew them into run folders."""

import base64
import shlex
from collections.abc import Iterator
from html import escape
from pathlib import Path

from lightning_ntm.records.files import open_regular
from lightning_ntm.report.experiment import Experiment, Network
from lightning_ntm.report.run import Run
from lightning_ntm.report.tables import named

_MOST = 4 * 2**20  # bytes of a picture
_PNG = b"\x89PNG\r\n\x1a\n"


def memory_pictures(experiment: Experiment) -> str:
    """Return the newest picture of each network's best run that has one, and how to draw those that are missing."""
    found, missing = [], []
    for network in experiment.networks:
        picture = next(_pictures(network), None)
        if picture is None:
            missing.append(_best_first(network)[0].folder)
            continue
        run, path, data = picture
        source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
        what = f"{named(network)}, seed {run.seed}: {escape(path.stem)}"
        alternative = escape(f"Memory of {network.label} in one episode")
        found.append(
            f'<figure class="picture"><figcaption>{what}</figcaption><img src="{source}" alt="{alternative}"></figure>'
        )
    commands = "<br>".join(f"<code>ntm figure {escape(shlex.quote(str(folder)))}</code>" for folder in missing)
    hint = f'<p class="note">The next report shows what these commands draw:<br>{commands}</p>' if missing else ""
    return "".join(found) + hint


def _best_first(network: Network) -> list[Run]:
    judge = network.runs[0].measures.ordered[0]

    def rank(run: Run) -> float:
        last = run.final(judge.name)
        return float("inf") if last is None else judge.rank(last)

    return sorted(network.runs, key=rank)


def _pictures(network: Network) -> Iterator[tuple[Run, Path, bytes]]:
    """Yield pictures of the memory, those of the best runs first."""
    for run in _best_first(network):
        folder = run.folder / "figures"
        if folder.is_symlink() or not folder.is_dir():
            continue
        paths = [path for path in folder.glob("memory*.png") if path.is_file()]
        for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
            try:
                with open_regular(path, _MOST) as file:
                    data = file.read()
            except (OSError, ValueError):
                continue
            if data.startswith(_PNG):
                yield run, path, data
