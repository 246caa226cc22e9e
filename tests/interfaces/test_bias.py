"""The node of the bias field correction."""

import nibabel as nb
import numpy as np

from bidsreg.interfaces.bias import N4
from bidsreg.preparation.bias import correct_bias


def test_the_node_writes_the_image_of_the_function(heads, here):
    out = N4(in_file=str(heads[0]), mask=str(heads[1]), sloppy=True).run().outputs
    corrected = correct_bias(*map(str, heads), sloppy=True)
    np.testing.assert_array_equal(nb.load(out.out_file).get_fdata(), corrected.get_fdata())


def test_none_passes_the_image_on(heads, here):
    assert N4(in_file=str(heads[0]), mask=str(heads[1]), method='none').run().outputs.out_file == str(heads[0])
