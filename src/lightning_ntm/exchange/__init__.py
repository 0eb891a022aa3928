"""Networks as files that people share: folders as on the Hugging Face hub, and checkpoints of other programs."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from .importing import import_run as import_run
    from .peer_tasks import ColumnSort as ColumnSort, FlaggedCopy as FlaggedCopy, ScaledRepeatCopy as ScaledRepeatCopy
    from .pretrained import open_network as open_network
    from .sequential import SequentialNTM as SequentialNTM

_PLACES = {
    "ColumnSort": "peer_tasks",
    "FlaggedCopy": "peer_tasks",
    "ScaledRepeatCopy": "peer_tasks",
    "SequentialNTM": "sequential",
    "import_run": "importing",
    "open_network": "pretrained",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = _loader(__name__, _PLACES)
