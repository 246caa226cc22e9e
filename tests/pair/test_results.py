"""The folder of results: what is kept, the five files, and what result.json says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bidsreg.pair import cli, results
from bidsreg.qc.verdict import judge
from bidsreg.registration import Deformation
from bidsreg.registration.evidence import Evidence
from tests.fake_program import Pretended

FILES = {'warped.nii.gz', 'forward.h5', 'inverse.h5', 'jacobian.nii.gz', 'result.json'}


def right(heads):
    return Pretended(heads.displacement())


def wrong(heads):
    """The truth the other way round and thrice: worse than doing nothing."""
    return Pretended(-3 * heads.displacement())


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
    [workspace] = program.workspaces
    assert (workspace.threads, workspace.seed, workspace.quiet, workspace.sloppy) == (1, 11, True, False)
    assert workspace.folder.parent == tmp_path
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


@pytest.mark.parametrize('words', [(), ('--keep', 'diffeo')])
def test_a_field_of_zeros_is_no_deformation_whatever_was_asked_for(run, heads, words):
    code, told, said = run('-q', *words, program=Pretended(np.zeros_like(heads.displacement())))
    assert code == 0
    assert told['decision'] == {
        'kept': 'affine',
        'better': 'affine',
        'found_mm': 0,
        'reason': 'no deformation was found: the largest displacement in the brain is 0 mm',
    }
    assert 'affine kept' in said
    assert judge({'result': told}).checks['deformation_found'].status == 'CHECK'


@pytest.mark.slow
def test_keep_holds_for_our_own_methods(heads, tmp_path):
    """A preset made to do harm: little regularity, and intensities compared that are not the same."""
    words = [heads.paths['fixed'], heads.paths['moving'], '--affine', heads.paths['affine'], '--device', 'cpu', '-q']
    words += ['--set', 'similarity=ssd', '--set', 'levels=10:10', '--set', 'loosened=', '--set', 'regularity=h1:0.1']
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
    folding = heads.displacement()
    folding[16:19, 18:22, 15:18, 0] += 30
    code, told, said = run('-q', '--keep', 'diffeo', program=Pretended(folding))
    assert code == 0
    assert told['jacobian']['folds'] > 10
    assert [event['event'] for event in told['events']] == ['ProgramEnded', 'InverseMissing', 'FieldFolds']
    assert 'gives no inverse, and the field has none' in said
    assert 'the deformation folds at' in said
    assert f'{told["jacobian"]["folds"]} folds' in said


def test_a_file_in_the_place_of_the_folder_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / 'out').write_text('mine')
    words = [str(tmp_path / 'none.nii'), str(tmp_path / 'none.nii'), '--method', 'pretended', '--overwrite']
    assert cli.main([*words, '--out', str(tmp_path / 'out')], {'pretended': Pretended()}) == 2
    assert 'out exists and is no folder' in capsys.readouterr().err
    assert (tmp_path / 'out').read_text() == 'mine'


def test_memory_of_a_gpu_is_told_only_where_one_is_used():
    assert list(results.peak_memory_mb('cpu')) == ['peak_memory_mb']


@pytest.mark.parametrize(('keep', 'kept'), [('better', 'affine'), ('diffeo', 'diffeo')])
def test_a_decision_says_what_the_evidence_says_whatever_was_asked_for(keep, kept):
    good = Evidence(mind_heldout=0.03, mi=0.5, nmi=1.1, edge_correlation=0.6)
    bad = Evidence(mind_heldout=0.06, mi=0.4, nmi=1.0, edge_correlation=0.5)
    decision = results.decide(keep, {'before': None, 'affine': good, 'diffeo': bad}, 2.5)
    assert (decision['kept'], decision['better'], decision['found_mm']) == (kept, 'affine', 2.5)
    assert decision['reason'].startswith('--keep diffeo was asked for; ') == (keep == 'diffeo')
