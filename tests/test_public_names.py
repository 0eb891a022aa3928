"""What people look for first at the top of the package."""

import subprocess
import sys
from importlib.metadata import version

import pytest
import torch

import lightning_ntm
from lightning_ntm import (
    DNC,
    GRU,
    LSTM,
    NTM,
    RNN,
    SAM,
    SDNC,
    DNCState,
    GRUState,
    LSTMState,
    NTMState,
    RNNState,
    SparseState,
    StackRNN,
    StackRNNState,
    TapeRNN,
    TapeRNNState,
    Transformer,
    TransformerState,
    detach,
)
from lightning_ntm.states import flatten


def test_the_version_is_that_of_the_package():
    assert lightning_ntm.__version__ == version("lightning-ntm")


def test_a_package_that_is_not_installed_has_no_version():
    from lightning_ntm.version import installed

    assert installed("no-such-package") is None


def test_open_run_is_that_of_evaluation():
    from lightning_ntm.evaluation import open_run

    assert lightning_ntm.open_run is open_run


def test_names_are_imported_on_first_use():
    code = "import sys, lightning_ntm; lightning_ntm.__version__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


STATES = {
    NTM: NTMState,
    DNC: DNCState,
    LSTM: LSTMState,
    GRU: GRUState,
    RNN: RNNState,
    SAM: SparseState,
    SDNC: SparseState,
    StackRNN: StackRNNState,
    TapeRNN: TapeRNNState,
    Transformer: TransformerState,
}


@pytest.mark.parametrize(("kind", "state"), STATES.items())
def test_a_detached_state_has_the_numbers_and_no_gradients(kind, state):
    network = kind(3, 2, hidden_size=8)
    _, end = network(torch.randn(2, 3, 3))
    cut = detach(end)
    assert type(cut) is type(end) is state
    for before, after in zip(flatten(end), flatten(cut), strict=True):
        assert torch.equal(before, after)
        assert not after.requires_grad
    assert any(part.requires_grad for part in flatten(end))


def test_the_sizes_of_a_memory_are_shown():
    shown = repr(NTM(3, 2, memory_slots=17, memory_width=5, num_read_heads=2, max_shift=3))
    for size in ("memory_slots=17", "memory_width=5", "num_read_heads=2", "num_write_heads=1", "max_shift=3"):
        assert size in shown
    assert "memory_slots=9, memory_width=8, num_tapes=1, length_oracle=False" in repr(TapeRNN(3, 2, memory_slots=9))
    assert "memory_slots=9, memory_width=4, num_read_heads=1, masking=True" in repr(
        DNC.mds(3, 2, memory_slots=9, memory_width=4)
    )
