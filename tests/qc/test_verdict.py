"""The verdict's thresholds, sentences and bad files; the dictionary of the QC file."""

from __future__ import annotations

import json
import math
import tomllib
from importlib import resources

import pytest

from bidsreg.bids.names import Contrasts
from bidsreg.errors import InputError
from bidsreg.qc.verdict import CHECKS, judge, read_thresholds
from tests.qc.good import GOOD


def changed(path: str, value) -> dict:
    facts = json.loads(json.dumps(GOOD))
    *parents, last = path.split('.')
    inner = facts
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return facts


def write(tmp_path, text: str):
    path = tmp_path / 'mine.toml'
    path.write_text(text)
    return path


def test_good_numbers_pass_every_check():
    verdict = judge(GOOD)
    assert (verdict.status, verdict.reasons) == ('PASS', [])
    assert set(verdict.checks) == set(CHECKS)


@pytest.mark.parametrize(
    ('path', 'check', 'fail', 'words'),
    [
        ('overlap.mask_dice.affine', 0.9, 0.7, 'Dice of only'),
        ('overlap.brain_in_view.affine', 0.9, 0.5, 'field of view'),
        ('overlap.brain_with_signal', 0.8, 0.5, 'part of it is missing'),
        ('alternatives.shift_margin', 0.05, -0.5, 'T2w 5 mm to the left'),
        ('alternatives.turn_margin', 0.05, -0.5, 'turned by +10° about the feet-head axis'),
        ('alternatives.mirror_margin', 0.05, -2.0, 'mirrored left-right'),
        ('alternatives.person_margin', 0.05, -0.5, 'as those of two people do'),
        ('mask_evidence.both_halves', 0.8, 0.1, 'to one side'),
        ('mask_evidence.width_share', 0.65, 0.4, 'as wide as the head'),
        ('mask_evidence.brain_around', 0.8, 0.97, 'leaves out brain'),
        ('masks.t1w_ml', 500, 100, 'whole brain'),
        ('masks.t1w_ml', 2500, 5000, 'more than the brain'),
        ('affine.stretches', [1, 1.05, 1], [1, 0.7, 1], 'changes the size by'),
        ('affine.shears', [0, -0.1, 0], [0, -0.3, 0], 'shears the brain'),
        ('result.evidence.diffeo.mi', 0.18, 0.1, 'agree less after the registration'),
        ('result.jacobian.sdlogj', 0.5, 1.0, 'SD of the log Jacobian'),
        ('result.jacobian.folds_percent', 0.01, 1.0, 'not a diffeomorphism'),
        ('result.displacement_mm.p95', 8.0, 20.0, '95th percentile'),
        ('result.inverse_consistency_mm.p99', 1.0, 5.0, 'do not rely on the inverse'),
    ],
)
def test_each_check_turns_alone_and_says_why(path, check, fail, words):
    for status, value in (('CHECK', check), ('FAIL', fail)):
        verdict = judge(changed(path, value))
        assert verdict.status == status
        [reason] = verdict.reasons
        assert words in reason
        assert sum(item.status != 'PASS' for item in verdict.checks.values()) == 1


def test_sentences_and_titles_speak_of_the_contrasts_of_the_pair():
    bad = {'overlap': {'brain_in_view': {'affine': 0.9}}}
    for contrasts, fixed, moving in (({}, 'T1w', 'T2w'), ({'fixed': 'T2w', 'moving': 'FLAIR'}, 'T2w', 'FLAIR')):
        facts = {**bad, 'contrasts': contrasts} if contrasts else bad
        [found] = judge(facts).checks.values()
        assert found.title == f"{fixed}'s brain in the view of the {moving}"
        assert f'field of view of the {moving}' in found.sentence
    facts = {**GOOD, 'contrasts': {'fixed': 'T1w', 'moving': 'FLAIR'}}
    assert not any('T2w' in check.title for check in judge(facts).checks.values())


