"""Standard output and error that may be closed at any time: ``bidsreg ... | head -1`` is no failure of the work."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO


class _EndlessFile(io.FileIO):
    """A file that takes everything: from the moment on that it cannot be written, into nothing."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:  # the reader of the pipe has gone, the disk is full, the terminal was closed
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            return memoryview(content).nbytes


def outlive_readers() -> None:
    """Let this process go on when nobody reads what it prints any more; what it has to say last is its exit code.

    Where a standard stream was closed before it began, nothing else gets its number, for programs would write there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdout, sys.stderr = _endless(sys.stdout), _endless(sys.stderr)


def _endless(stream: TextIO) -> TextIO:
    """Return a stream to the same place; the same one where that is no file."""
    with contextlib.suppress(AttributeError, OSError):  # None, or somebody's own
        file = _EndlessFile(stream.fileno(), 'wb', closefd=False)
        options = {name: getattr(stream, name) for name in ('encoding', 'errors', 'line_buffering', 'write_through')}
        return io.TextIOWrapper(io.BufferedWriter(file), **options)
    return stream
