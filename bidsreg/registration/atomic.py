"""The one way to write: a file or a folder appears complete or not at all.

What is being written has a hidden name of its own on the same file system (machine, process and a random part, so that
no two writers meet) and takes its name by a rename. By the hidden name :func:`sweep` finds what a killed process left.
It lives in the heart because the heart writes, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

OLD_SECONDS = 24 * 3600
"""Hidden files of other machines older than this are of a process that was killed; no file takes so long to write."""

_LONGEST = 160
"""Bytes of the end of a name, where the extension is, that a hidden one keeps: file systems take 255 bytes in all."""
_HIDDEN = re.compile(
    r'\.(?P<machine>.+-[0-9a-f]{8})\.(?P<process>\d+)\.[0-9a-f]{8}(?P<old>-old)?\.(?P<name>.+)', re.DOTALL
)
_CONTINUED = bytes(range(0x80, 0xC0))
"""What no letter begins with in UTF-8."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@functools.cache
def _machine() -> str:
    """Return a word for this machine since it started and for the container that this is, which has own processes."""
    marks = []
    with contextlib.suppress(OSError):  # not Linux
        marks = [Path('/proc/sys/kernel/random/boot_id').read_text(), os.readlink('/proc/self/ns/pid')]
    return f'{platform.node()[:40]}-{zlib.crc32("".join(marks).encode()):08x}'


def hidden_name(path: Path, folder: Path | None = None) -> Path:
    """Return a name for what is to become `path`: hidden, unlike any other, with the same extension.

    Parameters
    ----------
    path : Path
        What it is to be called in the end.
    folder : Path, optional
        A folder of the same file system to put it into. Default: beside `path`.
    """
    end = os.fsencode(path.name)[-_LONGEST:].lstrip(_CONTINUED)
    return (folder or path.parent) / f'{_prefix()}.{os.fsdecode(end)}'


def _prefix() -> str:
    return f'.{_machine()}.{os.getpid()}.{uuid.uuid4().hex[:8]}'


def sweep(folder: Path, name: str | None = None) -> list[Path]:
    """Remove the hidden files and folders that killed processes left in a folder.

    A folder that was set aside for a new one which never came gets its name back.

    Parameters
    ----------
    folder : Path
        Where to look; not in folders of it.
    name : str, optional
        Only what was to be called so, of whatever process: the caller knows that nobody writes it now. Default: that of
        processes of this machine that are no more, and what is older than :data:`OLD_SECONDS`.

    Returns
    -------
    list of Path
        What was removed. What must not be removed by this user stays.
    """
    removed = []
    for path in sorted(folder.glob('.*')) if folder.is_dir() else ():
        hidden = _HIDDEN.fullmatch(path.name)
        if hidden is None or not (hidden['name'] == name or (name is None and _is_left_behind(path, hidden))):
            continue
        with contextlib.suppress(OSError):  # another user's, or another run has just done it
            if hidden['old'] and not path.with_name(hidden['name']).exists():
                path.rename(path.with_name(hidden['name']))
                continue
            _remove(path)
            removed.append(path)
    return removed


def _is_left_behind(path: Path, hidden: re.Match[str]) -> bool:
    if hidden['machine'] == _machine():
        return not _is_alive(int(hidden['process']))
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > OLD_SECONDS
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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
def hidden_folder(folder: Path, name: str) -> Iterator[Path]:
    """Make a hidden folder in another one, which is made, too, for files that nobody but the caller is to see.

    Yields
    ------
    Path
        The hidden folder; it is removed in the end.
    """
    hidden = hidden_name(folder / name)
    hidden.mkdir(parents=True)
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Give a hidden folder to fill; when the context ends well it takes the place of `path`, and of what was there.

    A process that is killed leaves the old folder or the new one, each complete.

    Parameters
    ----------
    path : Path
        The folder; what killed processes left beside it is removed first.
    check : callable, optional
        Gets what is in the place of `path` before it is replaced, and raises where it must not be.

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
    sweep(path.parent)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f'{path} exists and is no folder')
    with hidden_folder(path.parent, path.name) as hidden:
        yield hidden
        if check is not None and path.exists():
            check(path)
        _take_place(hidden, path)


def _take_place(hidden: Path, path: Path) -> None:
    """Give a folder the name of another one; the old one then has the hidden name, or is gone."""
    if not path.exists():
        hidden.rename(path)
    elif not _exchange(hidden, path):
        _replace_in_two_steps(hidden, path)


def _exchange(one: Path, two: Path) -> bool:
    """Exchange the names of two folders in one step; False where system or file system cannot (NFS, say)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux, or an old C library
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(two), _RENAME_EXCHANGE) == 0


def _replace_in_two_steps(hidden: Path, path: Path) -> None:
    """Set the old folder aside and rename the new one; a process killed between leaves the old one to `sweep`."""
    old = path.rename(path.with_name(f'{_prefix()}-old.{path.name}'))
    try:
        hidden.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
