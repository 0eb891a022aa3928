"""An opened run stays the network of its training; sequences with other memory slots give the bits of a larger one."""

import numpy as np
import pytest
import torch

from lightning_ntm import NTM, Copy
from lightning_ntm.evaluation import open_run, trace_episode
from lightning_ntm.evaluation.evaluate import evaluate_pieces
from lightning_ntm.evaluation.weights import save_weights

CONFIG = """
seed: 3
task: {class_path: lightning_ntm.Copy, init_args: {bits: 3, max_length: 4}}
model: {class_path: lightning_ntm.CLASS, init_args: {hidden_size: 8, OPTIONS}}
"""


def folder_of(path, options="memory_slots: 6, memory_width: 4", kind="NTM", model=None):
    (path / "config.yaml").write_text(CONFIG.replace("CLASS", kind).replace("OPTIONS", options))
    save_weights(model or network(6), path / "best.safetensors", step=1)
    return path


def network(slots, **options):
    torch.manual_seed(3)
    return NTM(4, 3, hidden_size=8, memory_slots=slots, memory_width=4, **options).eval()


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("slots", [3, 20])
def test_other_slots_give_the_bits_of_a_network_made_with_them(tmp_path, slots, backend):
    opened = open_run(folder_of(tmp_path), memory_slots=slots)
    assert (opened.model.memory_slots, opened.memory_slots) == (6, slots)
    other = network(slots)
    other.load_state_dict(opened.model.state_dict())
    opened.model.backend = other.backend = backend
    more = {"pieces": 2, "sequences": 150}  # more than one batch
    lent = evaluate_pieces(opened.model, opened.task, {"length": 9}, memory_slots=slots, **more)
    assert lent == evaluate_pieces(other, opened.task, {"length": 9}, **more)
    assert lent != evaluate_pieces(opened.model, opened.task, {"length": 9}, **more)
    lent = trace_episode(opened.model, opened.task, {"length": 9}, memory_slots=slots)
    made = trace_episode(other, opened.task, {"length": 9})
    assert lent["memory"].shape[1] == slots
    assert lent.keys() == made.keys()
    assert all(np.array_equal(lent[name], made[name]) for name in made)


def test_the_slots_of_the_training_are_not_others(tmp_path):
    assert open_run(folder_of(tmp_path), memory_slots=6).memory_slots is None
    assert open_run(tmp_path).memory_slots is None


def test_a_learned_start_has_at_most_its_own_slots(tmp_path):
    options = {"memory_init": "learned"}
    folder_of(tmp_path, "memory_slots: 6, memory_width: 4, memory_init: learned", model=network(6, **options))
    with pytest.raises(ValueError, match=r"memory_slots \(=9\) cannot be given: slots \(=9\) must be at most 6: with"):
        open_run(tmp_path, memory_slots=9)
    opened = open_run(tmp_path, memory_slots=5)
    assert trace_episode(opened.model, Copy(bits=3), {"length": 2}, memory_slots=5)["memory"].shape[1] == 5


@pytest.mark.parametrize(
    ("slots", "reason"),
    [(0, r"slots \(=0\) must be at least 1"), (2, r"max_shift \(=1\)"), (10**15, "allocate|memory")],
)
def test_a_number_of_slots_that_cannot_be_is_told(tmp_path, slots, reason):
    with pytest.raises(ValueError, match=rf"memory_slots \(={slots}\) cannot be given: .*{reason}"):
        open_run(folder_of(tmp_path), memory_slots=slots)


class FixedSlots(NTM):
    def initial_state(self, *batch):
        return super().initial_state(*batch)


def test_networks_without_slots_are_named(tmp_path):
    from lightning_ntm import LSTM
    from lightning_ntm.evaluation.slots import start_of

    folder_of(tmp_path, "num_layers: 1", "LSTM", LSTM(4, 3, hidden_size=8, num_layers=1))
    with pytest.raises(ValueError, match=r"memory_slots \(=9\) cannot be given: LSTM has no memory slots\."):
        open_run(tmp_path, memory_slots=9)
    with pytest.raises(ValueError, match="FixedSlots has memory slots whose number cannot be set"):
        start_of(FixedSlots(4, 3, memory_slots=6), 1, 9)
