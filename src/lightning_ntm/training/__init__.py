"""Training with Lightning: `SequenceLearner` and `EpisodeData` for a Trainer of your own, `Run` for a run folder."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from . import evaluate as evaluate
    from .build import TrainedRun as TrainedRun, open_run as open_run, replay as replay
    from .data import EpisodeData as EpisodeData
    from .learner import SequenceLearner as SequenceLearner
    from .run import Run as Run

_PLACES = {
    "EpisodeData": "data",
    "Run": "run",
    "SequenceLearner": "learner",
    **dict.fromkeys(("TrainedRun", "open_run", "replay"), "build"),
    "evaluate": "evaluate",
}
__all__ = list(_PLACES)
__getattr__ = _loader(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted(_PLACES)
