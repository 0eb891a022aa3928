"""Networks side by side against each of them alone."""

import copy
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_ntm import LSTM, NTM, MemoryModel, Stack
from lightning_ntm.models.alike import check_alike
from lightning_ntm.states import flatten, mapped

NTMS = [
    {},
    {"controller": "feedforward", "num_layers": 2},
    {"num_layers": 2, "num_read_heads": 2, "num_write_heads": 2},
    {"memory_init": "learned", "head_init": "learned", "gradient_limit": 0.01},
    {"memory_init": "random", "checkpoint_every": 2},
]
LEARNED = {"memory_init": "learned", "head_init": "learned"}


def small(**options):
    return NTM(4, 2, **{"hidden_size": 6, "memory_slots": 7, "memory_width": 3, **options})


def lstm(**options):
    return LSTM(4, 2, hidden_size=5, num_layers=2, **options)


class TiedState(NamedTuple):
    hidden: Tensor


class Tied(MemoryModel[TiedState]):
    """A network of a user: two layers share their weights, and the state starts from a buffer."""

    def __init__(self):
        super().__init__(4, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.layers[1].weight = self.layers[0].weight
        self.register_buffer("start", torch.randn(4))

    def initial_state(self, batch_size):
        return TiedState(self.start.expand(batch_size, -1))

    def step(self, x, state):
        hidden = torch.tanh(self.layers[0](x) + self.layers[1](state.hidden))
        return hidden, TiedState(hidden)


def results(model, inputs, state=None):
    """Outputs, last state and every gradient, of a loss that is a sum over networks where there are many."""
    inputs = inputs.clone().requires_grad_()
    state = state and mapped(lambda part: part.detach().clone().requires_grad_(), state)
    logits, end = model(inputs, state)
    loss, generator = torch.zeros((), dtype=torch.float64), torch.Generator().manual_seed(0)
    for tensor in (logits, *flatten(end)):
        of_one = tensor.shape[isinstance(model, Stack) :]
        loss = loss + (torch.rand(of_one, generator=generator, dtype=torch.float64) * tensor).sum()
    model.zero_grad()
    loss.backward()
    leaves = [inputs, *model.parameters(), *flatten(state or ())]
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return [logits, *flatten(end), *gradients]


def compared(members, backend, given_state=False, batch=3, time=5):
    """Pairs of what a stack gives for each network and what its member gives alone, from one state or its own."""
    dtype = next(members[0].parameters()).dtype
    stack = Stack(members, backend=backend)
    inputs = torch.randn(len(members), batch, time, members[0].input_size, dtype=dtype)
    state = stack(torch.randn_like(inputs))[1] if given_state else None
    together = results(stack, inputs, state)
    for i, member in enumerate(members):
        member.backend = backend
        own = None if state is None else mapped(lambda part, i=i: part[i], state)
        yield from zip((tensor[i] for tensor in together), results(member, inputs[i], own), strict=True)


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize(
    "make", [*(lambda o=o: small(**o) for o in NTMS), lstm, Tied], ids=[*map(str, NTMS), "LSTM", "own"]
)
def test_the_reference_gives_each_network_what_its_member_gives_alone(make, given_state):
    for mine, alone in compared([make().double() for _ in range(3)], "reference", given_state):
        torch.testing.assert_close(mine, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", NTMS, ids=str)
def test_the_cpu_kernel_gives_the_bits_of_each_member_alone(options, dtype):
    members = [small(**options).to(dtype) for _ in range(3)]
    for given_state in (False, True):
        assert all(torch.equal(mine, alone) for mine, alone in compared(members, "cpu", given_state))


def test_the_lstm_of_pytorch_gives_the_bits_of_each_member_alone():
    assert all(torch.equal(mine, alone) for mine, alone in compared([lstm(), lstm()], "torch"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the programs are compiled here")
def test_triton_runs_all_networks_in_one_launch_and_the_others_do_not_matter():
    pytest.importorskip("triton")
    # Whether programs are interpreted is settled when they are imported, so this file runs as a script.
    subprocess.run([sys.executable, __file__], env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)


def check_triton():
    from lightning_ntm.kernels.ntm.triton import sequence

    torch.manual_seed(0)
    launches, run = [], sequence.recurrence
    sequence.recurrence = lambda inputs, *rest: launches.append(inputs.shape[:-2]) or run(inputs, *rest)
    members = [small(**LEARNED, backend="triton").double() for _ in range(2)]
    inputs = torch.randn(2, 1, 2, 4, dtype=torch.float64)
    together = results(Stack(members, "triton"), inputs)
    one = results(Stack(members[1:], "triton"), inputs[1:])
    alone = results(members[1], inputs[1])
    assert launches == [(2, 1), (1, 1), (1,)]  # networks, batch
    for mine, of_one, of_member in zip(together, one, alone, strict=True):
        assert torch.equal(mine[1:], of_one)
        # Without an axis of networks the matrix products around the programs are others, and round differently.
        torch.testing.assert_close(mine[1], of_member, rtol=1e-10, atol=1e-10)


@pytest.mark.gpu
def test_on_a_gpu_the_stack_is_that_of_the_loop():
    stack = Stack([small(memory_init="learned") for _ in range(3)]).double().cuda()
    inputs = torch.randn(3, 2, 5, 4, dtype=torch.float64, device="cuda")
    assert stack.backend_for(inputs) == "triton"
    reference = copy.deepcopy(stack)
    reference.backend = "reference"
    torch.testing.assert_close(stack(inputs)[0], reference(inputs)[0], rtol=1e-10, atol=1e-10)


def test_auto_takes_a_kernel_of_the_members_or_the_loop():
    assert Stack([small(), small()]).backend_for(torch.zeros(2, 1, 3, 4)) == "cpu"
    assert Stack([small().bfloat16()]).backend_for(torch.zeros(1, 1, 3, 4, dtype=torch.bfloat16)) == "reference"
    assert Stack([lstm()]).backend_for(torch.zeros(1, 1, 3, 4)) == "torch"
    assert Stack([Tied()]).backend_for(torch.zeros(1, 1, 3, 4)) == "reference"


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_sequence_may_come_in_pieces_or_step_by_step(backend):
    stack = Stack([small(**LEARNED), small(**LEARNED)], backend=backend).double()
    inputs = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    whole, end = stack(inputs)
    first, state = stack(inputs[:, :, :2])
    rest, streamed = stack(inputs[:, :, 2:], state)
    steps, stepped = [], stack.initial_state(3)
    for x in inputs.unbind(2):
        logits, stepped = stack.step(x, stepped)
        steps.append(logits)
    for mine, other in ((torch.cat([first, rest], 2), whole), (torch.stack(steps, 2), whole)):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    for mine, piecewise, part in zip(*map(flatten, (stepped, streamed, end)), strict=True):
        torch.testing.assert_close(mine, part, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(piecewise, part, rtol=1e-10, atol=1e-10)


def test_has_the_stacked_tensors_of_its_members_under_their_names():
    members = [small(memory_init="random"), small(memory_init="random")]
    stack = Stack(members)
    for name, tensor in stack.state_dict().items():
        own = [member.state_dict()[name.removeprefix("networks.")] for member in members]
        assert torch.equal(tensor, torch.stack(own))
    assert len(stack.state_dict()) == len(members[0].state_dict())
    assert dict(stack.named_parameters())["networks.heads.weight"].shape == (2, *members[0].heads.weight.shape)


@pytest.mark.parametrize("make", [lambda: small(memory_init="random"), lstm, Tied])
def test_members_are_the_networks_again_and_share_nothing_with_them(make):
    originals = [make(), make()]
    stack = Stack(originals)
    inputs = torch.randn(2, 3, 5, 4)
    for original, member, x in zip(originals, stack.members(), inputs, strict=True):
        assert type(member) is type(original)
        assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in member.parameters())
        assert [*member.state_dict()] == [*original.state_dict()]
        assert torch.equal(member(x)[0], original(x)[0])
    before = copy.deepcopy(stack.state_dict())
    with torch.no_grad():
        for model in (*originals, *stack.members()):
            for parameter in model.parameters():
                parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in stack.state_dict().items())


def test_weights_that_two_layers_share_stay_shared():
    stack = Stack([Tied(), Tied()])
    for network in (stack.networks, *stack.members()):
        assert network.layers[0].weight is network.layers[1].weight


def test_a_saved_stack_can_be_loaded_copied_and_pickled():
    stack, other = (Stack([small(memory_init="random"), small(memory_init="random")]) for _ in range(2))
    inputs = torch.randn(2, 3, 5, 4)
    other.load_state_dict(stack.state_dict())
    for twin in (other, copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        assert torch.equal(twin(inputs)[0], stack(inputs)[0])


def test_trains_each_member_as_if_it_were_alone():
    members = [small(**LEARNED) for _ in range(3)]
    stack = Stack(members)
    options = {"lr": 1e-2, "alpha": 0.95, "momentum": 0.9}
    together = torch.optim.RMSprop(stack.parameters(), **options)
    alone = [torch.optim.RMSprop(member.parameters(), **options) for member in members]
    for _ in range(5):
        inputs, targets = torch.randn(3, 2, 6, 4), torch.randn(3, 2, 6, 2)
        together.zero_grad()
        (stack(inputs)[0] - targets).square().mean((1, 2, 3)).sum().backward()
        norms = stack.clip_gradients(0.5)
        together.step()
        for i, (member, optimizer) in enumerate(zip(members, alone, strict=True)):
            optimizer.zero_grad()
            (member(inputs[i])[0] - targets[i]).square().mean().backward()
            assert torch.equal(nn.utils.clip_grad_norm_(member.parameters(), 0.5), norms[i])
            optimizer.step()
    for member, trained in zip(members, stack.members(), strict=True):
        own = member.state_dict()
        assert all(torch.equal(tensor, own[name]) for name, tensor in trained.state_dict().items())


def test_gradients_are_clipped_by_the_norm_of_their_own_network():
    stack = Stack([small(), small(), small()])
    (stack(torch.randn(3, 2, 5, 4))[0].sum((1, 2, 3)) * torch.tensor([1e-6, 1, 1e6])).sum().backward()
    before = [parameter.grad.clone() for parameter in stack.parameters()]
    norms = stack.clip_gradients(0.1)
    scales = [1, 0.1 / norms[1], 0.1 / norms[2]]
    assert norms[0] < 0.1 < norms[1] < norms[2]
    for parameter, gradient in zip(stack.parameters(), before, strict=True):
        for i, scale in enumerate(scales):
            torch.testing.assert_close(parameter.grad[i], gradient[i] * scale)


def test_clipping_reads_no_number():
    stack = Stack([small(), small()]).to("meta")
    assert torch.equal(Stack([small(), small()]).clip_gradients(1.0), torch.zeros(2))  # nothing to clip yet
    for parameter in stack.parameters():
        parameter.grad = torch.empty_like(parameter)  # on a device that holds no numbers
    assert stack.clip_gradients(1.0).shape == (2,)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("slots", [5, 20])
def test_sequences_of_all_members_may_have_another_number_of_slots(slots, backend):
    members = [small(), small()]
    stack, inputs = Stack(members, backend), torch.randn(2, 3, 5, 4)
    logits, state = stack(inputs, stack.initial_state(3, slots=slots))
    assert state.memory.memory.shape == (2, 3, slots, 3)
    for i, member in enumerate(members):
        torch.testing.assert_close(member(inputs[i], member.initial_state(3, slots=slots))[0], logits[i])
    assert stack.memory_slots == 7
    with pytest.raises(ValueError, match=r"slots \(=2\)"):
        stack.initial_state(3, slots=2)
    with pytest.raises(AttributeError):
        stack.memory_slots = 5
    assert not hasattr(Stack([lstm()]), "memory_slots")


def frozen():
    model = small()
    model.heads.bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "members must hold at least one network."),
        ([small(), nn.Linear(2, 2)], "member 1 must be a MemoryModel, got Linear."),
        ([small(), lstm()], "member 1 is of class LSTM, member 0 of NTM."),
        ([small(), small(), small(memory_slots=9)], "member 2 has memory_slots (=9), member 0 has 7."),
        ([small(), small(gradient_limit=0.1)], "member 1 has gradient_limit (=0.1), member 0 has 0.0."),
        ([small(), small(hidden_size=9)], "member 1 has controller.hidden_size (=9), member 0 has 6."),
        (
            [small(), small(controller="feedforward")],
            "member 1 has controller (=FeedForwardController), member 0 has LSTMController.",
        ),
        ([small(), small().double()], "member 1 has start_reads.dtype (=torch.float64), member 0 has torch.float32."),
        ([small(), frozen()], "member 1 has heads.bias.requires_grad (=False), member 0 has True."),
    ],
)
def test_members_of_different_architectures_are_named(members, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_alike(members)


def test_a_stack_has_members_of_one_architecture():
    with pytest.raises(ValueError, match=r"member 1 has memory_slots \(=9\)"):
        Stack([small(), small(memory_slots=9)])


def test_members_may_differ_in_how_their_weights_began():
    Stack([small(stay_bias=0.0), small(stay_bias=2.0)])


def test_what_does_not_fit_is_named():
    stack = Stack([small(), small()])
    inputs = torch.zeros(2, 3, 5, 4)
    for wrong in (inputs[:1], inputs[..., :3], inputs[:, :, :0]):
        with pytest.raises(ValueError, match=r"inputs must have shape \(2, batch, time, 4\) .* got"):
            stack(wrong)
    state = stack.initial_state(3)
    with pytest.raises(ValueError, match=r"state.memory.memory must have shape \(2, 3, 7, 3\), got \(2, 2, 7, 3\)"):
        stack(inputs, stack.initial_state(2))
    with pytest.raises(TypeError, match=r"state.memory.memory must have dtype torch.float32, got torch.float64"):
        stack(inputs, mapped(lambda part: part.double(), state))
    with pytest.raises(ValueError, match=r"backend \(='graphs'\) must be one of auto, reference, cpu, triton"):
        Stack([small()], backend="graphs")
    half = Stack([small()], backend="cpu").bfloat16()
    with pytest.raises(ValueError, match=r"cannot run this call: the inputs are torch.bfloat16"):
        half(inputs[:1].bfloat16())


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))
    from interpreter import hasten

    hasten()
    check_triton()


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_several_threads_can_call_a_stack(backend):
    stack = Stack([NTM(3, 2, hidden_size=4, memory_slots=8, memory_width=4) for _ in range(2)], backend=backend)
    inputs = [torch.randn(2, 4 + i, 6, 3) for i in range(4)]
    expected, weights = [stack(x)[0].detach() for x in inputs], copy.deepcopy(stack.state_dict())

    def call(i):
        return all(torch.allclose(stack(inputs[i])[0], expected[i], atol=1e-5) for _ in range(20))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(call, range(4)))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in stack.state_dict().items())
