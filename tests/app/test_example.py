"""The example's truth is the truth: what it says matches what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.app import example


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return example.make_dataset(tmp_path_factory.mktemp('demo') / 'bids', voxel=3.0, t2w_voxel=(2.5, 2.5, 4.0))


@pytest.fixture(scope='module')
def points(dataset):
    return np.loadtxt(dataset / 'derivatives/truth/sub-01/anat/sub-01_from-T1w_to-T2w_points.tsv', skiprows=1)


@pytest.mark.slow  # a whole head is made
def test_truth_points_lie_on_the_same_anatomy(dataset, points):
    """Sampled at the true places the two scans depend on each other far more than where they lie."""
    scans = [nib.load(dataset / f'sub-01/anat/sub-01_{name}.nii.gz') for name in ('T1w', 'T2w')]

    def sample(scan, where):
        at = nib.affines.apply_affine(np.linalg.inv(scan.affine), where).T
        return ndi.map_coordinates(np.asarray(scan.dataobj, float), at, order=1)

    def information(a, b):
        joint = np.histogram2d(a, b, bins=12)[0] / len(a)
        chance = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        return np.sum(joint[joint > 0] * np.log(joint[joint > 0] / chance[joint > 0]))

    first = sample(scans[0], points[:, :3])
    right, wrong = (
        information(first, sample(scans[1], points[:, 3:])),
        information(first, sample(scans[1], points[:, :3])),
    )
    assert right > 2 * wrong


@pytest.mark.slow  # a whole head is made
def test_truth_is_smooth_and_small(points):
    np.testing.assert_allclose(example.to_t1w(points[:, 3:]), points[:, :3], atol=2e-3)
    size = np.linalg.norm(example.distortion(points[:, 3:]), axis=1)
    assert 3 < size.max() < 4.5
    steps = [example.to_t1w(points[:, 3:] + h) - example.to_t1w(points[:, 3:] - h) for h in 0.5 * np.eye(3)]
    assert np.linalg.det(np.stack(steps, -1)).min() > 0.5


@pytest.mark.slow  # a whole head is made
def test_scans_look_like_scans(dataset):
    t1w, t2w = (nib.load(dataset / f'sub-01/anat/sub-01_{name}.nii.gz') for name in ('T1w', 'T2w'))
    assert t1w.header.get_zooms() == pytest.approx((3, 3, 3))
    assert t2w.header.get_zooms() == pytest.approx((2.5, 2.5, 4))
    np.testing.assert_allclose(t2w.get_qform(), t2w.get_sform(), atol=1e-4)
    assert np.linalg.det(t2w.affine) < 0, 'the T2w is left-handed and oblique, to be worth testing'
    assert json.loads((dataset / 'dataset_description.json').read_text())['DatasetType'] == 'raw'


def _write_derivatives(folder, matrix, good):
    """Transforms of a pretended run: the best affine, and an .h5 that is the affine (good) or the identity."""
    sitk = pytest.importorskip('SimpleITK')
    anat = folder / 'sub-01' / 'anat'
    anat.mkdir(parents=True)
    flip = np.diag([-1.0, -1, 1, 1])
    lps = flip @ matrix @ flip
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(lps[:3, :3].ravel().tolist())
    affine.SetTranslation(lps[:3, 3].tolist())
    sitk.WriteTransform(affine, str(anat / 'sub-01_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm'))
    whole = sitk.CompositeTransform([affine if good else sitk.AffineTransform(3)])
    sitk.WriteTransform(whole, str(anat / 'sub-01_from-T2w_to-T1w_mode-image_xfm.h5'))


@pytest.mark.slow  # a whole head is made
@pytest.mark.parametrize('good', [True, False])
def test_check_reads_the_transforms_and_judges(dataset, points, tmp_path, capsys, good):
    matrix = np.eye(4)
    matrix[:3] = np.linalg.lstsq(np.c_[points[:, :3], np.ones(len(points))], points[:, 3:], rcond=None)[0].T
    _write_derivatives(tmp_path, matrix, good)
    assert example.main(['--check', str(dataset), str(tmp_path)]) == (0 if good else 1)
    said = capsys.readouterr().out
    assert 'after affine' in said
    assert ('worse than the affine' in said) == (not good)
    errors = example.check(dataset, tmp_path)
    assert errors['affine'].mean() < 2 < 8 < errors['before'].mean()
    np.testing.assert_allclose(errors['after'], errors['affine' if good else 'before'], atol=1e-3)


def test_check_says_what_is_missing(tmp_path, capsys):
    assert example.main(['--check', str(tmp_path / 'nowhere'), str(tmp_path)]) == 1
    assert 'points.tsv' in capsys.readouterr().err


def test_help():
    said = subprocess.run(
        [sys.executable, '-m', 'bidsreg.app.example', '--help'], capture_output=True, text=True, check=True
    )
    assert '--check' in said.stdout


@pytest.mark.slow
def test_whole_app_on_the_example(tmp_path):
    """What ``make demo`` does: the error ends below the affine's, and the report shows every picture."""
    bids, out = tmp_path / 'bids', tmp_path / 'out'
    example.make_dataset(bids)
    app = [sys.executable, '-m', 'bidsreg', bids, out, 'participant', '-w', tmp_path / 'work', '--skip-bids-validation']
    done = subprocess.run([str(word) for word in app], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    errors = example.check(bids, out)
    assert errors['after'].mean() < 0.7 * errors['affine'].mean() < errors['before'].mean()
    page = (out / 'sub-01.html').read_text()
    for name in (
        'desc-mask_T1w',
        'desc-mask_T2w',
        'desc-before_T2w',
        'desc-affine_T2w',
        'desc-diffeo_T2w',
        'desc-loss',
    ):
        assert name in page
    assert 'No errors.' in page
    figures = sorted((out / 'sub-01' / 'figures').iterdir())
    assert all(path.stat().st_size < 1.5e6 for path in figures)
