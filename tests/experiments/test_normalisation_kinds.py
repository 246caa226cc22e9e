"""The kinds of cases do to a head, its mask and the template what they say."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from normalisation_kinds import KINDS, VOXELS, _grown, _moved_mask, scan_of
from verdict_cases import THICK_MM, Look

from tests import data


@pytest.fixture(scope='module')
def head():
    return data.head((40, 46, 40), 2)


def changed(kind: str, head):
    return KINDS[kind].change(head.scan, head.mask)


def volume(mask) -> float:
    return float((np.asarray(mask.dataobj) > 0).sum() * abs(np.linalg.det(mask.affine)))


def test_half_a_brain_is_half_a_brain(head):
    for kind, dark in (('one hemisphere', True), ('mask of one hemisphere', False)):
        image, mask = changed(kind, head)
        assert 0.4 < volume(mask) / volume(head.mask) < 0.6
        lost = (np.asarray(head.mask.dataobj) > 0) & ~(np.asarray(mask.dataobj) > 0)
        assert (np.asarray(image.dataobj)[lost] == 0).all() == dark
    for kind, axis, least in (('front half out of view', 1, 0.4), ('lower tenth out of view', 2, 0.85)):
        image, mask = changed(kind, head)
        assert image.shape == mask.shape
        assert image.shape[axis] < head.scan.shape[axis]
        assert least < volume(mask) / volume(head.mask) < least + 0.2


def test_sizes_noise_and_masks(head):
    _, mask = changed('a head of an infant, in size', head)
    assert volume(mask) / volume(head.mask) == pytest.approx(0.75**3)
    image, mask = changed('noise for a brain', head)
    inside = np.asarray(mask.dataobj) > 0
    one, other = (np.asarray(each.dataobj)[inside] for each in (image, head.scan))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2
    wide, narrow, moved = (change(head.scan, head.mask)[1] for change in (_grown(6), _grown(-6), _moved_mask(20)))
    assert volume(narrow) < volume(head.mask) < volume(wide)
    shift = [
        nib.affines.apply_affine(one.affine, np.argwhere(np.asarray(one.dataobj) > 0)).mean(0)
        for one in (head.mask, moved)
    ]
    assert np.round(shift[1] - shift[0], 3)[2] == pytest.approx(20, abs=4)
    image, _ = changed('stripped', head)
    assert not np.asarray(image.dataobj)[np.asarray(head.mask.dataobj) == 0].any()
    image, _ = changed('upside down', head)
    np.testing.assert_array_equal(np.flip(np.asarray(image.dataobj), 2), np.asarray(head.scan.dataobj, np.float32))


def test_a_head_lies_where_its_plain_case_does_whatever_it_looks_like(anatomy):
    plain, mask = scan_of(anatomy, 'T1w', Look(), 0)
    noisy, _ = scan_of(anatomy, 'T1w', Look(noise=0.3), 5)
    np.testing.assert_array_equal(plain.affine, noisy.affine)
    assert plain.shape == mask.shape
    assert nib.affines.voxel_sizes(plain.affine) == pytest.approx(VOXELS['T1w'])
    other, _ = scan_of(anatomy, 'T2w', Look(), 0)
    assert not np.allclose(other.affine[:3, 3], plain.affine[:3, 3])
    thick, _ = scan_of(anatomy, 'T2w', Look(voxel=THICK_MM), 0)
    assert nib.affines.voxel_sizes(thick.affine) == pytest.approx(THICK_MM)
