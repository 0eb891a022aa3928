"""Reads files in a folder that may come from anybody.

Only regular files of bounded size are read, so a pipe, a device or a directory in the place of a file cannot make a
reader wait.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lightning_ntm.checks import message_of
from lightning_ntm.records.parsing import parse_json, parse_yaml

CONFIG_BYTES = 2**18
OBJECT_BYTES = 2**21
PLAN_BYTES = 2**24
LOG_BYTES = 2**28
_LINE_BYTES = 2**20
#: Flags of `os.open`: do not wait for a pipe, and do not translate line breaks. Each exists on some platforms only.
PLAIN = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def open_regular(path: Path, most: int) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is not a regular file, or is larger than `most` bytes.
    """
    with os.fdopen(checked_regular(_opened(path), path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise ValueError(f"{path.name} is damaged: it is larger than {most // 2**10:,} KiB.")
        yield file


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | PLAIN)
    except PermissionError:
        if path.is_dir():  # Windows does not open directories
            raise _not_regular(path) from None
        raise


def checked_regular(descriptor: int, path: Path) -> int:
    """Return the descriptor of a regular file; close any other.

    Raises:
        ValueError: It is not a regular file.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def is_file(path: Path) -> bool:
    """Return whether there is a regular file. In Python 3.14 `Path.is_file` is false where it cannot be found out.

    Raises:
        OSError: The path is too long, or its folder may not be read.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False


def _not_regular(path: Path) -> ValueError:
    return ValueError(f"{path.name} is damaged: it is no regular file.")


def read_text(path: Path, most: int) -> str:
    """Return the text of a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a regular file, not UTF-8, or larger than `most` bytes.
    """
    with open_regular(path, most) as file:
        return file.read(most).decode()


def read_yaml(path: Path, most: int = CONFIG_BYTES) -> Any:
    """Return the content of a YAML file.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return parse_yaml(read_text(path, most))
    except (OSError, ValueError) as error:
        raise ValueError(f"not readable as YAML ({' '.join(message_of(error).split())}).") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one if the file is missing or damaged."""
    try:
        found = parse_json(read_text(path, OBJECT_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        OSError: The file cannot be read.
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
    """Yield the lines of a file, some thousands at a time, without a last line that a crash cut short.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a regular file, not UTF-8, or too large.
    """
    with open_regular(path, LOG_BYTES) as file:
        rest = b""
        while data := file.read(_LINE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LINE_BYTES:
                raise ValueError(f"{path.name} is damaged: a line has more than {_LINE_BYTES // 2**10:,} KiB.")
            yield [line.decode() for line in lines]
