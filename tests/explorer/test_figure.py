"""`figure`: of any network, with or without a task, and what it says of what cannot be drawn."""

import copy
import json
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.figure
import pytest
import torch
from torch import Tensor, nn

import lightning_ntm
from lightning_ntm import Copy, DynamicNGrams, FileTask, MemoryModel, RepeatCopy, explore, figure
from lightning_ntm.evaluation import evaluate_range
from lightning_ntm.evaluation.evaluate import evaluate
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.models import DNC, LSTM, NTM, SAM, SDNC, StackRNN, TapeRNN, Transformer

TASK = Copy(bits=2, max_length=3)
KINDS = (NTM, DNC, LSTM, lightning_ntm.GRU, lightning_ntm.RNN, SAM, SDNC, StackRNN, TapeRNN, Transformer)


class TraceState(NamedTuple):
    trace: Tensor


class Trace(MemoryModel[TraceState]):
    """A network of a user's own: it adds its inputs up."""

    def __init__(self, input_size, output_size):
        super().__init__(input_size, output_size)
        self.output = nn.Linear(input_size, output_size)

    def initial_state(self, *batch):
        return TraceState(self.output.weight.new_zeros(*batch, self.input_size))

    def step(self, x, state):
        return self.output(state.trace), TraceState(0.9 * state.trace + x)


def panels(drawn):
    return [title for axis in drawn.axes if (title := axis.get_title(loc="left"))]


def title(drawn):
    return drawn.get_suptitle()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_any_network_of_the_package_is_drawn(kind):
    drawn = figure(kind(TASK.input_size, TASK.output_size, hidden_size=8), TASK)
    assert isinstance(drawn, matplotlib.figure.Figure)
    assert title(drawn).startswith(f"{kind.__name__} on Copy, length 3: ")
    assert {"Inputs", "Targets", "Outputs"} < set(panels(drawn)), "and something of the network"


def test_a_network_of_one_s_own_is_drawn_by_what_it_observes_and_shown():
    network = Trace(TASK.input_size, TASK.output_size)
    assert "Trace" in panels(figure(network, TASK))
    assert 'srcdoc="' in explore(network, TASK)._repr_html_()


def test_a_notebook_shows_it_as_an_image():
    assert figure(Trace(3, 2), TASK)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_of_any_precision(dtype):
    network = NTM(TASK.input_size, TASK.output_size, hidden_size=4, memory_slots=5).to(dtype)
    assert "Write weightings" in panels(figure(network, TASK))


def test_without_a_task_the_inputs_are_random_bits():
    drawn = figure(Trace(3, 2))
    assert title(drawn) == "Trace on random bits"
    assert panels(drawn) == ["Inputs", "Outputs", "Trace"]


def test_a_run_and_a_shipped_network_are_opened(tmp_path):
    assert title(figure("copy", difficulty={"length": 4})) == "NTM on Copy, length 4: 0 wrong bits"
    network = NTM(TASK.input_size, TASK.output_size, hidden_size=4, memory_slots=5)
    network.save_pretrained(tmp_path / "a", task=TASK)
    assert title(figure(tmp_path / "a")).startswith("NTM on Copy, length 3")


def test_difficulty_episode_and_what_is_shown_are_chosen():
    task = RepeatCopy(bits=2, max_length=3, max_repeats=3)
    network = NTM(task.input_size, task.output_size, hidden_size=4, memory_slots=5)
    drawn = figure(network, task, {"length": 2}, show="gate", seed=4, sequence=7)
    assert title(drawn).startswith("NTM on RepeatCopy, length 2, repeats 3: ")
    assert [name for name in panels(drawn) if name.startswith("Gate")] == ["Gate (1: content), write head",
                                                                           "Gate (1: content), read head"]  # fmt: skip
    trace = trace_episode(network, task, {"length": 2, "repeats": 3}, seed=4, sequence=7)
    assert f"{float(trace['measure: wrong_bits']):.0f} wrong bits" in title(drawn)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"difficulty": {"repeats": 3}}, "Copy has no difficulty 'repeats'; it has length."),
        ({"show": "keyy"}, "did you mean 'key'"),
        ({"memory_slots": 0}, "memory_slots"),
        ({"task": DynamicNGrams()}, "must"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(options, says):
    network = NTM(TASK.input_size, TASK.output_size, hidden_size=4, memory_slots=5)
    with pytest.raises(ValueError, match=says):
        figure(network, **{"task": TASK, **options})


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda network: figure(NTM), "network must be a network, a folder or a name of ntm zoo, not the class NTM"),
        (lambda network: figure(network, 20), "task must be a task, not int"),
        (lambda network: figure(network, seed=2.5), r"seed must be a whole number, not float \(2.5\)"),
        (lambda network: explore(network, TASK, seed=None), "seed must be a whole number, not NoneType"),
        (lambda network: figure(network, TASK, 40), r"difficulty \(=40\) must be a mapping"),
        (lambda network: explore("copy", "copy-dnc"), "a second network is given as beside="),
    ],
)
def test_arguments_of_another_kind_are_said_in_a_line(draw, says):
    with pytest.raises(TypeError, match=says):
        draw(NTM(TASK.input_size, TASK.output_size, hidden_size=4, memory_slots=5))


class Dropping(Trace):
    """It drops inputs in training."""

    def step(self, x, state):
        return super().step(nn.functional.dropout(x, training=self.training), state)


LOOKS = {
    "figure": lambda network: figure(network, TASK),
    "figure without a task": lambda network: figure(network),
    "trace": lambda network: trace_episode(network, TASK, {"length": 3})["outputs"].tolist(),
    "evaluation": lambda network: evaluate(network, TASK, {"length": 3}),
    "range": lambda network: evaluate_range(network, TASK, range(4, 6), sequences=3),
    "page": lambda network: explore(network, TASK).html,
    "page without a task": lambda network: explore(network).html,
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_in_the_middle_of_a_training_changes_nothing_and_sees_no_dropout(look):
    network = Dropping(TASK.input_size, TASK.output_size)
    network.output.eval()
    before = torch.get_rng_state()
    found, expected = LOOKS[look](network), LOOKS[look](copy.deepcopy(network).eval())
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training
    assert not network.output.training
    if not look.startswith("figure"):
        assert str(found) == str(expected)


def test_names_of_symbols_are_drawn_as_they_are(tmp_path):
    names = ["$x$", "$\\frac{$", "a_b"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    row = json.dumps({"inputs": [0, 1, 2, 1], "targets": [2, 1, 0, 1]})
    (tmp_path / "file.jsonl").write_text(f"{row}\n")
    task = FileTask(*[str(tmp_path / "file.jsonl")] * 2, names=str(tmp_path / "names.txt"))
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure(LSTM(3, 3, hidden_size=4), task).savefig(tmp_path / "drawn.svg")
    drawn = (tmp_path / "drawn.svg").read_text()
    assert all(f">{name}</text>" in drawn for name in names)