def test_a_flair_may_look_like_a_t1w():
    alike = {**GOOD, 'contrast': 0.8}
    assert judge(alike).checks['contrast'].status == 'CHECK'
    for contrasts, spoken in ((('T1w', 'FLAIR'), False), (('T1w', 'PDw'), True), (('T2w', 'FLAIR'), True)):
        verdict = judge({**alike, 'contrasts': {'fixed': contrasts[0], 'moving': contrasts[1]}})
        assert ('contrast' in verdict.checks) == spoken
        assert (verdict.status == 'PASS') == (not spoken)
    assert not CHECKS['contrast'].speaks(Contrasts('FLAIR', 'T1w'))


def test_a_copy_of_the_t1w_is_no_flair():
    copy = {**GOOD, 'contrasts': {'fixed': 'T1w', 'moving': 'FLAIR'}, 'contrast': 1.0, 'tissue_contrast': 1.0}
    verdict = judge(copy)
    assert [name for name, check in verdict.checks.items() if check.sentence] == ['tissue_contrast']
    assert verdict.status == 'CHECK'
    assert 'look alike in the T1w and the FLAIR' in verdict.reasons[0]


def test_the_volume_is_that_of_the_fixed_mask():
    facts = {'masks': {'t1w_ml': 100.0, 't2w_ml': 1400.0}}
    assert judge(facts).status == 'FAIL'
    turned = {**facts, 'contrasts': {'fixed': 'T2w', 'moving': 'T1w'}}
    assert judge(turned).checks['brain_volume_small'].value == 1400
    assert judge(turned).status == 'PASS'
    assert CHECKS['brain_volume_small'].value.path_of(Contrasts('T2w', 'FLAIR')) == 'masks.t2w_ml'
    assert CHECKS['depth_contrast'].name(Contrasts('T2w', 'T1w')) == 'White matter brighter in the T1w than in the T2w'


def test_the_sentence_of_a_margin_knows_its_sign():
    for value, words in ((0.05, 'agree almost as well with'), (-0.05, 'agree better with')):
        assert words in judge(changed('alternatives.mirror_margin', value)).reasons[0]


def test_scans_that_look_alike_are_to_be_checked_and_never_a_fail():
    verdict = judge(changed('contrast', 0.99))
    assert verdict.status == 'CHECK'
    assert 'contrasts of the two scans look alike' in verdict.reasons[0]


@pytest.mark.parametrize(
    ('path', 'value', 'words'),
    [
        ('mask_evidence.second_dice', 0.0, 'which of them is wrong'),
        ('mask_evidence.second_beyond', 0.1, 'lacks a piece'),
        ('mask_evidence.dark_inside', 0.5, 'more than the brain, such as parts of the face'),
        ('mask_evidence.beside_mm', 30.0, 'whether it leaves out brain'),
        ('mask_evidence.on_grid_edge', 1.0, 'ends where the T1w ends'),
        ('depth_contrast', -1.0, 'exchanged'),
        ('tissue_contrast', 1.0, 'look alike in the T1w and the T2w'),
        ('result.decision.found_mm', 0.0, 'No deformation was found'),
    ],
)
def test_what_does_not_say_which_of_two_is_wrong_is_never_a_fail(path, value, words):
    verdict = judge(changed(path, value))
    assert verdict.status == 'CHECK'
    assert words in verdict.reasons[0]


def test_scales_of_files_without_stretches_are_judged():
    facts = changed('affine.scales', [1, 1.05, 1])
    del facts['affine']['stretches']
    assert judge(facts).checks['scale'].status == 'CHECK'


def test_a_large_turn_is_never_a_fail():
    assert judge(changed('affine.rotation_total_deg', 179.0)).status == 'CHECK'


