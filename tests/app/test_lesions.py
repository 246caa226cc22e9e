"""The whole app on a lesion that the T2w shows alone: the example head, healthy, ill, and ill with a mask."""

from __future__ import annotations

import dataclasses
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bidsreg.app import example
from bidsreg.cli import main

pytestmark = pytest.mark.slow  # the whole app on three subjects

#: The lesion: a ball of 40 ml in white matter, mm of the T1w's world.
CENTRE, ML = np.array([28.0, -20.0, 28.0]), 40.0
RADIUS = (3000 * ML / (4 * np.pi)) ** (1 / 3)


def beyond(points):
    """Return how many mm outside the lesion points of the T1w's world lie; negative inside."""
    return np.linalg.norm(points - CENTRE, axis=-1) - RADIUS


def centres(image):
    """Return the world mm (X, Y, Z, 3) of an image's voxels."""
    return nib.affines.apply_affine(image.affine, np.moveaxis(np.indices(image.shape), 0, -1))


def ill(head):
    """Return the head with oedema: its T1w is painted from the template, and does not show it."""
    world = nib.affines.apply_affine(head.affine, np.moveaxis(np.indices(head.brain.shape, np.float32), 0, -1))
    part = np.clip(0.5 - beyond(world), 0, 1).astype(np.float32)
    tissues = {name: fraction * (1 - part) for name, fraction in head.tissues.items()}
    tissues['csf'] += 0.4 * part
    tissues['wm'] += 0.6 * part
    return dataclasses.replace(head, tissues=tissues)


def add(source, raw, subject):
    """Copy the scans of the example into a dataset, as another subject."""
    for path in (source / 'sub-01' / 'anat').iterdir():
        goal = raw / f'sub-{subject}' / 'anat' / path.name.replace('sub-01', f'sub-{subject}')
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, goal)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """A raw dataset of three subjects: ``healthy``, ``ill`` and ``masked``; and its points, (N, 6), mm."""
    folder = tmp_path_factory.mktemp('lesions')
    head, raw = example.make_head(), folder / 'raw'
    heads = {'healthy': head, 'ill': ill(head)}
    for subject, one in heads.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(example, 'make_head', lambda seed, one=one: one)
            # across slices of 4 mm the volume of a warp is known no better than is asked for below
            example.make_dataset(folder / subject, voxel=3.0, t2w_voxel=(2.5, 2.5, 3.0))
        add(folder / subject, raw, subject)
    add(folder / 'ill', raw, 'masked')
    shutil.copy(folder / 'ill' / 'dataset_description.json', raw)
    anat = raw / 'sub-masked' / 'anat'
    t1w, t2w = (nib.load(anat / f'sub-masked_{contrast}.nii.gz') for contrast in ('T1w', 'T2w'))
    np.testing.assert_array_equal(t1w.dataobj, nib.load(raw / 'sub-healthy/anat/sub-healthy_T1w.nii.gz').dataobj)
    drawn = (beyond(example.to_t1w(centres(t2w))) < 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(drawn, t2w.affine), anat / 'sub-masked_space-T2w_label-lesion_roi.nii.gz')
    points = folder / 'ill/derivatives/truth/sub-01/anat/sub-01_from-T1w_to-T2w_points.tsv'
    return raw, np.loadtxt(points, skiprows=1)


def volume(transform):
    """Return the lesion's volume in the T2w, ml, as a transform makes it: determinants at points inside, by ANTsPy."""
    rng = np.random.default_rng(0)
    inside = CENTRE + rng.uniform(-RADIUS, RADIUS, (1500, 3))
    inside = inside[beyond(inside) < 0]
    steps = [example.map_points(transform, inside + h) - example.map_points(transform, inside - h) for h in np.eye(3)]
    return ML * np.linalg.det(np.stack(steps, -1) / 2).mean()


def test_a_mask_of_the_lesion_betters_what_lies_around_it_and_keeps_its_volume(dataset, tmp_path):
    raw, points = dataset
    out = tmp_path / 'out'
    words = [raw, out, 'participant', '-w', tmp_path / 'work', '--nprocs', '1', '--skip-bids-validation']
    assert main([str(word) for word in words]) == 0
    around = (beyond(points[:, :3]) > 0) & (beyond(points[:, :3]) < 20)
    error, ml = {}, {}
    for subject in ('healthy', 'ill', 'masked'):
        transform = out / f'sub-{subject}/anat/sub-{subject}_from-T2w_to-T1w_mode-image_xfm.h5'
        miss = np.linalg.norm(example.map_points(transform, points[:, :3]) - points[:, 3:], axis=1)
        error[subject], ml[subject] = miss[around].mean(), volume(transform)
    assert around.sum() > 200
    assert error['ill'] > 1.15 * error['healthy']
    assert error['masked'] < error['healthy'] + 0.6 * (error['ill'] - error['healthy'])
    assert abs(ml['ill'] / ml['healthy'] - 1) > 0.05
    assert ml['masked'] == pytest.approx(ml['healthy'], rel=0.03)
    qc = json.loads((out / 'sub-masked/anat/sub-masked_desc-registration_qc.json').read_text())
    assert qc['lesions']['moving'] == pytest.approx(ML, rel=0.06)
