"""Private names of other packages: which are used, where, and with which versions they were checked."""

import ast
import re
import sys
from pathlib import Path

import jsonargparse
import lightning
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_ntm.kernels import torch_internals as internals

PACKAGE = Path(__file__).parents[1] / "src" / "lightning_ntm"

#: The file that uses a package's private names, the version with which they were checked, and the names.
CHECKED = {
    torch: (
        "kernels/torch_internals.py",
        "2.13",
        {
            "_C",
            "_backward_hooks",
            "_cuda_clearCublasWorkspaces",
            "_cuda_endAllocateToPool",
            "_cuda_releasePool",
            "_current_graph_task_id",
            "_foreach_copy_",
            "_foreach_mul",
            "_foreach_mul_",
            "_functorch",
            "_higher_order_ops",
            "_get_current_function_mode_stack",
            "_len_torch_dispatch_stack",
            "_post_accumulate_grad_hooks",
            "_pytree",
            "_register_namedtuple",
            "_sleep",
        },
    ),
    lightning: ("training/lightning_internals.py", "2.6", {"_data_connector", "_datahook_selector"}),
}

#: Names that Python documents, of named tuples and of `os`.
DOCUMENTED = {"_asdict", "_exit", "_fields", "_replace"}

#: Private names of Python: a type of `ctypes` in an annotation, what runs at exit.
OF_PYTHON = {"_CFuncPtr", "_run_exitfuncs"}

#: Names that a text may name.
OBJECTS = (torch, torch.zeros(1), lightning.LightningModule(), lightning.Trainer, jsonargparse.ArgumentParser())
NAMED = {name for one in OBJECTS for name in dir(one)}


def is_private(name):
    return re.fullmatch(r"_[A-Za-z]\w*", name) is not None


def trees():
    return {p.relative_to(PACKAGE).as_posix(): ast.parse(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}


def defined(tree):
    """Yield the private names that a file defines: functions, classes, variables, attributes of its own objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            yield from [node.attr] if node.value.id == "self" else []
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "register_buffer":
            yield node.args[0].value


def used(tree):
    """Yield attributes, keywords, imported names, and texts that name attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from {node.value} & NAMED
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)


def imported(tree):
    """Return the names under which a file imports other packages, and what is in them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.asname or alias.name).split(".")[0]: alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: node.module.split(".")[0] for alias in node.names}
    return {name for name, package in found.items() if package not in {"lightning_ntm", *sys.stdlib_module_names}}


def used_of_imports(tree):
    """Yield attributes of imported packages, such as `torch.<a>.<b>`, and of what is in them."""
    packages = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in packages:
                yield node.attr


def foreign(tree, own):
    names = {name for name in used(tree) if is_private(name)} - own
    return (names | {name for name in used_of_imports(tree) if is_private(name)}) - DOCUMENTED - OF_PYTHON


def test_private_names_of_other_packages_are_in_their_own_files():
    files = trees()
    own = {name for tree in files.values() for name in defined(tree)}
    found = {path: names for path, tree in files.items() if (names := foreign(tree, own))}
    assert found == {path: names for path, _, names in CHECKED.values()}


@pytest.mark.parametrize(
    "text",
    [
        "torch._C",
        "tensor._version",
        "self._modules",
        "vars(part)['_parameters']",
        "getattr(trainer, '_current_fx_name')",
        "part.__dict__.update(_parameters={})",
        "from torch.utils._pytree import tree_map",
        "from jsonargparse import _core",
        "nn.functional._unwrap",
    ],
)
def test_a_private_name_is_found(text):
    assert foreign(ast.parse(f"from torch import nn\n{text}"), {"_own", "_unwrap"})


@pytest.mark.parametrize("package", CHECKED, ids=lambda package: package.__name__)
def test_private_names_were_checked_with_this_version(package):
    path, checked, names = CHECKED[package]
    here = ".".join(package.__version__.split(".")[:2])
    assert tuple(map(int, here.split("."))) <= tuple(map(int, checked.split("."))), (
        f"{package.__name__} {here} is newer than {checked}, with which its private names were checked. See "
        f"whether {path} is still right and still needed, then write {here} into CHECKED. The names: {sorted(names)}."
    )


class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def test_only_modes_of_the_user_count_among_function_modes():
    assert not internals.has_function_modes()
    with torch.device("cpu"):  # a mode of PyTorch itself
        assert not internals.has_function_modes()
        with Functions():
            assert internals.has_function_modes()
    assert not internals.has_function_modes()


def test_each_question_has_the_right_answer():
    seen, x = [], torch.ones(2, requires_grad=True)
    assert not internals.has_dispatch_modes()
    with Mode():
        assert internals.has_dispatch_modes()
    assert not internals.in_functorch_transform()
    torch.func.vmap(lambda row: seen.append((internals.in_functorch_transform(), internals.is_batched(row))) or row)(x)
    assert seen == [(True, True)]
    assert not internals.is_batched(x)
    assert not internals.in_forward_mode()
    with forward_ad.dual_level():
        assert internals.in_forward_mode()
    assert not internals.in_backward()
    x.register_hook(lambda gradient: seen.append(internals.in_backward()))
    x.sum().backward()
    assert seen[1:] == [True]
    assert not internals.has_saved_tensor_hooks()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        assert internals.has_saved_tensor_hooks()
    assert not internals.has_saved_tensor_hooks()


def test_a_module_that_was_compiled_is_known(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    module = nn.Linear(2, 2)
    assert not internals.is_compiled(module)
    module.compile()
    assert internals.is_compiled(module)


def test_gradients_of_a_batched_backward_are_batched():
    seen, x = [], torch.ones(2, requires_grad=True)
    (2 * x).register_hook(lambda gradient: seen.append(internals.is_batched(gradient)))
    y = 2 * x
    y.register_hook(lambda gradient: seen.append(internals.is_batched(gradient)))
    torch.autograd.grad(y, x, torch.eye(2), is_grads_batched=True)
    assert seen == [True]


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_each_kind_of_hook_is_found(register):
    module = nn.Linear(2, 2)
    assert not internals.has_hooks(module)
    handle = getattr(module, register)(lambda *arguments: None)
    assert internals.has_hooks(module)
    handle.remove()
    assert not internals.has_hooks(module)


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_each_kind_of_hook_of_a_parameter_is_found(register):
    parameter = nn.Parameter(torch.zeros(2))
    assert not internals.has_gradient_hooks(parameter)
    handle = getattr(parameter, register)(lambda *arguments: None)
    assert internals.has_gradient_hooks(parameter)
    handle.remove()
    assert not internals.has_gradient_hooks(parameter)


def test_hooks_of_all_modules_are_found():
    assert not internals.has_global_hooks()
    handle = register_module_forward_hook(lambda *arguments: None)
    try:
        assert internals.has_global_hooks()
    finally:
        handle.remove()
    assert not internals.has_global_hooks()


def test_a_copy_with_other_contents_leaves_the_module():
    module = nn.Sequential(nn.Linear(2, 2))
    twin = internals.with_contents(module[0], {"weight": torch.zeros(2, 2), "bias": None}, {})
    assert twin.weight.sum() == 0
    assert module[0].weight is internals.own_parameters(module[0])["weight"]
    assert internals.children_of(module) == {"0": module[0]}
