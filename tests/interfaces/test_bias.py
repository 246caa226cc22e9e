"""The node of the bias field correction."""

import nibabel as nb
import numpy as np

from bidsreg.interfaces import bias


def test_the_node_writes_the_image_of_the_function(heads, here, monkeypatch):
    asked = []

    def halved(in_file, mask, *, sloppy):
        asked.append((in_file, mask, sloppy))
        image = nb.load(in_file)
        return nb.Nifti1Image(image.get_fdata() / 2, image.affine)

    monkeypatch.setattr(bias, 'correct_bias', halved)
    scan, mask = map(str, heads)
    out = bias.N4(in_file=scan, mask=mask, sloppy=True).run().outputs
    assert asked == [(scan, mask, True)]
    np.testing.assert_array_equal(nb.load(out.out_file).get_fdata(), nb.load(scan).get_fdata() / 2)


def test_none_passes_the_image_on(heads, here):
    assert bias.N4(in_file=str(heads[0]), mask=str(heads[1]), method='none').run().outputs.out_file == str(heads[0])
