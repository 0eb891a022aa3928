"""A trained network at work: `explore`, a page on which it runs, and `figure`, a picture of its memory."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from .page import Explorer as Explorer, explore as explore
    from .picture import figure as figure

_PLACES = {"Explorer": "page", "explore": "page", "figure": "picture"}
__all__ = list(_PLACES)
__getattr__, __dir__ = _loader(__name__, _PLACES)
