"""The YAML files of this package, by name."""

from importlib.resources import files
from pathlib import Path


def presets() -> dict[str, Path]:
    """Return the named configurations of `ntm train --config`; `default` lies beneath all of them."""
    return _files()


def plans() -> dict[str, Path]:
    """Return the named plans of `ntm sweep`."""
    return _files("plans")


def networks() -> dict[str, Path]:
    """Return what networks bring to tasks whose recipes have another network, by the name of the class."""
    return _files("networks")


def _files(*folder: str) -> dict[str, Path]:
    where = Path(str(files("lightning_ntm").joinpath("recipes", *folder)))
    return {path.stem: path for path in sorted(where.glob("*.yaml"))}
