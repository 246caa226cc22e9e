"""The subject page in Chromium, and the way to it from the study page."""

from __future__ import annotations

import shutil

import pytest

from bidsreg.cli import main
from bidsreg.reports import write_reports
from tests.reports.test_subject import make_run, picture  # noqa: F401 (a fixture)

WIDTHS = (1280, 390)


@pytest.fixture(scope='module')
def pages(tmp_path_factory, picture):  # noqa: F811
    """Pages of a run with finished and failed pairs, and the page of its study; no test changes them."""
    settings, plan, outcomes = make_run(tmp_path_factory.mktemp('run'), picture)
    written = write_reports(settings, plan, outcomes)
    assert main([str(settings.bids_dir), str(settings.output_dir), 'group']) == 0
    return written


@pytest.mark.parametrize('width', WIDTHS)
def test_it_opens_with_all_its_figures(pages, browser, width):
    for page in pages:
        browser.open(page, width)
        assert len(browser.all('img, object')) >= 6
        assert browser.missing_figures() == []
        assert browser.overflow() == 0
        assert browser.complaints() == []


def test_a_missing_figure_would_be_noticed(pages, browser, tmp_path):
    folder = shutil.copytree(pages[0].parent, tmp_path / 'out')
    figures = folder / 'sub-01' / 'figures'
    (image,) = figures.glob('*ses-1_run-1_desc-mask_T1w.svg')
    (moving,) = figures.glob('*ses-1_run-1_desc-affine_T2w.svg')
    image.unlink()
    moving.unlink()
    browser.open(folder / pages[0].name)
    assert {address.rpartition('/')[2] for address in browser.missing_figures()} == {image.name, moving.name}
    assert browser.complaints()


def test_the_study_leads_to_the_pair(pages, browser):
    """A failed pair of a second session: the page of its subject opens where the failure is told."""
    browser.open(pages[0].parent / 'group_registration.html')
    browser.driver.find_element('link text', 'sub-01_ses-2').click()
    assert browser.driver.current_url == pages[0].as_uri() + '#sub-01_ses-2'
    section = browser.one('section:target')
    assert 'the> real & only cause' in section.text
    top = browser.ask('return arguments[0].getBoundingClientRect().top', section)
    bottom = browser.ask('return innerHeight + scrollY >= document.documentElement.scrollHeight - 2')
    assert 0 <= top < 200 or bottom
