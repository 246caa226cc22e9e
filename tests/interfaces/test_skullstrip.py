"""The node of the brain mask."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import ProcessKilledError
from bidsreg.interfaces.skullstrip import BrainMask, SecondMask


@pytest.mark.parametrize('mode', ['auto', 'force', 'skip'])
def test_the_node_writes_the_mask_of_the_function(heads, here, mode):
    out = BrainMask(in_file=str(heads[0]), user_mask=str(heads[1]), mode=mode).run().outputs
    mask, goal = nb.load(out.out_mask), nb.load(heads[1])
    inside = np.asanyarray(goal.dataobj) > 0
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), inside)
    assert mask.get_data_dtype() == np.uint8
    assert out.method == f'mask given by the user: {heads[1].name}'


def test_a_second_mask_is_empty_where_no_brain_is_found(here):
    air = nb.Nifti1Image(np.zeros((12, 12, 12), np.float32), np.diag([4.0, 4, 4, 1]))
    nb.save(air, 'air.nii')
    out = SecondMask(in_file=str(here / 'air.nii'), mode='skip').run().outputs
    assert not np.asanyarray(nb.load(out.out_mask).dataobj).any()
    assert 'No brain was found' in out.method


@pytest.mark.parametrize(
    ('error', 'raised'),
    [(RuntimeError('no weights'), None), (ProcessKilledError('out of memory'), ProcessKilledError)],
)
def test_a_network_that_fails_costs_the_second_mask_alone(heads, here, monkeypatch, error, raised):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr('bidsreg.interfaces.skullstrip.brain_mask', fail)
    node = SecondMask(in_file=str(heads[0]))
    if raised:
        with pytest.raises(raised):
            node.run()
    else:
        out = node.run().outputs
        assert out.method == 'no weights'
        assert not np.asanyarray(nb.load(out.out_mask).dataobj).any()


@pytest.mark.parametrize(('options', 'contrast'), [({}, 'T1w'), ({'contrast': 'T2w'}, 'T2w')])
def test_the_contrast_reaches_the_network(heads, here, monkeypatch, options, contrast):
    seen = []

    def found(path, *, contrast='T1w', threads):
        seen.append(contrast)
        return np.ones(nb.load(path).shape, bool)

    monkeypatch.setattr('bidsreg.preparation.skullstrip.run_deepbet', found)
    for node in (BrainMask, SecondMask):
        node(in_file=str(heads[0]), mode='force', **options).run()
    assert seen == [contrast, contrast]
