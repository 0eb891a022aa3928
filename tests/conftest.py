import os
import shutil
import sys
from pathlib import Path

import interpreter
import pytest
import torch
from hypothesis import settings

from lightning_ntm.kernels.cpu import library

# Triton reads the variable when it is first imported, which no import above does.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
sys.meta_path.insert(0, interpreter.UncheckedPrograms)

# A failure must be the same on every machine, and a slow machine is not a failure.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("suite")


def pytest_addoption(parser):
    parser.addoption("--kernel", type=Path, help="another build of the CPU kernel, as one with sanitizers")


def pytest_configure(config):
    if config.option.kernel:
        library.LIBRARY = config.option.kernel


def pytest_collectstart(collector):
    """Begin a module with the same numbers, whichever were imported before: some build networks as parameters."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def _fast_interpreter():
    interpreter.hasten()


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def chromium():
    """A browser, if this machine has one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
