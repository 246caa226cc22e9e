"""The subject page: complete, whole, offline, and honest about what failed."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.outcome import Outcome
from bidsreg.reports import drawings, write_reports
from bidsreg.reports.pictures import PICTURES, picture_path
from bidsreg.reports.record import collect
from bidsreg.settings import Settings
from tests import data
from tests.reports.results import RESULT


def make_derivatives(settings, pair, picture):
    """What a finished pair leaves, as far as the report reads it."""
    outputs = pair_outputs(pair, settings.output_dir)
    outputs['qc'].parent.mkdir(parents=True, exist_ok=True)
    marker = {
        'pair': pair.name,
        'fingerprint': settings.fingerprint(),
        'sources': {'bids:raw:a': [1, 2], 'bids:raw:b': [1, 2]},
        'mask_method': 'deepbet, as the background is not zero',
        't1w_findings': ['qform and sform disagree; the sform is used'],
        'masks': {'t1w_ml': 1432.5, 't2w_ml': 1440.0},
        'edge_lncc': {'before': 0.1234, 'affine': 0.2345, 'registered': 0.3456},
        'affine': {
            'rotation_deg': [4.0, -3.0, 5.0],
            'translation_mm': [3.0, -4.25, 2.0],
            'scales': [1.0, 1.01, 0.99],
            'shears': [0.0, 0.002, 0.0],
        },
        'seconds_per_step': {'masking': {'brain_mask': 12.5, 'n4': 20.0}},
        'result': RESULT,
    }
    outputs['qc'].write_text(json.dumps(marker))
    for name in PICTURES:
        path = picture_path(pair, settings.output_dir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture)


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    head = data.head((20, 24, 20))
    return drawings.flicker(head.scan, head.scan, head.mask, tmp_path_factory.mktemp('f') / 'f.svg').read_text()


def make_run(folder, picture):
    """Lay out a dataset with a finished session, a failed one, a broken file, and a subject with only a T1w."""
    subjects = {
        '01': {'1': ['T1w', 'run-1_T2w', 'run-2_T2w'], '2': ['T1w', 'acq-bad_T1w', 'T2w']},
        '02': {None: ['T1w', 'T2w']},
        '03': {None: ['T1w']},
    }
    root = data.write_dataset(folder / 'data & <odd> näme', subjects)
    settings = Settings(bids_dir=root, output_dir=folder / 'out put', work_dir=folder / 'work', run_uuid='run1')
    plan = find_pairs(settings)
    crash = settings.output_dir / 'logs' / 'run1' / 'crash-20260101-1-a-register-x.txt'
    crash.parent.mkdir(parents=True)
    crash.write_text('Node: bidsreg_wf.pair_sub_01_ses_2.register\n\nTraceback\nValueError: <the> real & only cause\n')
    outcomes = []
    for pair in plan.pairs:
        if pair.session == '2':
            cause = 'ValueError: <the> real & only cause'
            outcomes.append(Outcome(pair.name, pair.subject, '2', 'failed', 'register', cause, crash))
        else:
            make_derivatives(settings, pair, picture)
            outcomes.append(Outcome(pair.name, pair.subject, pair.session, 'done'))
    outcomes.append(Outcome('', '03', None, 'no pair', detail='only T1w, no T2w'))
    return settings, plan, tuple(outcomes)


@pytest.fixture
def run(tmp_path, picture):
    return make_run(tmp_path, picture)


class Page(HTMLParser):
    """What a page loads, its links and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads, self.links, self.ids, self.headings, self.text = [], [], [], [], ''
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [attrs[key] for key in ('src', 'data') if key in attrs]
        if tag == 'link':
            self.loads.append(attrs['href'])
        if tag == 'a':
            self.links.append(attrs['href'])
        if 'id' in attrs:
            self.ids.append(attrs['id'])
        if tag == 'br':
            self.text += ' '

    def handle_data(self, data):
        self.text += data


