"""Writes files in a folder that may come from anybody: whole or not at all, and never through a symbolic link."""

import errno
import glob
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning_ntm.records.files import PLAIN, checked_regular

#: Error numbers of file systems that lack an operation.
UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT: a link to a directory on Windows
#: Windows errors of a rename to a file that is open: access denied, sharing violation, mapped into memory.
_OPEN_ELSEWHERE = {5, 32, 1224}
_PATIENCE = 2.0  # seconds, for readers to close a file


def make_folder(path: Path) -> None:
    """Make a folder inside one that may come from anybody, if it is missing.

    Raises:
        OSError: It cannot be made, or is a link: files would be written somewhere else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir()
    if is_link(path) or not path.is_dir():
        raise OSError(errno.ENOTDIR, "cannot write: this is a link or a file, not a folder", str(path))


@contextmanager
def without_empty(path: Path) -> Iterator[None]:
    """Remove a folder, and those above it, if they are made inside and nothing is written into them."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in missing:
            with suppress(OSError):  # there are files in it, or it was not made
                folder.rmdir()


def write_with_folder(path: Path, data: bytes | memoryview | str) -> None:
    """Write a file as `write_whole`, and its folder if that is missing; neither if the file cannot be written.

    Raises:
        OSError: The file cannot be written.
    """
    with without_empty(path.parent):
        with suppress(FileExistsError):  # a file, or a link to a folder: `write_whole` tells which
            path.parent.mkdir(parents=True)
        write_whole(path, data)


def is_link(path: Path) -> bool:
    """Return whether a path is a symbolic link, or a junction of Windows."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _JUNCTION


def append_line(path: Path, line: str) -> None:
    """Append a line to a file.

    Raises:
        OSError: The line cannot be written, or the file is a link; earlier lines stay whole.
    """
    data = f"{line}\n".encode()
    with named(path), os.fdopen(open_to_write(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def write_whole(path: Path, data: bytes | memoryview | str) -> None:
    """Write a temporary file beside `path`, sync it, and rename it to `path`; a link at `path` is replaced.

    Raises:
        OSError: The file cannot be written; an earlier file at `path` is unchanged.
    """
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with named(path):
            _remove_unfinished(path)
            beside.unlink(missing_ok=True)
            with beside.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                sync(file.fileno())
            _replace(beside, path)
            _sync_names(path.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _replace(beside: Path, path: Path) -> None:
    """Rename a file. Windows refuses that while another process reads `path`, so wait for a moment there."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            beside.replace(path)
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in _OPEN_ELSEWHERE or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _remove_unfinished(path: Path) -> None:
    """Remove temporary files beside `path` of processes on this machine that were killed while writing it."""
    for beside in path.parent.glob(f".{glob.escape(f'{path.name}.{socket.gethostname()}')}.*.tmp"):
        process = beside.name.split(".")[-2]
        with suppress(OSError, OverflowError):
            if process.isdecimal() and not _may_be_alive(int(process)):
                beside.unlink()


def _may_be_alive(process: int) -> bool:
    if os.name == "nt":  # os.kill would send Ctrl-C there; `remove_all_unfinished` removes the file later
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove_all_unfinished(folder: Path) -> None:
    """Remove the temporary files of `write_whole` in a folder whose writers were killed."""
    for beside in folder.glob(".*.tmp"):
        with suppress(OSError):
            beside.unlink()


def sync(descriptor: int) -> None:
    """Flush a file to disk, if its file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def sync_file(path: Path) -> None:
    """Flush a file to disk; Windows does that only for a file that is open for writing."""
    with os.fdopen(open_to_write(path, os.O_RDWR), "r+b") as file:
        sync(file.fileno())


def _sync_names(folder: Path) -> None:
    """Flush the names in a folder to disk. Windows, and a folder that may not be read, cannot be opened for that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def open_to_write(path: Path, flags: int) -> int:
    """Open a regular file for writing without waiting; make it if it is missing.

    Args:
        path: The file.
        flags: Of `os.open`, as `os.O_WRONLY | os.O_APPEND`.

    Raises:
        OSError: It cannot be opened, is a symbolic link, or is not a regular file.
    """
    if not _NO_FOLLOW and is_link(path):
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    try:
        descriptor = os.open(path, flags | os.O_CREAT | _NO_FOLLOW | PLAIN, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a symbolic link", str(path)) from None
        raise
    try:
        return checked_regular(descriptor, path)
    except ValueError:
        raise OSError(errno.EINVAL, "it is no regular file", str(path)) from None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Make an `OSError` name the file that the user knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write: {error.strerror}", str(path)) from error
