"""A stand-in for CUDA graphs on a CPU: operations are recorded, and a replay runs them again on the same memory.

As on a GPU, what a graph leaves in its memory is lost with the next replay of another: here, it becomes NaN.
"""

import threading
from weakref import WeakSet

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_ntm.kernels import capture


def _storages(tree):
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and leaf.numel()]
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}


class Graph(TorchDispatchMode):
    """Records the operations that run inside of it."""

    def __init__(self, memory):
        super().__init__()
        self.memory, self.operations, self.own = memory, [], {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        outputs = operation(*args, **kwargs)
        fresh = not any(returned.alias_info for returned in operation._schema.returns)
        self.operations.append((operation, args, kwargs, outputs if fresh else []))
        if fresh:
            given = _storages((args, kwargs))
            self.own |= {place: made for place, made in _storages(outputs).items() if place not in given}
        return outputs

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, outputs in self.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(outputs), tree_leaves(again) if outputs != [] else [], strict=True):
                old.copy_(new)
        self.memory.replays += 1
        for other in self.memory.graphs:
            if other is not self:
                for storage in other.own.values():
                    storage.fill_(0xFF)


class Memory(capture.Memory):
    """Captures by recording."""

    def __init__(self, device):
        self.lock, self.latest, self.graphs, self.replays = threading.Lock(), object(), [], 0
        self.lent = WeakSet()

    def warm_up(self, work):
        before = torch.get_rng_state()
        results = work()
        if not torch.equal(before, torch.get_rng_state()):
            raise RuntimeError("its step draws random numbers")
        return results

    def capture(self, work):
        graph = Graph(self)
        with graph:
            results = work()
        for place in _storages(results):
            graph.own.pop(place, None)
        self.graphs.append(graph)
        return graph, results
