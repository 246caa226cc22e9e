"""The node of the brain mask."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.interfaces.skullstrip import BrainMask


@pytest.mark.parametrize('mode', ['auto', 'force', 'skip'])
def test_the_node_writes_the_mask_of_the_function(heads, here, mode):
    out = BrainMask(in_file=str(heads[0]), user_mask=str(heads[1]), mode=mode).run().outputs
    mask, goal = nb.load(out.out_mask), nb.load(heads[1])
    inside = np.asanyarray(goal.dataobj) > 0
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), inside)
    assert mask.get_data_dtype() == np.uint8
    assert out.method == f'mask given by the user: {heads[1].name}'
