"""What `--show` chooses, and how a picture shows quantities of networks that it does not know."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lightning_ntm import Copy, MemoryModel
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.models import DNC, LSTM, NTM, SAM, SDNC
from lightning_ntm.report.memory import draw_memory, frames
from lightning_ntm.report.panels import panels_of
from lightning_ntm.report.quantities import QUANTITIES, chosen, observed
from lightning_ntm.report.style import round_places

TASK = Copy(max_length=3, bits=2)


def trace_of(model, **options):
    torch.manual_seed(0)
    return trace_episode(model(TASK.input_size, TASK.output_size, hidden_size=8, **options), TASK, {"length": 3})


@pytest.fixture(scope="module")
def ntm():
    return trace_of(NTM, memory_slots=6, memory_width=4, num_read_heads=2)


def titles(side):
    return [panel.title for panel in side]


def test_how_heads_find_a_slot_is_drawn_stage_by_stage(ntm):
    left, right, whole = panels_of(ntm, "bit", ["addressing"])
    stages = ["Key", "Key strength", "Content weighting", "Gate (1: content)", "Gated weighting", "Shift",
              "Shifted weighting", "Sharpening"]  # fmt: skip
    assert titles(left)[1:] == [f"{stage}, write head" for stage in stages] + ["Write weightings"]
    assert titles(right)[2:5] == ["Key, read head 1", "Key, read head 2", "Key strength"]
    assert not whole
    panel = {panel.title: panel.values for panel in (*left, *right)}
    np.testing.assert_array_equal(panel["Key, write head"], ntm["key"][:, 2])
    np.testing.assert_array_equal(panel["Content weighting, read head 2"], ntm["content_weights"][:, 1])
    np.testing.assert_array_equal(panel["Key strength"], ntm["strength"][:, :2])


def test_what_is_chosen_is_drawn_and_nothing_else(ntm):
    left, right, whole = panels_of(ntm, "bit", ["gate", "memory"])
    assert titles(left) == ["Inputs", "Gate (1: content), write head"]
    assert titles(right) == ["Targets", "Outputs", "Gate (1: content)"]
    assert whole[0].title.startswith("Memory after these steps")
    with pytest.raises(ValueError, match=r"'gates' cannot be chosen; did you mean 'gate'\? This network"):
        panels_of(ntm, "bit", ["gates"])
    with pytest.raises(ValueError, match=r", weights; addressing draws how heads find a slot, all draws everything\.$"):
        panels_of(ntm, "bit", ["gates"])
    with pytest.raises(ValueError, match="did you mean 'all'"):
        panels_of(ntm, "bit", ["al"])


@pytest.mark.parametrize("model", [NTM, DNC])
def test_everything_that_a_network_returns_can_be_drawn(model):
    trace = trace_of(model, memory_slots=6, memory_width=4)
    assert set(observed(trace)) >= {"memory", "read_weights", "reads", "hidden"}
    assert set(observed(trace)) - {"weights"} <= QUANTITIES.keys(), "each has a title"
    assert chosen(trace, ["all"]) == observed(trace)
    draw_memory(trace, "a run", "bit", ["all"]).draw_without_rendering()


def test_heads_have_one_scale_and_weightings_over_many_slots_can_be_seen(ntm):
    ntm = {**ntm, "reads": ntm["reads"] * np.array([1.0, 5.0])[:, None]}
    axes = {axis.get_title(loc="left"): axis for axis in draw_memory(ntm, "a run", "bit").axes}
    scales = {title: axis.images[0].get_clim() for title, axis in axes.items() if title.startswith(("Reads", "Adds"))}
    assert len(scales) == 3
    assert len(set(scales.values())) == 1
    image = axes["Write weightings"].images[0]
    assert image.norm(1 / 128) > 0.1
    assert (image.norm(0), image.norm(1)) == (0, 1)


def test_lines_of_both_sides_have_one_axis(ntm):
    ntm = {**ntm, "strength": ntm["strength"] + np.array([0.0, 0.0, 7.0])}
    limits = {panel.limits for side in panels_of(ntm, "bit", ["strength"])[:2] for panel in side if panel.lines}
    assert limits == {(0, ntm["strength"].max())}


def test_ticks_are_round_numbers_around_the_circle():
    labels = np.concatenate([np.arange(121, 128), np.arange(13)])
    assert labels[round_places(labels, 5)].tolist() == [125, 0, 5, 10]
    labels = np.array([*range(96, 128), *range(90)])  # 120 and 0 are eight rows apart, the other numbers twenty
    assert labels[round_places(labels, 7)].tolist() == [100, 0, 20, 40, 60, 80]
    labels = np.array([*range(87, 128), *range(12)])  # multiples of 20 are 100 and 0, since 120 is near
    assert labels[round_places(labels, 5)].tolist() == [90, 100, 110, 120, 0, 10]
    assert frames(21) == [0, 5, 10, 15, 20]
    assert frames(42) == [0, 10, 20, 30, 41]  # the memory after step 40 is nearly that after 41
    assert frames(47) == [0, 10, 20, 30, 40, 46]
    assert frames(1) == [0]


class OwnState(NamedTuple):
    trace: torch.Tensor
    clock: torch.Tensor
    layers: torch.Tensor
    table: torch.Tensor


class Own(MemoryModel[OwnState]):
    """A network whose state has a vector, a number, two layers of vectors and a matrix."""

    def __init__(self, input_size, output_size, hidden_size=8):
        super().__init__(input_size, output_size)
        self.output = torch.nn.Linear(input_size, output_size)

    def initial_state(self, *batch):
        shapes = (5,), (), (2, 4), (9, 3)
        return OwnState(*(torch.zeros(*batch, *shape) for shape in shapes))

    def step(self, x, state):
        return self.output(x), OwnState(*(part + number for number, part in enumerate(state, start=-1)))


def test_a_network_of_ones_own_is_drawn():
    trace = trace_of(Own)
    left, right, whole = panels_of(trace, "bit")
    panels = {panel.title: panel for panel in (*left, *right, *whole)}
    assert panels.keys() == {
        "Inputs", "Targets", "Outputs", "Trace", "Clock", "Layers, part 1", "Layers, part 2", "Table after these steps"
    }  # fmt: skip
    np.testing.assert_array_equal(panels["Layers, part 2"].values, trace["layers"][:, 1])
    assert panels["Trace"].signed
    assert panels["Clock"].lines
    assert panels["Table after these steps"].values.shape == (7, 9, 3)
    draw_memory(trace, "a run", "bit").draw_without_rendering()


def test_symbols_have_their_names_and_of_many_the_ones_that_are_seen():
    trace = trace_of(NTM, memory_slots=6, memory_width=4)
    steps, size = len(trace["mask"]), 40
    shown = np.zeros((steps, size), np.float32)
    shown[np.arange(steps), np.arange(steps) % 3 * 10] = 1
    names = np.array([f"word{number}" if number else "an-uncommonly-long-word" for number in range(size)])
    named = {"inputs": shown, "names: inputs": names, "names: outputs": np.array(["no", "yes"])}
    left, right, _ = panels_of({**trace, **named}, "symbol")
    assert left[0].labels.tolist() == ["an-uncommonly\N{HORIZONTAL ELLIPSIS}", "word10", "word20"]
    np.testing.assert_array_equal(left[0].values, shown[:, [0, 10, 20]])
    assert [panel.labels.tolist() for panel in right[:2]] == [["no", "yes"]] * 2
    draw_memory({**trace, **named}, "a run", "symbol").draw_without_rendering()


@pytest.mark.parametrize("model", [SAM, SDNC])
def test_all_of_a_sparse_memory_is_drawn(model):
    trace = trace_of(model, memory_slots=8, memory_width=4)
    for show in ([], ["addressing"], ["all"]):
        draw_memory(trace, "a run", "bit", show).draw_without_rendering()
    assert {"accessed", "time", "read_places", "read_entries"} & {*chosen(trace, [])} == set()


def test_what_no_head_has_is_not_suggested():
    with pytest.raises(
        ValueError,
        match=r"'addressing' cannot be chosen: this network has hidden, cell; all draws everything\.$",
    ):
        chosen(trace_of(LSTM), ["addressing"])


def test_titles_and_numbers_have_room():
    trace = trace_of(NTM, memory_slots=128, memory_width=4, num_read_heads=4)
    figure = draw_memory(trace, "a run", "bit", ["addressing"])
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    for axis in figure.axes:
        if axis.get_title(loc="left"):
            box = axis._left_title.get_window_extent(renderer)
            assert box.x1 <= axis.get_window_extent(renderer).x1 + 2, axis.get_title(loc="left")
        boxes = [label.get_window_extent(renderer) for label in axis.get_yticklabels() if label.get_text()]
        drawn = [(box.y0, box.y1) for box in boxes if axis.bbox.y0 <= (box.y0 + box.y1) / 2 <= axis.bbox.y1]
        assert all(low[1] <= high[0] + 2 for low, high in pairwise(sorted(drawn))), axis.get_title(loc="left")
