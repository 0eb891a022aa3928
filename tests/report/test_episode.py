"""Pictures of one episode: what they show against what was put in."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import example, given, strategies as st

from lightning_ntm import AssociativeRecall, Copy, DynamicNGrams, PrioritySort
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.measures import BITS, UNCERTAIN_BITS
from lightning_ntm.models import DNC, LSTM, NTM
from lightning_ntm.report.episode import cost, draw_episode
from lightning_ntm.report.memory import draw_memory
from lightning_ntm.report.places import centres, draw_places, fit
from lightning_ntm.report.predictions import draw_predictions
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Numbers, Symbols
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


def one_hot(places, slots):
    return np.eye(slots)[np.asarray(places) % slots]


def titled(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def drawn_of(trace, task):
    return draw_episode(trace, "a run", task.answer.measures, task.answer.unit)


def test_the_centre_of_a_weighting_on_one_slot_is_that_slot():
    found, sharpness = centres(one_hot([[0], [3], [7]], 8))
    np.testing.assert_allclose(found, [[0], [3], [7]], atol=1e-9)
    np.testing.assert_allclose(sharpness, 1)


def test_a_centre_between_two_slots_and_one_that_is_nowhere():
    halves = one_hot([[7], [0]], 8).mean(axis=0, keepdims=True)  # across the end of the circle
    found, sharpness = centres(np.concatenate([halves, np.full((1, 1, 8), 1 / 8)]))
    assert found[0, 0] == pytest.approx(7.5)
    assert sharpness[0, 0] == pytest.approx(np.cos(np.pi / 8))
    assert sharpness[1, 0] == pytest.approx(0, abs=1e-9)


@given(st.floats(0, 127), st.floats(-50, 50), st.integers(0, 99))
@example(0.0, 1e-209, 0)
def test_a_line_around_the_circle_is_found(start, slope, seed):
    numbers = np.random.default_rng(seed).uniform(-1, 1, 20)
    found = fit(numbers, (start + slope * numbers) % 128, np.ones(20), 128)
    assert found.explained == pytest.approx(1, abs=1e-6) or abs(slope) < 1e-3
    assert found.slope == pytest.approx(slope, abs=1e-6)
    assert (found.start - start) % 128 == pytest.approx(0, abs=1e-6) or (start - found.start) % 128 < 1e-6


def test_places_that_do_not_count_do_not_move_the_line():
    numbers, places = np.array([-1.0, 0.0, 1.0, 0.5]), np.array([10.0, 20.0, 30.0, 90.0])
    found = fit(numbers, places, np.array([1.0, 1.0, 1.0, 0.0]), 128)
    assert (found.start, found.slope, found.explained) == pytest.approx((20, 10, 1))


def test_places_without_any_line_explain_nothing():
    assert fit(np.array([1.0, 1.0]), np.array([3.0, 9.0]), np.ones(2), 16).explained == 0
    assert fit(np.array([1.0, 2.0]), np.array([3.0, 3.0]), np.zeros(2), 16).explained == 0


def test_the_head_that_follows_the_numbers_is_the_one_shown():
    numbers = np.linspace(-1, 1, 9)
    following = np.round(40 + 20 * numbers).astype(int)
    wandering = np.random.default_rng(0).integers(64, size=9)
    written = np.concatenate([np.stack([one_hot(wandering, 64), one_hot(following, 64)], axis=1), np.zeros((4, 2, 64))])
    trace = {
        "placed_by": np.concatenate([numbers, np.full(4, np.nan)]),
        "write_weights": written,
        "read_weights": np.zeros((13, 1, 64)),
    }
    against, image, read = draw_places(trace, "a run").axes
    assert against.get_title(loc="left") == "Head 2: slot = 40.0 + 20.0 x"
    assert image.get_title(loc="left") == "Writes of head 2, and its line"
    np.testing.assert_array_equal(image.images[0].get_array().T, written[:9, 1])
    assert read.get_xlim() == (8.5, 12.5)


def test_numbers_in_some_steps_in_all_or_in_none():
    weights = one_hot(np.arange(6)[:, None], 8)
    trace = {
        "write_weights": weights,
        "read_weights": weights,
        "placed_by": np.array([0, np.nan, 2, np.nan, 4, np.nan]),
    }
    _, written, read = draw_places(trace, "a run").axes
    assert (written.get_xlim(), read.get_xlim()) == ((-0.5, 4.5), (0.5, 5.5))
    shown = written.images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(shown.T[::2], weights[[0, 2, 4], 0])
    assert np.isnan(shown.T[1::2]).all()
    everywhere = draw_places({**trace, "placed_by": np.arange(6.0)}, "a run").axes[2]
    assert everywhere.get_xlim() == (-0.5, 5.5)
    blank = {name: np.zeros((6, 1)) for name in ("inputs", "targets", "outputs")}
    nowhere = {**trace, **blank, "add": np.zeros((6, 1, 2)), "reads": np.zeros((6, 1, 2)), "mask": np.ones(6, bool)}
    nowhere |= {"placed_by": np.full(6, np.nan), "measure: wrong_bits": np.float32(3)}
    assert list(draw_episode(nowhere, "a run", BITS, "bit")) == ["memory"]


def test_more_heads_than_colours_differ_by_their_marks():
    weights = one_hot(np.arange(7)[None].repeat(3, axis=0), 8)
    trace = {"write_weights": weights, "read_weights": weights, "placed_by": np.arange(3.0)}
    keys = draw_places(trace, "a run").axes[0].collections[1::2]  # the others are the slots
    looks = {(str(key.get_facecolor()), key.get_paths()[0].vertices.shape) for key in keys}
    assert len(keys) == len(looks) == 7


def test_the_gap_to_the_optimum_is_added_up():
    trace = {
        "targets": np.array([[1.0], [0.0], [1.0]]),
        "outputs": np.array([[0.5], [0.5], [0.25]]),
        "optimal": np.array([[0.5], [0.75], [0.5]]),
        "mask": np.array([True, True, True]),
    }
    figure = draw_predictions(trace, "a run", "bit")
    foretold, lost = figure.axes
    np.testing.assert_allclose(lost.lines[1].get_ydata(), [0, -1, 0])  # 1, 1 and 2 bits against 1, 2 and 1
    np.testing.assert_allclose(foretold.lines[1].get_ydata(), [0.5, 0.5, 0.25])


def test_each_task_has_the_pictures_it_has_numbers_for():
    network = {"memory_slots": 16, "hidden_size": 8}
    pictures = {}
    for task in (Copy(max_length=3), DynamicNGrams(length=12), PrioritySort(items=4, highest=2)):
        trace = trace_episode(NTM(task.input_size, task.output_size, **network), task, task.difficulty)
        drawn = drawn_of(trace, task)
        pictures[type(task).__name__] = list(drawn)
        told = drawn["memory"].get_suptitle()
        assert ("the optimum" in told) == ("optimal" in trace) == (not told.endswith(" wrong bits"))
    assert pictures == {
        "Copy": ["memory"],
        "DynamicNGrams": ["memory", "predictions"],
        "PrioritySort": ["memory", "places"],
    }
    task = PrioritySort(items=4, highest=2)
    trace = trace_episode(LSTM(task.input_size, task.output_size, num_layers=1), task, task.difficulty)
    assert list(drawn_of(trace, task)) == ["memory"]  # without a memory nothing is placed


def test_landmarks_are_pointed_out_and_named():
    task = AssociativeRecall(max_items=3)
    trace = trace_episode(NTM(task.input_size, task.output_size, memory_slots=16), task, {"items": 3})
    figure = draw_memory(trace, "a run", "bit")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["the item asked for", "the item that follows", "the query"]
    steps = {name: np.flatnonzero(trace[f"landmark: {name}"]) for name in named}
    inputs = figure.subfigs[0].axes[0]
    spans = [(patch.get_x() + 0.5, patch.get_width()) for patch in inputs.patches]
    assert spans == [(steps[name][0], len(steps[name])) for name in named]


def test_a_dnc_shows_usage_allocation_and_read_modes():
    task = Copy(max_length=3)
    network = DNC(task.input_size, task.output_size, memory_slots=6, num_read_heads=2)
    trace = trace_episode(network, task, {"length": 3})
    shown = titled(draw_memory(trace, "a run", "bit"))
    assert {"Write weightings", "Usage", "Allocation weighting", "Read weightings, head 2"} <= shown.keys()
    image = shown["Usage"].images[0].get_array()
    np.testing.assert_array_equal(image, trace["usage"].T)
    modes = shown["Read modes, head 2"]
    np.testing.assert_array_equal(modes.images[0].get_array(), trace["read_modes"][:, 1].T)
    modes.figure.figure.canvas.draw()
    assert {text.get_text() for text in modes.get_yticklabels()} >= {"backward", "content", "forward"}
    links = next(axes for title, axes in shown.items() if title.startswith("Links after these steps"))
    drawn = links.images[0].get_array().filled(0)
    np.testing.assert_array_equal(drawn[:, :6], trace["link"][0])
    np.testing.assert_array_equal(drawn[:, -6:], trace["link"][-1])


def test_a_long_episode_keeps_its_bits_and_shows_each_slot_that_is_looked_at():
    steps, slots = 1202, 600
    bits = np.random.default_rng(0).integers(2, size=(steps, 3)).astype(float)
    looked_at = one_hot(np.arange(steps), slots)[:, None]
    names = ("inputs", "targets", "outputs")
    trace = {**dict.fromkeys(names, bits), "mask": np.ones(steps, bool), "add": bits[:, None], "reads": bits[:, None]}
    figure = draw_memory({**trace, "write_weights": looked_at, "read_weights": looked_at}, "a run", "bit")
    for column, last in zip(figure.subfigs[:2], (2, 3), strict=True):
        np.testing.assert_array_equal(column.axes[0].images[0].get_array(), bits.T)
        weightings = column.axes[last].images[0]
        assert weightings.get_extent() == [-0.5, steps - 0.5, slots - 0.5, -0.5]
        assert (weightings.get_array().max(axis=0) == 1).all()


@pytest.mark.parametrize("model", [NTM, DNC, LSTM])
def test_a_network_that_answers_nan_is_drawn_and_all_its_bits_are_wrong(model):
    task = Copy(max_length=3)
    network = model(task.input_size, task.output_size, hidden_size=8)
    torch.nn.init.constant_(network.output.bias, np.nan)
    drawn = drawn_of(trace_episode(network, task, {"length": 3}), task)
    assert drawn["memory"].get_suptitle() == "a run: 24 wrong bits"


def test_an_episode_is_told_in_the_words_of_the_declarations():
    told = lambda measures, **values: cost(  # noqa: E731
        {f"measure: {name}": np.array(value) for name, value in values.items()}, measures
    )
    assert told(BITS, wrong_bits=3) == "3 wrong bits"
    assert told(UNCERTAIN_BITS, bits_per_sequence=45.25, optimal_bits=43.5) == (
        "45.25 bits per sequence, the optimum 43.50"
    )
    assert told(Symbols(3).measures, wrong_symbols=1, accuracy=0.9) == "1 wrong symbols"
    assert told(Numbers(1).measures, squared_error=0.00156) == "0.0016 squared error"


def images(figure, title):
    axes = [axis for column in figure.subfigs for axis in column.axes if axis.get_title(loc="left") == title]
    return axes[0], axes[0].images[0]


def test_symbols_are_drawn_as_rows():
    task = Asked(Symbols(3))
    trace = trace_episode(LSTM(3, 3, hidden_size=4, num_layers=1), task, {"length": 4})
    figure = drawn_of(trace, task)["memory"]
    axis, targets = images(figure, "Targets")
    assert axis.get_ylabel() == "symbol"
    assert targets.get_clim() == (0, 1)
    np.testing.assert_array_equal(targets.get_array().filled(-1)[:, 4:], np.eye(3)[[0, 1, 2, 0]].T)
    assert targets.get_array().mask[:, :4].all(), "no answer is asked for"
    outputs = images(figure, "Outputs")[1].get_array()[:, 4:]
    np.testing.assert_allclose(outputs.sum(axis=0), 1, rtol=1e-5)


def test_what_follows_the_end_symbol_is_no_answer():
    task = Asked(Symbols(3, end=2))  # 0 1 2 0
    trace = trace_episode(LSTM(3, 3, hidden_size=4, num_layers=1), task, {"length": 4})
    figure = drawn_of(trace, task)["memory"]
    for title in ("Targets", "Outputs"):
        answered = ~images(figure, title)[1].get_array().mask.all(axis=0)
        np.testing.assert_array_equal(answered, [False] * 4 + [True] * 3 + [False])
    assert "Measured" not in titled(figure)


def test_numbers_are_drawn_in_the_same_colours_whatever_their_size():
    task = Asked(Numbers(1))
    trace = trace_episode(LSTM(3, 1, hidden_size=4, num_layers=1), task, {"length": 4})
    figure = drawn_of(trace, task)["memory"]
    (axis, targets), (_, outputs) = (images(figure, name) for name in ("Targets", "Outputs"))
    assert axis.get_ylabel() == "number"
    assert targets.get_array().compressed().tolist() == [-3, -1, 1, 3]
    assert targets.get_clim() == outputs.get_clim() == (-3, 3)
    assert "squared error" in figure.get_suptitle()


def test_predictions_of_symbols_are_the_chances_of_those_that_came():
    trace = {
        "targets": np.eye(3)[[0, 2]],
        "outputs": np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]),
        "optimal": np.array([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]),
        "mask": np.array([True, True]),
    }
    chance, lost = draw_predictions(trace, "a run", "symbol").axes
    assert [line.get_ydata().tolist() for line in chance.lines] == [[0.25, 0.5], [0.5, 0.25]]
    np.testing.assert_allclose(lost.lines[1].get_ydata(), [-1, 0])


@dataclass(frozen=True)
class Asked(Task):
    """Four steps without an answer, then answers that are always the same."""

    asked: Answer
    input_size = 3

    @property
    def answer(self):
        return self.asked

    @property
    def difficulty(self):
        return {"length": 4}

    def sample(self, generator, batch_size, **difficulty):
        mask = torch.tensor([False] * 4 + [True] * 4).expand(batch_size, 8)
        numbers = torch.tensor([0.0] * 4 + [-3.0, -1.0, 1.0, 3.0]).view(1, 8, 1).expand(batch_size, 8, 1)
        symbols = torch.tensor([0] * 4 + [0, 1, 2, 0]).expand(batch_size, 8)
        return Batch(torch.zeros(batch_size, 8, 3), symbols if self.answer.unit == "symbol" else numbers, mask)


def test_a_lower_column_grows_to_the_height_of_the_other():
    task = AssociativeRecall()
    network = NTM(task.input_size, task.output_size, hidden_size=4, num_read_heads=4)
    figure = drawn_of(trace_episode(network, task, {"items": 6}), task)["memory"]
    figure.draw_without_rendering()
    panels = {title: axes.get_window_extent() for title, axes in titled(figure).items()}
    assert abs(panels["Write weightings"].y0 - panels["Read weightings, head 4"].y0) < 0.02 * figure.bbox.height
    assert panels["Adds"].height > 2 * panels["Reads, head 1"].height
