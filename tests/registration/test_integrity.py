"""Files that are not as they were written are refused, whatever reads them; those that are, are read."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.headers import load_sane
from bidsreg.errors import InputError
from bidsreg.preparation.masks import read_mask
from bidsreg.registration import Image
from bidsreg.registration.integrity import DamagedError, check_size, content_size
from tests import data

#: Everything that first opens a file of the user.
READERS = {'app': load_sane, 'mask': read_mask, 'pair': Image.load}


def content(mask: bool = False) -> bytes:
    head = data.head((20, 22, 18), 1)
    return (head.mask if mask else head.scan).to_bytes()


def values(image) -> np.ndarray:
    return image.data if isinstance(image, Image) else np.asanyarray(image.dataobj)


@pytest.mark.parametrize('reader', READERS)
def test_a_flipped_bit_is_refused_or_changes_nothing(reader, tmp_path):
    path, packed = tmp_path / 'scan.nii.gz', gzip.compress(content(reader == 'mask'))
    path.write_bytes(packed)
    right = values(READERS[reader](path))
    flipped = np.random.default_rng(0).choice(8 * len(packed), 60, replace=False)
    refused = 0
    for place in flipped:
        broken = bytearray(packed)
        broken[place // 8] ^= 1 << (place % 8)
        path.write_bytes(broken)
        try:
            found = values(READERS[reader](path))
        except (InputError, ValueError):
            refused += 1
        else:
            np.testing.assert_array_equal(found, right)
    assert refused > 50  # the few bytes of the name and the time in gzip's header hold nothing of the image


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda raw: gzip.compress(raw)[:-4], 'truncated or damaged'),
        (lambda raw: gzip.compress(raw)[:-8] + bytes(8), 'truncated or damaged'),
        (lambda raw: gzip.compress(raw) + b'garbage', 'truncated or damaged'),
        (lambda raw: gzip.compress(raw + b'more'), '4 bytes more than its header says'),
        (lambda raw: gzip.compress(raw[:-1]), 'copy it again'),
    ],
)
def test_each_damage_says_what_to_do(reader, spoil, words, tmp_path):
    path = tmp_path / 'scan.nii.gz'
    path.write_bytes(spoil(content(reader == 'mask')))
    with pytest.raises((InputError, ValueError), match=rf'(?s)scan\.nii\.gz.*{words}'):
        READERS[reader](path)


@pytest.mark.parametrize('reader', READERS)
def test_members_and_padding_are_no_damage(reader, tmp_path):
    raw = content(reader == 'mask')
    one, other = tmp_path / 'one.nii.gz', tmp_path / 'other.nii.gz'
    one.write_bytes(gzip.compress(raw))
    other.write_bytes(gzip.compress(raw[:999]) + gzip.compress(raw[999:]) + bytes(512))
    np.testing.assert_array_equal(*(values(READERS[reader](path)) for path in (one, other)))


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(('cut', 'more', 'words'), [(1, b'', 'truncated'), (None, b'\0', '1 bytes more')])
def test_the_size_of_what_is_not_compressed(reader, cut, more, words, tmp_path):
    path, raw = tmp_path / 'scan.nii', content(reader == 'mask')
    path.write_bytes(raw[: None if cut is None else -cut] + more)
    with pytest.raises((InputError, ValueError), match=rf'scan\.nii.*{words}'):
        READERS[reader](path)


def test_voxels_inside_the_header_are_refused_by_the_pair(tmp_path):
    """Nibabel reads the header as voxels; the app reads them behind it, and says so (tests of its headers)."""
    raw = bytearray(content())
    raw[108:112] = np.float32(0).tobytes()
    path = tmp_path / 'scan.nii'
    path.write_bytes(raw)
    with pytest.raises(ValueError, match='352 bytes more'):
        Image.load(path)


def test_every_byte_of_a_member_is_read(tmp_path):
    path = tmp_path / 'large.gz'
    path.write_bytes(gzip.compress(bytes(5_000_000)))
    assert content_size(path) == 5_000_000
    path.write_bytes(zlib.compress(b'no gzip'))
    assert content_size(path) == path.stat().st_size


def test_a_second_volume_that_the_header_does_not_tell(tmp_path):
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4))
    path = Path(tmp_path) / 'a.nii'
    nib.save(image, path)
    voxels = nib.load(path).dataobj
    check_size(352 + 240, voxels)
    for size in (352 + 480, 352 + 239):
        with pytest.raises(DamagedError):
            check_size(size, voxels)
