"""Which cases are wrong, which of them judge, and how sure the shares are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import verdicts
from scipy.stats import binomtest

from tests.qc.good import GOOD


@pytest.mark.parametrize(('hits', 'of'), [(0, 30), (1, 30), (15, 30), (30, 30), (3, 400)])
def test_the_interval_is_wilsons(hits, of):
    expected = binomtest(hits, of).proportion_ci(method='wilson')
    assert verdicts.wilson(hits, of) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(
    ('wrong', 'error', 'truth'),
    [
        (True, 0.1, True),
        (None, 0.3, False),
        (None, 1.7, None),
        (None, 4.0, True),
        (None, None, None),
        (False, 9, False),
    ],
)
def test_kind_and_error_tell_what_is_wrong(wrong, error, truth):
    assert verdicts.truth_of({'kind': 'plain', 'wrong': wrong, 'error_mm': error}) is truth


def test_a_spoilt_affine_that_was_made_up_for_is_neither():
    case = {'kind': 'shift of 5 mm', 'wrong': None}
    assert [verdicts.truth_of(case | {'error_mm': error}) for error in (0.5, 1.7, 4.0)] == [None, None, True]
    case['kind'] = 'real, turn by 12°'
    assert verdicts.truth_of(case | {'error_mm': 0.5}) is None


def test_a_case_that_was_refused_fails(tmp_path, capsys):
    folder = tmp_path / 'a'
    folder.mkdir()
    case = {'kind': 'noise alone', 'head': 2, 'wrong': True, 'error_mm': None, 'refused': 'they do not overlap'}
    (folder / 'case.json').write_text(json.dumps(case))
    verdicts.main([str(tmp_path), str(tmp_path), '--judge'])
    assert '| noise alone | 1 | 1 | 0 | 0 | 1 |  |' in capsys.readouterr().out
    assert (tmp_path / 'cases.tsv').read_text().splitlines()[1] == 'noise alone\t2\tjudges\tyes\tFAIL\tn/a'


def test_as_many_odd_heads_as_even_ones():
    paths = [Path(f'anat-{k:02d}_dseg.nii.gz') for k in range(1, 13)]
    for number, kind in enumerate(verdicts.KINDS.values()):
        chosen = verdicts.heads_of(number, kind, paths, None, verdicts.ROLES)
        judges = verdicts.heads_of(number, kind, paths, None, ['judges'])
        assert judges == [at for at in chosen if at % 2]  # heads 02, 04, ...
        assert len(set(chosen)) == len(chosen) == min(kind.heads, 12)
        assert sum(at % 2 for at in chosen) == len(chosen) / 2


def test_the_tables_name_what_was_missed(tmp_path, capsys):
    wrong = json.loads(json.dumps(GOOD))
    wrong['alternatives']['person_margin'] = 0.0
    for name, head, is_wrong, facts in (('a', 1, False, GOOD), ('b', 2, True, wrong), ('c', 2, True, GOOD)):
        folder = tmp_path / name
        folder.mkdir()
        case = {'kind': f'kind {name}', 'head': head, 'wrong': is_wrong, 'error_mm': None}
        (folder / 'case.json').write_text(json.dumps(case))
        (folder / 'facts.json').write_text(json.dumps(facts))
    verdicts.main([str(tmp_path), str(tmp_path), '--judge'])
    said = capsys.readouterr().out
    assert '| kind b | 1 | 1 | 0 | 1 | 0 | `person_margin` 1 |' in said
    assert '1 of 2 (50 %, 9 to 91 %)' in said
    assert 'kind c, head 2 (judges): PASS.' in said
    assert 'kind a, head' not in said


def test_each_contrast_has_a_row_of_its_own(tmp_path, capsys):
    flair = {**GOOD, 'contrasts': {'fixed': 'T1w', 'moving': 'FLAIR'}}
    for name, contrast, facts in (('a', 'FLAIR', flair), ('b', 'T2w', GOOD)):
        folder = tmp_path / name
        folder.mkdir()
        case = {'kind': name, 'head': 2, 'wrong': False, 'error_mm': None, 'contrast': contrast}
        (folder / 'case.json').write_text(json.dumps(case))
        (folder / 'facts.json').write_text(json.dumps(facts))
    verdicts.main([str(tmp_path), str(tmp_path), '--judge'])
    rows = [line.split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('| that judge')]
    assert [cells[0] for cells in rows] == ['| that judge', '| that judge, T2w', '| that judge, FLAIR']
    assert [cells[3].split(' (')[0] for cells in rows] == ['0 of 2', '0 of 1', '0 of 1']
