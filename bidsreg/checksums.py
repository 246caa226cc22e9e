"""Checksums of the files that a step leaves in the work folder, so that whatever was damaged since is known.

A disk that was full, a machine that stopped, or somebody who tidied up may leave files empty, cut off or full of zeros;
a bad disk turns single bits. Readers of images do not look for that, so that each step does before it reads, and the
next run does before it takes a step for done.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from bidsreg.errors import DamagedFileError

NAME = '_checksums.json'
"""The file with the sizes and checksums in the folder of a step; what begins so is Nipype's, or ours."""
DAMAGED = '_damaged'
"""The file in that folder by which a later step says which of its files was damaged when it wanted to read it."""
_CHUNK = 2**20
_DEPTH = 3


def write_checksums(folder: Path) -> None:
    """Note size and checksum (CRC-32) of all files in and below a folder, but hidden ones and Nipype's own."""
    sums = {path.relative_to(folder).as_posix(): _measure(path) for path in _files(folder)}
    (folder / NAME).write_text(json.dumps(sums), encoding='utf-8')


def find_damage(folder: Path, content: bool = True) -> str:
    """Say which file is not as it was noted, and in what; empty where all are, or where nothing was noted.

    Parameters
    ----------
    folder
        Of a step.
    content
        Read the files; otherwise only their sizes are compared.
    """
    if (folder / DAMAGED).exists():
        return (folder / DAMAGED).read_text(encoding='utf-8', errors='replace') or 'something was damaged'
    try:
        sums = _read(folder)
    except FileNotFoundError:
        return ''
    except (OSError, ValueError):
        return f'{NAME} cannot be read'
    return next(filter(None, (_compare(folder, name, noted, content) for name, noted in sums.items())), '')


def require_whole(path: Path) -> bool:
    """Compare a file with what was noted of it when the step that made it ended.

    Parameters
    ----------
    path
        Of a file in or below the folder of a step, or anywhere else.

    Returns
    -------
    bool
        True where something was noted of it, and it is so.

    Raises
    ------
    DamagedFileError
        If it is not as it was noted, or the list that has it cannot be read. The step is marked, so that the next run
        of the graph does it again.
    """
    folder = next((above for above in list(path.parents)[:_DEPTH] if (above / NAME).is_file()), None)
    if folder is None:
        return False
    name = path.relative_to(folder).as_posix()
    try:
        sums = _read(folder)
    except (OSError, ValueError):
        damage = f'{NAME} cannot be read'
    else:
        if name not in sums:
            return False
        damage = _compare(folder, name, sums[name], content=True)
    if not damage:
        return True
    with contextlib.suppress(OSError):  # a full disk: the next run reads the files itself
        (folder / DAMAGED).write_text(damage, encoding='utf-8')
    raise DamagedFileError(f'in {folder} {damage} since the step that made it ended')


def _read(folder: Path) -> dict[str, list[int]]:
    """Read what was noted; ValueError where that is something else than names with two numbers."""
    sums = json.loads((folder / NAME).read_text(encoding='utf-8'))
    if not isinstance(sums, dict) or not all(isinstance(noted, list) and len(noted) == 2 for noted in sums.values()):
        raise ValueError(f'{NAME} holds something else than sizes and checksums')
    return sums


def _compare(folder: Path, name: str, noted: list[int], content: bool) -> str:
    path = folder / name
    try:
        if path.stat().st_size != noted[0]:
            return f'{name} has {path.stat().st_size} of {noted[0]} bytes'
        if content and _measure(path) != noted:
            return f'the content of {name} has changed'
    except OSError as error:
        return f'{name} cannot be read ({error.strerror})'
    return ''


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob('*')):
        hidden = any(part[0] in '._' for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and not path.is_symlink():
            yield path


def _measure(path: Path) -> list[int]:
    size = total = 0
    with path.open('rb') as stream:
        while chunk := stream.read(_CHUNK):
            size, total = size + len(chunk), zlib.crc32(chunk, total)
    return [size, total]
