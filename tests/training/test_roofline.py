"""How fast a GPU could run a time step: the counts, by hand and against what the kernel allocates."""

import itertools

import pytest
import torch

from lightning_ntm import NTM
from lightning_ntm.kernels.ntm.triton.sizes import Options, sizes_of
from lightning_ntm.training.bench import forward_flops
from lightning_ntm.training.roofline import (
    Cost,
    Rates,
    backward_cost,
    floor,
    forward_cost,
    memory_flops,
    recurrent_weights,
    saved_numbers,
)

PAPER = NTM(9, 8)
RATES = Rates(flops=100.0, cache_bytes=10.0, memory_bytes=1.0, multiprocessors=4)


def test_the_paper_copy_network_is_counted_by_hand():
    # (20 read + 100 recurrent) x 400 gates and 100 x 92 for the heads.
    assert recurrent_weights(PAPER) == 120 * 400 + 100 * 92 == 57_200
    # 13 operations on each of the 128 x 20 numbers: 2 length, 2 x 2 cosines, 2 read, 5 write.
    assert memory_flops(PAPER) == 13 * 2560
    # Gates, cell, emitted, three weightings of two heads, memory, reads and own output.
    assert saved_numbers(PAPER) == 400 + 100 + 92 + 3 * 2 * 128 + 2560 + 120 == 4040


def test_forward_and_backward_of_the_paper_copy_network_by_hand():
    streamed = 4 * (400 + 120 + 4040)
    assert forward_cost(PAPER) == Cost(2 * 57_200 + 13 * 2560, 4 * (57_200 + 2560) + streamed, streamed)
    streamed = 4 * (4040 + 120 + 400 + 92)
    assert backward_cost(PAPER) == Cost(2 * 57_200 + 26 * 2560, 4 * (57_200 + 2 * 2560) + streamed, streamed)


def test_half_precision_halves_the_weights_alone():
    for cost in (forward_cost, backward_cost):
        whole, half = cost(PAPER), cost(PAPER, bytes_per_weight=2)
        assert whole.cache_bytes - half.cache_bytes == 2 * 57_200
        assert (half.flops, half.memory_bytes) == (whole.flops, whole.memory_bytes)


def test_arithmetic_is_that_of_the_design_without_inputs_and_output_layer():
    assert forward_cost(PAPER).flops == forward_flops(PAPER) - 2 * (9 * 400 + 120 * 8)


@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
@pytest.mark.parametrize(("reads", "writes", "layers"), list(itertools.product((1, 3), (1, 2), (1, 2))))
def test_what_is_saved_is_what_the_kernel_allocates(controller, reads, writes, layers):
    model = NTM(
        5, 2, hidden_size=8, memory_slots=12, memory_width=4, max_shift=2, controller=controller, num_layers=layers,
        num_read_heads=reads, num_write_heads=writes,
    )  # fmt: skip
    layers_and_heads = [layer.weight.unsqueeze(0) for layer in (*model.controller.layers, model.heads)]
    options = Options.of(model.replaced_numbers(), "cpu")
    sizes = sizes_of(torch.empty(1, 3, 7, 5), (12, 4), layers_and_heads, options)
    # The kernel pads what is given and what the heads emit to four numbers, and a whole sequence to sixteen; a
    # feed-forward controller leaves the place of its cells empty.
    cells = layers * 8 if controller == "feedforward" else 0
    padding = (sizes.saved(101) - sizes.saved(1)) / 100 - cells - saved_numbers(model)
    assert -0.2 < padding < 2 * 4 + 0.2
    assert recurrent_weights(model) == sum(p.numel() for p in layers_and_heads) - 5 * layers_and_heads[0].shape[1]


@pytest.mark.parametrize(
    ("cost", "seconds", "limit"),
    [
        (Cost(flops=100, cache_bytes=50, memory_bytes=1), 10.0, "cache"),
        (Cost(flops=100, cache_bytes=50, memory_bytes=7), 14.0, "memory"),
        (Cost(flops=400, cache_bytes=50, memory_bytes=1), 16.0, "arithmetic"),
    ],
)
def test_the_floor_is_the_largest_of_three_times(cost, seconds, limit):
    # Two sequences keep half of the four multiprocessors busy: 50 operations a second.
    assert floor(cost, RATES, sequences=2) == (pytest.approx(seconds), limit)


def test_more_sequences_than_multiprocessors_have_all_of_the_arithmetic():
    assert floor(Cost(100, 0, 0), RATES, sequences=4) == (4.0, "arithmetic")
    assert floor(Cost(100, 0, 0), RATES, sequences=8) == (8.0, "arithmetic")
