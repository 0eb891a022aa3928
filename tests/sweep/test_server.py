"""Processes forked from a server, without a training."""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lightning_ntm.sweep.server import Server, ServerError


def tell(words, log):
    """Write what a process was told, and end with the code in its words."""
    log.write_text(json.dumps([words, *map(os.environ.get, ("OMP_NUM_THREADS", "RANK", "OTHER"))]))
    os._exit(int(words[0]))


def wait(words, log):
    """Do nothing for a minute."""
    log.touch()
    time.sleep(60)


def end(server, process, send=0):
    while (code := server.exit_code(process, send)) is None:
        time.sleep(0.01)
    return code


@pytest.fixture
def server(request):
    made = Server(request.param)
    yield made
    made.close()


def of(function):
    return pytest.mark.parametrize("server", [function], indirect=True)


@pytest.fixture
def ranked(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("OTHER", "4")


@of("tests.sweep.test_server.tell")
def test_many_threads_start_processes_with_an_environment_of_their_own(tmp_path, ranked, server):
    before, interval = dict(os.environ), sys.getswitchinterval()

    def run(number):
        return end(server, server.start([str(number)], tmp_path / str(number)))

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(run, range(40))) == [*range(40)]
    finally:
        sys.setswitchinterval(interval)
    assert os.environ == before
    assert json.loads((tmp_path / "7").read_text()) == [["7"], "1", None, "4"]


@of("tests.sweep.test_server.wait")
def test_a_process_is_sent_signals_and_its_end_can_be_asked_for_again(server, tmp_path):
    process = server.start([], tmp_path / "a")
    assert server.exit_code(process) is None
    assert end(server, process, signal.SIGTERM) == -signal.SIGTERM
    assert server.exit_code(process, signal.SIGKILL) == -signal.SIGTERM


@of("tests.sweep.test_server.wait")
def test_what_a_server_started_ends_with_it(server, tmp_path):
    process = server.start([], tmp_path / "a")
    server.close()
    assert server.gone
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{process}/cwd"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ServerError, match=r"ended$"):
        server.start([], tmp_path / "a")


@of("nowhere.train")
def test_a_server_that_cannot_be_says_why(tmp_path, server):
    with pytest.raises(ServerError, match="ended: ModuleNotFoundError: No module named 'nowhere'"):
        server.start([], tmp_path / "a")