def test_the_worst_check_decides_and_comes_first():
    facts = changed('result.jacobian.sdlogj', 0.5)
    facts['overlap']['mask_dice']['affine'] = 0.95
    facts['result']['inverse_consistency_mm']['p99'] = 9.0
    verdict = judge(facts)
    assert verdict.status == 'FAIL'
    assert ['Forth and back' in reason for reason in verdict.reasons] == [True, False]


def test_a_threshold_itself_is_good():
    limit = read_thresholds()['mask_dice']
    assert [limit.status(value) for value in (limit.check, limit.check - 1e-9, limit.fail, limit.fail - 1e-9)] == [
        'PASS',
        'CHECK',
        'CHECK',
        'FAIL',
    ]


@pytest.mark.parametrize('missing', [None, 'not a number', True])
def test_what_was_not_measured_is_not_judged(missing):
    verdict = judge(changed('overlap.mask_dice.affine', missing))
    assert 'mask_dice' not in verdict.checks
    assert verdict.status == 'PASS'


def test_headers_that_place_the_scans_apart_are_no_fault():
    verdict = judge(changed('result.evidence.before', None))
    assert verdict.status == 'PASS'
    assert 'gain' not in verdict.checks


def test_what_is_kept_is_compared_with_the_headers():
    facts = changed('result.evidence.affine.mi', 0.15)
    assert judge(facts).status == 'PASS', 'a deformation has made up for it'
    facts['result']['decision']['kept'] = 'affine'
    assert judge(facts).checks['gain'].value == pytest.approx(-25)
    assert judge(facts).status == 'FAIL'


def test_not_a_number_is_to_be_looked_at():
    verdict = judge(changed('result.jacobian.sdlogj', math.nan))
    assert verdict.status == 'CHECK'
    assert verdict.reasons == ['SD of log Jacobian: it could not be computed.']
    assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False))['checks']['sdlogj']['value'] is None


def test_nothing_to_judge_by():
    with pytest.raises(ValueError, match='no number'):
        judge({'pair': 'sub-01'})


def test_thresholds_of_the_user_come_over_the_usual_ones(tmp_path):
    usual = read_thresholds()
    mine = read_thresholds(
        write(tmp_path, '[displacement]\ncheck_above = 1\n[sdlogj]\ncheck_above=inf\nfail_above=inf')
    )
    assert (mine['displacement'].check, mine['displacement'].fail) == (1, usual['displacement'].fail)
    assert {name for name in usual if usual[name] != mine[name]} == {'displacement', 'sdlogj'}
    verdict = judge(changed('result.jacobian.sdlogj', 100.0), mine)
    assert verdict.status == 'CHECK'
    assert list(filter(None, (item.sentence for item in verdict.checks.values()))) == verdict.reasons
    assert 'moves the brain by 2 mm' in verdict.reasons[0]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[displacment]\ncheck_above = 1', "no check 'displacment'. Did you mean 'displacement'"),
        ('[displacement]\ncheck_over = 1', "no 'check_over'. Did you mean 'check_above'"),
        ('[displacement]\ncheck_above = "1"', "must be a number (inf or -inf: never), not '1'"),
        ('[displacement]\ncheck_above = true', 'must be a number'),
        ('[displacement]\ncheck_above = nan', 'must be a number'),
        ('[displacement]\ncheck_above = 13', 'it would fail before it checks'),
        ('[mask_dice]\ncheck_below = 0.5', 'it would fail before it checks'),
        ('displacement = 3', 'write a table with check_above and fail_above'),
        ('[displacement', 'cannot be read'),
    ],
)
def test_bad_thresholds_are_refused(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_thresholds(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_of_thresholds_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r'nowhere\.toml cannot be read'):
        read_thresholds(tmp_path / 'nowhere.toml')


def test_every_check_has_thresholds_and_is_explained():
    text = resources.files('bidsreg.qc').joinpath('thresholds.toml').read_text(encoding='utf-8')
    assert set(tomllib.loads(text)) == set(CHECKS)
    assert set(read_thresholds()) == set(CHECKS)
