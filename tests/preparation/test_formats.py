"""Matrices for FSL and FreeSurfer, read back by nitransforms and against their definitions."""

from __future__ import annotations

import nibabel as nb
import nitransforms as nt
import numpy as np
import pytest

from bidsreg.bids.names import AFFINE_FORMATS
from bidsreg.preparation.formats import WRITERS, write_matrix
from tests import data

GRIDS = ['ras', 'oblique', 'left-handed', 'oblique-left-handed', 'thick', 'sagittal']


def images(fixed, moving):
    return [nb.Nifti1Image(np.zeros(data.GRIDS[name][0], np.uint8), data.GRIDS[name][1]) for name in (fixed, moving)]


@pytest.fixture
def matrix():
    return data.truth(3, turn=(12, -7, 20), shift=(6, -9, 5), scale=(1.02, 0.97, 1.04), amplitude=0).matrix


@pytest.mark.parametrize('moving', GRIDS)
@pytest.mark.parametrize('fixed', GRIDS)
@pytest.mark.parametrize(('name', 'theirs'), [('fsl', 'fsl'), ('lta', 'fs')])
def test_nitransforms_reads_the_same_matrix(tmp_path, matrix, fixed, moving, name, theirs):
    path = tmp_path / f'affine{AFFINE_FORMATS[name]}'
    reference, other = images(fixed, moving)
    write_matrix(path, matrix, reference, other, name)
    found = nt.linear.load(path, fmt=theirs, reference=reference, moving=other)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-4)


def scaled_voxels(image):
    """FSL's millimetres: voxels times their size, counted from the other end where the grid is right-handed."""
    size = nb.affines.voxel_sizes(image.affine)
    scale = np.diag([*size, 1.0])
    if np.linalg.det(image.affine) > 0:
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = (image.shape[0] - 1) * size[0]
        scale = flip @ scale
    return scale


@pytest.mark.parametrize('moving', GRIDS)
@pytest.mark.parametrize('fixed', GRIDS)
def test_fsls_matrix_takes_the_moving_image_to_the_fixed_one(tmp_path, matrix, fixed, moving):
    reference, other = images(fixed, moving)
    write_matrix(tmp_path / 'a.mat', matrix, reference, other, 'fsl')
    to_world = other.affine @ np.linalg.inv(scaled_voxels(other))
    from_world = scaled_voxels(reference) @ np.linalg.inv(reference.affine)
    goal = from_world @ np.linalg.inv(matrix) @ to_world
    np.testing.assert_allclose(np.loadtxt(tmp_path / 'a.mat'), goal, atol=1e-4)


def test_freesurfers_source_is_the_moving_image(tmp_path, matrix):
    reference, other = images('oblique', 'thick')
    write_matrix(tmp_path / 'a.lta', matrix, reference, other, 'lta')
    lines = (tmp_path / 'a.lta').read_text().splitlines()
    assert next(line for line in lines if line.startswith('type')).split()[2] == '1'  # world to world
    start = lines.index('1 4 4') + 1
    found = np.array([line.split() for line in lines[start : start + 4]], float)
    np.testing.assert_allclose(found, np.linalg.inv(matrix), atol=1e-6)
    volumes = [tuple(map(int, line.split()[2:])) for line in lines if line.startswith('volume')]
    assert volumes == [other.shape, reference.shape]
    assert lines.index('src volume info') < lines.index('dst volume info')


def test_every_format_has_a_name_and_a_writer():
    assert set(WRITERS) == set(AFFINE_FORMATS)
