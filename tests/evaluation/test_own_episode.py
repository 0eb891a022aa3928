"""Episodes of a user's own: read from each format, run, and refused in one line."""

import json
import re

import numpy as np
import pytest

from lightning_ntm import NTM
from lightning_ntm.evaluation.own_episode import read_episode
from lightning_ntm.evaluation.trace import trace_own
from lightning_ntm.measures import BITS
from lightning_ntm.report import draw_episode
from lightning_ntm.tasks.answers import Bits, Symbols

INPUTS = [[0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
MASK = [0, 0, 0, 1, 1]
TARGETS = [[0, 0], [0, 0], [0, 0], [0, 1], [1, 1]]


def write(path, **arrays):
    arrays = arrays or {"inputs": INPUTS}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, np.array(arrays["inputs"], np.uint8))
    elif path.suffix == ".json":
        path.write_text(json.dumps(arrays))
    else:
        path.write_text("\n".join(",".join(map(str, row)) for row in arrays["inputs"]) + "\n")
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.json", "a.csv", "a.CSV"])
def test_inputs_are_read_from_each_format(tmp_path, name):
    batch, known = read_episode(write(tmp_path / name), 3, Bits(2))
    assert batch.inputs[0].tolist() == INPUTS
    assert batch.mask.all()
    assert not known


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_an_episode_with_targets_is_measured(tmp_path, name):
    path = write(tmp_path / name, inputs=INPUTS, targets=TARGETS, mask=MASK)
    batch, known = read_episode(path, 3, Bits(2))
    trace = trace_own(NTM(3, 2, memory_slots=8), Bits(2), batch, known=known)
    assert trace["targets"].tolist() == TARGETS
    assert trace["measure: wrong_bits"] == trace["errors"].sum()
    assert trace["errors"][:3].tolist() == [0, 0, 0]
    symbols, _ = read_episode(write(path, inputs=INPUTS, targets=[0, 0, 0, 2, 1], mask=MASK), 3, Symbols(3))
    assert symbols.targets[0].tolist() == [0, 0, 0, 2, 1]


def test_an_episode_without_targets_is_drawn(tmp_path):
    batch, known = read_episode(write(tmp_path / "a.csv"), 3, Bits(2))
    trace = trace_own(NTM(3, 2, memory_slots=8), Bits(2), batch, known=known)
    figure = draw_episode(trace, "NTM on Copy, input a", BITS, "bit")["memory"]
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert "Outputs" in titles
    assert "Targets" not in titles
    assert figure.get_suptitle() == "NTM on Copy, input a"


@pytest.mark.parametrize(
    ("name", "arrays", "told"),
    [
        ("a.csv", {"inputs": [[0, 1]]}, "inputs must be (steps, 3), got (1, 2)."),
        ("a.csv", {"inputs": [[0, 1, 2], [1]]}, "inputs must be numbers, as many in each step."),
        ("a.csv", {"inputs": [["x", "y", "z"]]}, "it cannot be read as .csv of plain numbers."),
        ("a.csv", {"inputs": [["nan", 0, 0]]}, "inputs must be finite numbers."),
        ("a.npz", {"input": INPUTS}, "inputs are missing; it may have inputs, targets, mask."),
        ("a.npz", {"inputs": INPUTS, "target": TARGETS}, "unknown 'target'; it may have inputs, targets, mask."),
        ("a.npz", {"inputs": INPUTS, "mask": [1]}, "mask must be 0 or 1 for each of 5 steps."),
        ("a.npz", {"inputs": INPUTS, "mask": [2] * 5}, "mask must be 0 or 1 for each of 5 steps."),
        ("a.npz", {"inputs": np.array([[None]])}, "it cannot be read as .npz of plain numbers."),
        ("a.json", {"inputs": INPUTS, "targets": [[0]] * 5},
         "targets must have shape (batch, time, 2), got (1, 5, 1), with 1 for batch."),
        ("a.json", {"inputs": []}, "inputs must be (steps, 3), got (0,)."),
        ("a.txt", {}, "the name must end in .npy, .npz, .json, .csv."),
    ],
)  # fmt: skip
def test_what_cannot_be_an_episode_is_refused_in_one_line(tmp_path, name, arrays, told):
    path = write(tmp_path / name, **arrays)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: {told}')}$"):
        read_episode(path, 3, Bits(2))


def test_files_that_are_not_there_or_not_what_they_say(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array")
    for name, told in (("a.npy", "it cannot be read as .npy of plain numbers."), ("b.npy", "there is no such file.")):
        with pytest.raises(ValueError, match=re.escape(told)):
            read_episode(tmp_path / name, 3, Bits(2))
