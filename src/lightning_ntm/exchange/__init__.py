"""Networks as files that people share: folders as on the Hugging Face hub."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from .pretrained import open_network as open_network

_PLACES = {"open_network": "pretrained"}
__all__ = list(_PLACES)
__getattr__ = _loader(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted(_PLACES)
