"""The memory over the steps of an episode, and the output over a training: a GIF, or an MP4 where there is ffmpeg."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.figure import Figure

from lightning_ntm.report.cells import around
from lightning_ntm.report.quantities import answered
from lightning_ntm.report.style import INK, WIDTH, Picture, color, round_places, weighting_norm, whole_numbers

#: Steps in a second.
SPEED = 8
_DPI = 150
_SEEN = 0.1
#: Rows that have room for their names.
_MOST_NAMES = 12


def check_animation(path: Path) -> None:
    """Raise `ValueError` unless an animation can be written under this name here."""
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"an animation (={path}) must end in .gif or .mp4.")
    if path.suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(f"{path} needs ffmpeg, which is not installed; a .gif needs nothing.")


def save_animation(trace: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Write an animation of one episode, one picture for each step.

    On the left are inputs, targets and outputs with a mark at the step; on the right the write and read weightings of
    the step and the memory after it.

    Args:
        trace: Arrays with time first, as `trace_episode` of `evaluation` returns them.
        title: What was run.
        path: The file, which ends in `.gif` or `.mp4`. It is whole or absent.

    Raises:
        ValueError: The network has no memory with weightings, or the file cannot be of this kind.
        OSError: The file cannot be written.
    """
    check_animation(path)
    if not {"memory", "write_weights", "read_weights"} <= trace.keys():
        raise ValueError("only a network whose heads write and read a memory can be animated.")
    drawing = _Drawing(trace, title)
    _save(drawing.figure, drawing.show, len(trace["inputs"]), path)


def save_training_animation(traces: Sequence[tuple[int, Mapping[str, np.ndarray]]], title: str, path: Path) -> None:
    """Write an animation of the output over a training, one picture for each step of it.

    Args:
        traces: Steps of the training, at least one, and the arrays of the same episode with the network as it was then.
        title: What was run.
        path: The file, which ends in `.gif` or `.mp4`. It is whole or absent.

    Raises:
        ValueError: The file cannot be of this kind.
        OSError: The file cannot be written.
    """
    check_animation(path)
    figure, (_, first) = Picture(figsize=(WIDTH, 4), layout="constrained"), traces[0]
    axes = _draw_episode(figure, first)
    output: Any = axes[-1].get_images()[0]

    def show(number: int) -> None:
        step, trace = traces[number]
        figure.suptitle(f"{title}, training step {step:,}", fontsize=10)
        output.set_data(np.where(answered(trace), trace["outputs"], np.nan).T)

    _save(figure, show, len(traces), path)


def _save(figure: Figure, show: Callable[[int], None], count: int, path: Path) -> None:
    """Write an animation of so many pictures, each of which `show` makes of the figure."""
    writer: AbstractMovieWriter = (PillowWriter if path.suffix == ".gif" else FFMpegWriter)(fps=SPEED)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        writer.setup(figure, str(unfinished), _DPI)
        for number in range(count):
            show(number)
            writer.grab_frame()
        writer.finish()  # not if it was interrupted, as by `writer.saving`: without a picture it raises another error
        os.replace(unfinished, path)


class _Drawing:
    """The figure, whose memory, weightings and marks change with the step."""

    def __init__(self, trace: Mapping[str, np.ndarray], title: str):
        self.figure = Picture(figsize=(WIDTH, 4), layout="constrained")
        self.figure.suptitle(title, fontsize=10)
        weights = np.concatenate([trace["write_weights"], trace["read_weights"]], axis=1)
        self.slots = around(weights.max(axis=(0, 1)) > _SEEN)
        self.weights, self.memory = weights[:, :, self.slots], trace["memory"][:, self.slots]
        sides: Any = self.figure.subfigures(1, 2, width_ratios=(3, 2))
        episode, step = sides
        self.marks = [_mark(axis) for axis in _draw_episode(episode, trace)]
        heads, memory = step.subplots(1, 2, sharey=True, width_ratios=(max(2, weights.shape[1]), 10))
        self.step: Any = heads.imshow(self.weights[0].T, aspect="auto", cmap="Greys", norm=weighting_norm())
        largest = max(1e-6, float(np.abs(self.memory).max()))
        self.cells: Any = memory.imshow(self.memory[0], aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest)
        _label(heads, memory, trace["write_weights"].shape[1], weights.shape[1], self.slots)

    def show(self, time: int) -> None:
        """Change the picture to that of a step."""
        self.step.set_data(self.weights[time].T)
        self.cells.set_data(self.memory[time])
        for mark in self.marks:
            mark.set_x(time - 0.5)


def _draw_episode(figure: Any, trace: Mapping[str, np.ndarray]) -> list[Any]:
    asked = answered(trace)
    shown = {"Inputs": trace["inputs"]}
    shown |= {name: np.where(asked, trace[name.lower()], np.nan) for name in ("Targets", "Outputs")}
    axes = figure.subplots(3, 1, sharex=True)
    for axis, (name, values) in zip(axes, shown.items(), strict=True):
        signed = bool(np.nanmin(values) < 0 or np.nanmax(values) > 1)
        largest = float(np.nanmax(np.abs(values))) if signed else 1.0
        colors = {"cmap": "RdBu_r" if signed else "Greys", "vmin": -largest if signed else 0, "vmax": largest}
        axis.imshow(values.T, aspect="auto", interpolation="nearest", **colors)
        axis.set_facecolor("#e8ecf2")  # where no answer is asked for
        axis.set_title(name, fontsize=8, loc="left", pad=2)
        axis.tick_params(labelsize=7)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(whole_numbers(6))
        names = trace.get("names: inputs" if name == "Inputs" else "names: outputs", ())
        if 0 < len(names) <= _MOST_NAMES:
            axis.set_yticks(range(len(names)), names)
    axes[-1].set_xlabel("time (steps)", fontsize=8)
    return list(axes)


def _mark(axis: Any) -> Any:
    return axis.axvspan(-0.5, 0.5, fill=False, edgecolor=color(1), linewidth=1.5)


def _label(heads: Any, memory: Any, writes: int, count: int, slots: np.ndarray) -> None:
    """Name heads and slots."""
    names = [f"w{head + 1}" for head in range(writes)] + [f"r{head + 1}" for head in range(count - writes)]
    heads.set_xticks(range(count), names)
    places = round_places(slots, 12)
    heads.set_yticks(places, [str(slot) for slot in slots[places]])
    heads.set_ylabel("memory slot", fontsize=8)
    for axis, title in ((heads, "Heads"), (memory, "Memory after the step")):
        axis.set_title(title, fontsize=8, loc="left", pad=2, color=INK)
        axis.tick_params(labelsize=7)
    memory.set_xlabel("width", fontsize=8)
