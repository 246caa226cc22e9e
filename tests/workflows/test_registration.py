"""The third room alone, in a graph of its own, and what it asks for."""

import json
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.workflows import init_registration_wf
from tests.graph_fixtures import run_room


@pytest.mark.slow  # the real solver
def test_registration(heads, tmp_path):
    """The real solver, at a resolution as coarse as the head."""
    room = init_registration_wf(sloppy=True, working_resolution=6.0)
    out = run_room(room, tmp_path, fixed=heads['t1w'], fixed_mask=heads['mask'], moving=heads['t2w'])
    assert json.loads(Path(out['result']).read_text())['jacobian']['folds'] == 0
    for name, like in (('warped', 't1w'), ('jacobian', 't1w'), ('fixed_in_moving', 't2w')):
        assert nb.load(out[name]).shape == nb.load(heads[like]).shape
        np.testing.assert_allclose(nb.load(out[name]).affine, nb.load(heads[like]).affine, atol=1e-3)
    assert Path(out['forward']).suffix == Path(out['inverse']).suffix == '.h5'


@pytest.mark.parametrize('device', ['auto', 'cpu'])
def test_another_program_takes_its_threads_and_no_gpu(device, monkeypatch):
    """On a machine with a GPU as well; and it is not told of a working resolution, which it does not have."""
    monkeypatch.setattr('bidsreg.execution.devices.count_gpus', lambda: 1)
    register = init_registration_wf(method='ants-syn', device=device, omp_nthreads=3).get_node('register')
    assert (register.inputs.device, register.inputs.use_gpu, register.n_procs) == ('cpu', False, 3)
    words = '--method ants-syn', '--working-resolution'
    register.inputs.fixed = register.inputs.moving = __file__
    assert [word in register.interface.cmdline for word in words] == [True, False]
    small, large = (
        init_registration_wf(method='ants-syn', fixed_shape=(n, n, n), moving_shape=(n, n, n)) for n in (64, 512)
    )
    assert large.get_node('register').mem_gb > 10 * small.get_node('register').mem_gb > 0
    ours = init_registration_wf(device=device).get_node('register')
    assert (ours.inputs.device, ours.inputs.use_gpu) == (('cuda', True) if device == 'auto' else ('cpu', False))
    assert ours.inputs.working_resolution == 1
