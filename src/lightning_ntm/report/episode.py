"""All pictures of one episode that its trace has the numbers for."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lightning_ntm.report.memory import draw_memory
from lightning_ntm.report.places import draw_places
from lightning_ntm.report.predictions import draw_predictions


def draw_episode(trace: Mapping[str, np.ndarray], title: str) -> dict[str, Figure]:
    """Draw one episode.

    Args:
        trace: Arrays with time first, as `trace_episode` of the training returns them.
        title: What was run, for the line above each picture.

    Returns:
        By name, `memory`; `predictions` where the optimal ones are known; and `places` where the task has a number
        for what is written.
    """
    figures = {"memory": draw_memory(trace, title)}
    if "optimal" in trace:
        figures["predictions"] = draw_predictions(trace, title)
    if "write_weights" in trace and np.isfinite(trace.get("placed_by", np.nan)).any():
        figures["places"] = draw_places(trace, title)
    return figures
