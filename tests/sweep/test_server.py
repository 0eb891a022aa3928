"""Processes of a sweep, forked from a server or started anew, without a training."""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lightning_ntm.sweep.server import Server, ServerError
from lightning_ntm.sweep.spawner import Spawner


def tell(words, log):
    """Write what a process was told, and end with the code in its words."""
    log.write_text(json.dumps([words, *map(os.environ.get, ("OMP_NUM_THREADS", "RANK", "OTHER"))]))
    os._exit(int(words[0]))


def wait(words, log):
    """Do nothing for a minute."""
    log.touch()
    time.sleep(60)


def end(processes, process):
    deadline = time.monotonic() + 60
    while (code := processes.exit_code(process)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def deaf(words, log):
    """Do nothing for a minute, whatever others say."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log.write_text("deaf")
    time.sleep(60)


@pytest.fixture
def processes(request):
    kind, function = request.param
    made = kind(function)
    yield made
    if kind is Server:
        made.close()


def of(function, *kinds):
    return pytest.mark.parametrize("processes", [(kind, function) for kind in kinds], indirect=True)


def runs(process):
    return os.path.exists(f"/proc/{process}/cwd")


@pytest.fixture
def ranked(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("OTHER", "4")


@of("tests.sweep.test_server.tell", Server)
def test_many_threads_start_processes_with_an_environment_of_their_own(tmp_path, ranked, processes):
    before, interval = dict(os.environ), sys.getswitchinterval()

    def run(number):
        return end(processes, processes.start([str(number)], tmp_path / str(number)))

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(run, range(40))) == [*range(40)]
    finally:
        sys.setswitchinterval(interval)
    assert os.environ == before
    assert json.loads((tmp_path / "7").read_text()) == [["7"], "1", None, "4"]


@of("tests.sweep.test_server.tell", Spawner)
def test_new_interpreters_have_the_same_environment_and_arguments(tmp_path, ranked, processes):
    words = ["7", "a b", "\N{GREEK SMALL LETTER ALPHA}\n"]
    assert end(processes, processes.start(words, tmp_path / "log")) == 7
    assert json.loads((tmp_path / "log").read_text()) == [words, "1", None, "4"]


@of("tests.sweep.test_server.wait", Server, Spawner)
def test_a_process_is_ended_and_its_end_can_be_asked_for_again(processes, tmp_path):
    process = processes.start([], tmp_path / "a")
    assert processes.exit_code(process) is None
    processes.end(process)
    assert end(processes, process) == -signal.SIGTERM
    processes.kill(process)
    assert processes.exit_code(process) == -signal.SIGTERM


@of("tests.sweep.test_server.deaf", Server, Spawner)
def test_a_process_that_does_not_end_can_be_killed(processes, tmp_path):
    process = processes.start([], tmp_path / "a")
    while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
        time.sleep(0.02)
    processes.end(process)
    time.sleep(0.2)
    assert processes.exit_code(process) is None
    processes.kill(process)
    assert end(processes, process) == -signal.SIGKILL


@of("tests.sweep.test_server.wait", Server)
def test_what_a_server_started_ends_with_it(processes, tmp_path):
    process = processes.start([], tmp_path / "a")
    processes.close()
    assert processes.gone
    deadline = time.monotonic() + 20
    while runs(process):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ServerError, match=r"ended$"):
        processes.start([], tmp_path / "a")


@of("nowhere.train", Server)
def test_a_server_that_cannot_be_says_why(tmp_path, processes):
    with pytest.raises(ServerError, match="ended: ModuleNotFoundError: No module named 'nowhere'"):
        processes.start([], tmp_path / "a")


@of("nowhere.train", Spawner)
def test_a_new_interpreter_that_cannot_begin_says_why_in_its_log(tmp_path, processes):
    assert end(processes, processes.start([], tmp_path / "log")) == 1
    assert (tmp_path / "log").read_text().endswith("ModuleNotFoundError: No module named 'nowhere'\n")
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError, match="symbolic link"):
        processes.start([], tmp_path / "link")
