"""From files of runs to pictures and pages; works on results copied from elsewhere, without PyTorch."""

from .animation import (
    check_animation as check_animation,
    save_animation as save_animation,
    save_training_animation as save_training_animation,
)
from .episode import draw_episode as draw_episode
from .memory import draw_memory as draw_memory, save_figure as save_figure, save_trace as save_trace
from .page import write_report as write_report
