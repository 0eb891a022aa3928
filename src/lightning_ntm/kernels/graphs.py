"""The loop of any model as CUDA graphs, for shapes that repeat.

Each step of the loop consists of tens of small kernels, and on a GPU launching them takes longer than running them. A
CUDA graph launches all kernels of a sequence at once. Graphs are looked up by the shapes of a call and by everything in
the model apart from the numbers in its tensors, so a changed model gets other graphs.
"""

import io
import pickle
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_ntm.kernels.capture import Graph, Memory, Replay
from lightning_ntm.kernels.plain import PLAIN, transformed
from lightning_ntm.kernels.torch_internals import (
    has_dispatch_modes,
    has_global_hooks,
    has_hooks,
    has_saved_tensor_hooks,
    in_backward,
)
from lightning_ntm.states import flatten, unflatten

#: What is captured: has `used`, the number of the latest call that used it.
Captured = TypeVar("Captured")

#: Calls of a shape that run as a loop before the next is captured: a capture takes as long as several loops.
CALLS_BEFORE_CAPTURE = 2

#: Graphs of a model, and the number of calls for which the least recently used must be idle before another replaces it.
#: Without the second limit, slightly too many shapes would all be captured again and again.
MAX_GRAPHS, IDLE_CALLS = 32, 1000

#: The number of shapes whose calls are counted.
MAX_COUNTED = 1024


