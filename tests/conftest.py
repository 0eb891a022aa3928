import os
import shutil
import sys
from pathlib import Path

import interpreter
import pytest
import torch
import typechecker
from hypothesis import settings

from lightning_ntm.kernels.cpu import library
from lightning_ntm.sweep import processes
from lightning_ntm.sweep.server import Server

# Triton reads the variable when it is first imported, which no import above does.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Before the tests, as in `ntm`: the parser tries the types of a union in the order of the first equal union.
import lightning  # noqa: F401

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


#: Files whose tests take longest, beginning with the longest. They begin first, so that none of them ends last.
LONG = (
    "sweep/test_sweep.py", "cli/test_cli.py", "kernels/test_cpu.py", "training/test_safety.py", "test_everywhere.py",
    "kernels/test_triton.py", "test_readme.py", "test_notebooks.py", "report/test_page.py", "models/test_exported.py",
    "sweep/test_together.py", "exchange/test_export.py", "training/test_side_by_side.py", "kernels/test_build.py",
    "explorer/test_explorer_browser.py", "report/test_browser.py", "kernels/test_plain.py", "test_own_trainer_page.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    order = {f"tests/{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(LONG)))


def pytest_runtest_setup(item):
    typechecker.check_calls_of(item.nodeid)
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def _fast_interpreter():
    interpreter.hasten()


@pytest.fixture(scope="session", autouse=True)
def _no_servers_left():
    """End the servers of sweeps that tests ran in this process."""
    yield
    for server in processes._started.values():
        if isinstance(server, Server):
            server.close()


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
