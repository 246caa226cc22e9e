"""Pages in Chromium whose files have markup in every place: no script runs, no tag is made, and the pages work."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from bidsreg.outcome import Cause, Outcome
from bidsreg.reports.pictures import PICTURES, picture_path
from bidsreg.reports.study import read_study
from bidsreg.reports.study_page import write_study
from bidsreg.reports.subject import write_subject
from tests.reports.finished import make_finished
from tests.reports.hostile import MARK, good_facts, marked, qc_path, write_outcomes

#: What markup in a text would have left in a page, or done.
TRACES = """
const attributes = [...document.querySelectorAll('*')].flatMap((element) => [...element.attributes]);
return [window.hit, document.querySelectorAll('#hit, img[src="x"], script:not([id="data"])').length,
        attributes.filter((attribute) => attribute.name.startsWith('on')).length];
"""
EVIL_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>parent.hit = window.hit = 1</script>'
    '<rect width="9" height="9" onload="parent.hit = 1"/></svg>'
)


@pytest.fixture(scope='module')
def hostile(tmp_path_factory):
    """A finished pair, and another that failed, of whose files every text and some keys are markup."""
    done = make_finished(tmp_path_factory.mktemp('hostile'))
    out = done.settings.output_dir
    facts = marked(good_facts('sub-01')) | {'pair': 'sub-01', 'fingerprint': done.settings.fingerprint()}
    done.outputs['qc'].write_text(json.dumps(facts))
    write_outcomes(out, '01', 'sub-01_run-2')
    for name in ('CITATION.md', 'run/crash-1.txt', 'sub-01_run-2_partial.json'):
        path = out / 'logs' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f'# {MARK}\n\n{MARK}\n\n- {MARK}\n'
        path.write_text(json.dumps({**facts, 'pair': 'sub-01_run-2'}) if path.suffix == '.json' else text)
    (out / 'dataset_description.json').write_text(json.dumps({'Name': MARK}))
    for name in PICTURES:
        path = picture_path(done.pair, out, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(EVIL_SVG)
    outcome = Outcome('sub-01', '01', None, 'failed', MARK, MARK, out / 'logs' / 'run' / 'crash-1.txt', Cause.FAILED)
    pair = replace(done.pair, reason=MARK, fixed_mask_reason=MARK)
    return done.settings, replace(done.plan, pairs=(pair,)), outcome


@pytest.mark.parametrize('inside', [False, True])
def test_the_page_of_a_subject(hostile, browser, inside):
    settings, plan, outcome = hostile
    browser.open(write_subject('01', replace(settings, self_contained=inside), plan, [outcome]))
    assert browser.ask(TRACES) == [None, 1, 0]  # our own script is the last of the page
    assert 'This picture is not shown' in browser.ask('return document.body.innerText')
    assert browser.ask('return document.body.innerText').count('<script>') > 20
    assert not browser.complaints()
    button = browser.one('button[data-copy]')
    button.click()
    end = time.time() + 10
    while button.text == 'Copy the text':
        assert time.time() < end, 'our own script does not run'
        time.sleep(0.05)


def test_the_page_of_a_study(hostile, browser):
    settings, _, _ = hostile
    facts = good_facts('sub-02')
    facts |= {key: marked(facts[key]) for key in ('mask_method', 'prealign_start', 'fingerprint', 't2w_findings')}
    facts['alternatives'] |= {'best_shift': MARK, 'mirror_margin': -1}
    qc_path(settings.output_dir, 'sub-02').parent.mkdir(parents=True)
    qc_path(settings.output_dir, 'sub-02').write_text(json.dumps(facts))
    browser.open(write_study(read_study(settings), settings))
    assert browser.ask(TRACES) == [None, 1, 0]
    assert MARK[:20] in browser.ask('return document.body.innerText')
    assert browser.all('.plot svg')  # its own script has drawn
    assert not browser.complaints()


def test_a_script_that_got_in_all_the_same_does_not_run(hostile, browser):
    """The policy is the second lock."""
    settings, plan, outcome = hostile
    for page in (write_subject('01', settings, plan, [outcome]), write_study(read_study(settings), settings)):
        evil = page.with_name(f'evil-{page.name}')
        body = '<body><script>window.hit = 1</script><img src=y onerror="window.hit = 1">'
        evil.write_text(page.read_text().replace('<body>', body))
        browser.open(evil)
        assert browser.ask('return window.hit') is None
        assert any('Content Security Policy' in line for line in browser.complaints())
