"""The ratio of two scans: values, outliers, and scans of which there is none."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation.ratio import RATIOS, make_ratio, ratio_map, tissue_medians
from tests import data

from .faces import face


@pytest.fixture
def images():
    """Values of a T1w and a T2w, and a brain in the middle."""
    rng = np.random.default_rng(0)
    t1w, t2w = (rng.uniform(80, 120, (12, 14, 10)) for _ in range(2))
    inside = np.zeros(t1w.shape, bool)
    inside[2:-2, 2:-2, 2:-2] = True
    return t1w, t2w, inside


def test_the_ratio_is_that_of_the_scans_inside_and_zero_outside(images):
    t1w, t2w, inside = images
    found = ratio_map(t1w, t2w, inside, of='T1w')
    np.testing.assert_allclose(found.values[inside], (t1w / t2w)[inside], rtol=1e-6)
    assert not found.values[~inside].any()
    assert (found.without, found.clamped) == (0, 0)
    assert found.values.dtype == np.float32


def test_a_field_that_both_scans_have_cancels(images):
    t1w, t2w, inside = images
    field = np.exp(0.4 * np.sin(np.indices(t1w.shape).sum(0) / 9))
    plain, biased = (ratio_map(t1w * f, t2w * f, inside, of='T1w').values for f in (1, field))
    np.testing.assert_allclose(biased, plain, rtol=1e-5)


@pytest.mark.parametrize('bad', [0.0, -30.0, np.nan])
def test_voxels_without_signal_have_no_ratio_and_are_counted(images, bad):
    t1w, t2w, inside = images
    t2w[3:5, 3:5, 3:5] = bad
    t1w[6, 6, 6] = bad
    found = ratio_map(t1w, t2w, inside, of='T1w')
    assert found.without == pytest.approx(9 / inside.sum())
    assert not found.values[3:5, 3:5, 3:5].any()
    assert (found.values[inside] == 0).sum() == 9
    assert np.isfinite(found.values).all()


def test_values_without_bound_are_set_to_one(images):
    t1w, t2w, inside = images
    t2w[4, 4, 4:6] = 1e-6
    found = ratio_map(t1w, t2w, inside, of='T1w')
    ratios = (t1w / t2w)[inside]
    low, high = np.percentile(np.log(ratios), (25, 75))
    assert found.ceiling == pytest.approx(np.exp(high + 3 * (high - low)))
    assert found.values.max() == pytest.approx(found.ceiling)
    assert found.clamped == pytest.approx(2 / inside.sum())
    kept = ratios < found.ceiling
    np.testing.assert_allclose(found.values[inside][kept], ratios[kept], rtol=1e-6)


def test_a_pair_without_overlap_is_refused(images):
    t1w, t2w, inside = images
    t2w[:8] = 0
    with pytest.raises(InputError, match=r'No ratio of sub-01_T1w.nii .* 25 % of the brain'):
        ratio_map(t1w, t2w, inside, of='sub-01_T1w.nii')


def test_an_empty_mask_is_refused(images):
    t1w, t2w, inside = images
    with pytest.raises(InputError, match=r'mask of sub-01_T1w\.nii is empty'):
        ratio_map(t1w, t2w, inside & False, of='sub-01_T1w.nii')


def test_medians_are_those_of_voxels_with_a_ratio():
    values = np.array([0, 1, 2, 9, 0, 5], np.float32)
    assert tissue_medians(values, np.array([2, 2, 2, 2, 3, 0], np.uint8)) == {'white': None, 'grey': 2.0}


def write(folder, name, values, affine):
    path = folder / f'{name}.nii.gz'
    nib.save(data.image(values, affine), path)
    return str(path)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A head with a face on disk, and what its T1w by its T2w is."""
    folder, head = tmp_path_factory.mktemp('files'), face().scaled((1, 1), noise=0.02)
    t1w, t2w = (write(folder, name, getattr(head, name), head.affine) for name in ('t1w', 't2w'))
    return t1w, t2w, write(folder, 'mask', head.inside.astype(np.uint8), head.affine), t1w


def test_from_files_the_map_lies_on_the_grid_of_the_t1w(files, here):
    image, facts = make_ratio('uncalibrated', *files)
    t1w, t2w, mask = (nib.load(path).get_fdata() for path in files[:3])
    inside = mask > 0
    ours = image.get_fdata()
    below = inside & (ours > 0) & (ours < facts['ceiling'] * 0.999)
    np.testing.assert_allclose(ours[below], (t1w / t2w)[below], rtol=1e-5)
    assert not ours[~inside].any()
    np.testing.assert_allclose(image.affine, nib.load(files[0]).affine, atol=1e-5)
    assert image.get_data_dtype() == np.float32
    assert facts['kind'] == 'uncalibrated'
    assert facts['median']['white'] > 1.3 * facts['median']['grey']
    assert set(facts) == {'kind', 'without', 'clamped', 'ceiling', 'median'}


@pytest.mark.slow
def test_from_files_the_calibrated_map_says_how(files, here):
    image, facts = make_ratio('calibrated', *files)
    assert (image.get_fdata() > 0).any()
    assert facts['calibration'] == 'eyes-muscle'
    assert facts['kind'] == 'calibrated'
    lines, points, goal = facts['lines'], facts['points'], facts['reference']
    for scan in ('T1w', 'T2w'):
        for point in ('eyes', 'muscle'):
            mapped = lines[scan]['slope'] * points[point][scan] + lines[scan]['intercept']
            assert mapped == pytest.approx(goal[point][scan])


def test_a_line_with_an_intercept_makes_no_signal_where_there_was_none(files, tmp_path, here, monkeypatch):
    """What the T2w does not cover is 0 on the grid of the T1w; calibrated, it was as bright as the intercept."""
    t2w = nib.load(files[1])
    values = t2w.get_fdata(dtype=np.float32)
    values[:, :, : values.shape[2] // 3] = 0
    lines = {'calibrated': lambda scans, *, of: (2 * scans.t1w + 50, 3 * scans.t2w + 100, {})}
    monkeypatch.setattr('bidsreg.preparation.ratio.RATIOS', lines)
    image, facts = make_ratio('calibrated', files[0], write(tmp_path, 't2w', values, t2w.affine), *files[2:])
    uncovered = (nib.load(files[2]).get_fdata() > 0) & (values <= 0)
    assert uncovered.any()
    assert not image.get_fdata()[uncovered].any()
    assert facts['without'] == pytest.approx(uncovered.sum() / (nib.load(files[2]).get_fdata() > 0).sum())


def test_images_on_other_grids_are_refused(files, tmp_path, here):
    head = face()
    other = write(tmp_path, 'other', head.t2w[1:], head.affine)
    with pytest.raises(InputError, match='voxels'):
        make_ratio('uncalibrated', files[0], other, *files[2:])


def test_kinds_are_the_two_of_the_option():
    assert list(RATIOS) == ['uncalibrated', 'calibrated']
