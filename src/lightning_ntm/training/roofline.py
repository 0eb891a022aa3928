"""How fast a GPU could run a time step of an NTM: what the step must move and compute, over what the GPU can do.

Counts are of one sequence and one time step within the programs of `kernels/ntm/triton`. The matrix products outside of
them are not counted: the inputs' share of the controller, the output layer, and the gradients of the weights. A bound
counts each number once: the memory, for one, is read once, although several stages read it.

The time of a step is at least each of three times, and their largest is the floor:

- `cache`: bytes that the caches of the GPU must deliver, over the bytes a second at which they deliver weights. Weights
  are read anew in each step, since those of the paper's network do not fit into the registers of a multiprocessor.
- `memory`: bytes that pass to or from the GPU's main memory, over its bandwidth. A short sequence of a small batch fits
  into the caches and need not pass at once; its time is bounded by `cache`.
- `arithmetic`: floating point operations over the rate of a large float32 matrix product, times the share of the
  multiprocessors that have a sequence to run.
"""

from typing import Any, NamedTuple

from lightning_ntm.models.controllers import LSTMController
from lightning_ntm.models.ntm import NTM


class Cost(NamedTuple):
    """What a program moves and computes for one sequence in one time step.

    Args:
        flops: Floating point operations; a multiplication and an addition are two.
        cache_bytes: Bytes read from the caches, or read from or written to main memory through them.
        memory_bytes: Bytes read from or written to main memory.
    """

    flops: int
    cache_bytes: int
    memory_bytes: int


class Rates(NamedTuple):
    """What a GPU reaches, in units per second.

    Args:
        flops: Floating point operations a second of a large float32 matrix product on the whole GPU.
        cache_bytes: Bytes a second that as many programs as there are sequences, together, read from the caches.
        memory_bytes: Bytes a second, read and written, of a large copy in main memory.
        multiprocessors: Programs that run at once if each has a multiprocessor of its own.
    """

    flops: float
    cache_bytes: float
    memory_bytes: float
    multiprocessors: int


class Floor(NamedTuple):
    """The least time of a time step.

    Args:
        seconds: Of one time step of all sequences.
        limit: What bounds it: `cache`, `memory` or `arithmetic`.
    """

    seconds: float
    limit: str


def forward_cost(model: NTM, bytes_per_weight: int = 4, bytes_per_number: int = 4) -> Cost:
    """Return the cost of the forward program of a training step.

    The program reads the weights, the memory, the inputs' share of the controller and writes its outputs and all that
    the backward needs, the next memory included.

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

    The program reads the weights, what the forward saved and the gradients of the outputs, reads and writes the
    gradient of the memory, and writes the gradients of what the controller and the heads computed. Each pass over the
    memory becomes two, one for either factor; the products with weights stay one, since the gradients of weights are
    computed outside.

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
    """Return the least time of a time step of so many sequences."""
    busy = min(1.0, sequences / rates.multiprocessors)
    seconds = {
        "cache": sequences * cost.cache_bytes / rates.cache_bytes,
        "memory": sequences * cost.memory_bytes / rates.memory_bytes,
        "arithmetic": sequences * cost.flops / (rates.flops * busy),
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return Floor(seconds[limit], limit)


def recurrent_weights(model: NTM) -> int:
    """Return the weights that a program multiplies with in each step: of all but the inputs, and of the heads."""
    read, hidden = model.num_read_heads * model.memory_width, model.heads.in_features
    own = hidden if _recurrent(model) else 0
    inputs = (read + own) + (_layers(model) - 1) * (hidden + own)
    return inputs * _gates_per_unit(model) * hidden + hidden * model.heads.out_features


def memory_flops(model: NTM) -> int:
    """Return the operations of a step on the numbers of the memory.

    For each number: two for its slot's length, two for each head's cosine, two for each read, five for each write.
    """
    heads = model.num_read_heads + model.num_write_heads
    return (2 + 2 * heads + 2 * model.num_read_heads + 5 * model.num_write_heads) * _memory(model)


def saved_numbers(model: NTM) -> int:
    """Return how many numbers of a step the forward keeps for the backward.

    Activated gates and cells of the controller, what the heads emit, cosines, content weights and weightings of each
    head, the memory, and what each layer of the controller is given besides the inputs.
    """
    hidden, layers, recurrent = model.heads.in_features, _layers(model), _recurrent(model)
    cells, own = (layers * hidden, hidden) if recurrent else (0, 0)
    heads = model.num_read_heads + model.num_write_heads
    given = model.num_read_heads * model.memory_width + own + (layers - 1) * (hidden + own)
    weightings = 3 * heads * model.memory_slots
    return _gates(model) + cells + model.heads.out_features + weightings + _memory(model) + given


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
    """Activations of all layers of the controller."""
    return _layers(model) * _gates_per_unit(model) * model.heads.in_features


def _input_sums(model: NTM) -> int:
    """The share of the inputs, and the biases, in the first layer of the controller."""
    return _gates_per_unit(model) * model.heads.in_features


def _outputs(model: NTM) -> int:
    """What the output layer is given: the controller's output and the reads."""
    return model.heads.in_features + model.num_read_heads * model.memory_width
