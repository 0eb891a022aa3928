from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lightning_ntm.kernels.cpu import library

# A failure must be the same on every machine, and a slow machine is not a failure.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("suite")


def pytest_addoption(parser):
    parser.addoption("--kernel", type=Path, help="another build of the CPU kernel, as one with sanitizers")


def pytest_configure(config):
    if config.option.kernel:
        library.LIBRARY = config.option.kernel


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)
    torch.set_num_threads(1)
