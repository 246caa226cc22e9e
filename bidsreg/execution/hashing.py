"""Nipype's hashes of the files that steps read, each made once in a process, as long as the file stays as it is.

Nipype reads every input file of every step twice, in the process that hands the steps out and in the one that runs
them; the scans of a pair are inputs of a dozen steps.
"""

from __future__ import annotations

import functools
import os

from nipype.interfaces.base import specs
from nipype.utils.filemanip import hash_infile


def hash_once(path: str | bytes) -> str | None:
    """Return the MD5 of a file, or None where there is none; it is read again when its times, size or place change."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return _hash(path, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@functools.cache
def _hash(path: str | bytes, state: tuple[int, ...]) -> str | None:
    found: str | None = hash_infile(path)
    return found


def remember_hashes() -> None:
    """Let Nipype hash the inputs of steps so, in this process and in those that it forks."""
    specs.hash_infile = hash_once