def test_pages_of_done_and_failed_pairs(run):
    settings, plan, outcomes = run
    pages = write_reports(settings, plan, outcomes)
    assert [page.name for page in pages] == ['sub-01.html', 'sub-02.html']
    for page in pages:
        said = Page(page)
        assert said.loads, 'there are figures'
        for where in said.loads:
            if where == 'data:,':  # the icon that a browser would ask for
                continue
            assert where.startswith('./sub-')
            assert (page.parent / where).is_file()
        for link in said.links:
            assert link[1:] in said.ids if link.startswith('#') else (page.parent / link).is_file()
        assert not re.search(r'(src|data|href)="(https?:)?//', page.read_text())
        assert '@import' not in page.read_text()
        assert len(set(said.ids)) == len(said.ids)
    one = Page(pages[0])
    assert one.ids == [
        'Summary',
        'sub-01_ses-1_run-1',
        'sub-01_ses-1_run-2',
        'sub-01_ses-2',
        'Methods',
        'methods-text',
        'Errors',
    ]
    text = ' '.join(one.text.split())
    assert text.count('<the> real & only cause') >= 4, 'in the summary, the section, the crash message and the errors'
    for words in (
        'This pair failed',
        'Kept: the deformation.',
        'two of two kinds',
        'qform and sform disagree',
        'the only T1w of the session',
        '3 of 4 measures better',
        'another T1w',
        'MIND distance',
        '0.073',
        'mean 0.012',
        'local edge correlation0.12340.23450.3456',
        'ses-1 run-2',
        'Neural ordinary differential equations',
        'deepbet, as the background is not zero',
        '16 × 18 × 16 voxels',
        'T1w 1432 ml',
        '-4.25',
        'masking brain_mask12.5 masking n420.0 together32.5',
        '1834 MB',
        'solve: 60.5',
        '4 mm, weights x 1: 40 iterations, all iterations are done',
    ):
        assert words in text, words
    two = Page(pages[1])
    assert 'No errors.' in two.text
    assert 'ses-' not in two.text
    assert not list(settings.output_dir.glob('.sub-*')), 'nothing temporary is left'


def test_rebuilt_from_the_derivatives_alone(run, tmp_path):
    """Later, in another run, with no outcomes: the same pairs, and still the reason why one failed."""
    settings, plan, outcomes = run
    first = [page.read_text() for page in write_reports(settings, plan, outcomes)]
    again = [page.read_text() for page in write_reports(settings, plan, ())]
    assert again == first
    empty = type(plan)((plan.pairs[0],), (), {})
    page = Page(write_reports(settings, empty, ())[0])
    assert 'sub-01_ses-1_run-2' in page.ids, 'a finished pair that is not in the plan of today'
    assert 'sub-01_ses-2' in page.ids, 'and one that failed'
    assert '<the> real & only cause' in ' '.join(page.text.split())


def test_failure_is_found_in_the_logs_when_nobody_tells(run):
    settings, plan, _ = run
    page = Page(write_reports(settings, plan, ())[0])
    text = ' '.join(page.text.split())
    assert 'This pair is not done' in text
    assert '<the> real & only cause' in text


def test_reports_only_keeps_a_cause_that_left_no_crash_file(run):
    settings, plan, outcomes = run
    bad = next(outcome for outcome in outcomes if outcome.status == 'failed')
    write_reports(settings, plan, [dataclasses.replace(bad, step='check', detail='zero bytes', crash_file=None)])
    later = dataclasses.replace(bad, step='run', detail='not done yet', crash_file=None)
    again = dataclasses.replace(settings, reports_only=True)
    text = Page(write_reports(again, plan, [later])[0]).text
    assert 'zero bytes' in text
    assert 'not done yet' not in text
    assert 'not done yet' in Page(write_reports(settings, plan, [later])[0]).text


def test_mended_failure_is_forgotten(run, picture):
    settings, plan, outcomes = run
    write_reports(settings, plan, outcomes)
    (bad,) = (pair for pair in plan.pairs if pair.session == '2')
    make_derivatives(settings, bad, picture)
    outcomes = [Outcome(pair.name, pair.subject, pair.session, 'done') for pair in plan.pairs]
    text = Page(write_reports(settings, plan, outcomes)[0]).text
    assert 'No errors.' in text
    assert 'real & only cause' not in text


def test_affine_kept_folds_and_old_settings_are_said(run):
    settings, plan, _ = run
    pair = plan.pairs[0]
    path = pair_outputs(pair, settings.output_dir)['qc']
    qc = json.loads(path.read_text())
    qc['fingerprint'] = 'another'
    qc['result'] |= {'decision': {'kept': 'affine', 'reason': 'the edges got worse'}, 'jacobian': {'folds': 12}}
    path.write_text(json.dumps(qc))
    text = Page(write_reports(settings, plan, ())[0]).text
    assert 'Kept: the affine.' in text
    assert 'local edge correlation0.12340.2345–' in ' '.join(text.split())
    assert 'the edges got worse' in text
    assert 'affine kept, 12 folds' in text
    assert '12 folds, 3 of 4' not in text  # praise of a deformation that was not kept
    assert '12 voxels are folded' in text
    assert 'other settings' in text


