"""One damaged file costs what it is about and not the page, and no text of a file becomes a tag."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from bidsreg.bids.pairs import Plan
from bidsreg.reports.record import PairRecord, collect
from bidsreg.reports.study import read_study
from bidsreg.reports.study_page import page, write_study
from bidsreg.reports.subject import _usable, write_subject
from bidsreg.reports.texts_files import files_section
from bidsreg.reports.texts_numbers import numbers_section
from bidsreg.reports.texts_pair import facts_section
from bidsreg.settings import Settings
from tests.reports.hostile import DAMAGE, MARK, good_facts, marked, places, qc_path, replaced, write_outcomes

FACTS = good_facts('sub-01')
PLACES = list(places(FACTS))
#: Of all places one in so many in the default run, others with each damage; all in the slow one.
STEPS = [23, pytest.param(1, marks=pytest.mark.slow)]


def damaged_files(kind, step):
    """Texts of QC files, each with one damage."""
    for path in PLACES[list(DAMAGE).index(kind) % step :: step]:
        yield replaced(FACTS, path, DAMAGE[kind])


@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('kind', DAMAGE)
def test_a_damaged_file_costs_its_row(tmp_path, kind, step):
    """Values of a QC file in turn, and two sound pairs beside them."""
    files = {name: json.dumps(good_facts(name)) for name in ('sub-good1', 'sub-good2')}
    files |= {f'sub-{number:04d}': text for number, text in enumerate(damaged_files(kind, step))}
    for name, text in files.items():
        qc_path(tmp_path, name).parent.mkdir(parents=True)
        qc_path(tmp_path, name).write_text(text)
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path)
    study = read_study(settings)
    assert {row.name for row in study.rows} == set(files)
    good = [row for row in study.rows if row.name.startswith('sub-good')]
    assert [(row.status, row.judgement) for row in good] == [('done', 'PASS'), ('done', 'PASS')]
    write_study(study, settings)
    lines = (tmp_path / 'group_registration.tsv').read_text().splitlines()
    assert {line.count('\t') for line in lines} == {lines[0].count('\t')}
    assert len(lines) == len(files) + 1
    table = pd.read_csv(tmp_path / 'group_registration.tsv', sep='\t')
    assert len(table) == len(files)


@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('kind', DAMAGE)
def test_a_damaged_file_costs_its_section(tmp_path, kind, step):
    """On the page of a subject: everything that is told of a pair, whatever its QC file holds."""
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path)
    (tmp_path / 'sub-01' / 'anat').mkdir(parents=True)
    plan = Plan((), (), {})
    for text in damaged_files(kind, step):
        qc_path(tmp_path, 'sub-01').write_text(text)
        for record in map(_usable, collect('01', settings, plan, ())):
            said = [facts_section(record, settings), numbers_section(record), files_section('01', plan, [record])]
            assert all(said) or record.unusable


def test_the_page_says_that_a_file_is_damaged(finished):
    content = json.loads(finished.outputs['qc'].read_text())
    content['result']['evidence'] = ['no', 'mapping']
    finished.outputs['qc'].write_text(json.dumps(content))
    text = write_subject('01', finished.settings, finished.plan, ()).read_text()
    assert 'Nothing of this pair can be told: its QC file holds what no QC file holds' in text
    assert 'Every T1w and T2w of this subject' in text


def test_no_text_of_a_qc_file_is_a_tag(tmp_path):
    """Every text and every key of it, in all that is told of a pair."""
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path)
    record = PairRecord('sub-01', {'subject': '01'}, qc=marked(good_facts('sub-01')), complete=True)
    plan = Plan((), (), {})
    text = ''.join([facts_section(record, settings), numbers_section(record), files_section('01', plan, [record])])
    assert text.count('&lt;script&gt;') > 20
    for tag in ('<script', '<img', '<b id'):
        assert tag not in text


def test_no_text_of_any_file_is_a_tag_on_the_study_page(tmp_path):
    for name in ('sub-01', 'sub-02'):
        qc_path(tmp_path, name).parent.mkdir(parents=True)
        content = good_facts(name)
        # a key with markup costs the row: the texts alone are to be seen here
        content |= {
            key: marked(content[key]) for key in ('mask_method', 'prealign_start', 'fingerprint', 't1w_findings')
        }
        content['alternatives'] |= dict.fromkeys(('best_shift', 'best_turn'), MARK)
        qc_path(tmp_path, name).write_text(json.dumps(content))
    write_outcomes(tmp_path, '03', 'sub-03')
    (tmp_path / 'dataset_description.json').write_text(json.dumps({'Name': MARK}))
    row = ['04', '', '', f'sub-04_acq-{MARK}_T2w.nii.gz', 'left out', MARK]
    table = [['subject', 'session', 't1w', 't2w', 'decision', 'reason'], row]
    (tmp_path / 'logs' / 'pairs.tsv').write_text('\n'.join('\t'.join(line) for line in table).replace('"', ''))
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path)
    study = read_study(settings)
    assert {'done', 'failed', 'left out'} <= {row.status for row in study.rows}
    text = page(study, settings)
    assert text.count('<script') == 2
    for tag in ('<img', '<b id', 'onerror="window'):
        assert tag not in text
    tsv = write_study(study, settings).with_suffix('.tsv').read_text()
    assert '"' not in tsv


def test_infinite_margins_are_no_numbers_to_draw(tmp_path):
    name = 'sub-01'
    content = good_facts(name)
    content['alternatives'] |= dict.fromkeys(('shift_margin', 'turn_margin', 'mirror_margin'), math.inf)
    qc_path(tmp_path, name).parent.mkdir(parents=True)
    qc_path(tmp_path, name).write_text(json.dumps(content))
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path)
    write_study(read_study(settings), settings)
