"""Kernels under autocast: they compute in the dtype of the state, nearer to the truth than the loop."""

import copy

import pytest
import torch

from lightning_ntm import LSTM, NTM
from lightning_ntm.states import flatten

SIZES = {"hidden_size": 16, "memory_slots": 8, "memory_width": 6, "memory_init": "learned"}
NETWORKS = {
    "NTM": lambda: NTM(4, 3, **SIZES),
    "deep NTM": lambda: NTM(4, 3, num_layers=2, **SIZES),
    "feed-forward NTM": lambda: NTM(4, 3, controller="feedforward", **SIZES),
    "LSTM": lambda: LSTM(4, 3, hidden_size=16, num_layers=2),
}
every_network = pytest.mark.parametrize("network", NETWORKS)
every_dtype = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def results(model, backend, inputs, dtype=None):
    twin = copy.deepcopy(model)
    twin.backend = backend
    leaf = inputs.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        logits, state = twin(leaf)
    state = flatten(state)
    (logits.float().square().sum() + sum(part.square().sum() for part in state)).backward()
    return [logits, *state, leaf.grad, *(p.grad for p in twin.parameters())]


@every_network
@every_dtype
def test_results_are_of_the_loop_s_dtypes_and_nearer_to_the_truth(network, dtype):
    model, inputs = NETWORKS[network](), torch.randn(3, 12, 4)
    kernel = next(iter(model.kernels))
    truth = results(copy.deepcopy(model).double(), "reference", inputs.double())
    mine, loop = (results(model, backend, inputs, dtype) for backend in (kernel, "reference"))
    errors = [[(a.double() - b).norm() for a, b in zip(found, truth, strict=True)] for found in (mine, loop)]
    for ours, theirs, error, other in zip(mine, loop, *errors, strict=True):
        assert ours.dtype == theirs.dtype
        assert error <= other
    assert mine[0].dtype == dtype


@every_network
@every_dtype
def test_inputs_may_come_from_a_layer_under_autocast(network, dtype):
    model, before = NETWORKS[network](), torch.nn.Linear(5, 4)
    inputs, outputs = torch.randn(3, 6, 5), []
    for enabled in (True, False):
        with torch.autocast("cpu", dtype, enabled=enabled):
            given = before(inputs)
            assert given.dtype == (dtype if enabled else torch.float32)
            assert model.backend_for(given) == next(iter(model.kernels))
            logits, state = model(given)
            rest, _ = model(given, state)
        torch.cat([logits, rest]).float().sum().backward()
        outputs.append([logits.float(), rest.float()])
        assert before.weight.grad.abs().sum() > 0
    for mine, truth in zip(*outputs, strict=True):
        assert (mine - truth).norm() < 0.2 * truth.norm()  # the inputs were rounded


@every_network
def test_in_float64_autocast_changes_nothing(network):
    model, inputs = NETWORKS[network]().double(), torch.randn(3, 6, 4, dtype=torch.float64)
    plain = results(model, "auto", inputs)
    assert all(torch.equal(a, b) for a, b in zip(plain, results(model, "auto", inputs, torch.bfloat16), strict=True))


@every_network
def test_inputs_of_another_dtype_are_as_in_the_loop_elsewhere(network):
    model = NETWORKS[network]()
    model.backend = next(iter(model.kernels))
    for autocast, dtype in ((False, torch.bfloat16), (True, torch.float64)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast), pytest.raises(ValueError, match="cannot run"):
            model(torch.ones(1, 2, 4, dtype=dtype))


def test_second_gradients_under_autocast():
    model, inputs = NETWORKS["NTM"](), torch.randn(2, 3, 4)
    truth = torch.autograd.functional.hvp(lambda x: model(x)[0].square().sum(), inputs, inputs)[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.functional.hvp(lambda x: model(x)[0].float().square().sum(), inputs, inputs)[1]
    torch.testing.assert_close(found, truth, rtol=0.1, atol=0.1 * float(truth.abs().max()))
