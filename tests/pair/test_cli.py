"""bidsreg-pair as a user types it: exit codes, words on stderr, and every method in a run of its own."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from bidsreg.execution import machine
from bidsreg.pair import cli
from bidsreg.programs import PROGRAMS, ProgramError
from bidsreg.registration import Deformation
from bidsreg.registration.errors import RegistrationError
from tests import data
from tests.fake_program import Pretended


@pytest.fixture(autouse=True)
def _threads():
    """The command sets how many threads torch uses in this process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def pair():
    return data.pair(seed=1, known=data.truth(1, amplitude=6.0))


def arguments(paths, out, *more):
    return [
        str(paths['fixed']),
        str(paths['moving']),
        '--out',
        str(out),
        '--threads',
        '1',
        '--working-resolution',
        '4',
        *more,
    ]


def test_command_line_leaves_five_files(tmp_path, pair, capsys):
    paths = pair.save(tmp_path / 'in')
    out = tmp_path / 'wo rk' / 'Ergebnis é'
    more = [
        '--fixed-mask',
        str(paths['fixed_mask']),
        '--moving-mask',
        str(paths['moving_mask']),
        '--affine',
        str(paths['affine']),
        '--sloppy',
    ]
    assert cli.main(arguments(paths, out, *more)) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        'forward.h5',
        'inverse.h5',
        'jacobian.nii.gz',
        'result.json',
        'warped.nii.gz',
    ]
    result = json.loads((out / 'result.json').read_text())
    assert result['decision']['kept'] == 'diffeo'
    assert result['jacobian']['folds'] == 0
    assert result['inverse_consistency_mm']['mean'] < 0.05
    assert {'before', 'affine', 'diffeo'} == set(result['evidence'])
    assert result['iterations'] == len(result['loss_history']) <= 300
    assert result['path_length_mm'] is None  # no metric but that of lddmm
    assert result['seed'] == 2026
    assert result['peak_memory_mb'] > 50
    assert 'iteration' in capsys.readouterr().err
    deformation = Deformation.load(out / 'forward.h5', out / 'inverse.h5')
    before = pair.error(nib.affines.apply_affine(pair.truth.matrix, pair.points[:, :3])).mean()
    assert pair.error(deformation.points(pair.points[:, :3])).mean() < 0.85 * before
    warped = nib.load(out / 'warped.nii.gz')
    assert warped.shape == pair.fixed.shape
    assert int(warped.header['qform_code']) == int(warped.header['sform_code']) == 1
    # the plain matrix says the same, masks are optional, and an existing folder is not overwritten unasked
    assert cli.main(arguments(paths, out)) == 2
    few = ['--set', 'levels=10:5', '--set', 'loosened=', '--working-resolution', '8', '--sloppy', '-q']
    assert cli.main([*arguments(paths, tmp_path / 'two', '--affine', str(paths['matrix'])), *few]) == 0


@pytest.mark.parametrize(
    ('break_it', 'words'),
    [
        (lambda p: p['fixed'].write_bytes(b''), 'fixed.nii.gz'),
        (lambda p: p['moving'].write_bytes(p['moving'].read_bytes()[:9000]), 'truncated or damaged'),
        (lambda p: p['affine'].write_text('nonsense'), 'affine.txt'),
        (lambda p: nib.save(data.image(np.ones((44, 52, 44), np.uint8), np.eye(4), (0, 0)), p['moving']), 'neither a'),
        (
            lambda p: nib.save(data.image(np.zeros((44, 52, 44), np.uint8), data.grid((44, 52, 44))), p['fixed_mask']),
            'empty',
        ),
        (lambda p: nib.save(data.image(np.ones((20, 20, 20), np.uint8), np.eye(4)), p['fixed_mask']), 'another grid'),
        (
            lambda p: nib.save(data.image(np.full((44, 52, 44), 7, np.int16), data.grid((44, 52, 44))), p['fixed']),
            'constant',
        ),
        (lambda p: np.savetxt(p['affine'], np.diag([1, 1, 1, 1.0]) + np.eye(4, k=3) * 900), 'right way round'),
    ],
)
def test_command_line_refuses_bad_input_with_a_reason_and_no_output(tmp_path, pair, capsys, break_it, words):
    paths = pair.save(tmp_path / 'in')
    break_it(paths)
    more = ['--fixed-mask', str(paths['fixed_mask']), '--affine', str(paths['affine'])]
    assert cli.main(arguments(paths, tmp_path / 'out', *more)) == 2
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['in']


