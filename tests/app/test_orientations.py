"""One head, stored in other ways without a voxel being interpolated: the transform is the same."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import nitransforms
import numpy as np
import pytest

from bidsreg.workflows import init_masking_wf, init_prealign_wf, init_registration_wf
from tests import data
from tests.graph_fixtures import run_room

pytestmark = pytest.mark.slow  # two linear stages and the solver for each

KNOWN = data.truth(0, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=2.0)
#: mm by which a brain point may be mapped elsewhere.
SAME = 0.01
STILL = np.eye(4)


def moved(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """Return the 4x4 of a turn (degrees) and a shift (mm)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = data.rotation(*turn), shift
    return matrix


def turned(image: nib.Nifti1Image, axes: str) -> nib.Nifti1Image:
    """Put the voxels into another order; the affine follows."""
    order = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    other = image.as_reoriented(order)
    return data.image(np.ascontiguousarray(other.dataobj), other.affine)


def write(image: nib.Nifti1Image, path: Path, axes: str, number: str, world: np.ndarray) -> Path:
    """Write an image in an order of voxels and a type of numbers, moved.

    The types are ``int16``, ``float64``, ``scaled`` (int16 with a slope, exact), ``floats`` (fractions behind the whole
    numbers) and ``rounded`` (those as an int16 with a slope holds them).
    """
    other = turned(image, axes)
    other = data.image(np.asanyarray(other.dataobj), world @ other.affine)
    values = np.asanyarray(other.dataobj)
    if number in ('floats', 'rounded'):
        behind = np.random.default_rng(3).uniform(0, 1, values.shape)
        step = (values + behind).max() / 32767
        values = np.round((values + behind) / step) * step if number == 'rounded' else values + behind
        nib.save(data.image(values, other.affine), path)
        return path
    if number == 'scaled':
        nib.save(data.image(values * np.int16(2), other.affine), path)
        content = bytearray(path.read_bytes())
        content[112:120] = struct.pack('<ff', 0.5, 0.0)  # slope and intercept, which nibabel chooses itself
        path.write_bytes(bytes(content))
    else:
        nib.save(data.image(values.astype(number), other.affine), path)
    np.testing.assert_array_equal(nib.load(path).get_fdata(), np.asanyarray(other.dataobj))
    return path


def mapped(
    pair: data.Pair,
    folder: Path,
    t1w: str = 'RAS',
    t2w: str = 'RAS',
    number: str = 'int16',
    extension: str = '.nii.gz',
    world: np.ndarray = STILL,
    sloppy: bool = True,
) -> np.ndarray:
    """Register through the three rooms, the mask in RAS beside the T1w; where the brain's points lie in the T2w.

    `world`, rigid, moves the headers of both scans and of the mask; the points are those of the heads unmoved.
    """
    folder.mkdir()
    fixed = write(pair.fixed, folder / f'T1w{extension}', t1w, number, world)
    moving = write(pair.moving, folder / f'T2w{extension}', t2w, number, world)
    mask = write(pair.fixed_mask, folder / 'mask.nii.gz', 'RAS', 'uint8', world)
    one = run_room(init_masking_wf(sloppy=sloppy), folder / 'one', in_file=str(fixed), user_mask=str(mask))
    inputs = {'fixed': one['preproc'], 'fixed_mask': one['mask']}
    two = run_room(init_prealign_wf(sloppy=sloppy), folder / 'two', moving=str(moving), **inputs)
    inputs |= {'moving': two['preproc'], 'moving_mask': two['mask'], 'affine': two['affine']}
    three = run_room(
        init_registration_wf(sloppy=sloppy, working_resolution=4.0 if sloppy else 1.0), folder / 'three', **inputs
    )
    for image, scan in ((three['warped'], fixed), (one['mask'], fixed), (three['fixed_in_moving'], moving)):
        assert nib.aff2axcodes(nib.load(image).affine) == nib.aff2axcodes(nib.load(scan).affine)
    points = nib.affines.apply_affine(world, pair.points[:, :3])
    found = nitransforms.manip.load(three['forward'], fmt='itk').map(points)
    return nib.affines.apply_affine(np.linalg.inv(world), found)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    pair = data.pair((44, 52, 44), 0, known=KNOWN)
    return pair, mapped(pair, tmp_path_factory.mktemp('plain') / 'x')


@pytest.fixture(scope='module')
def oblique(tmp_path_factory):
    shape, affine = data.GRIDS['oblique']
    pair = data.pair(shape, 0, fixed_affine=affine, moving_affine=affine, known=KNOWN)
    return pair, mapped(pair, tmp_path_factory.mktemp('oblique') / 'x')


@pytest.mark.parametrize(
    ('t1w', 't2w', 'number', 'extension'),
    [
        ('LAS', 'LAS', 'int16', '.nii.gz'),  # left-handed
        ('PSR', 'RAS', 'float64', '.nii.gz'),  # sagittal slices
        ('RAS', 'LPS', 'int16', '.nii'),
        ('LPS', 'PIR', 'scaled', '.nii'),
    ],
)
def test_one_head_stored_in_other_ways(plain, tmp_path, t1w, t2w, number, extension):
    pair, expected = plain
    found = mapped(pair, tmp_path / 'x', t1w, t2w, number, extension)
    assert np.linalg.norm(found - expected, axis=1).max() < SAME
    assert pair.error(found).mean() < 2.0


def test_an_oblique_head_stored_in_another_way(oblique, tmp_path):
    pair, expected = oblique
    found = mapped(pair, tmp_path / 'x', 'PSR', 'LAI')
    assert np.linalg.norm(found - expected, axis=1).max() < SAME


@pytest.mark.parametrize(
    ('t1w', 't2w', 'world'),
    [
        pytest.param('RAS', 'RAS', moved((14, -9, 7), (0, 0, 0)), id='turned'),
        pytest.param('LPI', 'PSR', moved((-8, 12, 17), (31.3, -250, 80)), id='turned, far and in other orders'),
    ],
)
def test_one_head_whose_headers_are_moved(plain, tmp_path, t1w, t2w, world):
    pair, expected = plain
    found = mapped(pair, tmp_path / 'x', t1w, t2w, world=world)
    assert np.linalg.norm(found - expected, axis=1).max() < SAME
