"""The scripts of the page compute what Python computes."""

import json

import numpy as np
import pytest
import torch
from engine import run
from torch import nn

from lightning_ntm import (
    DNC,
    GRU,
    LSTM,
    NTM,
    RNN,
    SAM,
    SDNC,
    Batch,
    Copy,
    RepeatCopy,
    StackRNN,
    TapeRNN,
    Transformer,
    functional,
)
from lightning_ntm.explorer.episodes import answer, cells_of, layout
from lightning_ntm.explorer.network import description, packed, why_not
from lightning_ntm.models.sparse import SparseModel
from lightning_ntm.tasks import AssociativeRecall, Bits, DuplicateString, Numbers, ReverseString, Symbols
from lightning_ntm.tasks.formal import (
    BinaryAddition,
    BucketSort,
    CycleNavigation,
    EvenPairs,
    ModularArithmetic,
    OddsFirst,
    ParityCheck,
    StackManipulation,
)
from lightning_ntm.tasks.formal.strings import StringTask

SIZES = {"hidden_size": 7, "memory_slots": 9, "memory_width": 4}
NETWORKS = [
    NTM(5, 3, **SIZES),
    NTM(5, 3, **SIZES, controller="feedforward", num_layers=2),
    NTM(5, 3, **SIZES, num_layers=2, num_read_heads=2, num_write_heads=3, max_shift=2),
    NTM(5, 3, **SIZES, memory_init="learned", head_init="learned", max_shift=0),
    NTM(5, 3, **SIZES, memory_init="random", gradient_limit=1.0, min_sharpening=1.5, controller="feedforward"),
    LSTM(5, 3, hidden_size=6, num_layers=3),
    LSTM(5, 3, hidden_size=6, num_layers=1),
    DNC(5, 3, **SIZES),
    DNC(5, 3, **SIZES, controller="feedforward", num_read_heads=3),
    DNC.mds(5, 3, **SIZES, num_layers=2, num_read_heads=2, mask_floor=0.1),
    RNN(5, 3, hidden_size=6, num_layers=2),
    GRU(5, 3, hidden_size=6, num_layers=2),
    StackRNN(5, 3, **SIZES),
    StackRNN(5, 3, **{**SIZES, "memory_slots": 3}, num_stacks=2, controller="gru", num_layers=2),
    StackRNN(5, 3, **{**SIZES, "memory_slots": 1}, controller="lstm"),
    TapeRNN(5, 3, **SIZES),
    TapeRNN(5, 3, **{**SIZES, "memory_slots": 2}, num_tapes=2, write_hidden_size=0, controller="lstm", num_layers=2),
    TapeRNN(5, 3, **SIZES, num_tapes=2, write_hidden_size=6, length_oracle=True),
    SAM(5, 3, **SIZES),
    SAM(5, 3, **{**SIZES, "memory_slots": 2}, num_nearest=2, num_read_heads=2, controller="feedforward"),
    SDNC(5, 3, **SIZES),
    SDNC(5, 3, **SIZES, num_read_heads=3, num_nearest=2, num_links=3, num_layers=2),
    SDNC(5, 3, **{**SIZES, "memory_slots": 3}, num_nearest=3, num_links=3, controller="feedforward"),
]
#: What a trace of Python has and the page does not show.
LEFT_OUT = {
    NTM: {"read_weights", "write_weights", "gated_weights", "shifted_weights"},
    SparseModel: {"accessed", "time", "read_places", "read_entries"},
}


