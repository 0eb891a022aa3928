"""Derivatives of every kind: right in every backend, or refused."""

import copy

import pytest
import torch
from torch.autograd import forward_ad, functional

from lightning_ntm import (
    DNC,
    GRU,
    LSTM,
    NTM,
    RNN,
    SAM,
    SDNC,
    StackRNN,
    TapeRNN,
    Transformer,
    functional as fn,
)
from lightning_ntm.kernels.derivatives import first_only
from lightning_ntm.states import flatten

# PyTorch's own use of what it deprecates, when the first forward derivative is computed.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

SIZES = {"hidden_size": 5, "memory_slots": 6, "memory_width": 4}
LEARNED = {"memory_init": "learned", "head_init": "learned"}
NETWORKS = {
    "NTM": lambda: NTM(3, 2, **SIZES, **LEARNED),
    "deep NTM": lambda: NTM(3, 2, num_layers=2, num_write_heads=2, **SIZES, **LEARNED),
    "feed-forward NTM": lambda: NTM(3, 2, controller="feedforward", **SIZES),
    "DNC": lambda: DNC.mds(3, 2, num_read_heads=2, **SIZES),
    "LSTM": lambda: LSTM(3, 2, hidden_size=5, num_layers=2),
}
every_network = pytest.mark.parametrize("network", NETWORKS)


def cost(model, inputs):
    logits, state = model(inputs)
    return logits.square().sum() + sum(part.square().sum() for part in flatten(state))


def linear_cost(model, inputs):
    return model(inputs)[0].sum()  # its gradient is a constant


def hessian_of_weights(model, inputs):
    parameters = [p for p in model.parameters() if p.requires_grad]
    first = torch.autograd.grad(cost(model, inputs), parameters, create_graph=True, allow_unused=True)
    return [
        g
        for g in torch.autograd.grad(
            sum(g.square().sum() for g in first if g is not None), parameters, allow_unused=True
        )
        if g is not None
    ]


def penalty(model, inputs):
    """Train with the norm of a gradient in the loss."""
    inputs = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(linear_cost(model, inputs), inputs, create_graph=True)
    gradient.square().sum().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def of_weights(model):
    names, values = zip(*((n, p.detach()) for n, p in model.named_parameters()), strict=True)
    return names, values


def batched_gradients(model, inputs):
    logits, _ = model(inputs.clone().requires_grad_())
    directions = torch.randn(4, *logits.shape, dtype=logits.dtype, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad(logits, list(model.controller.parameters()), directions, is_grads_batched=True)


def dual(model, inputs):
    with forward_ad.dual_level():
        logits, state = model(forward_ad.make_dual(inputs, torch.ones_like(inputs)))
        return [forward_ad.unpack_dual(part).tangent for part in (logits, *flatten(state))]


def dual_weights(model, inputs):
    with forward_ad.dual_level():
        duals = {n: forward_ad.make_dual(p.detach(), p.detach()) for n, p in model.named_parameters()}
        logits, _ = torch.func.functional_call(model, duals, (inputs,))
        return forward_ad.unpack_dual(logits).tangent


def dual_gradients(model, inputs):
    logits, _ = model(inputs.clone().requires_grad_())
    with forward_ad.dual_level():
        direction = forward_ad.make_dual(torch.ones_like(logits), logits.detach())
        gradients = torch.autograd.grad(logits, list(model.controller.parameters()), direction)
        return [forward_ad.unpack_dual(g).tangent for g in gradients]


def twice_through_one_tensor(model, inputs):
    """The inputs depend on a weight of the network."""
    weight = model.controller.layers[0].weight
    first = torch.autograd.grad(cost(model, inputs * weight.sum()), weight, create_graph=True)[0]
    return torch.autograd.grad(first.square().sum(), weight)


def per_sample(model, inputs):
    names, values = of_weights(model)

    def one(values, x):
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, parameters, (x[None],))[0].square().sum()

    return torch.func.vmap(torch.func.grad(one), (None, 0))(values, inputs)


