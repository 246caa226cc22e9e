"""Ratios beside the pairs they are of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bidsreg.bids.names import RATIO_FAILURE, RATIO_KINDS, pair_outputs, ratio_path, sidecar
from bidsreg.bids.pairs import Plan, find_pairs
from bidsreg.bids.publish import is_complete, read_qc
from bidsreg.bids.ratios import (
    RatioWork,
    find_ratios,
    note_failed_ratio,
    noted_failure,
    publish_ratio,
    why_without_ratio,
)
from bidsreg.outcome import Cause, Failure
from tests.fake_ratios import MADE


def put(pair, settings):
    image = pair_outputs(pair, settings.output_dir)['fixed_preproc']
    return publish_ratio(image, pair, settings, {**MADE, 'kind': settings.ratio}, {'ratio': 2.0}, {})


def test_one_for_each_pair_that_has_one(settings):
    plan: Plan = find_pairs(settings)
    assert find_ratios(plan, settings) == []
    asked = replace(settings, ratio='uncalibrated')
    units = find_ratios(plan, asked)
    assert [unit.pair for unit in units] == list(plan.pairs)
    names = {unit.name for unit in units} | {pair.name for pair in plan.pairs}
    nodes = {unit.node_name for unit in units} | {pair.node_name for pair in plan.pairs}
    assert len(names) == len(nodes) == 2 * len(plan.pairs)
    assert (units[0].subject, units[0].session) == (plan.pairs[0].subject, plan.pairs[0].session)


def test_both_kinds_stay_while_nothing_else_changes_and_go_with_other_settings(pair, settings, finish):
    finish(pair, settings)
    paths = [ratio_path(pair.entities, settings.output_dir, kind) for kind in RATIO_KINDS]
    for kind, path in zip(RATIO_KINDS, paths, strict=True):
        asked = replace(settings, ratio=kind)
        assert why_without_ratio(pair, asked) == f'{path.name} is missing'
        assert put(pair, asked) == path
        assert why_without_ratio(pair, asked) is None
        assert is_complete(pair, asked)
    assert all(path.is_file() and sidecar(path).is_file() for path in paths)
    qc = read_qc(pair, settings)
    assert (qc['ratio']['kind'], qc['seconds_per_step']) == (RATIO_KINDS[-1], {'ratio': {'ratio': 2.0}})
    finish(pair, settings)
    assert all(path.is_file() for path in paths), 'the same settings, the same map'
    assert why_without_ratio(pair, replace(settings, ratio=RATIO_KINDS[0])) == 'the QC file does not tell of it'
    other = replace(settings, random_seed=1)
    assert 'other settings' in why_without_ratio(pair, replace(other, ratio=RATIO_KINDS[0]))
    finish(pair, other)
    assert not any(path.is_file() or sidecar(path).is_file() for path in paths)


def test_a_failure_is_noted_and_forgotten_when_it_is_mended(pair, settings, finish):
    finish(pair, settings, numbers=1)
    asked = replace(settings, ratio='calibrated')
    failure = Failure(Cause.BAD_INPUT, 'eyes are not found', 'ratio_wf.ratio')
    note_failed_ratio(pair, asked, failure)
    assert noted_failure(pair, asked) == failure
    assert noted_failure(pair, replace(settings, ratio='uncalibrated')) is None
    assert is_complete(pair, asked)
    assert read_qc(pair, asked)['numbers'] == 1
    put(pair, asked)
    assert noted_failure(pair, asked) is None
    assert RATIO_FAILURE not in read_qc(pair, asked)


def test_a_note_that_holds_anything_is_read(pair, settings, finish):
    finish(pair, settings)
    asked = replace(settings, ratio='calibrated')
    path = pair_outputs(pair, settings.output_dir)['qc']
    for noted, expected in (
        ({'kind': 'calibrated', 'cause': ['x'], 'detail': 3}, Failure(Cause.FAILED, '3', '?')),
        ([1], None),
        ('words', None),
    ):
        path.write_text(json.dumps({**read_qc(pair, settings), RATIO_FAILURE: noted}))
        assert noted_failure(pair, asked) == expected


def test_a_pair_that_is_not_finished_gets_no_ratio(pair, settings, finish):
    asked = replace(settings, ratio='calibrated')
    finish(pair, settings)
    pair_outputs(pair, settings.output_dir)['qc'].unlink()
    with pytest.raises(FileNotFoundError, match='is not finished'):
        put(pair, asked)
    note_failed_ratio(pair, asked, Failure(Cause.FAILED))
    assert not pair_outputs(pair, settings.output_dir)['qc'].exists()
    assert not ratio_path(pair.entities, settings.output_dir, 'calibrated').exists()
    assert RatioWork(pair).pair is pair
