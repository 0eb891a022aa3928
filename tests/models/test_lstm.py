"""The baseline: the network whose parameters the paper counts."""

import pytest
import torch

from lightning_ntm import LSTM
from lightning_ntm.testing import check_model


@pytest.mark.parametrize(
    ("inputs", "outputs", "hidden_size", "parameters"),
    [(10, 9, 256, 1_352_969), (8, 7, 512, 5_312_007), (8, 6, 256, 1_344_518), (1, 1, 128, 331_905)],
    ids=["copy", "repeat copy", "associative recall", "n-grams"],
)
def test_has_as_many_parameters_as_table_3_of_the_paper(inputs, outputs, hidden_size, parameters):
    model = LSTM(inputs, outputs, hidden_size=hidden_size, num_layers=3)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("options", [{}, {"num_layers": 1}, {"hidden_size": 1, "num_layers": 2}], ids=str)
def test_keeps_the_promises_of_a_model(options):
    check_model(LSTM(4, 2, **{"hidden_size": 5, "num_layers": 3, **options}))


def test_one_layer_is_the_lstm_of_pytorch():
    model, theirs = LSTM(4, 2, hidden_size=5, num_layers=1, backend="reference"), torch.nn.LSTM(4, 5, batch_first=True)
    from_input, from_hidden = model.controller.layers[0].weight.split([4, 5], dim=1)
    theirs.weight_ih_l0.data, theirs.weight_hh_l0.data = from_input.data, from_hidden.data
    theirs.bias_ih_l0.data, theirs.bias_hh_l0.data = model.controller.layers[0].bias.data, torch.zeros(20)
    inputs = torch.randn(3, 6, 4)
    torch.testing.assert_close(model(inputs)[0], model.output(theirs(inputs)[0]))


def test_a_kernel_asked_for_by_name_runs_or_says_why_not():
    model = LSTM(4, 2, hidden_size=5, backend="torch")
    with pytest.raises(ValueError, match=r"cannot run this call: the inputs are torch.bfloat16"):
        model(torch.zeros(1, 2, 4, dtype=torch.bfloat16))
    assert model(torch.zeros(1, 2, 4))[0].shape == (1, 2, 2)


def test_auto_takes_the_loop_where_the_kernel_refuses():
    model = LSTM(4, 2, hidden_size=5).bfloat16()
    assert model.backend_for(torch.zeros(1, 2, 4)) == "reference"
    assert torch.isfinite(model(torch.zeros(1, 2, 4))[0]).all()