ASKED = {
    "hvp": lambda m, x: functional.hvp(lambda x: cost(m, x), x, torch.ones_like(x)),
    "hvp of a linear cost": lambda m, x: functional.hvp(lambda x: linear_cost(m, x), x, torch.ones_like(x)),
    "vhp": lambda m, x: functional.vhp(lambda x: cost(m, x), x, torch.ones_like(x)),
    "hessian": lambda m, x: functional.hessian(lambda x: linear_cost(m, x), x),
    "vectorized hessian": lambda m, x: functional.hessian(lambda x: linear_cost(m, x), x, vectorize=True),
    "jacobian": lambda m, x: functional.jacobian(lambda x: m(x)[0], x),
    "vectorized jacobian": lambda m, x: functional.jacobian(lambda x: m(x)[0], x, vectorize=True),
    "forward jacobian": lambda m, x: functional.jacobian(lambda x: m(x)[0], x, vectorize=True, strategy="forward-mode"),
    "jvp": lambda m, x: functional.jvp(lambda x: m(x)[0], x, torch.ones_like(x)),
    "hessian of weights": hessian_of_weights,
    "gradient penalty": penalty,
    "batched gradients": batched_gradients,
    "dual inputs": dual,
    "dual weights": dual_weights,
    "dual gradients": dual_gradients,
    "one tensor twice": twice_through_one_tensor,
    "torch.func.jvp": lambda m, x: torch.func.jvp(lambda x: m(x)[0], (x,), (torch.ones_like(x),)),
    "torch.func.hessian": lambda m, x: torch.func.hessian(lambda x: linear_cost(m, x))(x),
    "torch.func.jacrev": lambda m, x: torch.func.jacrev(lambda x: m(x)[0])(x),
    "gradients of each sequence": per_sample,
}


def flat(found):
    if isinstance(found, torch.Tensor):
        return [found.detach()]
    return [tensor for part in found if part is not None for tensor in flat(part)]


@pytest.mark.parametrize("asked", ASKED)
@every_network
def test_derivatives_are_those_of_the_loop(network, asked):
    model, results = NETWORKS[network]().double(), []
    inputs = torch.randn(2, 3, 3, dtype=torch.float64)
    for backend in (next(iter(model.kernels)), "reference"):
        twin = copy.deepcopy(model)
        # Asked by name, the kernel does not run what it refuses beforehand; `auto` takes the loop then.
        twin.backend = "auto" if backend != "reference" else backend
        assert twin.backend_for(inputs) == backend
        results.append(flat(ASKED[asked](twin, inputs)))
    assert len(results[0]) == len(results[1]) > 0
    assert any(part.abs().max() > 0 for part in results[1])
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


OTHERS = {
    "GRU": lambda: GRU(3, 2, hidden_size=5),
    "RNN": lambda: RNN(3, 2, hidden_size=5),
    "SAM": lambda: SAM(3, 2, **SIZES),
    "SDNC": lambda: SDNC(3, 2, num_links=3, **SIZES),
    "Stack-RNN": lambda: StackRNN(3, 2, hidden_size=5, memory_width=4),
    "Tape-RNN": lambda: TapeRNN(3, 2, hidden_size=5, memory_width=4),
    "Tape-RNN with jumps": lambda: TapeRNN(3, 2, hidden_size=5, memory_width=4, length_oracle=True),
    "Transformer": lambda: Transformer(3, 2, hidden_size=4, num_layers=1, num_heads=2),
    "Transformer that sees all": lambda: Transformer(3, 2, hidden_size=4, num_layers=1, num_heads=2, causal=False),
}
OF_OTHERS = (
    "hvp", "hvp of a linear cost", "vectorized jacobian", "forward jacobian", "hessian of weights", "gradient penalty",
    "dual weights", "gradients of each sequence",
)  # fmt: skip


@pytest.mark.parametrize("asked", OF_OTHERS)
@pytest.mark.parametrize("network", OTHERS)
def test_derivatives_of_other_networks_are_those_of_the_loop_or_refused(network, asked):
    model, inputs = OTHERS[network]().double(), torch.randn(2, 3, 3, dtype=torch.float64)
    truth = copy.deepcopy(model)
    truth.backend = "reference"
    expected = flat(ASKED[asked](truth, inputs))
    assert any(part.abs().max() > 0 for part in expected)
    try:
        found = flat(ASKED[asked](model, inputs))
    except RuntimeError as error:
        if str(error).endswith('derivatives set backend="reference".'):
            return
        raise
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_second_gradients_of_limited_ones_are_left_to_the_loop():
    model, inputs = NTM(3, 2, gradient_limit=0.01, **SIZES).double(), torch.randn(2, 3, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match='set backend="reference"'):
        ASKED["hvp"](model, inputs)
    jacobians = []
    for model.backend in ("auto", "reference"):
        jacobians.append(ASKED["vectorized jacobian"](model, inputs))
    torch.testing.assert_close(*jacobians)
    assert ASKED["hvp"](model, inputs)[1].abs().max() > 0


