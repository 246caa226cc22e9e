"""The solver's node: what it asks for, what it says when that fails."""

import json
import os
import shlex
import sys
import traceback
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from nipype.pipeline import engine as pe

from bidsreg.errors import GpuFullError, InputError, ProcessEndedError, ProcessKilledError
from bidsreg.execution.crashes import failure_of, read_traceback
from bidsreg.interfaces.register import Register, failure
from bidsreg.outcome import Cause

FAKE = """\
import json, os, sys
args = sys.argv[1:]
out = args[args.index('--out') + 1]
print('level 4 mm  iteration 1/2', file=sys.stderr, flush=True)
mode = os.environ.get('FAKE_PAIR', 'work')
if mode == 'fail':
    print('bidsreg-pair: error: the masks do not overlap', file=sys.stderr)
    sys.exit(2)
if mode == 'killed':
    os.kill(os.getpid(), 9)
os.makedirs(out)
for name in ('warped.nii.gz', 'forward.h5', 'inverse.h5', 'jacobian.nii.gz'):
    open(os.path.join(out, name), 'w').write(name)
json.dump(args, open(os.path.join(out, 'result.json'), 'w'))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A program that pretends to register; it leaves its arguments in result.json."""
    script = tmp_path / 'fake pair.py'
    script.write_text(FAKE)
    monkeypatch.setattr(Register, '_cmd', f'{shlex.quote(sys.executable)} {shlex.quote(str(script))}')


def node(paths, base_dir, **inputs):
    return pe.Node(
        Register(fixed=str(paths['fixed']), moving=str(paths['moving']), **inputs), name='register', base_dir=base_dir
    )


def test_arguments_and_files(rigid_pair, fake, here):
    _, paths = rigid_pair
    result = node(
        paths,
        here,
        fixed_mask=str(paths['fixed_mask']),
        affine=str(paths['affine']),
        device='cuda:1',
        working_resolution=1.5,
        threads=3,
        seed=7,
        sloppy=True,
        use_gpu=True,
    ).run()
    args = json.loads(Path(result.outputs.result).read_text())
    assert args[:2] == [str(paths['fixed']), str(paths['moving'])]
    asked = dict(zip(args[2::2], args[3::2], strict=False))
    assert asked['--fixed-mask'] == str(paths['fixed_mask'])
    assert asked['--affine'] == str(paths['affine'])
    words = ' '.join(args)
    for part in (
        '--device cuda:1',
        '--working-resolution 1.5',
        '--threads 3',
        '--seed 7',
        '--method node-mind',
        '--sloppy',
    ):
        assert part in words
    assert '--moving-mask' not in words
    for name in ('warped', 'forward', 'inverse', 'jacobian', 'result'):
        assert os.path.isabs(getattr(result.outputs, name))
        assert os.path.exists(getattr(result.outputs, name))
    assert result.outputs.seconds > 0


def test_lesions_and_a_preset_file_are_passed_on_and_hashed(rigid_pair, fake, here, tmp_path):
    _, paths = rigid_pair
    settings = tmp_path / 'mine é.toml'
    settings.write_text('channels = 4')
    more = {
        'fixed_lesion': str(paths['fixed_mask']),
        'moving_lesion': str(paths['moving_mask']),
        'preset_file': str(settings),
    }
    args = json.loads(Path(node(paths, here, **more).run().outputs.result).read_text())
    for name, path in more.items():
        assert args[args.index('--' + name.replace('_', '-')) + 1] == path
    plain = Register(fixed=str(paths['fixed']), moving=str(paths['moving']))
    assert '--fixed-lesion' not in plain.cmdline
    for name, path in more.items():
        one = Register(fixed=str(paths['fixed']), moving=str(paths['moving']), **{name: path})
        assert one.inputs.get_hashval()[1] != plain.inputs.get_hashval()[1]


def test_threads_are_not_hashed_but_the_device_is(rigid_pair):
    _, paths = rigid_pair

    def digest(**inputs):
        return Register(fixed=str(paths['fixed']), moving=str(paths['moving']), **inputs).inputs.get_hashval()[1]

    assert digest(threads=1) == digest(threads=4)
    assert digest(device='cpu') != digest(device='cuda')


