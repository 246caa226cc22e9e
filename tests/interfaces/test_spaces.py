"""Images and transforms in a template's space as nodes: which files come out, and that they are the same images."""

from __future__ import annotations

from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.interfaces.spaces import ChainTransforms, CutOut, DrawSpace, ScaledStart, ToSpace
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import read_affine, write_affine
from bidsreg.reports.spaces import SPACE_PICTURES
from tests import data


@pytest.fixture
def still(tmp_path):
    """A transform that moves nothing, both ways, on the grid of a head; and that head."""
    head = data.head((40, 46, 40), 2)
    way = Deformation.identity(Grid(head.scan.shape, head.scan.affine))
    way.save(tmp_path / 'forward.h5')
    way.inverted().save(tmp_path / 'inverse.h5')
    nb.save(head.scan, tmp_path / 'scan.nii.gz')
    nb.save(head.mask, tmp_path / 'mask.nii.gz')
    nb.save(nb.Nifti1Image(np.zeros((20, 23, 20)), head.scan.affine @ np.diag([2, 2, 2, 1])), tmp_path / 'wide.nii.gz')
    return tmp_path


def run(interface, folder: Path, monkeypatch, **inputs):
    monkeypatch.chdir(folder)
    return interface(**inputs).run(cwd=str(folder)).outputs


def test_an_image_comes_onto_all_grids_each_once(still, monkeypatch):
    files = {name: str(still / f'{name}.nii.gz') for name in ('scan', 'mask', 'wide')}
    found = run(
        ToSpace,
        still,
        monkeypatch,
        in_file=files['scan'],
        mask=files['mask'],
        transform=str(still / 'forward.h5'),
        references=[files['scan'], files['wide']],
        template=files['scan'],
    )
    assert found.warped == found.out_files[0], 'one grid is one file'
    np.testing.assert_allclose(nb.load(found.warped).get_fdata(), nb.load(files['scan']).get_fdata(), rtol=1e-5)
    np.testing.assert_array_equal(
        np.asarray(nb.load(found.out_masks[0]).dataobj) > 0, np.asarray(nb.load(files['mask']).dataobj) > 0
    )
    wide = nb.load(found.out_files[1])
    np.testing.assert_allclose(
        wide.get_fdata(), nb.load(files['scan']).get_fdata()[::2, ::2, ::2], rtol=1e-4, atol=1e-3
    )
    assert found.seconds >= 0
    alone = run(
        ToSpace,
        still,
        monkeypatch,
        in_file=files['scan'],
        transform=str(still / 'forward.h5'),
        references=[files['wide']],
    )
    assert alone.out_masks == []


def test_a_chain_and_a_brain(still, monkeypatch):
    way = {name: str(still / f'{name}.h5') for name in ('forward', 'inverse')}
    found = run(
        ChainTransforms,
        still,
        monkeypatch,
        first_forward=way['forward'],
        first_inverse=way['inverse'],
        then_forward=way['forward'],
        then_inverse=way['inverse'],
    )
    points = np.random.default_rng(0).uniform(-40, 40, (20, 3))
    both = Deformation.load(found.forward, found.inverse)
    np.testing.assert_allclose(both.points(points), points, atol=1e-4)
    brain = run(CutOut, still, monkeypatch, in_file=str(still / 'scan.nii.gz'), mask=str(still / 'mask.nii.gz'))
    assert not nb.load(brain.out_file).get_fdata()[nb.load(still / 'mask.nii.gz').get_fdata() == 0].any()


def test_the_affine_begins_with_the_rigid_and_the_scaling(still, monkeypatch):
    mask = str(still / 'mask.nii.gz')
    image = nb.load(mask)
    nb.save(nb.Nifti1Image(image.dataobj, np.diag([1.2, 1.2, 1.2, 1]) @ image.affine), still / 'template_mask.nii.gz')
    brain = run(
        CutOut,
        still,
        monkeypatch,
        in_file=str(still / 'scan.nii.gz'),
        mask=mask,
        like=str(still / 'template_mask.nii.gz'),
    )
    np.testing.assert_allclose(
        nb.load(brain.sized_file).header.get_zooms(), 1.2 * np.array(image.header.get_zooms()), rtol=1e-3
    )
    turn = data.truth(0, shift=(3, 4, 5), amplitude=0).matrix
    write_affine(still / 'rigid.txt', turn)
    found = run(ScaledStart, still, monkeypatch, rigid=str(still / 'rigid.txt'), scaling=brain.scaling)
    np.testing.assert_allclose(read_affine(found.out_matrix), read_affine(brain.scaling) @ turn, atol=1e-6)


@pytest.mark.parametrize('picture', SPACE_PICTURES)
def test_pictures_are_drawn_and_named(still, monkeypatch, picture):
    write_affine(still / 'affine.txt', np.eye(4))
    head = str(still / 'scan.nii.gz')
    nb.save(nb.Nifti1Image(np.ones((40, 46, 40), np.float32), nb.load(head).affine), still / 'jacobian.nii.gz')
    found = run(
        DrawSpace,
        still,
        monkeypatch,
        picture=picture,
        template=head,
        template_mask=str(still / 'mask.nii.gz'),
        scan=head,
        affine=str(still / 'affine.txt'),
        warped=head,
        forward=str(still / 'forward.h5'),
        jacobian=str(still / 'jacobian.nii.gz'),
    )
    assert Path(found.out_file).name == f'{picture}.svg'
    text = Path(found.out_file).read_text()
    assert text.startswith('<svg')
    assert 'T2w' not in text, 'it is not a pair that is shown'
    assert 'lesion' not in text