def test_the_kernel_s_second_gradients_are_those_of_differences():
    model = NETWORKS["NTM"]().double()
    inputs = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert model.backend_for(inputs) == "cpu"
    assert torch.autograd.gradgradcheck(lambda x: model(x)[0], inputs)


def test_parameters_that_were_changed_in_between_are_noticed():
    model = NETWORKS["NTM"]()
    cost_of_inputs = cost(model, torch.randn(1, 2, 3, requires_grad=True))
    with torch.no_grad():
        model.heads.weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(cost_of_inputs, list(model.parameters()), create_graph=True)


def test_forward_derivatives_say_why_a_kernel_asked_for_does_not_run():
    for model in (NTM(3, 2, backend="cpu"), LSTM(3, 2, backend="torch")):
        with pytest.raises(ValueError, match="it has no forward-mode derivative"):
            dual(model, torch.zeros(1, 2, 3))
        with pytest.raises(ValueError, match=r"cannot be transformed by torch\.func"):
            torch.func.jvp(lambda x, m=model: m(x)[0], (torch.zeros(1, 2, 3),), (torch.zeros(1, 2, 3),))


class Modes(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("asked", ["hvp", "hvp of a linear cost", "vectorized jacobian", "gradient penalty"])
def test_the_operator_refuses_what_it_does_not_compute(asked):
    model = NETWORKS["NTM"]().double()
    with Modes(), pytest.raises(RuntimeError, match='set backend="reference"'):
        ASKED[asked](model, torch.randn(2, 3, 3, dtype=torch.float64))


def test_a_limited_gradient_has_derivatives():
    weights = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def limited(x):
        return fn.limit_gradient(x, 0.5).square().sum()

    (gradient,) = torch.autograd.grad(limited(weights), weights, create_graph=True)
    torch.testing.assert_close(gradient, (2 * weights).clamp(-0.5, 0.5))
    (second,) = torch.autograd.grad(gradient.sum(), weights)
    torch.testing.assert_close(second, torch.where((2 * weights).abs() < 0.5, 2.0, 0.0).double())
    # A forward derivative flows forward, where nothing is limited.
    _, tangent = torch.func.jvp(lambda x: fn.limit_gradient(x, 0.5).square(), (weights,), (torch.ones_like(weights),))
    torch.testing.assert_close(tangent, 2 * weights)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    @first_only
    def backward(ctx, gradient):
        return (3 * gradient.detach(),)


@pytest.mark.parametrize("asked", [functional.hvp, functional.vhp])
def test_a_kernel_that_computes_first_gradients_only_says_so(asked):
    with pytest.raises(RuntimeError, match=r"second, forward-mode or batched derivatives set backend=\"reference\""):
        asked(lambda x: Once.apply(x).sum(), torch.ones(2), torch.ones(2))
    with pytest.raises(RuntimeError, match=r"second, forward-mode or batched derivatives set backend=\"reference\""):
        functional.jacobian(Once.apply, torch.ones(2), vectorize=True)
    torch.testing.assert_close(functional.jacobian(Once.apply, torch.ones(2)), 3 * torch.eye(2))


def test_a_gradient_that_is_not_a_plain_tensor_comes_by_the_loop():
    class Tagged(torch.Tensor):
        pass

    model, gradients = NETWORKS["NTM"](), []
    for model.backend in ("cpu", "reference"):
        model.zero_grad()
        logits, _ = model(torch.ones(1, 2, 3))
        logits.backward(torch.ones_like(logits).as_subclass(Tagged))
        gradients.append(model.heads.weight.grad.as_subclass(torch.Tensor).clone())
    torch.testing.assert_close(*gradients)
