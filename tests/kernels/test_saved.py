"""Hooks that change what is saved for the backward: a DNC saves numbers of slots with numbers that may be rounded."""

import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_ntm import DNC, NTM


class Looking(TorchDispatchMode):
    """Looks at operations, so that the program is one of them."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return operation(*args, **(kwargs or {}))


def rounded():
    """As in trainings that keep what is saved in bfloat16."""
    return saved_tensors_hooks(
        lambda tensor: (tensor.dtype, tensor.bfloat16() if tensor.is_floating_point() else tensor),
        lambda kept: kept[1].to(kept[0]),
    )


def changed(change):
    return saved_tensors_hooks(lambda tensor: tensor.clone(), change)


def twofold(tensor):
    return 2 * tensor if tensor.is_floating_point() else tensor


def gradients(model, inputs, hooks=None):
    model.zero_grad()
    if hooks is None:
        loss = model(inputs)[0].sum()
    else:
        with hooks:
            loss = model(inputs)[0].sum()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def dnc(slots=999, **options):
    torch.manual_seed(0)
    return DNC(5, 4, memory_slots=slots, backend="cpu", **options), torch.rand(2, 5, 5)


def test_rounded_numbers_have_nearly_the_same_gradients():
    model, inputs = dnc()
    expected, found = gradients(model, inputs), gradients(model, inputs, rounded())
    for mine, exact in zip(found, expected, strict=True):
        assert (mine - exact).abs().max() < 0.02 * max(1.0, float(exact.abs().max()))


@pytest.mark.parametrize("make", [dnc, lambda: (NTM(5, 4, backend="cpu"), torch.rand(2, 5, 5))], ids=["DNC", "NTM"])
@pytest.mark.parametrize("hooks", [save_on_cpu, lambda: changed(torch.clone)], ids=["on the CPU", "copies"])
def test_exact_copies_have_the_same_gradients(make, hooks):
    model, inputs = make()
    expected, found = gradients(model, inputs), gradients(model, inputs, hooks())
    assert all(map(torch.equal, found, expected))


def test_a_second_backward_has_the_same_gradients():
    model, inputs = dnc()
    with rounded():
        loss = model(inputs)[0].sum()
    found = []
    for _ in range(2):
        model.zero_grad()
        loss.backward(retain_graph=True)
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(map(torch.equal, *found))


def test_segments_that_are_computed_again_have_the_same_gradients():
    model, inputs = dnc()
    expected = gradients(model, inputs)
    model.checkpoint_every = 2
    for mine, exact in zip(gradients(model, inputs, rounded()), expected, strict=True):
        assert (mine - exact).abs().max() < 0.02 * max(1.0, float(exact.abs().max()))


def test_other_numbers_of_slots_end_in_an_error_and_not_the_process():
    model, inputs = dnc(slots=12)
    gradients(model, inputs, changed(twofold))
    for change in (lambda tensor: tensor + 1, torch.zeros_like, lambda tensor: tensor * -7):
        with pytest.raises(RuntimeError, match="the numbers of memory slots are others"):
            gradients(model, inputs, changed(change))


def test_an_operator_refuses_changed_numbers_of_slots():
    model, inputs = dnc()
    for change in (twofold, lambda tensor: tensor.bfloat16().to(tensor)):
        with Looking(), changed(change):
            loss = model(inputs)[0].sum()
        with pytest.raises(RuntimeError, match="the numbers of memory slots are others"):
            loss.backward()
    expected = gradients(model, inputs)
    with Looking(), changed(torch.clone):
        loss = model(inputs)[0].sum()
    model.zero_grad()
    loss.backward()
    for parameter, exact in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, exact)
