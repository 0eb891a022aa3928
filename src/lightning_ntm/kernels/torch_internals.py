"""What public names of PyTorch do not tell, each behind a function.

No other file uses private names of PyTorch. `tests/test_private_names.py` lists those that are here and the version of
PyTorch with which they were checked. Most functions are called in each call of a network, so each is one direct
look-up. With PyTorch 2.13:

- Modes, transforms, a running backward: public names begin and end them, but none tells whether there is one. Kernels
  have to ask, since they would bypass them. `has_torch_function` counts function modes, but a default device is one,
  too.
- Tables of modules, such as that of their hooks: public names fill them. Here a module is asked which tables of its own
  these names have filled. As attributes, children and parameters take 3 us each instead of 0.04 us, and a call looks up
  dozens.
- Hooks of parameters: public names add and remove them. A training that writes gradients itself would pass them by.
- `_foreach_*`: on a GPU one launch for a list of tensors. Public functions launch one for each tensor.
- Memory of CUDA graphs: `torch.cuda.graph` leaves its pool active if a capture fails, and no public name ends that.
- Export: `torch.export.register_dataclass` takes no named tuples; `torch.while_loop` keeps no outputs of its steps.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.modules import module as nn_module
from torch.optim import optimizer as optimizer_module
from torch.overrides import _get_current_function_mode_stack, has_torch_function
from torch.utils import _pytree

#: A tensor without behaviour of its own: what PyTorch says of it is said of the modes around the call.
_PROBE = torch.empty(0)


def _filled_by(*changes: Callable[[nn.Module], Any]) -> tuple[str, ...]:
    """Return the names of the tables of a module that changes of it fill."""
    module = nn.Module()
    for change in changes:
        change(module)
    return tuple(name for name, table in vars(module).items() if isinstance(table, dict) and table)


_KINDS_OF_HOOKS = ("forward_pre", "forward", "full_backward_pre", "full_backward")
_HOOKS = _filled_by(*(methodcaller(f"register_{kind}_hook", print) for kind in _KINDS_OF_HOOKS))
(_PARAMETERS,) = _filled_by(methodcaller("register_parameter", "any", nn.Parameter(_PROBE)))
(_CHILDREN,) = _filled_by(methodcaller("add_module", "any", nn.Module()))
#: What a module only has after `compile`.
_COMPILED = [name for name, value in vars(nn.Module).items() if value is None]

#: Tables of any module: of its parts, hooks and compilation.
_TABLES = {name for name, value in vars(nn.Module()).items() if not isinstance(value, bool)} | {*_COMPILED}


def _registrations() -> list[Any]:
    """Return the tables of hooks that are called when a part of a module is set, as `torch.export` does."""
    kinds = ("buffer", "module", "parameter")
    handles = [getattr(nn_module, f"register_module_{kind}_registration_hook")(print) for kind in kinds]
    for handle in handles:
        handle.remove()
    return [handle.hooks_dict_ref() for handle in handles]


#: Of calls of all modules.
_GLOBAL_HOOKS = [
    table
    for table in vars(nn_module).values()
    if isinstance(table, OrderedDict) and not any(table is other for other in _registrations())
]
#: Of all optimizers.
_GLOBAL_STEP_HOOKS = [table for table in vars(optimizer_module).values() if isinstance(table, OrderedDict)]


def has_dispatch_modes() -> bool:
    """Return whether a mode sees each operation, as in tracing; public names enter modes but do not count them."""
    return torch._C._len_torch_dispatch_stack() > 0


def has_function_modes() -> bool:
    """Return whether a mode of the user's sees the functions of PyTorch; public names enter modes but do not list them.

    Modes of PyTorch itself set a default device or trace, which is asked elsewhere.
    """
    return has_torch_function((_PROBE,)) and any(
        not type(mode).__module__.startswith("torch.") for mode in _get_current_function_mode_stack()
    )


def in_functorch_transform() -> bool:
    """Return whether `torch.func` transforms the call; `torch.func` has transforms but no such question."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def in_forward_mode() -> bool:
    """Return whether a level of forward-mode derivatives is open: then unpacking makes another tensor."""
    return forward_ad.unpack_dual(_PROBE).primal is not _PROBE


def in_backward() -> bool:
    """Return whether autograd computes a backward in this thread; there is no public question."""
    return torch._C._current_graph_task_id() != -1


def backward_number() -> int:
    """Return the number of the backward that autograd runs in this thread; there is no public name."""
    return torch._C._current_graph_task_id()


