"""The subject page with every picture: nothing missing, no errors, legible on a screen and on a phone, offline."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from bidsreg.outcome import Outcome
from bidsreg.reports import write_reports
from bidsreg.reports.pictures import PICTURES
from tests.reports.finished import make_finished

pytest.importorskip('selenium', reason='selenium is not installed (the extra "test")')
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

WIDTHS = (1280, 390)


@dataclasses.dataclass(frozen=True)
class Pages:
    """The page with its pictures beside it, and the page that has them inside and lies alone in a folder."""

    beside: Path
    inside: Path


@pytest.fixture(scope='module')
def pages(tmp_path_factory) -> Pages:
    """Both pages of a finished pair, drawn once; no test changes them."""
    finished = make_finished(tmp_path_factory.mktemp('finished'))
    inside = tmp_path_factory.mktemp('mailed') / 'report.html'
    whole = dataclasses.replace(finished.settings, self_contained=True)
    (page,) = write_reports(whole, finished.plan, ())
    shutil.move(page, inside)
    (beside,) = write_reports(finished.settings, finished.plan, ())
    return Pages(beside, inside)


def show(browser, page: Path, width: int = 1280) -> None:
    """Open a page in a window of this width; no picture of it is missing."""
    browser.open(page, width)
    assert browser.missing_figures() == []


def point_at(browser, element) -> None:
    ActionChains(browser.driver).move_to_element(element).perform()


def wait_until(browser, true) -> None:
    WebDriverWait(browser.driver, 10).until(lambda _: true())


def test_every_picture_is_seen_and_nothing_is_wrong(browser, pages, tmp_path):
    show(browser, pages.beside)
    images, objects = browser.all('img'), browser.all('object')
    assert len(images) + len(objects) == len(PICTURES)
    assert all(browser.ask('return arguments[0].naturalWidth', image) > 100 for image in images)
    for shown in objects:  # what is shown in place of a file that cannot be is a line of text
        assert shown.size['height'] > 200
    assert browser.complaints() == []
    # pictures that are not there are noticed by these very checks
    shutil.copytree(pages.beside.parent, tmp_path / 'out')
    next((tmp_path / 'out' / 'sub-01' / 'figures').glob('*checker*')).unlink()
    browser.open(tmp_path / 'out' / 'sub-01.html')
    assert len(browser.missing_figures()) == 1
    assert 'ERR_FILE_NOT_FOUND' in str(browser.complaints())


def test_one_file_needs_nothing_else_and_no_network(browser, pages):
    assert [path.name for path in pages.inside.parent.iterdir()] == [pages.inside.name]
    browser.driver.execute_cdp_cmd('Network.enable', {})
    offline = {'offline': True, 'latency': 0, 'downloadThroughput': 0, 'uploadThroughput': 0}
    browser.driver.execute_cdp_cmd('Network.emulateNetworkConditions', offline)
    try:
        show(browser, pages.inside)
    finally:
        browser.driver.execute_cdp_cmd('Network.emulateNetworkConditions', {**offline, 'offline': False})
    images, drawn = browser.all('img'), browser.all('.figure > svg')
    assert len(images) + len(drawn) == len(PICTURES)
    assert all(browser.ask('return arguments[0].naturalWidth', image) > 100 for image in images)
    assert all(shown.size['height'] > 200 for shown in drawn)
    assert browser.complaints() == []
    loaded = browser.ask("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith('data:')] == []


def test_under_the_pointer_the_lines_go_and_the_pictures_fade(browser, pages):
    show(browser, pages.inside)
    picture = browser.all('.figure > svg')[-1]
    browser.ask('arguments[0].scrollIntoView()', picture)

    def state():
        return browser.ask(
            'const at = name => getComputedStyle(arguments[0].querySelector(name));'
            "return [at('.bidsreg-top').animationPlayState, at('.bidsreg-lines').visibility]",
            picture,
        )

    assert state() == ['paused', 'visible']
    point_at(browser, picture)
    wait_until(browser, lambda: state() == ['running', 'hidden'])


def test_so_it_is_where_the_picture_is_a_file_beside_the_page(browser, pages):
    """An object of a file is a world of its own, so it is looked at: at rest it is still, else it changes."""
    show(browser, pages.beside)
    picture = browser.all('object')[-1]
    browser.ask('arguments[0].scrollIntoView()', picture)
    point_at(browser, browser.one('nav'))
    wait_until(browser, lambda: picture.screenshot_as_png == picture.screenshot_as_png)
    rest = picture.screenshot_as_png
    point_at(browser, picture)
    wait_until(browser, lambda: picture.screenshot_as_png != rest)


@pytest.mark.parametrize('width', WIDTHS)
def test_it_is_legible(browser, pages, width):
    """The page fits the window; figures keep a size at which their letters can be read, and are moved about."""
    show(browser, pages.inside, width)
    assert browser.ask('return window.innerWidth') == width
    assert browser.overflow() <= 0
    sizes = browser.ask(
        "return [...document.querySelectorAll('.figure > svg text')]"
        '.map(text => parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a)'
    )
    assert len(sizes) > 50
    assert min(sizes) > 10
    letters = (
        "return [...document.querySelectorAll('p, td, li, .box')].map(x => parseFloat(getComputedStyle(x).fontSize))"
    )
    assert min(browser.ask(letters)) >= 13


def test_the_verdict_is_on_the_first_screen(browser, pages):
    show(browser, pages.beside, 390)
    badge = browser.all('.badge')[0]
    assert badge.text in ('PASS', 'CHECK', 'FAIL')
    assert badge.location['y'] < 300


def test_the_methods_are_copied(browser, pages):
    show(browser, pages.beside)
    button = browser.one('button[data-copy]')
    browser.ask("document.body.append(document.createElement('textarea'))")
    button.click()
    wait_until(browser, lambda: button.text == 'Copied')
    area = browser.one('textarea')
    ActionChains(browser.driver).click(area).key_down('\ue009').send_keys('v').key_up('\ue009').perform()
    copied = area.get_property('value')
    assert 'were registered' in copied
    assert 'Heinrich MP' in copied
    assert 'Copy' not in copied


def test_a_failed_pair(browser, tmp_path):
    finished = make_finished(tmp_path)
    finished.outputs['qc'].unlink()
    (pair,) = finished.plan.pairs
    failed = Outcome(pair.name, pair.subject, None, 'failed', 'register', 'it ran <out> of memory')
    (page,) = write_reports(finished.settings, finished.plan, [failed])
    browser.open(page)
    assert browser.missing_figures() == []
    assert browser.one('main').text.count('it ran <out> of memory') >= 3
    assert browser.all('.badge')[0].text == 'FAIL'
    assert browser.complaints() == []
    for link in browser.all('a[href^="#"]'):
        assert browser.all('#' + link.get_attribute('href').partition('#')[2])
