"""What is written, packed by zlib in several threads: the bytes do not depend on how many there are.

Deflate (RFC 1951) may be cut anywhere: pieces that were packed apart and end on a whole byte are one stream when they
stand one after another, which every reader of gzip takes. pigz packs so, too.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from bidsreg.registration.numerics.pool import in_order

LEVEL = 1
"""Of zlib. On the fields of a pair of heads at 1 mm, level 3 saves .2 % for a sixth more time."""
PIECE = 1 << 20
"""Bytes of a gzip file that are packed apart."""
MANTISSA, EXPONENT = zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY
"""How the bytes of numbers are packed: in the digits of a smooth field nothing but zeros is found again. Not to search
them took .14 instead of .29 s for 14 MB of the field between two heads at 1 mm (pair 07-08), and came out smaller:
70.7 instead of 71.1 %."""


FLOATS = zlib.Z_RLE
"""How images of floats are packed, byte beside byte: their digits are hardly ever found again. For the warped image and
the determinant of the same pair it took .19 instead of .57 s, and the files became 1 % smaller; a whole head .38, not
1.14 s, and 1 % larger."""


def gzipped(content: bytes | memoryview, threads: int = 1, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> Iterator[bytes]:
    """Yield a gzip file (RFC 1952) of one member, without a name and a time, part after part.

    Parameters
    ----------
    content : bytes-like
        What it holds.
    threads : int
        How many work.
    strategy : int
        Of zlib: what it looks for.
    """
    view = memoryview(content)
    starts = range(0, max(len(view), 1), PIECE)
    yield struct.pack('<4BIBB', 0x1F, 0x8B, zlib.DEFLATED, 0, 0, 4, 255)
    yield from in_order(lambda a: _deflated(view[a : a + PIECE], a == starts[-1], strategy), starts, threads)
    yield struct.pack('<II', zlib.crc32(view), len(view) & 0xFFFFFFFF)


def shuffled(values: np.ndarray) -> bytes:
    """Return float32 values as the filters shuffle and gzip of HDF5 pack them: all first bytes, then all second ones.

    Parameters
    ----------
    values : ndarray of float32
        A whole chunk.
    """
    planes = np.ascontiguousarray(np.ascontiguousarray(values, np.float32).view(np.uint8).reshape(-1, 4).T)
    head = [_deflated(plane.data, False, MANTISSA) for plane in planes[:3]]
    tail = _deflated(planes[3].data, True, EXPONENT)
    return b''.join((b'\x78\x01', *head, tail, struct.pack('>I', zlib.adler32(planes.data))))


def _deflated(piece: bytes | memoryview, last: bool, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Return a piece of a raw deflate stream."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=strategy)
    return packer.compress(piece) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
