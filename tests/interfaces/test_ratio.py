"""The node of the ratio."""

import nibabel as nb
import numpy as np

from bidsreg.interfaces import ratio


def test_the_node_writes_the_map_of_the_function(heads, here, monkeypatch):
    asked = []

    def made(*arguments):
        asked.append(arguments)
        image = nb.load(arguments[1])
        return nb.Nifti1Image(image.get_fdata() / 2, image.affine), {'kind': arguments[0]}

    monkeypatch.setattr(ratio, 'make_ratio', made)
    scan, mask = map(str, heads)
    out = ratio.Ratio(kind='calibrated', t1w=scan, t2w=scan, mask=mask, preproc=scan).run().outputs
    assert asked == [('calibrated', scan, scan, mask, scan)]
    assert out.facts == {'kind': 'calibrated'}
    np.testing.assert_array_equal(nb.load(out.out_file).get_fdata(), nb.load(scan).get_fdata() / 2)
