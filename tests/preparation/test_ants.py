"""The door to ANTsPy."""

import inspect

import nibabel as nb
import numpy as np
import pytest

from bidsreg.preparation.ants import new_image, to_ants
from tests import data


def test_antspy_is_the_one_we_know():
    """What this package relies on: a list of arguments goes to antsRegistration as it is, and N4's options."""
    import ants

    assert list(inspect.signature(ants.registration).parameters)[:2] == ['fixed', 'moving']
    assert 'isinstance(fixed, list) and (moving is None)' in inspect.getsource(ants.registration)
    assert {'mask', 'shrink_factor', 'convergence', 'spline_param', 'return_bias_field'} <= set(
        inspect.signature(ants.n4_bias_field_correction).parameters
    )
    assert {'transformlist', 'interpolator', 'whichtoinvert'} <= set(
        inspect.signature(ants.apply_transforms).parameters
    )


@pytest.mark.parametrize('name', sorted(set(data.GRIDS) - {'sheared'}))
def test_ants_sees_the_grid_that_nibabel_sees(name):
    shape, affine = data.GRIDS[name]
    seen = to_ants(data.image(np.zeros(shape, np.float32), affine))
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    np.testing.assert_allclose(seen.direction * seen.spacing, lps[:, :3], atol=1e-5)
    np.testing.assert_allclose(seen.origin, lps[:, 3], atol=1e-4)


def test_a_new_image_has_one_place_for_every_reader():
    like = nb.Nifti1Image(np.zeros((4, 5, 6), np.uint8), data.grid((4, 5, 6), 'LPS', (9, 0, 0)))
    image = new_image(np.ones((4, 5, 6), np.float32), like)
    assert (int(image.header['qform_code']), int(image.header['sform_code'])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    assert image.header.get_xyzt_units()[0] == 'mm'
