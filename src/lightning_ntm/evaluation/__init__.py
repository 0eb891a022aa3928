"""What a trained network does: open a run, evaluate it, trace an episode. Needs no Lightning."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from . import evaluate as evaluate
    from .babi import word_errors as word_errors
    from .build import TrainedRun as TrainedRun, open_run as open_run, replay as replay
    from .ranges import evaluate_range as evaluate_range
    from .trace import trace_episode as trace_episode

_PLACES = {
    **dict.fromkeys(("TrainedRun", "open_run", "replay"), "build"),
    "evaluate": "evaluate",
    "evaluate_range": "ranges",
    "trace_episode": "trace",
    "word_errors": "babi",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = _loader(__name__, _PLACES)
