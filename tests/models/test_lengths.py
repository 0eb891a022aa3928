"""Sequences of different lengths in one batch against each of them alone, for every network and backend."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tests.forked import scripted

from lightning_ntm import LSTM, NTM, StackRNN, TapeRNN, Transformer
from lightning_ntm.kernels.cpu import library
from lightning_ntm.states import flatten, mapped, unflatten

NETWORKS = {
    "NTM": lambda **more: NTM(3, 2, hidden_size=5, memory_slots=4, memory_width=3, head_init="learned", **more),
    "deep NTM": lambda **more: NTM(
        3, 2, hidden_size=4, memory_slots=4, memory_width=3, num_layers=2, num_read_heads=2, num_write_heads=2, **more
    ),
    "feed-forward NTM": lambda **more: NTM(
        3, 2, hidden_size=5, memory_slots=4, memory_width=3, controller="feedforward", **more
    ),
    "LSTM": lambda **more: LSTM(3, 2, hidden_size=5, num_layers=2, **more),
    "StackRNN": lambda **more: StackRNN(3, 2, hidden_size=4, memory_slots=3, memory_width=2, num_stacks=2, **more),
    "TapeRNN": lambda **more: TapeRNN(3, 2, hidden_size=4, memory_slots=3, memory_width=2, **more),
    "Transformer": lambda **more: Transformer(3, 2, hidden_size=4, num_heads=2, num_layers=2, memory_slots=3, **more),
}
#: The backends of each network that is not an NTM.
BACKENDS = {
    "LSTM": ["reference", "torch"],
    "StackRNN": ["reference"],
    "TapeRNN": ["reference"],
    "Transformer": ["torch"],
}
CASES = [
    (name, backend)
    for name in NETWORKS
    for backend in BACKENDS.get(name, ["reference", "cpu"])
    if backend != "cpu" or library.LIBRARY.is_file()
]
LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def results(model, inputs, state, run):
    """Logits, last state, and all gradients of a sum over both."""
    leaves = [part.clone().requires_grad_(part.is_floating_point()) for part in (inputs, *flatten(state))]
    logits, end = run(leaves[0], unflatten(state, leaves[1:]))
    model.zero_grad()
    end, leaves = flatten(end), [leaf for leaf in leaves if leaf.requires_grad]
    (logits.square().sum() + sum(part.square().sum() for part in end)).backward()
    return [logits, *end, *(leaf.grad for leaf in (*leaves, *model.parameters()))]


@pytest.mark.parametrize(("name", "backend"), CASES)
@settings(max_examples=12)
@given(lengths=LENGTHS, more=st.integers(0, 2), checkpoint_every=st.sampled_from([0, 0, 2]))
def test_padding_changes_neither_outputs_nor_last_state_nor_gradients(name, backend, lengths, more, checkpoint_every):
    torch.manual_seed(sum(lengths))
    model = NETWORKS[name](backend=backend, checkpoint_every=checkpoint_every).double()
    batch, time = len(lengths), max(lengths) + more
    inputs = torch.randn(batch, time, 3, dtype=torch.float64)
    _, state = model(torch.randn(batch, 2, 3, dtype=torch.float64))  # not that of the beginning
    state = mapped(torch.Tensor.detach, state)

    def padded(inputs, state):
        padding = torch.arange(time) >= torch.tensor(lengths)[:, None]
        return model(inputs.masked_fill(padding[..., None], math.nan), state, torch.tensor(lengths))

    def one_by_one(inputs, state):
        ran = [
            model(inputs[i : i + 1, :length], mapped(lambda part, i=i: part[i : i + 1], state))
            for i, length in enumerate(lengths)
        ]
        logits = [torch.nn.functional.pad(one, (0, 0, 0, time - one.shape[1])) for one, _ in ran]
        return torch.cat(logits), mapped(lambda *parts: torch.cat(parts), *(end for _, end in ran))

    for mine, expected in zip(*(results(model, inputs, state, run) for run in (padded, one_by_one)), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_lengths_of_all_steps_are_as_none(name, backend):
    model, inputs = NETWORKS[name](backend=backend), torch.randn(4, 6, 3)
    with torch.no_grad():
        (logits, end), (expected, expected_end) = model(inputs, lengths=torch.full((4,), 6)), model(inputs)
    assert torch.equal(logits, expected)
    assert all(map(torch.equal, flatten(end), flatten(expected_end)))


def test_an_empty_batch_has_no_lengths():
    logits, end = NETWORKS["NTM"]()(torch.zeros(0, 3, 3), lengths=torch.zeros(0, dtype=torch.int64))
    assert logits.shape == (0, 3, 2)
    assert end.memory.memory.shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 0], r"lengths \(=0\) must be between 1 and 3, the steps of the inputs\.$"),
        ([2, 4], r"lengths \(=4\) must be between 1 and 3, the steps of the inputs\.$"),
    ],
)
def test_lengths_out_of_range_are_named(lengths, message):
    with pytest.raises(ValueError, match=message):
        NETWORKS["NTM"]()(torch.zeros(2, 3, 3), lengths=torch.tensor(lengths))


#: In a process of its own: here annotations are checked before the network can say what is wrong.
MISTAKES = """
import torch
from torch.nn.utils.rnn import pack_padded_sequence
from lightning_ntm import LSTM, NTM
from lightning_ntm.states import flatten, unflatten
for model in (NTM(3, 2, hidden_size=4, memory_slots=4, memory_width=3), LSTM(3, 2, hidden_size=4, num_layers=1)):
    inputs, state = torch.zeros(2, 5, 3), model.initial_state(2)
    packed = pack_padded_sequence(inputs, torch.tensor([5, 3]), batch_first=True)
    pair = torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)
    calls = (
        (packed,), (inputs.tolist(),), (inputs.numpy(),), (inputs, packed), (inputs, pair), (inputs, list(state)),
        (inputs, tuple(state)), (inputs, unflatten(state, [[0.0], *flatten(state)[1:]])), (inputs, state, [5, 3]),
        (inputs, state, torch.tensor([5.0, 3.0])), (inputs, state, torch.tensor([2])),
    )
    for call in calls:
        for method in (model, model.trace) if len(call) < 3 else (model,):
            try:
                method(*call)
            except (TypeError, ValueError) as error:
                print(type(error).__name__, error)
"""


def test_what_is_no_tensor_or_no_state_is_one_clear_error():
    done = scripted(MISTAKES)
    expected = []
    for state, first in (("NTMState", "memory.memory"), ("LSTMState", "hidden")):
        inputs = "TypeError inputs must be a tensor of shape (batch, time, 3), got"
        states = f"TypeError state must be of type {state}, as forward and initial_state return it, got"
        both = [
            f"{inputs} PackedSequence; for sequences of different lengths pass lengths.",
            f"{inputs} list.",
            f"{inputs} ndarray.",
            f"{states} PackedSequence.",
            f"{states} tuple.",
            f"{states} list.",
            f"{states} tuple.",
            f"TypeError state.{first} must be a tensor, got list.",
        ]
        expected += [line for line in both for _ in range(2)]
        expected += [
            "TypeError lengths must be a tensor of int64, got list.",
            "TypeError lengths must be a tensor of int64, got torch.float32.",
            "ValueError lengths must have shape (2,), got (1,).",
        ]
    assert done.stdout.splitlines() == expected