def shaken(network, seed):
    """With weights as large as those of trained networks, learned starts among them."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return network


def test_traces_are_those_of_python():
    networks = [shaken(network, seed) for seed, network in enumerate(NETWORKS)]
    assert [why_not(network) for network in networks] == [None] * len(networks)
    inputs = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    calls = [("run", {"network": description(one), "inputs": packed(inputs.numpy())}) for one in networks]
    for network, found in zip(networks, run(*calls), strict=True):
        single, double = network.trace(inputs[None]), network.double().trace(inputs[None].double())
        left_out = {name for kind, names in LEFT_OUT.items() if isinstance(network, kind) for name in names}
        assert found.keys() == double.keys() - left_out
        for name, values in found.items():
            np.testing.assert_allclose(values, double[name][0], rtol=1e-9, atol=1e-9, err_msg=name)
        probabilities = torch.from_numpy(found["logits"]).sigmoid()
        torch.testing.assert_close(probabilities.float(), single["logits"][0].sigmoid(), rtol=0, atol=1e-5)


def test_what_stacks_and_tapes_hold_is_drawn_as_in_the_report():
    networks = [
        shaken(network, seed) for seed, network in enumerate(NETWORKS) if isinstance(network, StackRNN | TapeRNN)
    ]
    networks.append(shaken(TapeRNN(5, 3, hidden_size=7, memory_slots=64, memory_width=4), 20))  # not all cells are used
    inputs = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    calls = [("cells", {"network": description(one), "inputs": packed(inputs.numpy())}) for one in networks]
    shown = set()
    for network, found in zip(networks, run(*calls), strict=True):
        seen = {name: values[0].numpy() for name, values in network.double().trace(inputs[None].double()).items()}
        expected = cells_of(seen)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(
                found[name], values, rtol=0, atol=1e-5 * max(1, np.abs(values).max()), err_msg=name
            )
        shown |= {values.shape[1] for name, values in found.items() if name == "cells_tape_1"}
    assert len(shown) > 2


def test_a_changed_head_addresses_as_the_equations_say():
    network = shaken(NTM(5, 3, **SIZES, max_shift=2), 3).double()
    inputs = torch.randn(6, 5)
    given = {"network": description(network), "inputs": packed(inputs.numpy())}
    change = {"gate": 0.25, "strength": 3.5, "shift": -1.25}
    plain, changed = run(("run", given), ("run", {**given, "changed": [[2, 1, change]]}))
    seen = {name: torch.from_numpy(values) for name, values in plain.items()}
    moves = torch.tensor([0.25, 0.75, 0, 0, 0]).double()  # of shifts by -2 to 2
    content = functional.content_weights(seen["memory"][1], seen["key"][2, 1:], torch.tensor([3.5]).double())
    expected = functional.location_weights(
        seen["weights"][1, 1:], content, torch.tensor([0.25]).double(), moves[None], seen["sharpening"][2, 1:]
    )
    np.testing.assert_allclose(changed["weights"][2, 1], expected[0], rtol=1e-9)
    np.testing.assert_array_equal(changed["weights"][2, 0], plain["weights"][2, 0])
    np.testing.assert_array_equal(changed["weights"][:2], plain["weights"][:2])
    assert np.abs(changed["logits"][3:] - plain["logits"][3:]).max() > 1e-6


TASKS = [
    Copy(bits=3, max_length=6),
    RepeatCopy(bits=3, max_length=4, max_repeats=5),
    RepeatCopy(bits=2, max_length=3, min_repeats=4, max_repeats=4),
    RepeatCopy(bits=3, max_length=4, max_repeats=5, number="unary"),
    AssociativeRecall(bits=3, item_length=2, max_items=4),
    AssociativeRecall(bits=9, item_length=1, max_items=6),
    ReverseString(max_length=8),
    DuplicateString(max_length=8),
    EvenPairs(max_length=8),
    ParityCheck(max_length=8),
    CycleNavigation(max_length=8),
    ModularArithmetic(max_length=15),
    OddsFirst(max_length=8),
    BucketSort(max_length=8),
    StackManipulation(max_length=12),
]


def presented(task, batch):
    """The items that an episode of a task presents, and how often they are asked for."""
    if isinstance(task, StringTask):
        return batch.inputs[0].argmax(-1)[~batch.mask[0]][:, None].tolist(), 1
    if isinstance(task, AssociativeRecall):
        groups = batch.inputs[0].unflatten(0, (-1, task.item_length + 1))[:, 1:, : task.bits].int()
        asked = [bool((item == groups[-2]).all()) for item in groups].index(True)
        return groups[:-2].flatten(0, 1).tolist(), asked + 1
    length = int(batch.inputs[0, :, task.bits].argmax())
    repeats = 1 if isinstance(task, Copy) else (int(batch.mask.sum()) - 1) // length
    return batch.inputs[0, :length, : task.bits].int().tolist(), repeats


def test_episodes_that_are_drawn_are_those_of_the_task():
    drawn = [(task, task.batch(1, "evaluation", number, 1)) for task in TASKS for number in range(4)]
    calls = []
    for task, batch in drawn:
        items, repeats = presented(task, batch)
        calls.append(("make", {"layout": layout(task), "items": items, "repeats": repeats}))
    for (task, batch), made in zip(drawn, run(*calls), strict=True):
        np.testing.assert_allclose(made["inputs"], batch.inputs[0], rtol=1e-6, err_msg=str(task))
        np.testing.assert_array_equal(made["mask"], batch.mask[0])
        targets = task.answer.pictured(batch.targets)[0] * batch.mask[0, :, None]
        np.testing.assert_array_equal(made["targets"], targets)


def test_sliders_show_the_length_and_the_repeats_of_an_episode_of_the_task():
    drawn = [(task, task.batch(1, "evaluation", number, 1)) for task in TASKS for number in range(4)]
    calls = [
        (
            "presented",
            {
                "layout": layout(task),
                **{name: packed(getattr(batch, name)[0].float().numpy()) for name in ("inputs", "mask")},
            },
        )
        for task, batch in drawn
    ]
    for (task, batch), found in zip(drawn, run(*calls), strict=True):
        items, repeats = presented(task, batch)
        assert found == {"length": len(items) / layout(task)["group"], "repeats": repeats}


STRINGS = [task for task in TASKS if isinstance(task, StringTask)]


def test_random_strings_are_those_of_the_task():
    lengths = {task: [*task.training_values("length")] for task in STRINGS}
    calls = [
        ("random", {"layout": layout(task), "length": length}) for task in STRINGS for length in lengths[task] * 20
    ]
    drawn = iter(run(*calls))
    seen = {task: [next(drawn) for _ in lengths[task] * 20] for task in STRINGS}
    for task, strings in seen.items():
        assert [len(string) for string in strings] == lengths[task] * 20
        own = [presented(task, task.batch(1, "evaluation", number, 1))[0] for number in range(200)]
        for place in range(2):  # which symbols there are where
            assert {tuple(string[place]) for string in strings if len(string) > place} == {
                tuple(string[place]) for string in own if len(string) > place
            }
    valid = iter(run(*[("valid", {"layout": layout(task), "items": one}) for task in STRINGS for one in seen[task]]))
    assert all(next(valid) for task in STRINGS for _ in seen[task])
    for string in seen[StackManipulation(max_length=12)]:
        symbols = [symbol for (symbol,) in string]
        assert symbols[0] < 2
        assert sorted(symbols, key=lambda symbol: symbol > 1) == symbols  # the actions come last


@pytest.mark.parametrize(
    ("task", "string"),
    [
        (ModularArithmetic(), "15"),
        (ModularArithmetic(), "515"),
        (ModularArithmetic(), "123"),
        (ModularArithmetic(), "158"),
        (StackManipulation(), "2"),
        (StackManipulation(), "130"),
        (ParityCheck(), "012"),
    ],
)
def test_strings_that_a_task_does_not_have(task, string):
    items = [[int(symbol)] for symbol in string]
    assert run(("valid", {"layout": layout(task), "items": items})) == [False]


def test_errors_are_those_of_the_answer():
    generator = np.random.default_rng(0)
    answers = [Bits(4), Symbols(4), Symbols(4, end=3), Numbers(4, tolerance=0.5)]
    calls, batches = [], []
    for kind in answers:
        logits = torch.from_numpy(generator.normal(size=(1, 30, 4))).float()
        symbols = torch.from_numpy(generator.integers(3, size=(1, 30)))
        symbols[0, 20] = 3
        bits = (logits + torch.randn(1, 30, 4) > 0).float()
        targets = symbols if isinstance(kind, Symbols) else bits
        mask = torch.arange(30)[None] >= 6
        batches.append((kind, logits, Batch(torch.zeros(1, 30, 1), targets, mask)))
        arrays = {"logits": logits, "targets": kind.pictured(targets), "mask": mask}
        calls.append(("judge", {"answer": answer(kind), **{name: packed(a[0].numpy()) for name, a in arrays.items()}}))
    for (kind, logits, batch), found in zip(batches, run(*calls), strict=True):
        assert len(found["wrong"]) == kind.errors(logits, batch).item() > 0
        np.testing.assert_allclose(found["outputs"], kind.shown(logits)[0], rtol=1e-6)
    assert run(calls[2])[0]["asked"] == 15  # up to the end, from step 6 to 20


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Transformer(3, 2), "cannot run a Transformer"),
        (StackRNN(3, 2, memory_slots=8192, num_stacks=2), "a memory of more than 65,536 numbers"),
        (DNC(3, 2, memory_slots=257, memory_width=4), "a DNC with more than 65,536 links"),
        (NTM(3, 2, **SIZES).bfloat16(), "in torch.bfloat16"),
        (SAM(3, 2, memory_slots=8192), "a memory of more than 65,536 numbers"),
        (NTM(3, 2, memory=DNC(3, 2).memory), "with a controller or a memory of one's own"),
        (NTM(3, 2, memory_slots=1025, memory_width=64), "a memory of more than 65,536 numbers"),
    ],
)
def test_networks_that_the_scripts_cannot_run(network, reason):
    assert reason in why_not(network)


def test_a_network_with_hooks_is_not_run_by_the_scripts():
    network = NTM(3, 2, **SIZES)
    assert why_not(network) is None
    network.controller.register_forward_hook(lambda *_: None)
    assert "controller has hooks" in why_not(network)
    for network in (LSTM(3, 2), TapeRNN(3, 2)):
        nn.utils.parametrizations.weight_norm(network.output)
        assert why_not(network) is not None
    network = SDNC(3, 2)
    network.memory.step = network.memory.step
    assert why_not(network) == "The page cannot run this SDNC: memory was replaced."
    network = StackRNN(3, 2, controller="gru")
    network.memory.register_forward_hook(lambda *_: None)
    assert why_not(network) == "The page cannot run this StackRNN: memory has hooks."
    network = StackRNN(3, 2)
    network.heads.forward = lambda x: 2 * x
    assert why_not(network) == "The page cannot run this StackRNN: heads was replaced."


def test_only_tasks_with_a_known_layout_have_one():
    class Mine(Copy):
        pass

    assert layout(Mine()) is None
    assert layout(BinaryAddition()) is None
    assert layout(None) is None
    json.dumps([layout(task) for task in TASKS], allow_nan=False)
