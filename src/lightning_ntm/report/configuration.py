"""In what the runs of a report were configured alike, and in what not."""

from typing import Any

from lightning_ntm.records.parsing import parse_yaml, shown_value

#: Options that tell runs apart, and those that say how training is shown: neither makes another network.
_ASIDE = {"name", "runs", "seed", "trainer.default_root_dir", "trainer.logger", "trainer.profiler"}
_ASIDE |= {"trainer.enable_progress_bar", "trainer.enable_model_summary", "threads", "data.num_workers"}

_LONGEST = 200  # letters of a name or value on a page


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


def differences(configs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the options in which configurations differ, each with its value in all of them; `None` if absent."""
    names = dict.fromkeys(name for config in configs for name in config)
    table = {name: [config.get(name) for config in configs] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def labels(configs: list[dict[str, Any]]) -> list[str]:
    """Return a name for each of several configurations that differ: its class, and more where that is not enough."""
    classes = [shorten(str(config.get("model")).rpartition(".")[2]) for config in configs]
    named = list(classes)
    for shared in {name for name in classes if classes.count(name) > 1}:
        places = [place for place, name in enumerate(classes) if name == shared]
        found = differences([configs[place] for place in places])
        told = dict(sorted(found.items(), key=_is_size))
        for column, place in enumerate(places):
            parts = [f"{_short(name, told)} {shown(values[column])}" for name, values in told.items()]
            named[place] = ", ".join([shared, *parts])
    return named


def _is_size(option: tuple[str, list[Any]]) -> bool:
    """Whether an option is no choice between words: those say more, and come first where the rest is cut."""
    return not any(isinstance(value, str) for value in option[1])


def _short(name: str, others: dict[str, Any]) -> str:
    """Return the last word of a dotted name, if no other ends in it."""
    last = name.rpartition(".")[2]
    unique = sum(other.rpartition(".")[2] == last for other in others) == 1
    return (last if unique else name).replace("_", " ")


def shown(value: Any) -> str:
    """Return a value of a configuration as it stands in YAML; a class by its name."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if isinstance(value, str) and text.replace(".", "").isidentifier():
        text = text.rpartition(".")[2]
    return shorten(text)


def shorten(text: str) -> str:
    """Return a text without what is beyond the room there is for it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