def refusal(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why the call cannot run as a graph, or `None`."""
    if inputs.device.type != "cuda":
        return "it needs tensors on a CUDA device."
    return obstacle(model, inputs, state)


def obstacle(model: Any, inputs: Tensor, state: Any) -> str | None:
    """Return why the call cannot run as a graph, apart from the device, or `None`."""
    parts = [inputs, *flatten(state)]
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or has_dispatch_modes():
        return "the operations of the loop are being traced."
    if reason := transformed():
        return reason
    if torch.is_autocast_enabled(inputs.device.type):
        return "it does not follow autocast."
    if torch.is_anomaly_enabled():
        return "anomaly detection is on."
    if in_backward():
        return "it is called during a backward."
    if torch.is_grad_enabled():
        if model.checkpoint_every or has_saved_tensor_hooks():
            return "its activations are in fixed memory, out of reach of checkpoints and hooks for saved tensors."
        if any(part.is_inference() for part in parts):
            return "tensors of inference mode cannot be saved for the backward."
    if any(type(part) not in PLAIN for part in parts):
        return "the inputs or the state are of a subclass of Tensor."
    if any(part.device != inputs.device for part in parts):
        return f"the inputs are on {inputs.device}, the state is not."
    if inputs.shape[0] == 0:
        return "the batch is empty."
    if has_global_hooks() or any(has_hooks(part) for part in model.modules() if part is not model):
        return "it does not call the hooks of modules."
    if torch.cuda.is_current_stream_capturing():
        return "the call is part of another capture."
    return None


def run(model: Any, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return `(logits, state)` for a whole sequence, from a graph or, if there is none yet, from the loop.

    Raises:
        ValueError: `backend` is `"graphs"` and the loop cannot be captured.
    """
    by_name = model.backend == "graphs"
    fingerprint, tensors = _fingerprint(model, inputs.device)
    parts = [inputs, *flatten(state)]
    call = [(part.shape, part.dtype, part.requires_grad) for part in parts]
    key = (fingerprint, type(state), *call, *settings())

    def capture(memory: Memory) -> Graph:
        if isinstance(fingerprint, str):
            raise RuntimeError(fingerprint)
        return Graph(memory, model, inputs, state, tensors)

    with _searching:
        found = _graphs_of(model, inputs.device).find(key, capture, at_once=by_name, warn=not by_name)
    if isinstance(found, Graph):
        logits, *end = Replay.apply(found, *parts, *tensors)
        return logits, unflatten(state, end)
    if found and by_name:
        raise ValueError(f"backend (='graphs') cannot run this call: {found}")
    return model.unroll(inputs, state)


def settings() -> tuple[Hashable, ...]:
    """Return the settings of PyTorch that change which kernels a loop runs."""
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled()
    return (*modes, torch.backends.cuda.matmul.fp32_precision)


class _Pickler(pickle.Pickler):
    """Pickles a model with the addresses of its tensors instead of their numbers, and collects the tensors."""

    def __init__(self, file: io.BytesIO, device: torch.device):
        super().__init__(file, protocol=5)
        self.device, self.tensors = device, list[Tensor]()

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        if type(value) not in PLAIN or value.device != self.device:
            raise TypeError(f"it has a {type(value).__name__} on {value.device}")
        self.tensors.append(value)
        return str, (repr((value.data_ptr(), value.shape, value.stride(), value.dtype, value.requires_grad)),)


def _fingerprint(model: nn.Module, device: torch.device) -> tuple[bytes | str, list[Tensor]]:
    """Return everything in a model but the numbers in its tensors, or why that cannot be pickled; and its tensors."""
    file = io.BytesIO()
    pickler = _Pickler(file, device)
    try:
        pickler.dump(model)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        return f"whether the model changes cannot be told: {error}", []
    return file.getvalue(), pickler.tensors


class _Graphs:
    """The graphs of one model on one stream."""

    def __init__(self, device: torch.device):
        self.device, self.memory, self.calls = device, Memory(device), 0
        self.graphs = OrderedDict[Hashable, Any]()  # the least recently used first
        self.others = OrderedDict[Hashable, int | str]()  # number of calls, or why they cannot be captured

    def find(
        self, key: Hashable, capture: Callable[[Memory], Captured], *, at_once: bool = False, warn: bool = False
    ) -> Captured | str | None:
        """Return the graph of a key or why it cannot be captured; `None` while the key is new or there is no room."""
        self.calls += 1
        if key not in self.graphs:
            known = self.others.pop(key, 0)
            self.others[key] = known if isinstance(known, str) else known + 1
            _trim(self.others, MAX_COUNTED)
            if isinstance(known, str):
                return known
            if not at_once and (known < CALLS_BEFORE_CAPTURE or not self._has_room()):
                return None
            try:
                self.graphs[key] = capture(self.memory)
            except RuntimeError as error:
                return self._failed(key, error, warn=warn)
            del self.others[key]
            _trim(self.graphs, MAX_GRAPHS)  # last, since the memory pool lives as long as one of the graphs
        self.graphs.move_to_end(key)
        self.graphs[key].used = self.calls
        return self.graphs[key]

    def _has_room(self) -> bool:
        idle = self.calls - next((graph.used for graph in self.graphs.values()), 0)
        return len(self.graphs) < MAX_GRAPHS or idle > IDLE_CALLS

    def _failed(self, key: Hashable, error: RuntimeError, *, warn: bool) -> str:
        """Store why a key cannot be captured, and replace the memory in which the capture failed."""
        self.memory = Memory(self.device)
        first_line = str(error.__context__ or error).partition("\n")[0]  # ending a failed capture raises, too
        reason = self.others[key] = first_line.rstrip(".") + "."
        if warn:
            warnings.warn(f"No CUDA graph replaces the loop of this model, which is slow: {reason}", stacklevel=2)
        return reason


def can_capture(device: torch.device) -> bool:
    """Return whether operations on a device can be captured now."""
    return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


def find(owner: Any, key: Hashable, device: torch.device, capture: Callable[[Memory], Captured]) -> Captured | None:
    """Return what was captured for a key, or `None` where nothing was.

    Args:
        owner: The network.
        key: Of all that is captured.
        device: A CUDA device.
        capture: Captures it. A `RuntimeError` says that this is not possible.
    """
    with _searching:
        found = _graphs_of(owner, device).find(key, capture)
    return None if isinstance(found, str) else found


def _trim(entries: OrderedDict[Hashable, Any], most: int) -> None:
    while len(entries) > most:
        entries.popitem(last=False)


_models: WeakKeyDictionary[nn.Module, dict[Hashable, _Graphs]] = WeakKeyDictionary()

#: Held while a graph is looked up or captured: only one capture can run at a time.
_searching = threading.RLock()


def _graphs_of(model: nn.Module, device: torch.device) -> _Graphs:
    """Return the graphs of a model for the current stream, on which replays run one after the other."""
    streams, stream = _models.setdefault(model, {}), _current_stream(device)
    if stream not in streams:
        streams[stream] = _Graphs(device)
    return streams[stream]


def _current_stream(device: torch.device) -> Hashable:
    return device, torch.cuda.current_stream(device).cuda_stream
