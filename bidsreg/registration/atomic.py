"""The one way to write: a file or a folder appears complete or not at all.

What is being written has a hidden name of its own on the same file system (machine, process and a random part, so that
no two writers meet) and takes its name by a rename. It lives in the heart because the heart writes, too.
"""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def hidden_name(path: Path, folder: Path | None = None) -> Path:
    """Return a name for what is to become `path`: hidden, unlike any other, with the same extension.

    Parameters
    ----------
    path : Path
        What it is to be called in the end.
    folder : Path, optional
        A folder of the same file system to put it into. Default: beside `path`.
    """
    writer = f'{platform.node()}.{os.getpid()}.{uuid.uuid4().hex[:8]}'
    return (folder or path.parent) / f'.{writer}.{path.name}'


def write_atomic(
    path: Path, write: Callable[[Path], object], *, scratch: Path | None = None, durable: bool = False
) -> Path:
    """Let a function fill a hidden file, then rename it into place; what was there before is replaced.

    Parameters
    ----------
    path : Path
        Where it is to be; its folder is made.
    write : callable
        Writes to the path it is given.
    scratch : Path, optional
        A folder of the same file system for the hidden file; it is made. Default: the folder of `path`.
    durable : bool
        Bring the file to disk before it takes its name, so that a machine that stops leaves no empty file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OSError
        If it cannot be written; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    hidden = hidden_name(path, scratch)
    try:
        write(hidden)
        if durable:
            with hidden.open('rb') as stream:
                os.fsync(stream.fileno())
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str, *, scratch: Path | None = None, durable: bool = False) -> Path:
    """Write a text file (UTF-8); see :func:`write_atomic`."""
    return write_atomic(
        path, lambda hidden: hidden.write_text(text, encoding='utf-8'), scratch=scratch, durable=durable
    )


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder to fill; when the context ends well it takes the place of `path`, and of what was there.

    Yields
    ------
    Path
        The hidden folder; it is removed when the context ends badly, and `path` is then as it was.

    Raises
    ------
    NotADirectoryError
        If `path` exists and is no folder; nothing is made then.
    """
    path = path.resolve()  # where `path` is a link, the folder behind it is replaced
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f'{path} exists and is no folder')
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = hidden_name(path)
    hidden.mkdir()
    try:
        yield hidden
        _take_place(hidden, path)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _take_place(hidden: Path, path: Path) -> None:
    """Rename a folder to `path` and remove what was there; on failure what was there comes back."""
    if not path.exists():
        hidden.rename(path)
        return
    old = path.rename(hidden_name(path))
    try:
        hidden.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
