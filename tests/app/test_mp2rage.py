"""The whole app on MP2RAGE: the UNIT1 of the example head, with its inversions, beside its T1w."""

from __future__ import annotations

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.app import example
from bidsreg.app.example import TISSUES, make_dataset, make_head
from bidsreg.cli import main

pytestmark = pytest.mark.slow  # the whole app, twice

#: Relaxation alone: the two inversion times (ms) of an MP2RAGE at 3 T, and what is left of the inversion at the second.
TIMES, LEFT = (700.0, 2500.0), (2.0, 1.0)
#: Noise in either channel of either inversion, of a proton density of 1.
NOISE = 0.01


def inversions(head, like):
    """Both inversions as complex images on the grid of an image: signed signals, and noise of its own in each."""
    rng = np.random.default_rng(7)
    at = np.linalg.inv(head.affine) @ like.affine
    found = []
    for time, left in zip(TIMES, LEFT, strict=True):
        signal = sum(
            head.tissues[name] * TISSUES[name][2] * (1 - left * np.exp(-time / TISSUES[name][0])) for name in TISSUES
        )
        wide = ndi.gaussian_filter(signal, 0.35 * like.header.get_zooms()[0])
        here = ndi.affine_transform(wide, at[:3, :3], at[:3, 3], like.shape, order=1)
        found.append(here + rng.normal(0, NOISE, like.shape) + 1j * rng.normal(0, NOISE, like.shape))
    return found


def write(values, like, path) -> None:
    image = nib.Nifti1Image(np.round(values).astype(np.int16), like.affine)
    image.header.set_xyzt_units('mm', 'sec')
    image.set_sform(like.affine, 1)
    image.set_qform(like.affine, 1)
    nib.save(image, path)


@pytest.fixture(scope='module')
def example_t1w(tmp_path_factory):
    """The example dataset with a mask beside its T1w, so that no network is needed; and the head."""
    dataset = make_dataset(tmp_path_factory.mktemp('example') / 'T1w', 4.0, (4.0, 4.0, 6.0))
    head, anat = make_head(), dataset / 'sub-01' / 'anat'
    t1w = nib.load(anat / 'sub-01_T1w.nii.gz')
    at = np.linalg.inv(head.affine) @ t1w.affine
    brain = ndi.affine_transform(head.brain.astype(np.float32), at[:3, :3], at[:3, 3], t1w.shape, order=1) > 0.5
    write(brain, t1w, anat / 'sub-01_desc-brain_mask.nii.gz')
    return dataset, head


def with_uni(source, head, folder, with_inversions):
    """The same dataset with a UNIT1, full of noise in the air, in place of the T1w."""
    dataset = shutil.copytree(source, folder)
    anat = dataset / 'sub-01' / 'anat'
    t1w = nib.load(anat / 'sub-01_T1w.nii.gz')
    first, second = inversions(head, t1w)
    ratio = (first * second.conj()).real / (np.abs(first) ** 2 + np.abs(second) ** 2)
    assert ratio[:5].std() > 0.25  # salt and pepper
    write((ratio + 0.5) * 4095, t1w, anat / 'sub-01_UNIT1.nii.gz')
    for number, image in enumerate((first, second), 1):
        if with_inversions:
            write(np.abs(image) * 1000, t1w, anat / f'sub-01_inv-{number}_MP2RAGE.nii.gz')
    for path in anat.glob('sub-01_T1w.*'):
        path.unlink()
    return dataset


def run(dataset, out, work):
    words = [dataset, out, 'participant', '-w', work, '--sloppy', '--nprocs', '1', '--skip-bids-validation']
    assert main([str(word) for word in words]) == 0
    qc = json.loads(next(out.glob('sub-01/anat/*desc-registration_qc.json')).read_text())
    return example.check(dataset, out)['after'].mean(), qc


@pytest.fixture(scope='module')
def by_t1w(example_t1w, tmp_path_factory):
    folder = tmp_path_factory.mktemp('t1w')
    return run(example_t1w[0], folder / 'out', folder / 'work')[0]


def require_told(out, qc, with_inversions) -> None:
    """Sidecar, findings, report and table say what was taken for the T1w, and what was done to it."""
    how = 'both inversion' if with_inversions else 'set to zero'
    anat = out / 'sub-01' / 'anat'
    assert how in json.loads((anat / 'sub-01_desc-preproc_T1w.json').read_text())['Description']
    assert any(how in finding for finding in qc['t1w_findings'])
    assert how in (out / 'sub-01.html').read_text()
    rows = list(csv.DictReader((out / 'logs' / 'pairs.tsv').open(), delimiter='\t'))
    (pair,) = [row for row in rows if row['decision'] == 'register']
    assert pair['t1w'] == 'sub-01_UNIT1.nii.gz'
    assert ('cleaned by both inversions' if with_inversions else 'its air is masked') in pair['reason']
    left = [row['reason'] for row in rows if row['decision'] == 'left out']
    assert len(left) == (2 if with_inversions else 0)
    assert all('MP2RAGE' in reason for reason in left)
    preproc = nib.load(anat / 'sub-01_desc-preproc_T1w.nii.gz').get_fdata()
    assert np.abs(preproc[:4]).mean() < 0.1 * np.percentile(preproc, 98)


@pytest.mark.parametrize('with_inversions', [True, False])
def test_a_unit1_is_as_good_as_a_t1w(example_t1w, by_t1w, tmp_path, with_inversions):
    dataset = with_uni(*example_t1w, tmp_path / 'raw', with_inversions)
    error, qc = run(dataset, tmp_path / 'out', tmp_path / 'work')
    assert error < 1.1 * by_t1w
    assert qc['verdict']['status'] != 'FAIL'
    require_told(tmp_path / 'out', qc, with_inversions)
