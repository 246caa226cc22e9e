"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let a function fill a hidden file beside the place, with the same extension, then rename it.

    Parameters
    ----------
    path : Path
        Where it is to be; its folder is made.
    write : callable
        Writes to the path it is given.

    Returns
    -------
    Path
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f'.{os.getpid()}.{path.name}')
    try:
        write(hidden)
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file (UTF-8) whole; see :func:`write_whole`."""
    return write_whole(path, lambda hidden: hidden.write_text(text, encoding='utf-8'))
