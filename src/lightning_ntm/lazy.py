"""Public names that are loaded when first used: `ntm --help` must not wait for PyTorch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loader(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that finds each name in the place given for it.

    Args:
        package: The module's `__name__`.
        places: Submodule by public name; a name that is its own place is that submodule.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{places[name]}")
        return module if places[name] == name else getattr(module, name)

    return find