def test_the_verdict_is_at_the_top_and_says_why(run, tmp_path):
    settings, plan, outcomes = run
    text = ' '.join(Page(write_reports(settings, plan, outcomes)[0]).text.split())
    top = text[: text.index('ses-1 run-1', text.index('Why'))]
    assert 'ses-1 run-1 PASS done' in top
    assert 'ses-2 FAIL failed' in top
    assert 'All numbers lie within their thresholds.' in text
    assert 'SD of log Jacobian0.051PASSCHECK above 0.35, FAIL above 0.8' in text
    # other thresholds judge what is there again
    (tmp_path / 'strict.toml').write_text('[displacement]\ncheck_above = 1\nfail_above = 2\n')
    strict = dataclasses.replace(settings, qc_thresholds=tmp_path / 'strict.toml')
    text = ' '.join(Page(write_reports(strict, plan, outcomes)[0]).text.split())
    assert 'ses-1 run-1 FAIL done sub-01_ses-1_run-1_T2w.nii.gz to sub-01_ses-1_T1w.nii.gz' in text
    assert 'The deformation moves the brain by 2.6 mm' in text[: text.index('Every T1w and T2w')]
    assert 'All numbers lie' not in text


def test_a_pair_without_numbers_has_no_verdict(run):
    settings, plan, _ = run
    path = pair_outputs(plan.pairs[0], settings.output_dir)['qc']
    path.write_text(json.dumps({'pair': plan.pairs[0].name, 'result': {'jacobian': {'sdlogj': 'lots'}}}))
    text = ' '.join(Page(write_reports(settings, plan, ())[0]).text.split())
    assert 'ses-1 run-1 – done' in text


def test_no_evidence_from_before_is_said(run):
    """Where the headers place the brains apart there is nothing to measure before the alignment."""
    settings, plan, _ = run
    path = pair_outputs(plan.pairs[0], settings.output_dir)['qc']
    qc = json.loads(path.read_text())
    qc['result']['evidence']['before'] = None
    path.write_text(json.dumps(qc))
    text = ' '.join(Page(write_reports(settings, plan, ())[0]).text.split())
    assert 'the headers place the two brains apart' in text
    assert 'Measureaffinedeformable' in text


def test_broken_qc_and_missing_figures_still_make_a_page(run):
    settings, plan, outcomes = run
    pair = plan.pairs[0]
    pair_outputs(pair, settings.output_dir)['qc'].write_text('{"pair": ')
    for path in (settings.output_dir / 'sub-01' / 'figures').glob('*before*'):
        path.unlink()
    pair.fixed.write_bytes(b'')
    page = Page(write_reports(settings, plan, outcomes)[0])
    assert pair.name in page.ids


def test_loss_curve_is_drawn_when_it_is_missing(run):
    settings, plan, outcomes = run
    path = picture_path(plan.pairs[0], settings.output_dir, 'loss')
    path.unlink()
    write_reports(settings, plan, outcomes)
    assert path.is_file()


def test_one_bad_page_does_not_cost_the_others(run):
    settings, plan, outcomes = run
    (settings.output_dir / 'sub-01.html').mkdir()
    with pytest.raises(RuntimeError, match='sub-01'):
        write_reports(settings, plan, outcomes)
    assert (settings.output_dir / 'sub-02.html').is_file()


def test_sessions_and_runs_are_in_order(tmp_path):
    """In the order in which people count: run 2 comes before run 10."""
    scans = {'2': ['T1w', 'T2w'], '1': ['T1w', 'run-10_T2w', 'run-2_T2w']}
    root = data.write_dataset(tmp_path / 'raw', {'01': scans})
    settings = Settings(bids_dir=root, output_dir=tmp_path / 'out')
    names = [record.name for record in collect('01', settings, find_pairs(settings), ())]
    assert names == ['sub-01_ses-1_run-2', 'sub-01_ses-1_run-10', 'sub-01_ses-2']
