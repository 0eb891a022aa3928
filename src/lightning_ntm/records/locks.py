"""Lock files: one process at a time trains in a folder, and the system releases its lock when it is killed.

POSIX record locks (`fcntl`) or byte locks of Windows (`msvcrt`) are used directly. `filelock` does not fit: it cannot
ask whether a file is locked without locking it, so a look at a sweep could refuse a training that starts; its `flock`
does not exclude the record locks of earlier versions of this package; and on Windows it locks the first byte, so the
name of the holder cannot be read.
"""

import errno
import os
import socket
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_ntm.records.files import OBJECT_BYTES, open_regular
from lightning_ntm.records.writing import UNSUPPORTED, named, open_to_write

_NO_LOCKS = {*UNSUPPORTED, errno.ENOLCK}
_HELD = {errno.EACCES, errno.EAGAIN}
#: The byte that is locked on Windows, where no other process can read it: behind the name of the holder.
_BYTE = 2**16


class NoLocksWarning(UserWarning):
    """A file system has no locks, so a second training in the same folder would not be noticed."""


@dataclass
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

    def __call__(self) -> None:
        """Release the lock."""
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
        self.held = again.held

    def _is_in_place(self) -> bool:
        """Return whether the locked file is still the one at `path`."""
        try:
            return os.path.samestat(os.fstat(self.held), os.stat(self.path))
        except FileNotFoundError:
            return False


def claim(path: Path, what: str) -> Claim:
    """Lock a file until this process ends or calls the returned value.

    On a file system without locks the file is not locked; a `NoLocksWarning` says so.

    Args:
        path: The lock file; it is made, and names its holder.
        what: What the lock is for, used in error messages.

    Raises:
        ValueError: Another process holds it.
        OSError: The file cannot be opened, or is a link.
    """
    with named(path):
        held = Claim(path, what, open_to_write(path, os.O_RDWR))
    try:
        _lock(held.held)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            holder = _holder(held.held)
            held()
            if error.errno not in _HELD:
                raise
            raise ValueError(f"{what} is in use by {holder}.") from None
        text = f"the file system of {what} has no locks ({error.strerror}): no second training may begin there."
        warnings.warn(text, NoLocksWarning, stacklevel=2)
    _name_holder(held.held)
    held.check()  # it may have been removed in between
    return held


def is_claimed(path: Path) -> bool:
    """Return whether another process holds a lock file."""
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
    if _fcntl:
        _fcntl.lockf(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        return
    try:
        _lock_byte(descriptor)
    except PermissionError:
        time.sleep(0.05)  # perhaps `_test` of another process holds the byte, for a moment
        _lock_byte(descriptor)


def _test(descriptor: int) -> None:
    """Raise what `_lock` would, without keeping the lock."""
    if _fcntl:
        os.lockf(descriptor, os.F_TEST, 0)  # type: ignore[attr-defined,unused-ignore] # not on Windows
        return
    _lock_byte(descriptor)
    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    _msvcrt.locking(descriptor, _msvcrt.LK_UNLCK, 1)


def _lock_byte(descriptor: int) -> None:
    if not _msvcrt:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
