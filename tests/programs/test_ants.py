"""ANTs: its field is what its own tools and ITK make of its files."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS
from bidsreg.registration import Deformation
from tests.programs.comparison import inside, relative_difference


@pytest.mark.slow
def test_ants_field_is_what_ants_applies(heads, found):
    import ants

    workspace, fields = found('ants-syn')
    assert np.abs(fields.forward).max() > 2
    fixed, moving = (ants.image_read(str(workspace.path(end))) for end in ('fixed', 'moving'))
    transforms = [str(workspace.folder / 'syn_1Warp.nii.gz'), str(workspace.itk_affine)]
    theirs = ants.apply_transforms(fixed, moving, transforms, 'linear').numpy()
    difference = relative_difference(heads, fields, theirs)
    assert difference.max() < 2e-3
    assert np.median(difference) < 1e-5


@pytest.mark.slow
def test_ants_inverse_is_what_itk_reads(heads, found):
    import SimpleITK as sitk

    workspace, fields = found('ants-syn')
    warp = sitk.ReadImage(str(workspace.folder / 'syn_1InverseWarp.nii.gz'), sitk.sitkVectorFloat64)
    chain = sitk.CompositeTransform(3)
    chain.AddTransform(sitk.DisplacementFieldTransform(warp))
    chain.AddTransform(sitk.ReadTransform(str(workspace.itk_affine)).GetInverse())
    points = heads.pair.points[:, 3:]
    theirs = np.array([chain.TransformPoint(p.tolist()) for p in points * [-1, -1, 1]]) * [-1, -1, 1]
    ours = Deformation(workspace.affine, fields.forward, fields.inverse, heads.fixed.grid)
    np.testing.assert_allclose(ours.inverted().points(points), theirs, atol=1e-3)
    error = np.linalg.norm(ours.inverted().points(ours.points(theirs)) - theirs, axis=1)
    assert error.mean() < 0.1 * np.linalg.norm(fields.forward, axis=-1)[inside(heads.fixed.grid)].mean()


def test_syn_words():
    program = PROGRAMS['ants-syn-cc']
    words = program.settings.words(['f.nii', 'm.nii'])
    assert words[words.index('-m') + 1] == 'CC[f.nii,m.nii,1,4]'
    assert words[words.index('-t') + 1] == 'SyN[0.2,3,0]'
    assert words[words.index('-c') + 1] == '[100x70x50,1e-06,10]'
    assert words[words.index('-f') + 1] == '4x2x1'
    assert words[words.index('-s') + 1] == '2x1x0vox'
