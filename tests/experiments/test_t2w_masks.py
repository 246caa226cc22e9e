"""Masks without a T1w: heads have the contrasts of their sequences, the truth lies where they show the brain."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import t2w_masks
from scipy import ndimage as ndi

from bidsreg.errors import InputError
from bidsreg.registration import Grid, Image

from . import test_hard_pairs
from .test_hard_pairs import SHAPE


def label_map():
    """Concentric tissues in a shell of bone."""
    labels = test_hard_pairs.label_map()
    return np.where(labels == 530, 515, labels)


def bright(image):
    """Return what is brighter than a fifth of white matter, and what that encloses."""
    return ndi.binary_fill_holes(ndi.gaussian_filter(image.data, 0.7) > 150)


@pytest.fixture
def labels(tmp_path):
    folder = tmp_path / 'labels'
    folder.mkdir()
    nib.save(nib.Nifti1Image(label_map(), np.eye(4)), folder / 'anat-02_dseg.nii.gz')
    return folder


@pytest.fixture
def seen(monkeypatch):
    """Let deepbet see what is bright."""
    monkeypatch.setattr(t2w_masks, 'deepbet', bright)


def painted(contrast, lesions=None):
    none = np.zeros(SHAPE, np.float32)
    return t2w_masks.painted(label_map(), none if lesions is None else lesions, contrast, np.random.default_rng(0))


def test_contrasts_are_those_of_the_sequences():
    white, grey, fluid = (ndi.binary_erosion(label_map() == value) for value in (2, 3, 4))
    means = {name: [painted(name)[tissue].mean() for tissue in (white, grey, fluid)] for name in t2w_masks.CONTRASTS}
    for name, (bright, middle, dark) in means.items():
        assert bright == pytest.approx(1, abs=0.15), name
        assert middle != pytest.approx(bright, abs=0.03), name
        assert dark != pytest.approx(middle, abs=0.1), name
    assert means['T1w'][0] > means['T1w'][1] > means['T1w'][2]
    assert means['T2w'][0] < means['T2w'][1] < means['T2w'][2]
    assert means['FLAIR'][0] < means['FLAIR'][1]
    assert means['FLAIR'][2] < 0.2  # its inversion time takes fluid away
    assert means['PDw'][0] < means['PDw'][1]
    assert means['T2starw'][0] < means['T2starw'][1]


@pytest.mark.parametrize(('contrast', 'sign'), [('T1w', -1), ('T2w', 1), ('FLAIR', 1), ('PDw', 1)])
def test_lesions_are_seen(contrast, sign):
    lesions = (label_map() == 2).astype(np.float32)
    inside = ndi.binary_erosion(lesions > 0)
    assert (sign * (painted(contrast, lesions) - painted(contrast))[inside]).mean() > 0.05


def test_fluid_about_the_cord_is_no_brain():
    labels = np.pad(label_map(), ((0, 0), (0, 0), (40, 0)))
    brain = t2w_masks.within_skull(labels)
    cord = labels.copy()
    cord[20:25, 23:28, :45] = 24
    found = t2w_masks.within_skull(cord)
    assert not found[:, :, :25].any()
    assert (found != brain).sum() < 0.02 * brain.sum()
    assert brain[(labels > 0) & (labels < 500)].all()


def test_the_truth_lies_where_the_scan_shows_the_brain(labels, seen):
    scans = list(t2w_masks.simulated(labels / 'anat-02_dseg.nii.gz', ['T2w', 'FLAIR']))
    assert [(scan.name, scan.contrast) for scan in scans] == [('anat-02', 'T2w'), ('anat-02', 'FLAIR')]
    for scan, thick in zip(scans, (3, 4), strict=True):
        np.testing.assert_allclose(scan.image.grid.spacing, (1, 1, thick))
        assert scan.truth.grid is scan.image.grid
        inside = scan.truth.data > 0
        volume = inside.sum() * thick
        assert volume == pytest.approx(t2w_masks.within_skull(np.pad(label_map(), 10)).sum(), rel=0.05)
        deep, out = ndi.binary_erosion(inside, iterations=2), ~ndi.binary_dilation(inside, iterations=3)
        assert scan.image.data[deep].mean() > 3 * scan.image.data[out].mean()
        assert t2w_masks.compared(scan.beside.data, scan.truth)['dice'] > 0.8
    again = next(t2w_masks.simulated(labels / 'anat-02_dseg.nii.gz', ['T2w', 'FLAIR']))
    np.testing.assert_array_equal(again.image.data, scans[0].image.data)


def test_masks_are_compared_by_overlap_volume_and_distance():
    grid = Grid((20, 20, 20), np.diag([2.0, 1, 1, 1]))
    truth, mask = np.zeros((2, 20, 20, 20), np.uint8)
    truth[5:15, 5:15, 5:15] = 1
    mask[5:15, 5:15, 8:20] = 1
    found = t2w_masks.compared(mask > 0, Image(truth, grid))
    assert found['dice'] == pytest.approx(2 * 7 / (10 + 12))
    assert found['ratio'] == pytest.approx(1.2)
    assert found['hd95'] == pytest.approx(5)


def test_the_table_and_what_is_kept(labels, seen, tmp_path, monkeypatch, capsys):
    asked = []

    def good(image):
        asked.append(image.grid.shape)
        return bright(image)

    def blind(image):
        raise InputError('no brain')

    monkeypatch.setattr(t2w_masks, 'WAYS', {'good': good, 'blind': blind})
    words = [str(labels), str(tmp_path / 'out'), '--people', '02', '--contrasts', 'T2w']
    t2w_masks.main(words)
    first = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in first.splitlines()[2:]]
    assert [(row[0], row[1]) for row in rows] == [
        ('simulated T2w (1)', t2w_masks.BESIDE),
        ('simulated T2w (1)', 'good'),
        ('simulated T2w (1)', 'blind'),
    ]
    assert float(rows[1][2]) > 0.8
    assert rows[2][2:4] == ['0.000', '0.000']
    assert (tmp_path / 'out/anat-02_T2w.png').stat().st_size > 1000
    t2w_masks.main(words)
    assert len(asked) == 1  # it is not run again
    assert capsys.readouterr().out == first


@pytest.mark.slow
def test_the_mask_of_the_template_is_carried_to_where_the_head_lies():
    from bidsreg.benchmark import judge
    from bidsreg.preparation.affine import rigid_matrix

    template = t2w_masks.halved(t2w_masks.mni152())
    moved = Grid(template.grid.shape, rigid_matrix((4, -3, 6), (5, -8, 4)) @ template.grid.affine)
    found = t2w_masks.carried(Image(template.data, moved), deform=False)
    truth = t2w_masks.stripped_brain(template).data > 0
    assert judge.dice(found, truth, [True])[True] > 0.97
