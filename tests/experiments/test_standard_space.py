"""People in a template's space: labels arrive where maps say, and a person's two scans are compared in one world."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import standard_space
from scipy import ndimage as ndi
from standard_space import Person, Sent

from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import write_affine

from .test_hard_pairs import label_map

GRID = Grid((24, 24, 24), np.diag([2.0, 2, 2, 1]))


def ball(centre, radius, grid=GRID):
    away = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - centre, axis=-1)
    return (away < radius).astype(np.uint8)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A folder of two label maps, in different places."""
    folder = tmp_path_factory.mktemp('labels')
    for name, size, shift in (('01', 1.0, 0), ('02', 1.1, 6)):
        affine = np.eye(4)
        affine[:3, 3] = shift
        nib.save(nib.Nifti1Image(label_map(size), affine), folder / f'anat-{name}_dseg.nii.gz')
    return folder


def test_scans_show_their_labels_and_masks_end_elsewhere(source, tmp_path):
    person = next(standard_space.simulated_people(source, ['02'], tmp_path))
    labels = person.labels()
    whole = nib.load(source / 'anat-02_dseg.nii.gz')
    brain = np.where(np.asarray(whole.dataobj) < 500, np.asarray(whole.dataobj), 0)
    middles = [
        apply_affine(affine, np.argwhere(data == 2).mean(0))
        for data, affine in ((labels.data, labels.grid.affine), (brain, whole.affine))
    ]
    np.testing.assert_allclose(*middles, atol=0.3)
    assert set(np.unique(labels.data)) == set(np.unique(brain))
    masks = {}
    for scan, bright, dark in (('T1w', 2, 3), ('T2w', 4, 2)):
        image, mask = Image.load(person.path(scan)), Image.load(person.path(f'{scan}_mask'))
        np.testing.assert_allclose(image.grid.spacing, (1, 1, 1 if scan == 'T1w' else 3), atol=1e-4)
        at = Deformation.from_affine(np.eye(4), image.grid).apply(labels, image.grid, order=0).data
        assert image.data[at == bright].mean() > 1.15 * image.data[at == dark].mean()
        assert (mask.data[(at > 0) & (at < 24)] > 0).mean() > 0.97
        back = Deformation.from_affine(np.eye(4), labels.grid).apply(mask, labels.grid, order=0)
        masks[scan] = back.data > 0
    assert (masks['T1w'] != masks['T2w']).sum() > 0.005 * masks['T1w'].sum()
    again = next(standard_space.simulated_people(source, ['02'], tmp_path / 'again'))
    np.testing.assert_array_equal(Image.load(person.path('T2w')).data, Image.load(again.path('T2w')).data)


def test_labels_are_carried_through_the_world_of_the_scan(tmp_path):
    """The labels lie in the world of the T1w, the map leads to that of the T2w."""
    rigid, affine = rigid_matrix((5, -4, 8), (3, -2, 1)), rigid_matrix((-6, 3, 5), (-2, 3, 1))
    centre = np.array([24.0, 22, 25])
    write_affine(tmp_path / 'rigid.txt', rigid)
    Image(3 * ball(apply_affine(affine, centre), 9), GRID).save(tmp_path / 'labels.nii.gz')
    person = Person('one', tmp_path)
    mask = Image(ball(np.full(3, 23.0), 20), GRID)
    for scan, matrix in (('T1w', affine), ('T2w', rigid @ affine)):
        sent = standard_space.arrived(
            person, scan, Deformation.from_affine(matrix, GRID), {'cpu_seconds': 2.0, 'peak_mb': 1.0}, mask
        )
        assert set(np.unique(sent.labels)) == {0, 3}
        np.testing.assert_allclose(GRID.to_world(np.argwhere(sent.labels == 3).mean(0)), centre, atol=0.6)
        assert sent.numbers['folds'] == 0
        assert sent.numbers['cpu_seconds'] == 2


def test_two_maps_of_a_person_are_apart_by_what_the_rigid_does_not_explain(tmp_path):
    rigid, affine = rigid_matrix((5, -4, 8), (3, -2, 1)), rigid_matrix((-6, 3, 5), (-2, 3, 1))
    write_affine(tmp_path / 'rigid.txt', rigid)
    off = np.eye(4)
    off[:3, 3] = 0, 3, 4
    points = np.random.default_rng(0).uniform(10, 40, (50, 3))
    ends = {'T1w': affine, 'T2w': off @ rigid @ affine}
    sent = {scan: Sent(Deformation.from_affine(matrix, GRID), None, {}) for scan, matrix in ends.items()}
    found = standard_space.apart(Person('one', tmp_path), sent, points)
    assert found['mean'] == pytest.approx(5)
    assert found['p95'] == pytest.approx(5)
    sent['T2w'] = Sent(Deformation.from_affine(rigid @ affine, GRID), None, {})
    assert standard_space.apart(Person('one', tmp_path), sent, points)['mean'] == pytest.approx(0, abs=1e-6)


