"""Networks whose parameters are in half precision, and on a device without numbers."""

import copy

import numpy as np
import pytest
import torch

from lightning_ntm import LSTM, NTM, Copy
from lightning_ntm.states import flatten, mapped, named

HALVES = (torch.float16, torch.bfloat16)
NETWORKS = {
    "NTM": lambda **options: NTM(4, 3, hidden_size=16, memory_slots=8, memory_width=6, **options),
    "two layers": lambda **options: NTM(4, 3, hidden_size=16, memory_slots=8, memory_width=6, num_layers=2, **options),
    "learned start": lambda **options: NTM(
        4, 3, hidden_size=16, memory_slots=8, memory_width=6, memory_init="learned", head_init="learned", **options
    ),
    "feed-forward": lambda **options: NTM(
        4, 3, hidden_size=16, memory_slots=8, memory_width=6, controller="feedforward", num_layers=2, **options
    ),
    "LSTM": lambda **options: LSTM(4, 3, hidden_size=16, num_layers=2, **options),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
every_half = pytest.mark.parametrize("dtype", HALVES, ids=str)


@every_network
@every_half
def test_half_precision_stays_close_and_keeps_its_state_in_float32(make, dtype):
    model, inputs = make(), torch.randn(3, 20, 4)
    half = copy.deepcopy(model).to(dtype)
    logits, state = half(inputs.to(dtype))
    logits.float().square().sum().backward()
    assert logits.dtype == dtype
    assert {part.dtype for part in flatten((half.initial_state(3), state))} == {torch.float32}
    # bfloat16 keeps 8 bits of each number, which 20 steps add up.
    torch.testing.assert_close(logits.float(), model(inputs)[0], atol=0.1, rtol=0.1)
    assert all(torch.isfinite(p.grad).all() for p in half.parameters())


@every_network
@every_half
def test_a_sequence_in_half_precision_goes_on_from_the_state_of_its_first_part(make, dtype):
    model, inputs = make().to(dtype), torch.randn(3, 6, 4)
    whole, end = model(inputs)  # float32 inputs
    first, state = model(inputs[:, :2])
    rest, streamed = model(inputs[:, 2:], state)
    assert torch.equal(torch.cat([first, rest], dim=1), whole)
    assert all(torch.equal(a, b) for a, b in zip(flatten(end), flatten(streamed), strict=True))


@every_half
def test_the_memory_keeps_what_half_precision_would_lose(dtype):
    model = NETWORKS["NTM"]().to(dtype)
    state = model.initial_state(1)
    memory = 1 + 1e-4 * torch.rand_like(state.memory.memory)  # next to 1, float16 has steps of 1e-3
    _, end = model(torch.zeros(1, 1, 4), state._replace(memory=state.memory._replace(memory=memory)))
    untouched = end.memory.memory[:, 3:-1]  # heads on slot 0 move by one
    torch.testing.assert_close(untouched, memory[:, 3:-1], rtol=0, atol=1e-3)
    assert untouched.unique().numel() > untouched.numel() // 2


@every_half
def test_seeds_of_half_precision_can_be_stacked(dtype):
    networks = [NETWORKS["NTM"](backend="reference").to(dtype) for _ in range(2)]
    stacked = torch.func.stack_module_state(networks)
    inputs = torch.randn(2, 3, 5, 4, dtype=dtype)

    def run(parameters, buffers, inputs):
        return torch.func.functional_call(networks[0], (parameters, buffers), (inputs,))[0]

    logits = torch.func.vmap(run)(*stacked, inputs)
    # A stacked product may round otherwise: two steps of the dtype.
    close = {"rtol": 2 * torch.finfo(dtype).eps, "atol": 2 * torch.finfo(dtype).eps}
    torch.testing.assert_close(logits[1], networks[1](inputs[1])[0], **close)


@every_half
@pytest.mark.parametrize("make", [NETWORKS["feed-forward"], NETWORKS["LSTM"]], ids=["NTM", "LSTM"])
def test_half_precision_trains(make, dtype):
    model, task, costs = make().to(dtype), Copy(bits=3, max_length=2), []
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.95, momentum=0.9, eps=1e-4)
    for step in range(150):
        batch = task.sample(np.random.default_rng(step), 8)
        nats = task.answer.cost(model(batch.inputs.to(dtype))[0], batch)
        loss = nats.sum() / task.answer.units(batch).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        costs.append(loss.item())
    assert np.mean(costs[:5]) > 0.6  # chance is 0.69
    assert np.mean(costs[-20:]) < 0.3


@pytest.mark.parametrize("backend", ["auto", "reference"])
@every_network
def test_runs_on_the_meta_device(make, backend):
    model, inputs = make(backend=backend).to("meta"), torch.zeros(2, 3, 4, device="meta")
    logits, state = model(inputs)
    again, _ = model(inputs, state)
    assert (logits.shape, logits.device.type) == ((2, 3, 3), "meta") == (again.shape, again.device.type)
    assert model.backend_for(inputs) in ("reference", "torch")


@every_network
@pytest.mark.parametrize(
    ("dtype", "other", "expected"),
    [
        (torch.float32, torch.float64, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.bfloat16, torch.bfloat16, torch.float32),
    ],
    ids=str,
)
def test_a_state_of_another_dtype_is_told(make, dtype, other, expected):
    model = make().to(dtype)
    state = model.initial_state(2)
    wrong = mapped(lambda part: part.to(other), state)
    with pytest.raises(
        TypeError, match=rf"state.{next(iter(named(state)))} must have dtype {expected}, got {other}\.$"
    ):
        model(torch.zeros(2, 3, 4, dtype=dtype), wrong)


def test_a_state_that_is_another_network_s_is_told():
    ntm, lstm = NETWORKS["NTM"](), NETWORKS["LSTM"]()
    with pytest.raises(
        TypeError, match=r"state must be of type NTMState, as forward and initial_state return it, got LSTMState\.$"
    ):
        ntm(torch.zeros(2, 3, 4), lstm.initial_state(2))
    with pytest.raises(
        TypeError, match=r"state must be of type LSTMState, as forward and initial_state return it, got NTMState\.$"
    ):
        lstm.trace(torch.zeros(2, 3, 4), ntm.initial_state(2))


def test_the_kernel_of_the_lstm_tells_which_dtypes_it_cannot_mix():
    model = NETWORKS["LSTM"](backend="torch").to(torch.bfloat16)
    for inputs in (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4, dtype=torch.bfloat16)):
        with pytest.raises(ValueError, match=r"cannot run this call: the inputs are .*, the state or the parameters"):
            model(inputs)
