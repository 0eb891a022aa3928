"""How a file is read and written in a folder that may come from anybody.

Only regular files of a bounded size are read, so that no pipe, device or directory in their place makes a reader
wait. Nothing is written through a symbolic link in such a folder.
"""

import errno
import fcntl
import glob
import os
import socket
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lightning_ntm.records.parsing import parse_json

CONFIG_BYTES = 2**18
OBJECT_BYTES = 2**21
PLAN_BYTES = 2**24
LOG_BYTES = 2**28
_LINE_BYTES = 2**20
#: Of a file system that does not know an operation.
_UNKNOWN = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_NO_LOCKS = {*_UNKNOWN, errno.ENOLCK}


class NoLocksWarning(UserWarning):
    """A file system has no locks, so another training in the same folder would not be noticed."""


@contextmanager
def open_regular(path: Path, most: int) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is no regular file, or is larger than `most` bytes.
    """
    with os.fdopen(_checked_regular(os.open(path, os.O_RDONLY | os.O_NONBLOCK), path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise ValueError(f"{path.name} is damaged: it is larger than {most // 2**10:,} KiB.")
        yield file


def _checked_regular(descriptor: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path.name} is damaged: it is no regular file.")
    return descriptor


def read_text(path: Path, most: int) -> str:
    """Return the text of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, no text, or larger than `most` bytes.
    """
    with open_regular(path, most) as file:
        return file.read(most).decode()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where there is none that can be read."""
    try:
        found = parse_json(read_text(path, OBJECT_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    try:
        found = parse_json(read_text(path, OBJECT_BYTES))
    except UnicodeDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is damaged: it is no JSON object.")
    return found


def whole_lines(path: Path) -> Iterator[list[str]]:
    """Yield the lines of a file, some thousands at a time; what follows the last line break was cut short by a crash.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, no text, or is too large.
    """
    with open_regular(path, LOG_BYTES) as file:
        rest = b""
        while data := file.read(_LINE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LINE_BYTES:
                raise ValueError(f"{path.name} is damaged: a line has more than {_LINE_BYTES // 2**10:,} KiB.")
            yield [line.decode() for line in lines]


def make_folder(path: Path) -> None:
    """Make a folder within one that may come from anybody, if it is not there.

    Raises:
        OSError: It cannot be made, or is a link: what is written into it would be somewhere else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir()
    if path.is_symlink() or not path.is_dir():
        raise OSError(errno.ENOTDIR, "cannot write: this is a link or a file, not a folder", str(path))


def append_line(path: Path, line: str) -> None:
    """Add a line to a file.

    Raises:
        OSError: It cannot be written, or is a link; the lines before it stay whole.
    """
    data = f"{line}\n".encode()
    with _named(path), os.fdopen(_opened(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def write_whole(path: Path, data: bytes | memoryview | str) -> None:
    """Write a file beside `path`, sync it, and move it into place in one step; a link in its place is replaced.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with _named(path):
            _remove_unfinished(path)
            beside.unlink(missing_ok=True)
            with beside.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                sync(file.fileno())
            beside.replace(path)
            _sync_names(path.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _remove_unfinished(path: Path) -> None:
    """Remove what processes of this machine left beside a file that were killed while they wrote it."""
    for beside in path.parent.glob(f".{glob.escape(f'{path.name}.{socket.gethostname()}')}.*.tmp"):
        process = beside.name.split(".")[-2]
        with suppress(OSError, OverflowError):
            if process.isdecimal() and not _is_alive(int(process)):
                beside.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def sweep(folder: Path) -> None:
    """Remove what `write_whole` left behind when its process was killed in the middle of it."""
    for beside in folder.glob(".*.tmp"):
        with suppress(OSError):
            beside.unlink()


def sync(descriptor: int) -> None:
    """Have a file survive a loss of power, where its file system knows how."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise


def _sync_names(folder: Path) -> None:
    """Have the names in a folder survive a loss of power; one that may not be read cannot be opened for that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


@dataclass
class Claim:
    """A file that this process keeps locked; a call lets go of it.

    Args:
        path: Of the file.
        what: It stands for, in an error.
        held: The descriptor by which it is locked.
    """

    path: Path
    what: str
    held: int

    def __call__(self) -> None:
        """Let go."""
        os.close(self.held)

    def check(self) -> None:
        """Lock the file again where it was removed.

        Raises:
            ValueError: Another process has done so, or its folder is gone.
        """
        if self._stands():
            return
        try:
            again = claim(self.path, self.what)
        except FileNotFoundError:
            raise ValueError(f"{self.what} was removed.") from None
        self()
        self.held = again.held

    def _stands(self) -> bool:
        """Whether the file that is locked is the one that others see."""
        try:
            return os.path.samestat(os.fstat(self.held), os.stat(self.path))
        except FileNotFoundError:
            return False


def claim(path: Path, what: str) -> Claim:
    """Keep a file locked until this process ends, or calls what is returned.

    On a file system without locks it is not: a `NoLocksWarning` says so.

    Args:
        path: The file; it is made, and names its holder.
        what: It stands for, in an error.

    Raises:
        ValueError: Another process holds it.
        OSError: The file cannot be opened, or is a link.
    """
    with _named(path):
        held = Claim(path, what, _opened(path, os.O_RDWR))
    try:
        fcntl.lockf(held.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, *_NO_LOCKS):
            held()
            raise
        if error.errno not in _NO_LOCKS:
            holder = os.pread(held.held, 1000, 0).decode(errors="replace") or "another process"
            held()
            raise ValueError(f"{what} is in use by {holder}.") from None
        text = f"the file system of {what} has no locks ({error.strerror}): no second training may begin there."
        warnings.warn(text, NoLocksWarning, stacklevel=2)
    os.truncate(held.held, 0)
    os.pwrite(held.held, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    held.check()  # it was removed in between
    return held


def is_claimed(path: Path) -> bool:
    """Whether another process keeps a file locked."""
    with suppress(FileNotFoundError, PermissionError, ValueError), open_regular(path, OBJECT_BYTES) as file:
        try:
            os.lockf(file.fileno(), os.F_TEST, 0)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, *_NO_LOCKS):
                raise
            return error.errno not in _NO_LOCKS
    return False


def _opened(path: Path, flags: int) -> int:
    """Open a file for writing, made if it is not there, but no link, and nothing that would make the writer wait."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a symbolic link", str(path)) from None
        raise
    try:
        return _checked_regular(descriptor, path)
    except ValueError:
        raise OSError(errno.EINVAL, "it is no regular file", str(path)) from None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let a failure name the file that its user knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write: {error.strerror}", str(path)) from error
