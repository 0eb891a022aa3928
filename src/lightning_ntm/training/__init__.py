"""Training with Lightning: `SequenceLearner` and `EpisodeData` for a Trainer of your own, `Run` for a run folder."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from .data import EpisodeData as EpisodeData
    from .learner import SequenceLearner as SequenceLearner
    from .progress import CostBar as CostBar
    from .run import Run as Run

_PLACES = {"CostBar": "progress", "EpisodeData": "data", "Run": "run", "SequenceLearner": "learner"}
__all__ = list(_PLACES)
__getattr__, __dir__ = _loader(__name__, _PLACES)
