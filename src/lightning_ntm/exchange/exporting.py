"""Exports a network as a program of one sequence: ONNX, or a file of `torch.export`.

The loop over time stays a loop in the file, so it takes any number of sequences of any length. Before it is written,
the program runs on sequences of several sizes, and its outputs are compared with those of the network.
"""

import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ntm.kernels.torch_internals import scan
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import write_with_folder
from lightning_ntm.states import flatten, structure, unflatten

#: Largest difference of a logit, relative to the largest logit, or to 1 if all are smaller.
TOLERANCE = 1e-4
#: Networks may amplify rounding over many steps. Their float32 logits then differ from those in float64 by more than
#: the tolerance; a program may differ by this many times as much.
ROUNDING = 4.0
#: Sequences and steps for which an exported program is checked. The last is the one it is traced with.
_CHECKED = ((1, 1), (5, 40), (3, 7))
_OF_ONNX = ("onnx", "onnxscript", "onnxruntime")

Program = Callable[[Tensor], Tensor]


class Sequence(nn.Module):
    """A network on whole sequences, from their start: inputs `(batch, time, inputs)` to logits."""

    def __init__(self, network: MemoryModel[Any]):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Run sequences as one loop."""
        start: Any = self.network.initial_state(inputs.shape[0])
        like = structure(start)

        def step(parts: list[Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
            logits, state = self.network.step(x, unflatten(like, parts))
            # A loop that is exported must not return what it was given.
            return [part.clone() for part in flatten(state)], logits.clone()

        _, logits = scan(step, [part.clone() for part in flatten(start)], inputs.transpose(0, 1))
        return logits.transpose(0, 1)


def export(network: MemoryModel[Any], path: Path, kind: str) -> float:
    """Write a network as a program and return the largest difference that its check found.

    Args:
        network: The network.
        path: The file. Its folder is made if it is missing.
        kind: `onnx`, with input `inputs` and output `logits`, or `torch`, for `torch.export.load`. onnxruntime takes at
            least one step, and for sparse memories at least one sequence.

    Returns:
        The difference of logits from those of the network, relative to the largest logit.

    Raises:
        ValueError: The network cannot be exported, packages are missing, or the program computes other numbers.
        OSError: The file cannot be written.
    """
    if kind == "onnx" and (missing := [name for name in _OF_ONNX if find_spec(name) is None]):
        raise ValueError(f"ONNX needs {', '.join(missing)}: pip install 'lightning-ntm[onnx]'.")
    sequence = Sequence(copy.deepcopy(network).cpu().eval()).eval()
    try:
        with _quiet(), torch.no_grad():
            data, program = (_onnx if kind == "onnx" else _torch)(sequence)
    except Exception as error:  # the exporters raise errors of their own, about any part of a network
        raise ValueError(f"{type(network).__name__} cannot be exported: {_reason(error)}") from error
    try:
        with torch.no_grad():
            difference = _check(sequence.network, program)
    except ValueError as error:
        raise ValueError(f"{path} is not written: {error}") from None
    write_with_folder(path, data)
    return difference


def _reason(error: Exception) -> str:
    """Return the message of the first cause, without the advice and the colours of the exporters."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split("\n\n")[0].split())[:300]


def _inputs(network: MemoryModel[Any]) -> Iterator[Tensor]:
    """Yield random bits of the checked sizes."""
    generator, like = torch.Generator().manual_seed(1), next(network.parameters())
    for batch, time in _CHECKED:
        shape = (batch, time, network.input_size)
        yield torch.randint(2, shape, generator=generator).to(like)


def _check(network: MemoryModel[Any], program: Program) -> float:
    """Return the largest difference between a program and the network, relative to the largest logit.

    Raises:
        ValueError: It exceeds the tolerance, and what rounding does to the network itself on these inputs.
    """
    exact, largest = copy.deepcopy(network).double(), 0.0
    for inputs in _inputs(network):
        expected, unrounded = _logits(network, inputs), _logits(exact, inputs.double())
        scale = expected.abs().max().clamp(min=1)
        difference = float((program(inputs).double() - expected).abs().max() / scale)
        allowed = max(TOLERANCE, ROUNDING * float((unrounded - expected).abs().max() / scale))
        if not difference <= allowed:
            batch, time, _ = inputs.shape
            raise ValueError(
                f"its logits would differ from those of the network by {difference:.1e} of the largest, for {batch} "
                f"sequences of {time} steps; allowed is {allowed:.1e}."
            )
        largest = max(largest, difference)
    return largest


def _logits(network: MemoryModel[Any], inputs: Tensor) -> Tensor:
    return network.unroll(inputs, network.initial_state(len(inputs)))[0].double()


def _torch(sequence: Sequence) -> tuple[bytes, Program]:
    *_, inputs = _inputs(sequence.network)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    exported, file = torch.export.export(sequence, (inputs,), dynamic_shapes=(axes,)), io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()


def _onnx(sequence: Sequence) -> tuple[bytes, Program]:
    import onnxruntime

    *_, inputs = _inputs(sequence.network)
    axes, names = ({0: "batch", 1: "time"},), {"input_names": ["inputs"], "output_names": ["logits"]}
    # Its optimiser takes the addition of 1e-12 for one of 0 and removes it: a memory of 1e-6 would be read wrongly.
    options: dict[str, Any] = {"dynamo": True, "dynamic_shapes": axes, "optimize": False, "verbose": False, **names}
    options["custom_translation_table"] = {
        torch.ops.aten.sort.stable: _stable_sort,
        torch.ops.aten.sigmoid.default: _sigmoid,
    }
    if inputs.dtype == torch.float64:
        options["custom_translation_table"][torch.ops.aten.softplus.default] = _softplus
    made: Any = torch.onnx.export(sequence, (inputs,), **options)
    data = made.model_proto.SerializeToString()
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(data, quiet, providers=["CPUExecutionProvider"])
    return data, lambda inputs: torch.from_numpy(session.run(["logits"], {"inputs": inputs.numpy()})[0])


def _stable_sort(values: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """Return values in their order and their places, in operations of ONNX, whose `TopK` takes the first of equal ones.

    The exporter has no translation of `sort` where `stable` is given.
    """
    import onnxscript

    op: Any = onnxscript.opset18
    count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def _sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)). `Sigmoid` of onnxruntime is off by 1e-7 near 0, where it decides what is erased."""
    import onnxscript

    op: Any = onnxscript.opset18
    one = op.CastLike(op.Constant(value_float=1.0), x)
    return op.Div(one, op.Add(one, op.Exp(op.Neg(x))))


def _softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Return log(1 + exp(x)), which onnxruntime has for float32 only."""
    import onnxscript

    op: Any = onnxscript.opset18
    one, factor = (op.CastLike(op.Constant(value_float=value), x) for value in (1.0, beta))
    scaled = op.Mul(x, factor)
    return op.Div(op.Add(op.Relu(scaled), op.Log(op.Add(one, op.Exp(op.Neg(op.Abs(scaled)))))), factor)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the warnings and messages of the exporters, which are about their own code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
