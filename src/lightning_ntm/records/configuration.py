"""The options of a run, by dotted name."""

from typing import Any

from lightning_ntm.records.parsing import parse_yaml, shown_value

#: Options that tell runs apart, and those that say how training is shown: neither makes another network.
_ASIDE = {"name", "runs", "seed", "trainer.default_root_dir", "trainer.logger", "trainer.profiler"}
_ASIDE |= {"trainer.enable_progress_bar", "trainer.enable_model_summary", "threads", "data.num_workers"}


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