def test_people_meet_by_any_of_their_scans():
    still = Deformation.from_affine(np.eye(4), GRID)

    def person(t1w, t2w):
        return {scan: Sent(still, data, {}) for scan, data in (('T1w', t1w), ('T2w', t2w))}

    whole, half, rest = (np.full((4, 4, 4), 2) for _ in range(3))
    half[:2] = rest[1:] = 3
    found = standard_space.meeting(person(whole, half), person(whole, rest), [2, 3])
    assert found['T1w-T1w'] == 1  # label 3 is in neither: unknown, not 0
    assert found['T2w-T2w'] == pytest.approx((0 + 2 * 16 / (32 + 48)) / 2)
    assert found['T1w-T2w'] == pytest.approx((2 * 16 / (64 + 16) + 2 * 32 / (32 + 64)) / 2)


def test_the_table_says_sums_and_means():
    numbers = {'folds': 1, 'sdlogj': 0.2, 'inverse_consistency_mm': 0.01, 'cpu_seconds': 30}
    result = {
        'sent': {name: dict.fromkeys(standard_space.SCANS, numbers) for name in 'ab'},
        'dice': {'a|b': {'T1w-T1w': 0.75, 'T2w-T2w': 0.7, 'T1w-T2w': 0.72}},
        'apart': {'a': {'mean': 1.0, 'p95': 2.0}, 'b': {'mean': 2.0, 'p95': 3.0}},
        'direct': {'T1w-T1w': 0.8, 'T1w-T2w': 0.77},
    }
    line = standard_space.table({'ours': result}).splitlines()[2]
    assert [cell.strip() for cell in line.split('|')[1:-1]] == [
        '`ours`', '0.7500', '0.7000', '0.7200', '1.50 (2.50)', '4', '0.200', '0.0100', '30', '30',
    ]  # fmt: skip
    there = standard_space.direct_table({'ours': result}, 'a').splitlines()[2:]
    assert [line.split('|')[2:5] for line in there] == [
        [' directly ', ' 0.8000 ', ' 0.7700 '],
        [' through the template ', ' 0.7500 ', ' 0.7200 '],
    ]
    real = result | {'dice': {}}
    assert ' nan ' in standard_space.table({'ours': real})


def test_the_template_of_2_mm_has_its_mask(tmp_path):
    standard_space.write_template(tmp_path, 2)
    template, mask = (Image.load(tmp_path / f'{name}.nii.gz') for name in ('template', 'template_mask'))
    np.testing.assert_allclose(template.grid.spacing, 2)
    assert mask.grid.same_as(template.grid)
    assert 1700 < mask.data.sum() * 8 / 1000 < 2000
    assert mask.data[template.data > 0.2 * template.data.max()].mean() > 0.999


@pytest.fixture
def little(source, tmp_path, monkeypatch):
    """The first person's T1w as the template, and an affine that is known: the linear steps want larger heads."""
    person = next(standard_space.simulated_people(source, ['01'], tmp_path / 'template'))

    def write_template(folder, voxel):
        assert voxel == 2
        for name in ('T1w', 'T1w_mask'):
            image = standard_space.halved(Image.load(person.path(name)))
            image = Image(np.round(image.data).astype(np.float32), image.grid)
            image.save(folder / f'{name.replace("T1w", "template")}.nii.gz')

    def prealign(fixed, moving, **_):
        centres = []
        for path in (fixed, moving):
            image = Image.load(path)
            centres.append(image.grid.to_world(np.array(ndi.center_of_mass(image.data > 0))))
        return rigid_matrix(translation=centres[1] - centres[0]), ''

    monkeypatch.setattr(standard_space, 'write_template', write_template)
    monkeypatch.setattr(standard_space, 'prealign', prealign)


@pytest.mark.slow
def test_people_come_nearer_by_a_deformation(source, little, tmp_path, capsys):
    out = tmp_path / 'out'
    words = [str(source), str(out), '--people', '01', '02', '--methods', 'affine', 'node-mind-inter', '--direct']
    standard_space.main(words)
    said = capsys.readouterr().out
    results = json.loads((out / '2mm/simulated.json').read_text())
    affine, ours = (results[name] for name in ('affine', 'node-mind-inter'))
    assert ours['dice']['anat-01|anat-02']['T1w-T1w'] > affine['dice']['anat-01|anat-02']['T1w-T1w']
    assert all(one['folds'] == 0 for scans in ours['sent'].values() for one in scans.values())
    assert ours['apart']['anat-02']['mean'] < 2
    assert 0 < ours['direct']['T1w-T2w'] <= 1
    assert '### simulated, 2 people' in said
    assert said.count('through the template') == 2
    assert (out / '2mm/anat-01_node-mind-inter.png').stat().st_size > 10_000
    stamp = (out / '2mm/sent/anat-02_T2w/node-mind-inter/usage.json').stat().st_mtime_ns
    standard_space.main(words)
    assert (out / '2mm/sent/anat-02_T2w/node-mind-inter/usage.json').stat().st_mtime_ns == stamp
