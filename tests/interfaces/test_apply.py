"""The node that resamples."""

import nibabel as nb
import numpy as np

from bidsreg.interfaces.apply import Apply
from bidsreg.preparation.resample import resample


def test_the_node_writes_the_image_of_the_function(rigid_pair, here):
    _, paths = rigid_pair
    images = str(paths['fixed_mask']), str(paths['moving'])
    options = {'transforms': [str(paths['affine'])], 'invert': [True], 'interpolation': 'genericLabel'}
    out = Apply(in_file=images[0], reference=images[1], **options).run().outputs
    np.testing.assert_array_equal(nb.load(out.out_file).get_fdata(), resample(*images, **options).get_fdata())
    assert nb.load(out.out_file).get_data_dtype() == np.uint8


def test_transforms_are_optional(rigid_pair, here):
    _, paths = rigid_pair
    same = nb.load(Apply(in_file=str(paths['fixed']), reference=str(paths['fixed'])).run().outputs.out_file)
    np.testing.assert_allclose(same.get_fdata(), nb.load(paths['fixed']).get_fdata(), atol=0.05)