def test_progress_reaches_the_log(rigid_pair, fake, here, caplog):
    import logging

    logger = logging.getLogger('nipype.interface')
    logger.addHandler(caplog.handler)
    level, logger.level = logger.level, logging.INFO
    try:
        node(rigid_pair[1], here).run()
    finally:
        logger.removeHandler(caplog.handler)
        logger.level = level
    assert 'level 4 mm  iteration 1/2' in caplog.text


@pytest.mark.parametrize(
    ('mode', 'words'),
    [('fail', r'return code 2\): bidsreg-pair: error: the masks do not overlap'), ('killed', 'memory')],
)
def test_a_failure_says_why(rigid_pair, fake, here, monkeypatch, mode, words):
    monkeypatch.setenv('FAKE_PAIR', mode)
    with pytest.raises(Exception, match=words) as caught:
        node(rigid_pair[1], here).run()
    assert 'level 4 mm' in str(caught.value) or 'level 4 mm' in str(caught.value.__cause__)


def test_a_half_made_folder_of_a_killed_run_is_in_nobodys_way(rigid_pair, fake, here):
    (here / 'register' / 'registration').mkdir(parents=True)
    (here / 'register' / 'registration' / 'warped.nii.gz').write_text('half')
    assert node(rigid_pair[1], here).run().outputs.result


def test_last_line_is_the_cause():
    text = str(failure(1, '\n'.join(f'line {k}' for k in range(100))))
    assert text.splitlines()[-1] == 'bidsreg-pair failed (return code 1): line 99'
    assert len(text.splitlines()) < 20
    assert str(failure(1, '')).endswith('it said nothing')
    assert 'killed by signal 9' in str(failure(137, 'level 4 mm')).splitlines()[-1]


@pytest.mark.parametrize(
    ('returncode', 'kind', 'cause'),
    [
        (1, RuntimeError, Cause.FAILED),
        (2, InputError, Cause.BAD_INPUT),
        (3, GpuFullError, Cause.OUT_OF_MEMORY),
        (-9, ProcessKilledError, Cause.KILLED),
        (137, ProcessKilledError, Cause.KILLED),  # of the shell that ran it
        (-15, ProcessEndedError, Cause.CANCELLED),
        (-11, RuntimeError, Cause.FAILED),
        (139, RuntimeError, Cause.FAILED),
    ],
)
def test_the_class_of_a_failure_gives_its_cause(returncode, kind, cause):
    error = failure(returncode, 'level 4 mm')
    assert type(error) is kind
    assert failure_of(error).cause is cause
    assert ('--mem' in str(error)) == (cause is Cause.KILLED)


@pytest.mark.parametrize(('mode', 'cause'), [('fail', Cause.BAD_INPUT), ('killed', Cause.KILLED)])
def test_the_cause_comes_through_a_node(rigid_pair, fake, here, monkeypatch, mode, cause):
    monkeypatch.setenv('FAKE_PAIR', mode)
    with pytest.raises(Exception, match='bidsreg-pair failed') as caught:
        node(rigid_pair[1], here).run()
    assert read_traceback(''.join(traceback.format_exception(caught.value)).splitlines()).cause is cause


def test_torch_stays_out(rigid_pair):
    """Building every interface imports neither torch nor ANTs into this kind of process."""
    import subprocess

    code = (
        'import sys; from bidsreg.workflows import app, masking, prealign, registration, quality, pair; '
        'print([m for m in ("torch", "ants", "matplotlib", "deepbet") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.slow  # the room's own test runs the solver, too
def test_the_real_one(here, tmp_path):
    from tests import data

    known = data.truth(1, turn=(2, 0, -2), shift=(1, 2, 0), amplitude=1.0)
    pair = data.pair((30, 34, 30), 1, known=known)
    paths = pair.save(tmp_path / 'pair')
    out = (
        node(
            paths,
            here,
            fixed_mask=str(paths['fixed_mask']),
            moving_mask=str(paths['moving_mask']),
            affine=str(paths['affine']),
            sloppy=True,
            working_resolution=6.0,
        )
        .run()
        .outputs
    )
    result = json.loads(Path(out.result).read_text())
    assert result['jacobian']['folds'] == 0
    warped = nb.load(out.warped)
    assert warped.shape == pair.fixed.shape
    np.testing.assert_allclose(warped.affine, pair.fixed.affine, atol=1e-3)
