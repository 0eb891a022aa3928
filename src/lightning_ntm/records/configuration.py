"""The options of a run, by dotted name."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from lightning_ntm.records.files import CONFIG_BYTES, PLAN_BYTES, read_text, read_yaml
from lightning_ntm.records.folder import RunFolder
from lightning_ntm.records.labels import PLANNED
from lightning_ntm.records.parsing import parse_yaml, printable, shown_value

#: Options that tell runs apart, and those that say how training is shown: neither makes another network.
_ASIDE = {"name", "runs", "seed", "trainer.default_root_dir", "trainer.logger", "trainer.profiler"}
_ASIDE |= {"trainer.enable_progress_bar", "trainer.enable_model_summary", "threads", "data.num_workers"}
_ASIDE |= {"keep_weights_every"}


def config_of(folder: RunFolder) -> dict[str, Any]:
    """Return the options of a run by dotted name, and the name of its network in the plan of its sweep, if it has one.

    Raises:
        OSError: The configuration cannot be read.
        ValueError: It is damaged.
    """
    config = flat_config(read_text(folder.config, CONFIG_BYTES))
    path = folder.place
    plan = path.parent / "plan.yaml"
    name = _planned(plan, plan.stat().st_mtime_ns).get(path.name) if plan.is_file() else None
    return {PLANNED: printable(name), **config} if isinstance(name, str) and name else config


@lru_cache(100)
def _planned(path: Path, changed: int) -> dict[str, Any]:
    """Return the names of networks in the plan of a sweep, by run; none if it is damaged or has no names."""
    try:
        plan = read_yaml(path, PLAN_BYTES)
    except (OSError, ValueError):
        return {}
    names = plan.get("networks") if isinstance(plan, dict) else None
    return names if isinstance(names, dict) else {}


def flat_config(text: str) -> dict[str, Any]:
    """Return the options of a `config.yaml` by dotted name, without those that no comparison asks for.

    Raises:
        ValueError: It is not YAML, or no options by name.
    """
    try:
        config = shown_value(parse_yaml(text))
    except ValueError as error:
        raise ValueError(f"config.yaml is damaged: it is {str(error).partition(':')[0]}.") from None
    if not isinstance(config, dict):
        raise ValueError("config.yaml is damaged: it holds no options by name.")
    return {name: value for name, value in _flat(config).items() if name not in _ASIDE}


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = prefix if key in ("init_args", "class_path") and prefix else f"{prefix}.{key}" if prefix else key
        flat |= _flat(value, name) if isinstance(value, dict) else {name: value}
    return flat
