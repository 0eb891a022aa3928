"""The networks that come with the package, by name."""

import difflib
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from lightning_ntm.measures import BITS, Measures
from lightning_ntm.records import RunFolder, declared
from lightning_ntm.records.files import read_yaml

_HERE = Path(__file__).parent


class Shipped(NamedTuple):
    """A network that comes with the package.

    Attributes:
        name: For `open_run`, `from_pretrained` and the commands of `ntm`.
        folder: Its run folder, without the state of the training.
        network: Name of its class.
        task: Name of the class of its task.
        seed: Of the training and of the episodes on which it is evaluated.
        step: Training step of the weights.
        command: What trains it again.
        results: A row for each difficulty, as `ntm evaluate` measured it.
        measures: Declarations of what was measured.
    """

    name: str
    folder: Path
    network: str
    task: str
    seed: int
    step: int
    command: str
    results: list[dict[str, Any]]
    measures: Measures


def names() -> list[str]:
    """Return the names of the networks that come with the package."""
    return sorted(path.parent.name for path in _HERE.glob("*/config.yaml"))


def is_shipped(path: Path | str) -> bool:
    """Return whether a path is the name of a network that comes with the package. A file or folder has precedence."""
    return str(path) in names() and not Path(path).exists()


def located(path: Path | str) -> Path:
    """Return a path, or the folder of the network that comes with the package if the path is the name of one.

    Raises:
        ValueError: The path is a single word, and neither a file, a folder nor the name of a network.
    """
    path = Path(path)
    if is_shipped(path):
        return _HERE / path
    if path.exists() or len(path.parts) != 1:
        return path
    near = difflib.get_close_matches(str(path).casefold(), names(), n=1)
    more = f"; did you mean {near[0]!r}?" if near else f": {', '.join(names())}."
    raise ValueError(f"run folder {path} does not exist, and it is no name of a network that ntm zoo lists{more}")


def described() -> list[Shipped]:
    """Return what the folders say of the networks that come with the package."""
    return [_described(RunFolder(_HERE / name)) for name in names()]


def _described(folder: RunFolder) -> Shipped:
    config, kept = read_yaml(folder.config), folder.results()
    network, task = (config[part]["class_path"].rpartition(".")[2] for part in ("model", "task"))
    command = shlex.join(["ntm", *folder.notes()[-1]["command"][1:]])
    step = folder.kept_step() or 0
    about = (folder.path.name, folder.path, network, task, config["seed"], step, command)
    return Shipped(*about, kept.rows, declared(folder) or BITS)
