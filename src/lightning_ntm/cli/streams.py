"""Standard streams whose loss ends no training."""

import io
import os
import sys
from contextlib import suppress
from typing import Any


def open_closed() -> None:
    """Open the streams that a shell has closed, as by `>&-`: files that are opened would take their places."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, so that of the stream
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))


def make_lasting() -> None:
    """Drop what cannot be written from now on, as to a pipe without a reader, a closed terminal or a full disk."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not one that a test or a notebook has put in its place
            stream.flush()
            buffer = io.BufferedWriter(_Lasting(stream.fileno(), "w", closefd=False))
            lines = stream.line_buffering or stream.write_through
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=lines))


class _Lasting(io.FileIO):
    """A file in which a write that fails is as good as any."""

    def write(self, data: Any, /) -> int:
        """Write, if that is possible."""
        with suppress(OSError):
            super().write(data)
        return len(data)
