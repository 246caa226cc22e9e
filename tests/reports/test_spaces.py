"""The registry of pictures of a normalisation, and where its files lie."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_affine
from bidsreg.reports.canvas import VERMILLION
from bidsreg.reports.spaces import SPACE_PICTURES, SpaceScene, space_picture_path
from tests import data


def test_names_are_what_a_file_and_a_page_can_have():
    assert all(name.isalnum() and name.islower() for name in SPACE_PICTURES)


def test_pictures_of_two_spaces_do_not_meet():
    entities = {'subject': '01', 'session': '2'}
    paths = {
        space_picture_path({**entities, 'space': space, **more}, Path('/o'), 'space', 'T1w')
        for space, more in (('A', {}), ('B', {}), ('B', {'cohort': '1'}))
    }
    assert Path('/o/sub-01/figures/sub-01_ses-2_space-B_cohort-1_desc-space_T1w.svg') in paths
    assert len(paths) == 3


def outline_of_lesions(path: Path) -> np.ndarray:
    """Return the points (N, 2) of the lines around lesions, pixels."""
    text = path.read_text()
    (name,) = re.findall(rf'<use href="#(\w+)" stroke="{VERMILLION}"', text)
    (drawn,) = re.findall(rf'<path id="{name}" d="([^"]*)"', text)
    lines = []
    for line in drawn.split('M')[1:]:
        numbers = np.array(re.findall(r'-?[\d.]+', line), float).reshape(-1, 2)
        lines.append(np.cumsum(numbers, axis=0))
    return np.concatenate(lines)


@pytest.mark.parametrize('grid', ['oblique', 'left-handed'])
def test_lesions_are_outlined_where_they_lie_in_the_space(grid, tmp_path):
    """The scan lies elsewhere in the world, by a matrix alone: so both pictures have one outline, that of no matrix."""
    shape, affine = data.GRIDS[grid]
    head = data.head(shape, 4, affine=affine, noise=0)
    matrix = data.truth(2, turn=(4, -6, 8), shift=(7, -5, 9)).matrix
    ill = np.zeros(shape, np.uint8)
    ill[tuple(slice(n // 2 - 4, n // 2 + 4) for n in shape)] = 1
    nib.save(head.scan, tmp_path / 'template.nii.gz')
    nib.save(head.mask, tmp_path / 'mask.nii.gz')
    found = {}
    for name, way in (('here', np.eye(4)), ('elsewhere', matrix)):
        folder = tmp_path / name
        folder.mkdir()
        write_affine(folder / 'affine.txt', way)
        Deformation.from_affine(way, Grid(shape, affine)).save(folder / 'forward.h5')
        nib.save(nib.Nifti1Image(head.scan.dataobj, way @ affine), folder / 'scan.nii.gz')
        nib.save(nib.Nifti1Image(ill, way @ affine), folder / 'lesion.nii.gz')
        scene = SpaceScene(
            template=tmp_path / 'template.nii.gz',
            template_mask=tmp_path / 'mask.nii.gz',
            scan=folder / 'scan.nii.gz',
            affine=folder / 'affine.txt',
            warped=tmp_path / 'template.nii.gz',
            forward=folder / 'forward.h5',
            jacobian=tmp_path / 'mask.nii.gz',
            scan_lesion=folder / 'lesion.nii.gz',
        )
        for picture in ('spaceaffine', 'space'):
            SPACE_PICTURES[picture].draw(scene, folder / f'{picture}.svg')
            found[name, picture] = outline_of_lesions(folder / f'{picture}.svg')
    first = found.pop(('here', 'space'))
    assert len(first) > 50
    for other in found.values():
        assert len(other) == pytest.approx(len(first), rel=0.2)
        for take in (np.min, np.max, np.mean):
            np.testing.assert_allclose(take(other, axis=0), take(first, axis=0), atol=6)  # about a voxel
