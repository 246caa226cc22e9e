"""Checksums of the files that a step leaves in the work folder, so that the next run knows what has been damaged since.

A disk that was full, a machine that stopped, or somebody who tidied up may leave files empty, cut off or full of zeros.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

NAME = '_checksums.json'
"""The file with the sizes and checksums in the folder of a step; what begins so is Nipype's, or ours."""
_CHUNK = 2**20


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
    try:
        sums = json.loads((folder / NAME).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return ''
    except (OSError, ValueError):
        return f'{NAME} cannot be read'
    for name, noted in sums.items():
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
