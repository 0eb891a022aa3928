"""From files of runs to pictures and pages; works on results copied from elsewhere, without PyTorch."""

from typing import TYPE_CHECKING

from lightning_ntm.lazy import loader as _loader

if TYPE_CHECKING:
    from .animation import (
        check_animation as check_animation,
        save_animation as save_animation,
        save_training_animation as save_training_animation,
    )
    from .episode import draw_episode as draw_episode
    from .memory import draw_memory as draw_memory, save_figure as save_figure, save_trace as save_trace
    from .page import write_report as write_report

_PLACES = {
    "check_animation": "animation",
    "draw_episode": "episode",
    "draw_memory": "memory",
    "save_animation": "animation",
    "save_figure": "memory",
    "save_trace": "memory",
    "save_training_animation": "animation",
    "write_report": "page",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = _loader(__name__, _PLACES)