def test_a_whole_run_tells_what_it_was_given(tmp_path):
    """The real thing, on a small head with a lesion in the moving scan that the fixed one does not have."""
    pair = data.pair((30, 34, 30), 1, known=data.truth(1, amplitude=4.0))
    lesion = np.zeros(pair.moving.shape, np.uint8)
    lesion[14:20, 16:22, 14:20] = 1
    scan = np.asarray(pair.moving.dataobj).copy()
    scan[lesion > 0] = 0
    paths = pair.save(tmp_path / 'in')
    nib.save(data.image(scan, pair.moving.affine), paths['moving'])
    paths['lesion'] = tmp_path / 'in' / 'lesion.nii.gz'
    nib.save(data.image(lesion, pair.moving.affine), paths['lesion'])
    settings = tmp_path / 'mine.toml'
    settings.write_text('levels = [[12, 8], [6, 8]]\nloosened = []\nvelocity_spacing = 8\nname = "mine"')

    def run(name, *more):
        words = [paths['fixed'], paths['moving'], '--fixed-mask', paths['fixed_mask'], '--affine', paths['affine']]
        words += ['--preset-file', settings, '--set', 'channels=4', '--threads', 1, '--device', 'cpu', '-q']
        assert cli.main([str(word) for word in [*words, '--out', tmp_path / name, *more]]) == 0
        return json.loads((tmp_path / name / 'result.json').read_text())

    told, plain = run('masked', '--moving-lesion', paths['lesion']), run('plain')
    assert told['inputs']['moving_lesion'] == str(paths['lesion'])
    assert 'moving_lesion' not in plain['inputs']
    assert told['method'] == told['settings']['name'] == 'mine'
    assert (told['settings']['channels'], told['settings']['levels']) == (4, [[12.0, 8], [6.0, 8]])
    assert told['iterations'] == plain['iterations'] == 16
    # without the hole in the comparison the loss starts lower
    assert told['loss_history'][0]['similarity'] < plain['loss_history'][0]['similarity']


def test_a_stripped_pair_without_masks_is_as_one_with_them(tmp_path, capsys):
    """What is not zero is taken for the brain, which is said; a whole head is left as it is."""
    pair = data.pair((30, 34, 30), 1, known=data.truth(1, amplitude=4.0), noise=0.0)
    paths = pair.save(tmp_path / 'in')
    quick = ['--set', 'levels=8:6', '--set', 'loosened=', '--affine', str(paths['affine'])]

    def run(name, *more):
        assert cli.main(arguments(paths, tmp_path / name, *quick, *more)) == 0
        return json.loads((tmp_path / name / 'result.json').read_text()), capsys.readouterr().err

    told, said = run('whole')
    assert 'TakenForBrain' not in [event['event'] for event in told['events']]
    assert 'skull-stripped' not in said
    for name in ('fixed', 'moving'):
        scan, mask = getattr(pair, name), np.asanyarray(getattr(pair, f'{name}_mask').dataobj)
        nib.save(data.image(np.asanyarray(scan.dataobj) * mask, scan.affine), paths[name])
    told, said = run('bare')
    taken = [event for event in told['events'] if event['event'] == 'TakenForBrain']
    assert [event['image'] for event in taken] == ['fixed', 'moving']
    assert said.count('what is not zero') == 2
    assert 'fixed_mask' not in told['inputs']
    masks = ['--fixed-mask', str(paths['fixed_mask']), '--moving-mask', str(paths['moving_mask'])]
    given, said = run('masked', *masks)
    assert 'what is not zero' not in said
    assert told['grid'] == given['grid']
    bare, masked = (nib.load(tmp_path / name / 'warped.nii.gz').get_fdata() for name in ('bare', 'masked'))
    assert np.corrcoef(bare.ravel(), masked.ravel())[0, 1] > 0.999


