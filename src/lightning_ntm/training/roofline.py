"""Lower bound (floor) of the time of an NTM's time step on a GPU: bytes and operations over the rates of the GPU.

Counts are for one sequence and one time step within the programs of `kernels/ntm/triton`. The matrix products outside
the programs are not counted: the inputs' contribution to the controller, the output layer, and the gradients of the
weights. Each number is counted once. For example, the memory is read once, although several stages read it.

The floor is the largest of three times:

- `cache`: bytes read from the caches, over the rate at which the caches deliver weights. The weights are read in each
  step, since those of the paper's network do not fit into the registers of a multiprocessor.
- `memory`: bytes to and from the GPU's main memory, over its bandwidth. A short sequence of a small batch fits into the
  caches; its time is bounded by `cache`.
- `arithmetic`: floating point operations, over the rate of a large float32 matrix product times the share of the
  multiprocessors that run a sequence.
"""

from typing import Any, NamedTuple

from lightning_ntm.models.controllers import LSTMController
from lightning_ntm.models.ntm import NTM


class Cost(NamedTuple):
    """Operations and bytes of a program for one sequence in one time step.

    Args:
        flops: Floating point operations; a multiplication and an addition are two.
        cache_bytes: Bytes read from the caches, or read from or written to main memory through them.
        memory_bytes: Bytes read from or written to main memory.
    """

    flops: int
    cache_bytes: int
    memory_bytes: int


class Rates(NamedTuple):
    """Rates of a GPU, per second.

    Args:
        flops: Floating point operations of a large float32 matrix product on the whole GPU.
        cache_bytes: Bytes read from the caches by all programs together, with one program for each sequence.
        memory_bytes: Bytes read and written by a large copy in main memory.
        multiprocessors: Number of multiprocessors: programs that run at once with one multiprocessor each.
    """

    flops: float
    cache_bytes: float
    memory_bytes: float
    multiprocessors: int


class Floor(NamedTuple):
    """Lower bound of the time of a time step.

    Args:
        seconds: Time of one time step of all sequences.
        limit: The largest of the three times: `cache`, `memory` or `arithmetic`.
    """

    seconds: float
    limit: str


def forward_cost(model: NTM, bytes_per_weight: int = 4, bytes_per_number: int = 4) -> Cost:
    """Return the cost of the forward program of a training step.

    The program reads the weights, the memory and the inputs' contribution to the controller. It writes its outputs and
    the values for the backward pass, including the next memory.

    Args:
        model: The network.
        bytes_per_weight: Bytes of a weight; 2 under autocast.
        bytes_per_number: Bytes of all else.
    """
    streamed = bytes_per_number * (_input_sums(model) + _outputs(model) + saved_numbers(model))
    weights, memory = recurrent_weights(model), _memory(model)
    return Cost(
        flops=2 * weights + memory_flops(model),
        cache_bytes=bytes_per_weight * weights + bytes_per_number * memory + streamed,
        memory_bytes=streamed,
    )


def backward_cost(model: NTM, bytes_per_weight: int = 4, bytes_per_number: int = 4) -> Cost:
    """Return the cost of the backward program.

    The program reads the weights, the saved values and the gradients of the outputs. It reads and writes the gradient
    of the memory, and writes the gradients of the controller's and the heads' results. Each product with the memory
    becomes two, one for the gradient of each factor. A product with weights stays one, since the gradients of weights
    are computed outside.

    Args:
        model: The network.
        bytes_per_weight: Bytes of a weight; 2 under autocast.
        bytes_per_number: Bytes of all else.
    """
    streamed = bytes_per_number * (saved_numbers(model) + _outputs(model) + _gates(model) + model.heads.out_features)
    weights, memory = recurrent_weights(model), _memory(model)
    return Cost(
        flops=2 * weights + 2 * memory_flops(model),
        cache_bytes=bytes_per_weight * weights + bytes_per_number * 2 * memory + streamed,
        memory_bytes=streamed,
    )


def floor(cost: Cost, rates: Rates, sequences: int) -> Floor:
    """Return the lower bound of the time of a time step of this many sequences."""
    busy = min(1.0, sequences / rates.multiprocessors)
    seconds = {
        "cache": sequences * cost.cache_bytes / rates.cache_bytes,
        "memory": sequences * cost.memory_bytes / rates.memory_bytes,
        "arithmetic": sequences * cost.flops / (rates.flops * busy),
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return Floor(seconds[limit], limit)


def recurrent_weights(model: NTM) -> int:
    """Return the number of weights that a program uses in each step: of the controller and the heads without inputs."""
    read, hidden = model.num_read_heads * model.memory_width, model.heads.in_features
    own = hidden if _recurrent(model) else 0
    inputs = (read + own) + (_layers(model) - 1) * (hidden + own)
    return inputs * _gates_per_unit(model) * hidden + hidden * model.heads.out_features


def memory_flops(model: NTM) -> int:
    """Return the operations of a step on the numbers of the memory.

    For each number: two for the norm of its slot, two for each head's cosine, two for each read, five for each write.
    """
    heads = model.num_read_heads + model.num_write_heads
    return (2 + 2 * heads + 2 * model.num_read_heads + 5 * model.num_write_heads) * _memory(model)


def saved_numbers(model: NTM) -> int:
    """Return the number of values of a step that the forward program saves for the backward program.

    Gates after their activation and cells of the controller, head outputs, cosines, content weightings and weightings
    of each head, the memory, and the inputs of each layer of the controller except the network's inputs.
    """
    hidden, layers, recurrent = model.heads.in_features, _layers(model), _recurrent(model)
    cells, own = (layers * hidden, hidden) if recurrent else (0, 0)
    heads = model.num_read_heads + model.num_write_heads
    layer_inputs = model.num_read_heads * model.memory_width + own + (layers - 1) * (hidden + own)
    weightings = 3 * heads * model.memory_slots
    return _gates(model) + cells + model.heads.out_features + weightings + _memory(model) + layer_inputs


def _memory(model: NTM) -> int:
    return model.memory_slots * model.memory_width


def _recurrent(model: NTM) -> bool:
    return isinstance(model.controller, LSTMController)


def _layers(model: NTM) -> int:
    controller: Any = model.controller
    return int(controller.num_layers)


def _gates_per_unit(model: NTM) -> int:
    return 4 if _recurrent(model) else 1


def _gates(model: NTM) -> int:
    """Return the number of activations of all layers of the controller."""
    return _layers(model) * _gates_per_unit(model) * model.heads.in_features


def _input_sums(model: NTM) -> int:
    """Return the size of the inputs' contribution, with biases, to the first layer of the controller."""
    return _gates_per_unit(model) * model.heads.in_features


def _outputs(model: NTM) -> int:
    """Return the input size of the output layer: the controller's output and the reads."""
    return model.heads.in_features + model.num_read_heads * model.memory_width
