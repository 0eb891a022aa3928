"""Public names that are imported on first use, so that `ntm --help` does not import PyTorch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loader(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a module's `__getattr__`, which imports each name from its submodule, and its `__dir__`.

    Args:
        package: The module's `__name__`.
        places: Submodule by public name. A name that equals its submodule is the submodule itself.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{places[name]}")
        return module if places[name] == name else getattr(module, name)

    return find, lambda: sorted(places)