def test_a_program_that_fails_ends_with_1(run, heads, monkeypatch, tmp_path):
    program = Pretended(heads.displacement())

    def fail(workspace):
        raise ProgramError('reg_f3d ended with 3: no such brain')

    monkeypatch.setattr(program, 'run', fail)
    code, told, said = run(program=program)
    assert (code, told) == (1, None)
    assert 'bidsreg-pair: failed: reg_f3d ended with 3: no such brain' in said
    assert not (tmp_path / 'out').exists()


def test_a_full_gpu_and_a_full_disk_have_their_exit_codes(run, heads, monkeypatch):
    program = Pretended(heads.displacement())

    def fill_gpu(workspace):
        raise RegistrationError('too little memory') from torch.cuda.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr(program, 'run', fill_gpu)
    assert run(program=program)[::2] == (3, 'bidsreg-pair: failed: too little memory\n')

    def fill_disk(workspace):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(program, 'run', fill_disk)
    code, _, said = run(program=program)
    assert code == 1
    assert 'bidsreg-pair: error: [Errno 28] No space left on device' in said


def test_an_unknown_method_lists_programs_too(run, capsys):
    with pytest.raises(SystemExit):
        run(name='reg_magic')
    said = capsys.readouterr().err
    assert 'niftyreg-mind-vel' in said
    assert 'node-mind' in said


@pytest.mark.slow  # SyN
@pytest.mark.parametrize('name', ['ants-syn', 'ants-syn-cc'])
def test_ants(run, heads, name):
    """The real thing: nearer the truth, no folds, an inverse."""
    code, told, _ = run('--sloppy', '-q', name=name)
    assert code == 0
    assert told['evidence']['diffeo']['mi'] > 1.05 * told['evidence']['affine']['mi']
    assert told['settings']['iterations'] == [20, 10, 5]
    assert told['jacobian']['folds'] == 0
    assert told['inverse_consistency_mm']['mean'] < 0.1


A_SECOND_LOOK = ('niftyreg-vel', 'niftyreg-mind-vel', 'convexadam', 'elastix', 'syntx')
"""Those that take longest; what is their own is looked at by their own tests."""

FIND_NOTHING_HERE = ('niftyreg-mind',)
"""On these small heads the line search of reg_f3d 1.5.58 refuses every step along the gradient of MIND-SSC."""


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in A_SECOND_LOOK else [])
        for name in PROGRAMS
        if not name.startswith('ants')
    ],
)
def test_the_other_programs(run, heads, name):
    if why := PROGRAMS[name].missing():
        pytest.skip(why)
    code, told, _ = run('--sloppy', '-q', '--keep', 'diffeo', name=name)
    assert code == 0
    assert told['method'] == name
    assert told['versions'][name]
    if name in FIND_NOTHING_HERE:
        assert told['decision']['kept'] == 'affine'
        assert told['decision']['reason'].startswith('no deformation was found')
        assert told['displacement_mm']['max'] == 0
    else:
        assert told['decision']['kept'] == 'diffeo'
        assert told['displacement_mm']['max'] > 0  # how far is the known warp's to test


@pytest.mark.parametrize(('asked', 'given'), [([], 2), (['--threads', '64'], 2), (['--threads', '1'], 1)])
def test_a_program_gets_no_more_threads_than_a_quota_leaves(heads, tmp_path, monkeypatch, asked, given):
    """Of a machine whose control group allows the time of two CPUs; not all that the system counts."""
    group = tmp_path / 'group'
    group.mkdir()
    (group / 'cpu.max').write_text('200000 100000')
    (tmp_path / 'groups').write_text('0::/group\n')
    real = machine.group_cpus
    monkeypatch.setattr(machine, 'group_cpus', lambda: real(groups=tmp_path / 'groups', root=tmp_path))
    monkeypatch.setattr(machine.os, 'sched_getaffinity', lambda process: range(64), raising=False)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    program = Pretended(heads.displacement())
    words = [
        heads.paths['fixed'],
        heads.paths['moving'],
        '--method',
        'pretended',
        '--out',
        tmp_path / 'out',
        '-q',
        *asked,
    ]
    assert cli.main([str(word) for word in words], {'pretended': program}) == 0
    assert [workspace.threads for workspace in program.workspaces] == [given]