def has_saved_tensor_hooks() -> bool:
    """Return whether hooks pack tensors saved for the backward: then these cannot be disabled."""
    try:
        with disable_saved_tensors_hooks("there are some"):
            return False
    except RuntimeError:
        return True


def is_batched(tensor: Tensor) -> bool:
    """Return whether a tensor stands for a batch of tensors in `vmap`; its public type is `Tensor`."""
    functorch = torch._C._functorch
    return bool(functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor))


def has_hooks(module: nn.Module) -> bool:
    """Return whether a call of a module also calls hooks."""
    own = module.__dict__
    return any(own[name] for name in _HOOKS)


def hooks_of(module: nn.Module) -> dict[str, list[Any]]:
    """Return the hooks that a call of a module also calls, by their kind."""
    return {name: [*table.values()] for name in _HOOKS if (table := vars(module)[name])}


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds besides parameters, buffers, modules and hooks."""
    return {name: value for name, value in vars(module).items() if name not in _TABLES}


def has_gradient_hooks(parameter: Tensor) -> bool:
    """Return whether hooks see or change the gradient of a parameter; public names add and remove them only."""
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)


def has_own_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer has another `step` than its class, or hooks, or all optimizers have hooks."""
    own = vars(optimizer)
    step = own.get("step")  # a scheduler wraps that of the class, to see that it is called before itself
    replaced = step is not None and getattr(step, "__wrapped__", None) is not type(optimizer).step
    hooked = any(isinstance(table, OrderedDict) and table for table in own.values())
    return replaced or hooked or any(_GLOBAL_STEP_HOOKS)


def is_compiled(module: nn.Module) -> bool:
    """Return whether `module.compile()` was called: then a call of the module runs something else than `forward`."""
    return any(module.__dict__.get(name) is not None for name in _COMPILED)


def has_global_hooks() -> bool:
    """Return whether there are hooks of all modules."""
    return any(_GLOBAL_HOOKS)


def own_parameters(module: nn.Module) -> Mapping[str, Tensor | None]:
    """Return what a module has as its own parameters, a table."""
    return module.__dict__[_PARAMETERS]


def children_of(module: nn.Module) -> Mapping[str, Any]:
    """Return the modules directly in a module, a table."""
    return module.__dict__[_CHILDREN]


def with_contents(module: nn.Module, parameters: Mapping[str, Any], children: Mapping[str, Any]) -> Any:
    """Return a shallow copy with other parameters and children; as attributes, tensors cannot replace parameters."""
    twin = copy.copy(module)
    twin.__dict__.update({_PARAMETERS: parameters, _CHILDREN: children})
    return twin


def clear_cublas_workspaces() -> None:
    """Free the work memory of cuBLAS on GPUs; there is no public name."""
    torch._C._cuda_clearCublasWorkspaces()


def leave_pool(device_index: int, pool: Any) -> None:
    """Let GPU memory no longer come from a pool; public names do this only for a capture that succeeds."""
    torch._C._cuda_endAllocateToPool(device_index, pool)
    torch._C._cuda_releasePool(device_index, pool)


def occupy_gpu(cycles: int) -> None:
    """Let the current stream of a GPU wait for clock cycles; there is no public name."""
    torch.cuda._sleep(cycles)


def products(tensors: Sequence[Tensor], factor: Tensor) -> Sequence[Tensor]:
    """Return each tensor times a scalar, on a GPU in one operation."""
    return torch._foreach_mul(list(tensors), factor)


def multiply(tensors: Sequence[Tensor], factors: Sequence[Tensor]) -> None:
    """Multiply tensors in place, each by a factor of its own."""
    torch._foreach_mul_(list(tensors), list(factors))


def copy_into(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors in as few operations as possible."""
    torch._foreach_copy_(list(targets), list(sources))


def make_serializable(kind: type[Any], name: str) -> None:
    """Let `torch.export.save` write named tuples of a class. The public name for that takes dataclasses alone.

    A second call for the same class does nothing.
    """
    if kind not in _pytree.SUPPORTED_NODES:
        _pytree._register_namedtuple(kind, serialized_type_name=name)


def scan(
    step: Callable[[list[Tensor], Tensor], tuple[list[Tensor], Tensor]], start: list[Tensor], inputs: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Return the last state and the outputs of a loop over the first axis of inputs, which exporters keep as a loop.

    The public operations of PyTorch have no loop. It is imported here, since it loads the compiler.
    """
    from torch._higher_order_ops import scan as torch_scan

    state, outputs = torch_scan(step, start, inputs)
    return state, outputs
