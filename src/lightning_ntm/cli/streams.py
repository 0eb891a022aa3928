"""Standard streams. A training continues if they are lost."""

import io
import os
import sys
from contextlib import suppress
from typing import Any


def open_closed() -> None:
    """Open the standard streams that a shell has closed (`>&-`). Otherwise opened files would get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is that of the stream
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))


def make_lasting() -> None:
    """From now on, ignore failed writes: to a pipe without a reader, a closed terminal or a full disk."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not a replacement by a test or a notebook
            stream.flush()
            buffer = io.BufferedWriter(_Lasting(stream.fileno(), "w", closefd=False))
            lines = stream.line_buffering or stream.write_through
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=lines))


def lasting(descriptor: int) -> io.TextIOWrapper:
    """Return a stream of lines that ignores failed writes."""
    buffer = io.BufferedWriter(_Lasting(descriptor, "w"))
    return io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True)


class _Lasting(io.FileIO):
    """A file that ignores failed writes."""

    def write(self, data: Any, /) -> int:
        """Write, and ignore errors."""
        with suppress(OSError):
            super().write(data)
        return len(data)
