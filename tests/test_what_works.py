"""The table of docs/what-works.md: each row names a test that exists. Here are those that have no other place."""

import ast
import copy
import pickle
import re
from pathlib import Path

import pages
import pytest
import torch
from torch import nn

from lightning_ntm import DNC, LSTM, NTM, detach
from lightning_ntm.states import flatten

SIZES = {"hidden_size": 4, "memory_slots": 5, "memory_width": 3}
NETWORKS = {
    "ntm": lambda **options: NTM(3, 2, **SIZES, **options),
    "dnc": lambda **options: DNC(3, 2, **SIZES, **options),
    "lstm": lambda **options: LSTM(3, 2, hidden_size=4, **options),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def rows():
    text = (pages.DOCS / "what-works.md").read_text(encoding="utf-8")
    text = text.partition("\n## Not tested\n")[0]
    return [line for line in text.splitlines() if line.startswith("|") and "---" not in line and "| test |" not in line]


@pytest.mark.parametrize("row", rows())
def test_each_row_names_a_test_that_exists(row):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert named
    for path, name in named:
        tree = ast.parse((Path(__file__).parents[1] / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def results(network, inputs):
    logits, state = network(inputs)
    return [logits, *flatten(state)]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@every_network
def test_a_network_is_part_of_a_module(make):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.memory = nn.Embedding(7, 3), make()

        def forward(self, words):
            return self.memory(self.embed(words))[0]

    tagger, words = Tagger(), torch.randint(7, (2, 6))
    optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = tagger(words).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert tagger.embed.weight.grad.abs().sum() > 0
    assert {f"memory.{name}" for name in make().state_dict()} < tagger.state_dict().keys()


@every_network
def test_copies_and_pickles_compute_the_same(make):
    network, inputs = make(), torch.randn(2, 4, 3)
    expected = results(network, inputs)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert_same(results(twin, inputs), expected)
        with torch.no_grad():
            twin.output.weight.add_(1)
        assert not torch.equal(results(twin, inputs)[0], expected[0])
    assert_same(results(network, inputs), expected)


@every_network
def test_weights_go_from_one_backend_to_another(make):
    network, other, inputs = make(), make(backend="reference"), torch.randn(2, 4, 3)
    other.load_state_dict(network.state_dict())
    assert_same(results(other, inputs), results(network, inputs))


@every_network
def test_a_detached_state_cuts_the_gradient(make):
    network = make()
    first, second = (torch.randn(2, 3, 3, requires_grad=True) for _ in range(2))
    _, state = network(first)
    network(second, detach(state))[0].sum().backward()
    assert first.grad is None
    assert second.grad.abs().sum() > 0
    network(second, state)[0].sum().backward()
    assert first.grad.abs().sum() > 0, "without it the gradient flows"


@every_network
def test_double_precision(make):
    network, inputs = make(), torch.randn(2, 4, 3)
    expected = results(network, inputs)
    found = results(network.double(), inputs.double())
    assert all(tensor.dtype == torch.float64 for tensor in found)
    assert_same([tensor.float() for tensor in found], expected)


@every_network
def test_data_parallel_without_devices(make):
    network, inputs = make(), torch.randn(2, 4, 3)
    logits, state = nn.DataParallel(network)(inputs)
    assert_same([logits, *flatten(state)], results(network, inputs))


@every_network
def test_adapters_of_peft_train(make):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    network, inputs = make(), torch.randn(2, 4, 3)
    expected = results(network, inputs)[0]
    adapted = peft.get_peft_model(network, peft.LoraConfig(r=2, target_modules=["output"]))
    assert_same([adapted(inputs)[0]], [expected])
    adapted(inputs)[0].square().mean().backward()
    trained = {name for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    assert len(trained) == 2
    assert all("lora" in name for name in trained)
