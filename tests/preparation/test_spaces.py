"""Images in a template's space, against other people's readers: ANTs for images, nitransforms for points."""

from __future__ import annotations

from pathlib import Path

import nibabel as nb
import nitransforms
import numpy as np
import pytest

from bidsreg.bids.images import mask_centre
from bidsreg.errors import InputError
from bidsreg.preparation.resample import resample
from bidsreg.preparation.spaces import (
    bring,
    bring_labels,
    bring_map,
    bring_mask,
    chain,
    cut_out,
    pulling,
    scaling,
    sized,
)
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import apply_affine
from tests import data
from tests.fields import grid_named, tapered


def some_deformation(seed: int, name: str = 'ras') -> Deformation:
    """A smooth one with an affine; its inverse field by fixed-point iteration."""
    grid = grid_named(name)
    u = tapered(grid, seed)
    matrix = data.truth(seed, scale=(0.95, 1.03, 1.08)).matrix
    still = Deformation(np.eye(4), u, u, grid)
    points = grid.to_world(np.stack(np.indices(grid.shape), -1).reshape(-1, 3))
    found = points
    for _ in range(30):
        found = points - (still.points(found) - found)
    back = (found - points).reshape(u.shape).astype(np.float32)
    return Deformation(matrix, u, back, grid)


def saved(way: Deformation, folder: Path, name: str) -> tuple[Path, Path]:
    files = folder / f'{name}_forward.h5', folder / f'{name}_inverse.h5'
    way.save(files[0])
    way.inverted().save(files[1])
    return files


@pytest.mark.parametrize('name', ['oblique', 'left-handed', 'thick', 'sagittal'])
def test_images_are_brought_as_ants_brings_them(name, tmp_path, here):
    way = some_deformation(1)
    forward, _ = saved(way, tmp_path, 'a')
    shape, affine = data.GRIDS[name]
    head = data.head(shape, 4, affine=affine, noise=0)
    reference = data.image(np.zeros((30, 34, 28), np.float32), data.grid((30, 34, 28), 'ASL', (3, 4, 5), 3.5))
    nb.save(head.scan, tmp_path / 'scan.nii.gz')
    nb.save(reference, tmp_path / 'reference.nii.gz')
    ours = np.asarray(bring(pulling(forward), head.scan, reference).dataobj)
    theirs = resample(str(tmp_path / 'scan.nii.gz'), str(tmp_path / 'reference.nii.gz'), [str(forward)]).get_fdata()
    seen = theirs > 0.05 * theirs.max()
    assert np.percentile(np.abs(ours - theirs)[seen], 99) < 0.01 * theirs.max()
    mask = bring_mask(pulling(forward), head.mask, reference)
    assert mask.get_data_dtype() == np.uint8
    nb.save(head.mask, tmp_path / 'mask.nii.gz')
    labels = resample(
        str(tmp_path / 'mask.nii.gz'),
        str(tmp_path / 'reference.nii.gz'),
        [str(forward)],
        interpolation='genericLabel',
    )
    one, other = np.asarray(mask.dataobj) > 0, labels.get_fdata() > 0
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.99


@pytest.mark.parametrize('name', ['oblique', 'left-handed', 'thick'])
def test_labels_are_brought_as_ants_brings_the_nearest(name, tmp_path, here):
    """Where both differ the place lies on the border between two voxels, to within the fields' rounding."""
    way = some_deformation(1)
    forward, _ = saved(way, tmp_path, 'a')
    shape, affine = data.GRIDS[name]
    labels = np.random.default_rng(2).integers(0, 5, shape).astype(np.uint8)
    image = data.image(labels, affine)
    reference = data.image(np.zeros((30, 34, 28), np.float32), data.grid((30, 34, 28), 'ASL', (3, 4, 5), 3.5))
    nb.save(image, tmp_path / 'labels.nii.gz')
    nb.save(reference, tmp_path / 'reference.nii.gz')
    found = bring_labels(pulling(forward), image, reference)
    assert found.get_data_dtype() == np.uint8
    theirs = resample(
        str(tmp_path / 'labels.nii.gz'),
        str(tmp_path / 'reference.nii.gz'),
        [str(forward)],
        interpolation='nearestNeighbor',
    ).get_fdata()
    assert (np.asarray(found.dataobj) == theirs).mean() > 0.97
    assert set(np.unique(found.dataobj)) == {0, 1, 2, 3, 4}


