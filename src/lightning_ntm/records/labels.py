"""In what runs were configured alike and in what not, and the names of networks that follow from that."""

import json
from typing import Any

#: The key of a configuration that has the name of the network in the plan of its sweep.
PLANNED = "network"
_LONGEST = 200  # letters of a name or value on a page


def differences(configs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the options in which configurations differ, each with its value in all of them; `None` if absent."""
    names = dict.fromkeys(name for config in configs for name in config)
    table = {name: [config.get(name) for config in configs] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def labels(configs: list[dict[str, Any]]) -> list[str]:
    """Return a name for each of several configurations that differ.

    It is the name that the plan of a sweep gives to the network, or else its class, and the options in which those of
    the same name differ.
    """
    classes = [shorten(str(config.get(PLANNED) or str(config.get("model")).rpartition(".")[2])) for config in configs]
    named = list(classes)
    for shared in {name for name in classes if classes.count(name) > 1}:
        places = [place for place, name in enumerate(classes) if name == shared]
        found = differences([configs[place] for place in places])
        found.pop(PLANNED, None)
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


def names_of(configs: list[dict[str, Any]]) -> list[str]:
    """Return a name for each of several configurations, the same for those that are alike."""
    keys = [json.dumps(config, sort_keys=True, default=str) for config in configs]
    alone = dict(zip(keys, configs, strict=True))
    named = dict(zip(alone, labels(list(alone.values())), strict=True))
    return [named[key] for key in keys]
