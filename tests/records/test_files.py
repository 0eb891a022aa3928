"""Writing in folders that may come from anybody, and on file systems that lack something."""

import errno
import fcntl
import os
import socket
import subprocess
import warnings
from contextlib import suppress
from types import SimpleNamespace

import pytest

from lightning_ntm.records import RunFolder, claim, make_folder, without_empty, write_whole, write_with_folder, writing
from lightning_ntm.records.locks import NoLocksWarning


@pytest.fixture
def outside(tmp_path):
    """A file that links lead to; it stays as it is."""
    (tmp_path / "outside").mkdir()
    file = tmp_path / "outside" / "precious"
    file.write_text("as it was")
    yield file
    assert file.read_text() == "as it was"
    assert [path.name for path in file.parent.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("name", "write"),
    {
        "metrics.jsonl": lambda folder: folder.append({"step": 1}),
        "about.jsonl": lambda folder: folder.note({}),
        ".lock": RunFolder.lock,
        "figures": lambda folder: make_folder(folder.figures),
    }.items(),
)
def test_nothing_is_written_through_a_link(tmp_path, outside, name, write):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(outside.parent if name == "figures" else outside)
    with pytest.raises(OSError, match="link") as failure:
        write(RunFolder(tmp_path / "run"))
    assert failure.value.filename == str(tmp_path / "run" / name)
    (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / name).symlink_to(outside.parent / "new")
    with pytest.raises(OSError, match="link"):
        write(RunFolder(tmp_path / "run"))


def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path, outside):
    (tmp_path / "result.json").symlink_to(outside)
    (tmp_path / f".result.json.{socket.gethostname()}.{os.getpid()}.tmp").symlink_to(outside)
    write_whole(tmp_path / "result.json", "new")
    assert (tmp_path / "result.json").read_text() == "new"
    assert not (tmp_path / "result.json").is_symlink()


@pytest.mark.parametrize("write", [RunFolder.lock, lambda folder: folder.note({})])
def test_a_pipe_in_the_place_of_a_file_makes_nobody_wait(tmp_path, write):
    os.mkfifo(tmp_path / ".lock")
    os.mkfifo(tmp_path / "about.jsonl")
    with pytest.raises(OSError, match="cannot write"):
        write(RunFolder(tmp_path))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_fails_nothing(tmp_path, monkeypatch, number):
    sync = os.fsync

    def fsync(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(number, os.strerror(number))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch):
    def fsync(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="cannot write: Input/output error"):
        write_whole(tmp_path / "a", "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_on_a_file_system_without_locks_a_run_trains_with_a_warning(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(NoLocksWarning, match="no locks"):
        unlock = RunFolder(tmp_path).lock()
    assert not RunFolder(tmp_path).in_use()
    with pytest.raises(ValueError, match="is in use by this process"):
        RunFolder(tmp_path).lock()
    unlock()


def test_what_a_killed_process_left_half_written_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = socket.gethostname()
    for process in (gone.pid, os.getppid()):
        (tmp_path / f".report.html.{host}.{process}.tmp").touch()
    (tmp_path / f".last.ckpt.{host}.{gone.pid}.tmp").touch()
    write_whole(tmp_path / "report.html", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    kept = {f".report.html.{host}.{os.getppid()}.tmp", f".last.ckpt.{host}.{gone.pid}.tmp", "report.html"}
    assert left == kept


def test_a_lock_is_a_file_of_its_own(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        claim(tmp_path / "lock", "it")()


def refused(winerror):
    error = PermissionError(errno.EACCES, "Access is denied")
    error.winerror = winerror
    return error


def test_a_file_that_a_reader_has_open_on_windows_is_replaced_when_it_is_closed(tmp_path, monkeypatch):
    replace, refusals = os.replace, [refused(32), refused(5)]

    def until_closed(*paths):
        if refusals:
            raise refusals.pop()
        replace(*paths)

    monkeypatch.setattr(os, "replace", until_closed)
    write_whole(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"


@pytest.mark.parametrize(("winerror", "tried"), [(32, True), (112, False), (None, False)])
def test_what_stays_refused_is_an_error_that_names_the_file(tmp_path, monkeypatch, winerror, tried):
    calls = []

    def never(*_):
        calls.append(1)
        raise refused(winerror)

    monkeypatch.setattr(os, "replace", never)
    monkeypatch.setattr(writing, "_PATIENCE", 0.1)
    with pytest.raises(OSError, match="cannot write: Access is denied") as failure:
        write_whole(tmp_path / "a", "b")
    assert failure.value.filename == str(tmp_path / "a")
    assert (len(calls) > 1) == tried
    assert list(tmp_path.iterdir()) == []


def test_a_link_between_folders_of_windows_is_a_link(tmp_path, monkeypatch):
    (tmp_path / "figures").mkdir()
    found = os.lstat(tmp_path / "figures")
    junction = SimpleNamespace(st_mode=found.st_mode, st_reparse_tag=0xA0000003)
    monkeypatch.setattr(writing.os, "lstat", lambda path: junction)
    with pytest.raises(OSError, match="this is a link"):
        make_folder(tmp_path / "figures")


def test_folders_in_which_nothing_is_written_are_removed_and_no_others(tmp_path):
    (tmp_path / "before").mkdir()
    for place, failed in (("before/a/b", True), ("c/d", False)):
        with suppress(ZeroDivisionError), without_empty(tmp_path / place):
            make_folder(tmp_path / place)
            if failed:
                raise ZeroDivisionError
            write_whole(tmp_path / place / "file", "")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "before", "c", "c/d", "c/d/file"
    ]  # fmt: skip


def test_a_file_is_written_with_its_folder_or_not_at_all(tmp_path, monkeypatch):
    write_with_folder(tmp_path / "new" / "one" / "page", "text")
    assert (tmp_path / "new" / "one" / "page").read_text() == "text"
    (tmp_path / "link").symlink_to(tmp_path / "new", target_is_directory=True)
    write_with_folder(tmp_path / "link" / "page", "text")
    assert (tmp_path / "new" / "page").exists()
    with pytest.raises(OSError, match="cannot write"):
        write_with_folder(tmp_path / "new" / "page" / "below", "text")
    monkeypatch.setattr(writing, "_replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_with_folder(tmp_path / "other" / "one" / "page", "text")
    assert not (tmp_path / "other").exists()