def test_the_rim_of_a_map_is_not_darkened_by_what_lies_beyond_it(tmp_path):
    way = some_deformation(3)
    forward, _ = saved(way, tmp_path, 'a')
    head = data.head((40, 46, 40), 4, noise=0)
    inside = np.asarray(head.mask.dataobj) > 0
    constant = nb.Nifti1Image(np.where(inside, np.float32(1.7), np.float32(0)), head.mask.affine)
    reference = data.image(np.zeros((30, 34, 28), np.float32), data.grid((30, 34, 28), 'ASL', (3, 4, 5), 3.5))
    there = np.asarray(bring_map(pulling(forward), constant, reference).dataobj)
    np.testing.assert_allclose(there[there > 0], 1.7, rtol=1e-5)
    mask = np.asarray(bring_mask(pulling(forward), head.mask, reference).dataobj) > 0
    np.testing.assert_array_equal(there > 0, mask)
    ramp = nb.Nifti1Image(np.where(inside, np.arange(inside.size).reshape(inside.shape) + 1.0, 0), head.mask.affine)
    deep = np.asarray(bring_mask(pulling(forward), eroded(head.mask, 3), reference).dataobj) > 0
    plain = np.asarray(bring(pulling(forward), ramp, reference).dataobj)
    np.testing.assert_allclose(
        np.asarray(bring_map(pulling(forward), ramp, reference).dataobj)[deep], plain[deep], rtol=1e-4
    )
    broken = nb.Nifti1Image(np.where(inside, np.float32(np.nan), np.float32(0)), head.mask.affine)
    assert not np.asarray(bring_map(pulling(forward), broken, reference).dataobj).any()


def eroded(mask: nb.Nifti1Image, by: int) -> nb.Nifti1Image:
    from scipy import ndimage as ndi

    less = ndi.binary_erosion(np.asarray(mask.dataobj) > 0, iterations=by)
    return nb.Nifti1Image(less.astype(np.uint8), mask.affine)


def test_a_chain_is_both_one_after_the_other_in_both_directions(tmp_path):
    """Points through the files, read by nitransforms, and through the two deformations themselves."""
    first, then = some_deformation(1), some_deformation(2, 'oblique-left-handed')
    forward, inverse = tmp_path / 'f.h5', tmp_path / 'i.h5'
    chain(saved(first, tmp_path, 'a'), saved(then, tmp_path, 'b'), forward, inverse)
    points = np.random.default_rng(0).uniform(-45, 45, (300, 3))
    there = then.points(first.points(points))
    for path, given, goal in ((forward, points, there), (inverse, there, points)):
        read = nitransforms.manip.load(path, fmt='itk') if path.suffix == '.h5' else None
        found = read.map(given)
        assert np.percentile(np.linalg.norm(found - goal, axis=1), 95) < 0.35, 'within a tenth of a voxel'
    both = Deformation.load(forward, inverse)
    np.testing.assert_allclose(both.matrix, then.affine @ first.affine, atol=1e-4)
    found = both.points(points)
    assert np.percentile(np.linalg.norm(found - there, axis=1), 95) < 0.35
    far = np.array([[500.0, 0, 0]])
    np.testing.assert_allclose(both.points(far), apply_affine(then.affine @ first.affine, far), atol=1e-3)


def test_the_other_direction_is_refused_for_images(tmp_path):
    _, inverse = saved(some_deformation(1), tmp_path, 'a')
    with pytest.raises(ValueError, match='the other way'):
        pulling(inverse)


def test_a_brain_of_another_size_becomes_as_large_about_its_own_middle():
    template = data.head((40, 46, 40), 2).mask
    known = np.diag([0.7, 0.7, 0.7, 1])
    known[:3, 3] = 12, -30, 8
    scan = nb.Nifti1Image(template.dataobj, known @ template.affine)
    matrix = scaling(template, scan)
    np.testing.assert_allclose(matrix[:3, :3], 0.7 * np.eye(3), atol=1e-6)
    middle = mask_centre(scan)
    np.testing.assert_allclose(apply_affine(matrix, middle), middle, atol=1e-4)
    large = sized(scan, matrix)
    np.testing.assert_allclose(large.header.get_zooms(), template.header.get_zooms(), rtol=1e-4)
    np.testing.assert_allclose(matrix @ large.affine, scan.affine, atol=1e-4)


def test_a_brain_is_cut_out_of_its_head(tmp_path):
    head = data.head((40, 46, 40), 2)
    nb.save(head.scan, tmp_path / 'scan.nii.gz')
    nb.save(head.mask, tmp_path / 'mask.nii.gz')
    found = np.asarray(cut_out(str(tmp_path / 'scan.nii.gz'), str(tmp_path / 'mask.nii.gz')).dataobj)
    inside = np.asarray(head.mask.dataobj) > 0
    np.testing.assert_allclose(found[inside], head.scan.get_fdata()[inside], rtol=1e-5)
    assert not found[~inside].any()
    nb.save(nb.Nifti1Image(np.asarray(head.mask.dataobj), head.mask.affine * 1.5), tmp_path / 'mask.nii.gz')
    with pytest.raises(InputError, match='lies elsewhere'):
        cut_out(str(tmp_path / 'scan.nii.gz'), str(tmp_path / 'mask.nii.gz'))
