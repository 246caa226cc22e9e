"""The brain mask: whose it is, and whether it fits."""

from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.app import example
from bidsreg.errors import InputError, ProcessKilledError
from bidsreg.preparation import skullstrip
from bidsreg.preparation.deepbet import NO_BRAIN
from bidsreg.preparation.skullstrip import brain_mask


def run(in_file, **options):
    return brain_mask(str(in_file), **options)


def save(tmp_path, array, like, name='user.nii.gz', affine=None):
    path = tmp_path / name
    nb.save(nb.Nifti1Image(array, like.affine if affine is None else affine), path)
    return str(path)


@pytest.fixture
def stripped(heads, tmp_path):
    """The T1w with nothing but the brain in it."""
    scan, mask = (nb.load(path) for path in heads)
    data_ = np.asanyarray(scan.dataobj) * (np.asanyarray(mask.dataobj) > 0)
    nb.save(nb.Nifti1Image(data_, scan.affine), tmp_path / 'stripped.nii.gz')
    return tmp_path / 'stripped.nii.gz'


@pytest.mark.parametrize('mode', ['auto', 'force', 'skip'])
def test_the_users_mask_wins(heads, here, mode):
    mask, method = run(heads[0], user_mask=str(heads[1]), mode=mode)
    np.testing.assert_array_equal(mask, np.asanyarray(nb.load(heads[1]).dataobj) > 0)
    assert 'user' in method
    assert '/' not in method  # no path of a machine reaches the derivatives
    assert Path(heads[1]).name in method


def test_255_and_a_trailing_axis_are_fine(heads, tmp_path, here):
    mask = nb.load(heads[1])
    array = (np.asanyarray(mask.dataobj) > 0).astype(np.float32)[..., None] * 255
    found, _ = run(heads[0], user_mask=save(tmp_path, array, mask))
    np.testing.assert_array_equal(found, run(heads[0], user_mask=str(heads[1]))[0])


def test_masks_that_do_not_fit_are_refused(heads, tmp_path, here):
    mask = nb.load(heads[1])
    array = np.asanyarray(mask.dataobj).astype(np.float32)
    moved = mask.affine.copy()
    moved[0, 3] += 100.0
    for words, path in {
        'does not fit': save(tmp_path, array, mask, 'moved.nii.gz', moved),
        'empty': save(tmp_path, 0 * array, mask, 'empty.nii.gz'),
        'not binary': save(tmp_path, array * np.linspace(0, 1, array.size).reshape(array.shape), mask, 'soft.nii.gz'),
        'is 4-D': save(tmp_path, np.stack([array] * 2, -1), mask, '4d.nii.gz'),
    }.items():
        with pytest.raises(InputError, match=words):
            run(heads[0], user_mask=path)
    (tmp_path / 'broken.nii.gz').write_bytes(b'no image')
    with pytest.raises(InputError, match='broken'):
        run(heads[0], user_mask=str(tmp_path / 'broken.nii.gz'))


def test_auto_leaves_a_stripped_image_alone(stripped, heads, here):
    mask, method = run(stripped)
    assert 'stripped already' in method
    goal = np.asanyarray(nb.load(heads[1]).dataobj) > 0
    assert 2 * (mask & goal).sum() / (mask.sum() + goal.sum()) > 0.97


def test_skip_takes_what_is_not_zero(stripped, here):
    mask, method = run(stripped, mode='skip')
    assert 'as asked for' in method
    assert mask.sum() >= (np.asanyarray(nb.load(stripped).dataobj) != 0).sum() * 0.9


def test_deepbet_runs_apart_and_its_failure_is_told(heads, here, monkeypatch):
    """The process is a stand-in; what it is asked for and how its end is told are real."""
    seen = {}

    class Done:
        returncode, stderr = 0, ''

    def pretend(command, env, **_):
        seen.update(command=command, env=env)
        if Done.returncode == 0:
            nb.save(nb.load(heads[1]), command[4])
        return Done

    monkeypatch.setattr(skullstrip.subprocess, 'run', pretend)
    _, method = run(heads[0], threads=3, mode='force')
    assert 'deepbet, as asked for' in method
    assert seen['command'][1:3] == ['-m', 'bidsreg.preparation.deepbet']
    assert seen['command'][-2:] == ['--threads', '3']
    assert seen['env']['OMP_NUM_THREADS'] == '3'
    Done.returncode = -9
    with pytest.raises(ProcessKilledError, match=r'killed by signal 9, .*--mem.*brain mask of your own'):
        run(heads[0])
    Done.returncode = -11
    with pytest.raises(RuntimeError, match=r'killed by signal 11$') as crashed:
        run(heads[0])
    assert not isinstance(crashed.value, ProcessKilledError)
    Done.returncode, Done.stderr = NO_BRAIN, 'an empty box'
    with pytest.raises(InputError, match=r'found no brain in .*an empty box(.|\n)*Is it a T1w image'):
        run(heads[0])
    with pytest.raises(InputError, match='Is it a T2w image of a head'):
        run(heads[0], contrast='T2w')
    for code in (1, 137, 255):  # no shell is in between, so these are no signals
        Done.returncode, Done.stderr = code, 'ImportError: no argmax in a bounding box'
        with pytest.raises(RuntimeError, match=rf'return code {code}\)(.|\n)*no argmax in a bounding box$') as failed:
            run(heads[0])
        assert not isinstance(failed.value, ProcessKilledError)


@pytest.mark.slow
def test_deepbet_finds_the_brain_in_a_simulated_t2w(tmp_path, here):
    example.make_dataset(tmp_path)
    head = example.make_head()
    path = tmp_path / 'sub-01/anat/sub-01_T2w.nii.gz'
    scan = nb.load(path)
    voxels = np.moveaxis(np.indices(scan.shape), 0, -1)
    there = example.to_t1w(nb.affines.apply_affine(scan.affine, voxels))
    at = np.moveaxis(nb.affines.apply_affine(np.linalg.inv(head.affine), there), -1, 0)
    # in a T2w fluid is bright, up to the skull
    within = sum(head.tissues[name] for name in ('csf', 'gm', 'wm'))
    goal = ndi.map_coordinates(within, at, order=1) > 0.5
    mask, _ = run(path, contrast='T2w', mode='force')
    assert 2 * (mask & goal).sum() / (mask.sum() + goal.sum()) > 0.9


@pytest.mark.slow
def test_deepbet_sees_no_brain_in_nothing(tmp_path, here):
    nb.save(nb.Nifti1Image(np.zeros((40, 40, 40), np.float32), np.diag([4.0, 4, 4, 1])), tmp_path / 'T1w.nii.gz')
    with pytest.raises(InputError, match='found no brain'):
        run(tmp_path / 'T1w.nii.gz', mode='force')


@pytest.mark.slow
def test_deepbet_finds_the_brain_of_the_template(tmp_path, here):
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    nb.save(load_mni152_template(resolution=2), tmp_path / 'T1w.nii.gz')  # a brain with a dark skull around it
    goal = load_mni152_brain_mask(resolution=2).get_fdata() > 0
    mask, _ = run(tmp_path / 'T1w.nii.gz', mode='force')
    assert 2 * (mask & goal).sum() / (mask.sum() + goal.sum()) > 0.9
