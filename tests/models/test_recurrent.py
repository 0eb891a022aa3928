"""RNN and GRU against transcriptions of their equations, and against PyTorch's own modules."""

import numpy as np
import pytest
import torch

from lightning_ntm import GRU, LSTM, RNN, Stack
from lightning_ntm.testing import check_model

KINDS = {RNN: torch.nn.RNN, GRU: torch.nn.GRU}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_backend = pytest.mark.parametrize("backend", ["reference", "torch"])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_layer(weights, layer, x, h):
    matrix, bias = weights[f"controller.layers.{layer}.weight"], weights[f"controller.layers.{layer}.bias"]
    return np.array([np.tanh(row @ np.concatenate([x, h]) + b) for row, b in zip(matrix, bias, strict=True)])


def gru_layer(weights, layer, x, h):
    of_inputs = weights[f"controller.layers.{layer}.weight"] @ x + weights[f"controller.layers.{layer}.bias"]
    of_hidden = weights[f"controller.recurrent.{layer}.weight"] @ h + weights[f"controller.recurrent.{layer}.bias"]
    after = np.empty_like(h)
    for unit in range(len(h)):
        r, z, n = (of_inputs[unit + gate * len(h)] for gate in range(3))
        r, z = sigmoid(r + of_hidden[unit]), sigmoid(z + of_hidden[unit + len(h)])
        n = np.tanh(n + r * of_hidden[unit + 2 * len(h)])
        after[unit] = (1 - z) * n + z * h[unit]
    return after


def by_hand(model, inputs):
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    layer_of = {RNN: rnn_layer, GRU: gru_layer}[type(model)]
    hidden, logits = list(weights["start_hidden"]), []
    for x in inputs:
        below = x
        for layer in range(len(hidden)):
            hidden[layer] = layer_of(weights, layer, below, hidden[layer])
            below = np.concatenate([x, hidden[layer]])
        logits.append(weights["output.weight"] @ np.concatenate(hidden) + weights["output.bias"])
    return np.array(logits), np.array(hidden)


def drawn(kind, **options):
    model = kind(4, 2, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():  # starts and biases too
            parameter.copy_(torch.randn_like(parameter))
    return model


@every_kind
@every_backend
@pytest.mark.parametrize("num_layers", [1, 3])
def test_outputs_and_state_are_those_of_the_equations(kind, backend, num_layers):
    model, inputs = drawn(kind, hidden_size=3, num_layers=num_layers, backend=backend), torch.randn(2, 7, 4).double()
    logits, state = model(inputs)
    for i, sequence in enumerate(inputs.numpy()):
        expected, end = by_hand(model, sequence)
        np.testing.assert_allclose(logits[i].detach(), expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(state.hidden[i].detach(), end, rtol=0, atol=1e-10)


@every_kind
@every_backend
def test_one_layer_is_the_module_of_pytorch(kind, backend):
    model, theirs = drawn(kind, hidden_size=5, backend=backend), KINDS[kind](4, 5, batch_first=True).double()
    (layer,) = model.controller.layers
    if kind is GRU:
        (recurrent,) = model.controller.recurrent
        own = [layer.weight, recurrent.weight, layer.bias, recurrent.bias]
    else:
        own = [*layer.weight.split([4, 5], dim=1), layer.bias, torch.zeros(5)]
    with torch.no_grad():
        for parameter, value in zip(theirs.parameters(), own, strict=True):
            parameter.copy_(value)
    inputs = torch.randn(3, 6, 4).double()
    start = model.initial_state(3).hidden.transpose(0, 1).contiguous()
    torch.testing.assert_close(model(inputs)[0], model.output(theirs(inputs, start)[0]), rtol=0, atol=1e-10)


@every_kind
@pytest.mark.parametrize("options", [{}, {"hidden_size": 1, "num_layers": 2}, {"num_layers": 3}], ids=str)
def test_keeps_the_promises_of_a_model(kind, options):
    check_model(kind(4, 2, **{"hidden_size": 5, **options}))


@every_kind
def test_whole_sequences_run_in_the_program_of_pytorch(kind):
    assert kind(4, 2).backend_for(torch.zeros(1, 2, 4)) == "torch"


@every_kind
def test_gradients_of_the_loop_are_those_of_finite_differences(kind):
    model, inputs = drawn(kind, hidden_size=2, num_layers=2, backend="reference"), torch.randn(2, 3, 4).double()
    names = [name for name, _ in model.named_parameters()]

    def run(*parameters):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (inputs,))[0]

    parameters = tuple(parameter.detach().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(run, parameters, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, parameters, fast_mode=True)


@every_kind
def test_networks_side_by_side_are_those_alone(kind):
    members, inputs = [kind(4, 2, hidden_size=3, num_layers=2) for _ in range(3)], torch.randn(3, 2, 5, 4)
    logits, state = Stack(members)(inputs)
    for i, member in enumerate(members):
        alone, end = member(inputs[i])
        torch.testing.assert_close(logits[i], alone)
        torch.testing.assert_close(state.hidden[i], end.hidden)


def test_weights_start_with_the_spread_of_their_inputs():
    weight = RNN(4, 2, hidden_size=400).controller.layers[0].weight.detach()
    of_inputs, of_hidden = weight[:, :4], weight[:, 4:]
    # The standard deviation of a normal distribution that is truncated at 2 is 0.88.
    assert float(of_inputs.std()) == pytest.approx(0.88 / 2, rel=0.1)
    assert float(of_hidden.std()) == pytest.approx(0.88 / 20, rel=0.1)
    assert float(of_inputs.abs().max()) <= 1
    assert not RNN(4, 2).controller.layers[0].bias.any()


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_sizes_out_of_range_are_named(kind):
    with pytest.raises(ValueError, match=r"^hidden_size \(=0\) must be at least 1\.$"):
        kind(3, 2, hidden_size=0)
    with pytest.raises(ValueError, match=r"^num_layers \(=0\) must be between 1 and 1000\.$"):
        kind(3, 2, num_layers=0)
