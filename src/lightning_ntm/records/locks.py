"""Lock files: one process at a time trains in a folder, and the system releases its lock when it is killed.

`flock` of POSIX and byte locks of Windows (`msvcrt`) belong to an open file, so a process keeps its lock when it opens
and closes the lock file again, as a copy of the folder does. POSIX record locks (`lockf`) would be lost. Forked
children close the file: a worker must not keep the lock of a training that was killed. `filelock` does not do that, and
without `flock` it falls back to a file that a killed process leaves behind.
"""

import errno
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_ntm.records.files import OBJECT_BYTES, open_regular
from lightning_ntm.records.writing import UNSUPPORTED, named, open_to_write

_NO_LOCKS = {*UNSUPPORTED, errno.ENOLCK}
#: Seconds to wait for a lock that is held for moments.
_PATIENCE = 60.0
_HELD = {errno.EACCES, errno.EAGAIN}
#: The byte that is locked on Windows, where no other process can read it: behind the name of the holder.
_BYTE = 2**16


class NoLocksWarning(UserWarning):
    """A file system has no locks, so a second training in the same folder would not be noticed."""


@dataclass(eq=False)
class Claim:
    """A lock file that this process holds; calling it releases the lock.

    Args:
        path: The lock file.
        what: What the lock is for, used in error messages.
        held: The descriptor that holds the lock.
    """

    path: Path
    what: str
    held: int

    def __post_init__(self) -> None:
        self.file = os.fstat(self.held)

    def __call__(self) -> None:
        """Release the lock, unless that was done before, or this is a forked child of the holder."""
        if self in _claims:
            _claims.remove(self)
            os.close(self.held)

    def check(self) -> None:
        """Lock the file again if it was removed.

        Raises:
            ValueError: Another process holds it by now, or its folder is gone.
        """
        if self._is_in_place():
            return
        try:
            again = claim(self.path, self.what)
        except FileNotFoundError:
            raise ValueError(f"{self.what} was removed.") from None
        self()
        _claims.remove(again)
        _claims.add(self)
        self.held, self.file = again.held, again.file

    def _is_in_place(self) -> bool:
        """Return whether the locked file is still the one at `path`."""
        try:
            return os.path.samestat(self.file, os.stat(self.path))
        except FileNotFoundError:
            return False


#: The locks of this process. They count where a file system has no locks, or loses them when a file is closed (NFS).
_claims: set[Claim] = set()


def _close_in_child() -> None:
    for each in _claims:
        os.close(each.held)
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _is_own(path: Path) -> bool:
    """Return whether this process holds a lock file. The file is not opened, which could lose a lock on NFS."""
    with suppress(FileNotFoundError):
        file = os.stat(path)
        return any(os.path.samestat(each.file, file) for each in tuple(_claims))
    return False


def claim(path: Path, what: str) -> Claim:
    """Lock a file until this process ends or calls the returned value.

    On a file system without locks the file is not locked; a `NoLocksWarning` says so.

    Args:
        path: The lock file; it is made, and names its holder.
        what: What the lock is for, used in error messages.

    Raises:
        ValueError: Another process, or this one, holds it.
        OSError: The file cannot be opened, or is a link.
    """
    if _is_own(path):
        raise ValueError(f"{what} is in use by this process.")
    with named(path):
        held = Claim(path, what, open_to_write(path, os.O_RDWR))
    try:
        _lock(held.held)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            holder = _holder(held.held)
            os.close(held.held)
            if error.errno not in _HELD:
                raise
            raise ValueError(f"{what} is in use by {holder}.") from None
        text = f"the file system of {what} has no locks ({error.strerror}): no second training may begin there."
        warnings.warn(text, NoLocksWarning, stacklevel=2)
    _claims.add(held)
    try:
        _name_holder(held.held)
        held.check()  # it may have been removed in between
    except BaseException:
        held()
        raise
    return held


@contextmanager
def held_for_change(path: Path) -> Iterator[None]:
    """Let no other process change a file between reading and writing it; wait until none does.

    A file system without locks keeps only threads of this process apart. The lock file beside the file is removed
    afterwards, except on Windows.

    Raises:
        OSError: The lock file cannot be opened, or another process holds it for too long.
    """
    beside = path.with_name(f".{path.name}.lock")
    held = _claimed_in_time(beside, path)
    try:
        yield
    finally:
        with suppress(OSError):
            beside.unlink()  # while it is locked: who waits for it finds it removed, and makes another
        held()


def _claimed_in_time(beside: Path, path: Path) -> Claim:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NoLocksWarning)
                return claim(beside, str(path))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        except ValueError as error:
            if time.monotonic() > deadline or not path.parent.exists():
                raise TimeoutError(errno.ETIMEDOUT, str(error).rstrip("."), str(path)) from error
        time.sleep(0.01)


def is_claimed(path: Path) -> bool:
    """Return whether another process holds a lock file."""
    if _is_own(path):
        return False
    with suppress(FileNotFoundError, PermissionError, ValueError), open_regular(path, OBJECT_BYTES) as file:
        try:
            _test(file.fileno())
        except OSError as error:
            if error.errno not in (*_HELD, *_NO_LOCKS):
                raise
            return error.errno in _HELD
    return False


def _name_holder(descriptor: int) -> None:
    os.truncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _holder(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 1000).decode(errors="replace") or "another process"


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


_fcntl, _msvcrt = _module("fcntl"), _module("msvcrt")


def _lock(descriptor: int) -> None:
    """Lock a file for this process.

    Raises:
        OSError: Another process holds it (`_HELD`), or there are no locks (`_NO_LOCKS`).
    """
    try:
        _lock_once(descriptor)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        time.sleep(0.05)  # perhaps `_test` of another process holds it, for a moment
        _lock_once(descriptor)


def _test(descriptor: int) -> None:
    """Raise what `_lock` would, without keeping the lock."""
    if _fcntl:
        _fcntl.flock(descriptor, _fcntl.LOCK_SH | _fcntl.LOCK_NB)
        _fcntl.flock(descriptor, _fcntl.LOCK_UN)
        return
    _lock_once(descriptor)
    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    _msvcrt.locking(descriptor, _msvcrt.LK_UNLCK, 1)


def _lock_once(descriptor: int) -> None:
    if _fcntl:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        return
    if not _msvcrt:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
