"""Packed bytes: what zlib, gzip and HDF5 unpack is what was packed, for any number of threads."""

import gzip
import zlib

import h5py
import numpy as np
import pytest

from bidsreg.registration import packing


def content(size):
    """Half digits, half zeros."""
    return np.random.default_rng(0).normal(size=size // 16).tobytes() + bytes(size - size // 16 * 8)


@pytest.mark.parametrize('size', [0, 1, 999, 1000, 1001, 6500])
def test_gzip_reads_one_member(size, monkeypatch):
    monkeypatch.setattr(packing, 'PIECE', 1000)
    packed = b''.join(packing.gzipped(content(size)))
    assert gzip.decompress(packed) == content(size)
    # a reader that knows of one member only finds nothing behind it
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert reader.decompress(packed) == content(size)
    assert reader.eof
    assert reader.unused_data == b''
    assert packed == b''.join(packing.gzipped(memoryview(content(size)), threads=3))
    assert gzip.decompress(b''.join(packing.gzipped(content(size), 2, packing.FLOATS))) == content(size)


def test_hdf5_reads_shuffled_values(tmp_path):
    values = np.random.default_rng(1).normal(size=3000).astype(np.float32)
    values[1000:2000] = 0
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        options = {'chunks': (1500,), 'compression': 'gzip', 'compression_opts': packing.LEVEL, 'shuffle': True}
        own = file.create_dataset('own', (3000,), np.float32, **options)
        for start in (0, 1500):
            own.id.write_direct_chunk((start,), packing.shuffled(values[start : start + 1500]))
        theirs = file.create_dataset('theirs', data=values, **options)
        np.testing.assert_array_equal(own[()], values)
        assert own.id.get_storage_size() <= 1.01 * theirs.id.get_storage_size()


def test_shuffled_bytes_are_those_of_the_values_by_their_places():
    values = np.arange(10, dtype=np.float32)
    assert zlib.decompress(packing.shuffled(values)) == b''.join(values.tobytes()[k::4] for k in range(4))
