"""A page on which a trained network runs: `explore`."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from .page import Explorer as Explorer, explore as explore

_PLACES = dict.fromkeys(("Explorer", "explore"), "page")
__all__ = list(_PLACES)
__getattr__ = _loader(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted(_PLACES)
