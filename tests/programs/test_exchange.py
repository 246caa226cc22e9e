"""Files for programs and fields of programs, against other people's readers."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from bidsreg.programs import ProgramError, Workspace
from bidsreg.programs.exchange import itk_field, without_affine, write_pair
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import write_affine
from tests import data
from tests.fake_program import smooth_field

GRIDS = ['oblique', 'left-handed', 'oblique-left-handed', 'thick']


def tilted():
    matrix = np.eye(4)
    matrix[:3, :3] = data.rotation(5, -3, 8) @ np.diag([1.05, 0.97, 1.02])
    matrix[:3, 3] = 4, -7, 2
    return matrix


@pytest.fixture(params=GRIDS)
def grid(request):
    return Grid(*data.GRIDS[request.param])


def test_itk_warps_map_points_as_itk_does(tmp_path, grid):
    field = smooth_field(grid)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ grid.affine
    image = sitk.GetImageFromArray((field * [-1, -1, 1]).transpose(2, 1, 0, 3).astype(float), isVector=True)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(grid.spacing.tolist())
    image.SetDirection((lps[:3, :3] / grid.spacing).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / 'warp.nii.gz'))
    write_affine(tmp_path / 'affine.txt', tilted())
    read = itk_field(tmp_path / 'warp.nii.gz')
    found = Deformation(tilted(), read, read, grid)
    chain = sitk.CompositeTransform(3)
    chain.AddTransform(sitk.ReadTransform(str(tmp_path / 'affine.txt')))
    chain.AddTransform(sitk.DisplacementFieldTransform(image))
    last = np.array(grid.shape) - 3
    points = grid.to_world(np.random.default_rng(4).uniform(2, last, (50, 3)))
    theirs = np.array([chain.TransformPoint(p.tolist()) for p in points * [-1, -1, 1]]) * [-1, -1, 1]
    np.testing.assert_allclose(found.points(points), theirs, atol=1e-3)


def test_affine_is_taken_off(grid):
    field = smooth_field(grid)
    world = data.world(grid.shape, grid.affine)
    total = apply_affine(tilted(), world + field) - world
    found = without_affine(total, Image(np.zeros(grid.shape, np.float32), grid), tilted())
    np.testing.assert_allclose(found, field, atol=1e-4)


def test_files_of_a_workspace_have_one_grid_for_every_reader(tmp_path, grid):
    """A header whose qform says something else is not handed on."""
    rng = np.random.default_rng(0)
    image = Image(rng.uniform(size=grid.shape).astype(np.float32), grid)
    assert not write_pair(tmp_path, image, image, None, None, tilted())
    workspace = Workspace(tmp_path, tilted(), False)
    written = nib.load(workspace.path('fixed'))
    np.testing.assert_allclose(written.get_qform(), grid.affine, atol=1e-3)
    np.testing.assert_allclose(written.get_sform(), grid.affine, atol=1e-3)
    there = sitk.ReadTransform(str(workspace.itk_affine))
    point = np.array([3.0, -5.0, 9.0])
    ours = apply_affine(tilted(), point)
    np.testing.assert_allclose(np.array(there.TransformPoint((point * [-1, -1, 1]).tolist())) * [-1, -1, 1], ours)
    np.testing.assert_allclose(np.loadtxt(workspace.plain_affine), tilted())


def test_masks_are_used_where_there_is_something_outside(tmp_path, heads):
    stripped = {
        end: Image(image.data * (mask.data > 0), image.grid)
        for end, image, mask in (
            ('fixed', heads.fixed, heads.fixed_mask),
            ('moving', heads.moving, heads.moving_mask),
        )
    }
    masks = heads.fixed_mask, heads.moving_mask

    def used(fixed, moving):
        return write_pair(tmp_path, fixed, moving, *masks, np.eye(4))

    assert used(heads.fixed, heads.moving)
    assert used(stripped['fixed'], heads.moving)
    assert used(heads.fixed, stripped['moving'])
    assert not used(stripped['fixed'], stripped['moving'])


def test_a_program_that_writes_nothing_is_a_failure(tmp_path):
    workspace = Workspace(tmp_path, np.eye(4), False)
    with pytest.raises(ProgramError, match=r'left no warp\.nii'):
        itk_field(workspace.path('warp'))
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), workspace.path('warp'))
    with pytest.raises(ProgramError, match='holds no displacements'):
        itk_field(workspace.path('warp'))
