"""bidsreg-pair with a program: the same files and the same words as with a method of our own."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from bidsreg.pair import cli
from bidsreg.programs import PROGRAMS, ProgramError, base
from bidsreg.registration import Deformation, Image

FILES = {'warped.nii.gz', 'forward.h5', 'inverse.h5', 'jacobian.nii.gz', 'result.json'}


@dataclasses.dataclass(frozen=True)
class Wishes:
    depth: int = 3

    def sloppy(self):
        return Wishes(1)


class Pretended(base.Program):
    """Displaces by a function of world points."""

    name = 'pretended'
    settings = Wishes()

    def __init__(self, displacement, absent=''):
        self.displacement, self.absent, self.jobs = displacement, absent, []

    def missing(self):
        return self.absent

    def version(self):
        return '7.1'

    def run(self, work):
        self.jobs.append(work)
        return base.Fields(self.displacement(base.world_points(Image.load(work.path('fixed')))).astype(np.float32))


@pytest.fixture
def run(heads, tmp_path, capsys, monkeypatch):
    """Run the command on the heads; exit code, result.json or None, and what it said."""

    def run(*more, program=None, name='pretended', masks=True):
        words = [heads.paths['fixed'], heads.paths['moving'], '--affine', heads.paths['affine'], '--device', 'cpu']
        if masks:
            words += ['--fixed-mask', heads.paths['fixed_mask'], '--moving-mask', heads.paths['moving_mask']]
        words += ['--method', name, '--out', tmp_path / 'out', '--threads', '1', *more]
        code = cli.main([str(word) for word in words], {'pretended': program} if program else PROGRAMS)
        told = tmp_path / 'out/result.json'
        return code, json.loads(told.read_text()) if told.exists() else None, capsys.readouterr().err

    return run


def right(heads):
    return Pretended(heads.truth.displacement)


def wrong(heads):
    """The truth the other way round and thrice: worse than doing nothing."""
    return Pretended(lambda points: -3 * heads.truth.displacement(points))


def test_the_same_five_files_and_facts(run, heads, tmp_path):
    program = right(heads)
    code, told, said = run('--seed', '11', '-q', program=program)
    assert code == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == FILES
    assert told['method'] == told['settings']['name'] == 'pretended'
    assert told['settings']['depth'] == 3
    assert told['versions']['pretended'] == '7.1'
    assert told['versions']['bidsreg']
    assert (told['device'], told['threads'], told['seed']) == ('cpu', 1, 11)
    assert told['inputs']['fixed_mask'] == str(heads.paths['fixed_mask'])
    assert (told['iterations'], told['loss_history'], told['attempts'], told['repaired_voxels']) == (None, [], 1, 0)
    assert told['decision']['kept'] == told['decision']['better'] == 'diffeo'
    assert told['evidence']['diffeo']['mi'] > told['evidence']['affine']['mi']
    assert told['jacobian']['folds'] == 0
    assert told['displacement_mm']['mean'] > 1
    assert told['inverse_consistency_mm']['mean'] < 0.05
    assert told['grid']['shape'] == list(heads.fixed.grid.shape)
    assert {'load', 'solve', 'finish', 'total'} == set(told['seconds'])
    assert told['peak_memory_mb'] > 50
    [work] = program.jobs
    assert (work.threads, work.seed, work.quiet, work.sloppy) == (1, 11, True, False)
    assert work.folder.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    assert 'diffeo kept, 0 folds' in said
    found = Deformation.load(tmp_path / 'out/forward.h5', tmp_path / 'out/inverse.h5')
    assert heads.pair.error(found.points(heads.pair.points[:, :3])).mean() < 0.1


def test_result_has_the_keys_of_our_own_methods(run, heads, tmp_path):
    _, told, _ = run('-q', program=right(heads))
    words = [heads.paths['fixed'], heads.paths['moving'], '--affine', heads.paths['affine'], '--device', 'cpu']
    words += ['--fixed-mask', heads.paths['fixed_mask'], '--moving-mask', heads.paths['moving_mask']]
    words += ['--set', 'levels=8:10', '--set', 'loosened=', '--out', tmp_path / 'own', '--threads', '1', '-q']
    assert cli.main([str(word) for word in words]) == 0
    own = json.loads((tmp_path / 'own/result.json').read_text())
    assert set(told) == set(own)
    for key in ('decision', 'evidence', 'jacobian', 'displacement_mm', 'inverse_consistency_mm', 'grid', 'seconds'):
        assert set(told[key]) == set(own[key])


def test_the_affine_is_kept_where_it_is_better_unless_asked_otherwise(run, heads, tmp_path):
    code, told, _ = run('-q', program=wrong(heads))
    assert code == 0
    assert told['decision']['kept'] == told['decision']['better'] == 'affine'
    assert told['displacement_mm']['max'] == 0
    _, told, said = run('-q', '--keep', 'diffeo', '--overwrite', program=wrong(heads))
    assert (told['decision']['kept'], told['decision']['better']) == ('diffeo', 'affine')
    assert '--keep diffeo was asked for; the deformation looks worse' in told['decision']['reason']
    assert told['displacement_mm']['max'] > 5
    assert 'diffeo kept' in said
    found = Deformation.load(tmp_path / 'out/forward.h5', tmp_path / 'out/inverse.h5')
    assert np.abs(found.forward).max() > 5


def test_keep_holds_for_our_own_methods(heads, tmp_path):
    """A preset made to do harm: no regularity, and descriptors of what is not the same."""
    words = [heads.paths['fixed'], heads.paths['moving'], '--affine', heads.paths['affine'], '--device', 'cpu', '-q']
    words += ['--set', 'similarity=ssd', '--set', 'levels=10:20', '--set', 'loosened=', '--set', 'regularity=h1:1e-4']
    words += ['--fixed-mask', heads.paths['fixed_mask'], '--threads', '1']

    def run(keep):
        out = tmp_path / keep
        assert cli.main([str(word) for word in [*words, '--keep', keep, '--out', out]]) == 0
        told = json.loads((out / 'result.json').read_text())
        return told['decision'], told['displacement_mm']['max']

    (better, none), (asked, some) = run('better'), run('diffeo')
    assert (better['kept'], better['better'], none) == ('affine', 'affine', 0)
    assert (asked['kept'], asked['better']) == ('diffeo', 'affine')
    assert some > 1


def test_folds_are_written_and_told(run, heads):
    def fold(points):
        moved = heads.truth.displacement(points)
        moved[16:19, 18:22, 15:18, 0] += 30
        return moved

    code, told, said = run('-q', '--keep', 'diffeo', program=Pretended(fold))
    assert code == 0
    assert told['jacobian']['folds'] > 10
    assert 'no inverse' in told['stopped'][1]
    assert f'{told["jacobian"]["folds"]} folds' in said


def test_a_quick_look(run, heads):
    program = right(heads)
    _, told, _ = run('--sloppy', program=program)
    assert program.jobs[0].sloppy
    assert told['settings']['depth'] == 1


@pytest.mark.parametrize(
    'words',
    [
        ['--set', 'channels=3'],
        ['--preset-file', 'x.toml'],
        ['--working-resolution', '2'],
        ['--fixed-lesion', 'x.nii'],
        ['--moving-lesion', 'x.nii'],
    ],
)
def test_options_of_presets_are_refused_before_any_work(run, heads, words):
    program = right(heads)
    code, told, said = run(*words, program=program)
    assert (code, told, program.jobs) == (2, None, [])
    assert f'{words[0]} is for the presets only; pretended does not take it' in said


@pytest.mark.parametrize(
    ('words', 'absent', 'said'),
    [
        ([], 'it is on the moon', '--method pretended: it is on the moon'),
        (['--device', 'cuda'], '', 'pretended works on the CPU only; use --device cpu, not cuda'),
        (['--fixed-mask', 'none.nii.gz'], '', 'none.nii.gz: there is no such file'),
    ],
)
def test_what_cannot_be_is_said_before_any_work(run, heads, words, absent, said):
    program = right(heads)
    program.absent = absent
    code, told, heard = run(*words, program=program)
    assert (code, told, program.jobs) == (2, None, [])
    assert said in heard


def test_a_program_that_fails_ends_with_1(run, heads, monkeypatch, tmp_path):
    program = right(heads)

    def fail(work):
        raise ProgramError('reg_f3d ended with 3: no such brain')

    monkeypatch.setattr(program, 'run', fail)
    code, told, said = run(program=program)
    assert (code, told) == (1, None)
    assert 'bidsreg-pair: failed: reg_f3d ended with 3: no such brain' in said
    assert not (tmp_path / 'out').exists()


def test_an_unknown_method_lists_engines_too(run, capsys):
    with pytest.raises(SystemExit):
        run(name='reg_magic')
    said = capsys.readouterr().err
    assert 'niftyreg-mind-vel' in said
    assert 'node-mind' in said


@pytest.mark.parametrize('name', ['ants-syn', pytest.param('ants-syn-cc', marks=pytest.mark.slow)])
def test_ants(run, heads, name):
    """The real thing: nearer the truth, no folds, an inverse."""
    code, told, _ = run('--sloppy', '-q', name=name)
    assert code == 0
    assert told['evidence']['diffeo']['mi'] > 1.05 * told['evidence']['affine']['mi']
    assert told['settings']['iterations'] == [20, 10, 5]
    assert told['jacobian']['folds'] == 0
    assert told['inverse_consistency_mm']['mean'] < 0.1


@pytest.mark.parametrize('name', [n for n in PROGRAMS if not n.startswith('ants')])
def test_the_other_programs(run, heads, name):
    if why := PROGRAMS[name].missing():
        pytest.skip(why)
    code, told, _ = run('--sloppy', '-q', '--keep', 'diffeo', name=name)
    assert code == 0
    assert told['method'] == name
    assert told['decision']['kept'] == 'diffeo'
    assert told['displacement_mm']['max'] > 0  # how far is the known warp's to test
    assert told['versions'][name]
