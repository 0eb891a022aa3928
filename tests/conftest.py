import pytest
import torch
from hypothesis import settings

# A failure must be the same on every machine, and a slow machine is not a failure.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)
    torch.set_num_threads(1)
