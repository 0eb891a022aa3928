"""What holds for every network of the package in the precisions and on the devices that PyTorch has."""

import copy

import pytest
import torch

from lightning_ntm import DNC, GRU, LSTM, NTM, RNN, SAM, SDNC, StackRNN, TapeRNN, Transformer
from lightning_ntm.states import flatten

SIZES = {"hidden_size": 8, "memory_slots": 6, "memory_width": 4}
NETWORKS = {
    "NTM": lambda: NTM(3, 2, **SIZES),
    "DNC": lambda: DNC(3, 2, **SIZES),
    "SAM": lambda: SAM(3, 2, **SIZES),
    "SDNC": lambda: SDNC(3, 2, num_links=3, **SIZES),
    "LSTM": lambda: LSTM(3, 2, hidden_size=8),
    "GRU": lambda: GRU(3, 2, hidden_size=8, num_layers=2),
    "RNN": lambda: RNN(3, 2, hidden_size=8, num_layers=2),
    "Stack-RNN": lambda: StackRNN(3, 2, hidden_size=8, memory_width=4),
    "Stack-RNN with a GRU": lambda: StackRNN(3, 2, hidden_size=8, memory_width=4, controller="gru"),
    "Tape-RNN": lambda: TapeRNN(3, 2, hidden_size=8, memory_width=4),
    "Transformer": lambda: Transformer(3, 2, hidden_size=8, num_layers=1, num_heads=2),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
every_half = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


@every_network
@every_half
def test_half_precision_is_near_and_has_finite_gradients(make, dtype):
    model, inputs = make(), torch.randn(3, 5, 3)
    half = copy.deepcopy(model).to(dtype)
    logits, state = half(inputs.to(dtype))
    logits.float().square().sum().backward()
    assert (logits.float() - model(inputs)[0]).abs().max() < 0.05
    assert {part.dtype for part in flatten(state)} <= {torch.float32, torch.int64}
    assert all(p.grad is None or p.grad.isfinite().all() for p in half.parameters())


@every_network
@every_half
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_autocast_is_near_and_keeps_the_kernel(make, dtype, backend):
    model, inputs = make(), torch.randn(3, 5, 3)
    model.backend = backend
    kernel = model.backend_for(inputs)
    with torch.autocast("cpu", dtype):
        assert model.backend_for(inputs) == kernel
        logits, _ = model(inputs)
    logits.float().square().sum().backward()
    assert logits.dtype == dtype
    assert (logits.float() - model(inputs)[0]).abs().max() < 0.1


@every_network
def test_shapes_are_found_on_the_meta_device(make):
    logits, _ = make().to("meta")(torch.zeros(3, 5, 3, device="meta"))
    assert (logits.shape, logits.device.type) == ((3, 5, 2), "meta")


@every_network
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("parameters", [torch.float32, torch.float64], ids=str)
def test_inputs_in_a_narrower_dtype_are_those_numbers(make, backend, parameters):
    model, inputs = make().to(parameters), torch.randint(2, (3, 5, 3))
    model.backend = backend
    expected, _ = model(inputs.to(parameters))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        logits, _ = model(inputs.to(dtype))
        torch.testing.assert_close(logits, expected)  # another backend may run it


@every_network
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_inputs_of_more_bits_are_refused(make, backend):
    model = make()
    model.backend = backend
    says = r"^inputs must be in torch.float32, the dtype of the network's weights, got torch.float64\.$"
    with pytest.raises(TypeError, match=says):
        model(torch.zeros(3, 5, 3, dtype=torch.float64))
    with pytest.raises(TypeError, match=says):
        model.step(torch.zeros(3, 3, dtype=torch.float64), model.initial_state(3))
