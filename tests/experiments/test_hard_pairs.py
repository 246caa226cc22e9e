"""The simulated people of the wide set: what makes their scans hard is there, and labels tell where things are."""

from __future__ import annotations

import hard_pairs
import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image

SHAPE = (44, 50, 42)


def label_map(size=1.0):
    """Concentric ellipsoids of a head's tissues (FreeSurfer's values), four balls in them, as wide as `size` says."""
    at = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2) / size
    radius = np.linalg.norm(at / (1, 1.1, 0.95), axis=-1)
    labels = np.select([radius < 4, radius < 11, radius < 15, radius < 16.5, radius < 18], [4, 2, 3, 24, 530])
    for value, middle in ((12, (-7, 0, 0)), (51, (7, 0, 0)), (16, (0, -7, -4)), (10, (0, 0, 7))):
        labels[np.linalg.norm(at - middle, axis=-1) < 2] = value
    return labels.astype(np.int16)


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    """A folder of two label maps."""
    folder = tmp_path_factory.mktemp('labels')
    for name, size in (('01', 1.0), ('02', 1.1)):
        nib.save(nib.Nifti1Image(label_map(size), np.eye(4)), folder / f'anat-{name}_dseg.nii.gz')
    return folder


def test_the_same_name_gives_the_same_images(labels):
    first, second = (hard_pairs.simulate(labels / 'anat-01_dseg.nii.gz', 1) for _ in range(2))
    other = hard_pairs.simulate(labels / 'anat-01_dseg.nii.gz', 2)
    for contrast in hard_pairs.LESION:
        np.testing.assert_array_equal(first.scans[contrast][0].data, second.scans[contrast][0].data)
    assert not np.array_equal(first.scans['T2w'][0].data, other.scans['T2w'][0].data)
    # every second T1w has thick slices
    assert [round(one.scans['T1w'][0].grid.spacing[2]) for one in (first, other)] == [3, 1]
    assert first.labels.data.max() < hard_pairs.OUTSIDE


def test_contrasts_are_those_of_the_sequences():
    rng = np.random.default_rng(0)
    none = np.zeros(SHAPE, np.float32)
    t1w, t2w = (hard_pairs.contrast_of(label_map(), none, name, rng) for name in hard_pairs.LESION)
    white, grey, fluid = (label_map() == value for value in (2, 3, 4))
    assert t1w[white].mean() > t1w[grey].mean() > t1w[fluid].mean()
    assert t2w[white].mean() < t2w[grey].mean() < t2w[fluid].mean()
    assert t1w[white].std() > 0.03  # texture, and edges


def test_lesions_lie_in_white_matter_and_are_seen_in_both_contrasts():
    lesions = hard_pairs.draw_lesions(label_map(), np.random.default_rng(3))
    centre = lesions > 0.9
    assert centre.any()
    assert set(np.unique(label_map()[centre])) == {2}
    for contrast, sign in (('T1w', -1), ('T2w', 1)):
        with_them, without = (
            hard_pairs.contrast_of(label_map(), some, contrast, np.random.default_rng(5))
            for some in (lesions, 0 * lesions)
        )
        assert (sign * (with_them - without)[centre] > 0.1).all()


def test_a_mask_has_the_tissue_and_the_ventricles_and_ends_near_them():
    labels = label_map()
    mask = hard_pairs.loose_mask(hard_pairs.depth_in_hull(labels), np.random.default_rng(0))
    assert mask[np.isin(labels, (2, 3, 4))].mean() > 0.99
    at = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    assert np.linalg.norm(at / (1, 1.1, 0.95), axis=-1)[mask].max() < 15 + 3.5


def test_slices_average_what_they_hold_and_stay_in_place(monkeypatch):
    for name in ('BIAS', 'SLICES', 'NOISE'):
        monkeypatch.setattr(hard_pairs, name, 1e-9)
    grid = Grid((30, 30, 30), np.eye(4))
    ramp = Image(
        (100 + grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) @ (1.0, 2, 3)).astype(np.float32), grid
    )
    scan = hard_pairs.acquire(ramp, 3, np.random.default_rng(0))
    np.testing.assert_allclose(scan.grid.spacing, (1, 1, 3))
    inner = np.s_[6:-6, 6:-6, 2:-2]
    at = scan.grid.to_world(np.moveaxis(np.indices(scan.grid.shape), 0, -1))
    np.testing.assert_allclose(scan.data[inner], (100 + at @ (1.0, 2, 3))[inner], atol=0.01)


def test_half_as_many_voxels_are_means_or_the_most_frequent_label():
    data = np.zeros((4, 4, 5), np.float32)
    data[:2, :2, :2] = np.reshape([7, 7, 7, 1, 1, 2, 2, 3], (2, 2, 2))
    grid = Grid(data.shape, np.diag([1, 1, 1, 1.0]))
    mean, most = hard_pairs.halved(Image(data, grid)), hard_pairs.halved(Image(data, grid), labels=True)
    assert mean.data.shape == most.data.shape == (2, 2, 2)
    assert mean.data[0, 0, 0] == pytest.approx(30 / 8)
    assert most.data[0, 0, 0] == 7
    assert most.data.sum() == 7
    np.testing.assert_allclose(mean.grid.to_world([0, 0, 0]), (0.5, 0.5, 0.5))


def test_the_search_starts_at_the_centres_of_labels():
    grid = Grid(SHAPE, np.diag([1.0, 1, 2, 1]))
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:7, 10:13, 3:6], labels[20, 20, 20] = 5, 9
    np.testing.assert_allclose(hard_pairs.centres(Image(labels, grid), np.array([5, 9])), [[5, 11, 8], [20, 20, 40]])


def test_pairs_in_both_orders(labels, tmp_path):
    hard_pairs.main([str(labels), str(tmp_path), '--pairs', '01-02', '02-01'])
    for name in ('01-02', '02-01'):
        read = {path.name.removesuffix('.nii.gz'): Image.load(path) for path in (tmp_path / name).iterdir()}
        assert set(read) == {'fixed_T1w', 'moving_T2w', 'fixed_dseg', 'moving_dseg'}
        for image in read.values():
            assert image.grid.same_as(read['fixed_T1w'].grid)
            np.testing.assert_allclose(image.grid.spacing, 2)
        fixed, moving = (read[f'{end}_dseg'].data for end in ('fixed', 'moving'))
        assert 2 * ((fixed == 2) & (moving == 2)).sum() / ((fixed == 2).sum() + (moving == 2).sum()) > 0.8
        t2w = read['moving_T2w'].data
        assert t2w[moving == 4].mean() > t2w[moving == 2].mean() > 0
