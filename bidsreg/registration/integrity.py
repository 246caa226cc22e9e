"""Files as they were written: compressed ones read to their checksums, and the size that a header promises.

Readers of images stop behind the last voxel, which is before the checksum of a compressed file.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import nibabel as nib

GZIP = b'\x1f\x8b'
CHUNK = 1 << 20
"""Bytes that are decompressed at a time."""


class DamagedError(ValueError):
    """A file that is not as it was written: its message says what is wrong, and what to do."""


def content_size(path: str | Path) -> int:
    """Return the bytes of a file's content, decompressed where it is compressed by gzip, in one member or several.

    A compressed file is read to its end, so that checksum and length of each member are compared with its content.

    Raises
    ------
    DamagedError
        If they differ, the file breaks off, or something else than zeros follows.
    """
    with open(path, 'rb') as file:
        packed = file.read(2) == GZIP
    if not packed:
        return os.stat(path).st_size
    size = 0
    try:
        with gzip.open(path, 'rb') as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedError(
            f'is truncated or damaged ({error}): copy it again from where it came from ("gzip -t" tells whether a '
            'copy is good)'
        ) from error
    return size


def check_size(size: int, voxels: nib.arrayproxy.ArrayProxy) -> None:
    """Compare the size of a NIfTI file's content with its header.

    Parameters
    ----------
    size : int
        Bytes of the content (:func:`content_size`).
    voxels : ArrayProxy
        The voxels that the header describes, with their place in the content.

    Raises
    ------
    DamagedError
        If the content ends before the last voxel, or goes on behind it.
    """
    end = int(voxels.offset) + math.prod(voxels.shape) * voxels.dtype.itemsize
    if size < end:
        raise DamagedError(f'is truncated or damaged ({size} bytes of the {end} that its header says): copy it again')
    if size > end:
        raise DamagedError(
            f'holds {size - end} bytes more than its header says: the size, type or place of its voxels is wrong '
            'there, or something else was written behind them; convert it again'
        )
