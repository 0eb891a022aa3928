"""Standard streams. A training continues if they are lost."""

import errno
import io
import os
import sys
from typing import Any


def open_closed() -> None:
    """Open the standard streams that a shell has closed (`>&-`). Otherwise opened files would get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is that of the stream
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))


def name_output() -> None:
    """From now on, errors of the standard output name it."""
    sys.stdout = _through_output(sys.stdout, "standard output")


def make_lasting() -> None:
    """From now on, ignore failed writes: to a pipe without a reader, a closed terminal or a full disk."""
    sys.stdout = _through_output(sys.stdout, "standard output")
    sys.stderr = _through_output(sys.stderr, "standard error")
    for stream in (sys.stdout, sys.stderr):
        if (output := _output_of(stream)) is not None:
            output.lasting = True


def lasting(descriptor: int) -> io.TextIOWrapper:
    """Return a stream of lines that ignores failed writes."""
    output = _Output(descriptor, "w")
    output.lasting = True
    return io.TextIOWrapper(io.BufferedWriter(output), "utf-8", "backslashreplace", line_buffering=True)


def loss() -> OSError | None:
    """Return the error with which output was lost on the standard output, unless its reader has ended."""
    output = _output_of(sys.stdout)
    return None if output is None else output.lost


class _Output(io.FileIO):
    """The file of a standard stream. Its errors name the stream; or they are ignored, and the first is kept."""

    title: str | None = None
    lasting = False
    lost: OSError | None = None

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        """Write."""
        try:
            return super().write(data)
        except OSError as error:
            told = OSError(error.errno, error.strerror, self.title)
            if not self.lasting:
                raise told from None
            if error.errno not in _NO_READER:
                self.lost = self.lost or told
        return len(data)


#: Errors of a pipe without a reader and of a closed terminal.
_NO_READER = (errno.EPIPE, errno.EIO)


def _output_of(stream: Any) -> _Output | None:
    raw = _raw(stream)
    return raw if isinstance(raw, _Output) else None


def _raw(stream: Any) -> Any:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)  # an unbuffered stream has the file itself


def _through_output(stream: Any, title: str) -> Any:
    """Return a stream of the same file through an `_Output`; the stream itself if it is no plain file.

    That is a replacement by a test or a notebook, or a console of Windows.
    """
    if type(_raw(stream)) is not io.FileIO or stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    stream.flush()
    output = _Output(stream.fileno(), "w", closefd=False)
    output.title = title
    lines = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(io.BufferedWriter(output), stream.encoding, stream.errors, line_buffering=lines)
