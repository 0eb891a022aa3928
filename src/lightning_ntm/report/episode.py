"""All pictures of one episode for which its trace has the numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_ntm.measures import Measures, brief
from lightning_ntm.report.memory import draw_memory
from lightning_ntm.report.places import draw_places
from lightning_ntm.report.predictions import PREDICTED, draw_predictions
from lightning_ntm.report.style import Picture

_LONGEST = 80  # letters of names in the name of a file


def draw_episode(
    trace: Mapping[str, np.ndarray], title: str, measures: Measures, unit: str, show: Sequence[str] = ()
) -> dict[str, Picture]:
    """Draw one episode.

    Args:
        trace: Arrays with time first, as `trace_episode` of `evaluation` returns them.
        title: What was run, for the line above each picture.
        measures: Declarations of the measures in the trace.
        unit: What an answer is made of, in the singular.
        show: Names of what is drawn, as `draw_memory` takes them.

    Returns:
        By name, `memory`; `predictions` of bits or symbols where the optimal ones are known; and `places` where the
        task has a number for what is written. Where something is chosen, that alone, by its names.

    Raises:
        ValueError: A name in `show` is not in the trace.
    """
    told = titled(trace, title, measures)
    if show:
        return {"-".join(show) if len("-".join(show)) <= _LONGEST else "chosen": draw_memory(trace, told, unit, show)}
    figures = {"memory": draw_memory(trace, told, unit)}
    if "optimal" in trace and unit in PREDICTED:
        figures["predictions"] = draw_predictions(trace, told, unit)
    if "write_weights" in trace and np.isfinite(trace.get("placed_by", np.nan)).any():
        figures["places"] = draw_places(trace, title)
    return figures


def title_of(model: object, task: object, difficulty: Mapping[str, object]) -> str:
    """Return what is run in words, as `NTM on Copy, length 20`."""
    described = "".join(f", {name.replace('_', ' ')} {value}" for name, value in difficulty.items())
    return f"{type(model).__name__} on {type(task).__name__}{described}"


def titled(trace: Mapping[str, np.ndarray], title: str, measures: Measures) -> str:
    """Return the line above a picture: what was run, and what it cost where targets are known."""
    return f"{title}: {cost(trace, measures)}" if "targets" in trace else title


def cost(trace: Mapping[str, np.ndarray], measures: Measures) -> str:
    """Return in words what an episode cost: the goal, or the measure with an optimum beside that."""
    shown = measures.with_optimum or measures.ordered[0]
    value = float(trace[f"measure: {shown.name}"])
    text = f"{value:z.0f}" if value.is_integer() else brief(value)
    best = trace.get(f"measure: {shown.optimum}")
    return f"{text} {shown.quantity}" + ("" if best is None else f", the optimum {brief(float(best))}")
