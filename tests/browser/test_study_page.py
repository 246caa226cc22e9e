"""The study page in Chromium: it opens, sorts, filters, and its marks lead to the pages of the subjects."""

from __future__ import annotations

import collections
import time

import pytest

from bidsreg.cli import main
from bidsreg.qc.verdict import CHECKS
from tests import fake_study

WIDTHS = (1280, 390)


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    """A study of 40 subjects with its page; its folder and its names."""
    out = tmp_path_factory.mktemp('browser') / 'a study'
    names = fake_study.write_study(out, 40)
    fake_study.write_pages(out, names)
    assert main(['/nowhere', str(out), 'group']) == 0
    return out, names


@pytest.fixture
def page(study, browser):
    browser.open(study[0] / 'group_registration.html')
    return browser


def shown(browser) -> list[str]:
    """Names of the rows that are shown, from above."""
    script = "return [...document.querySelectorAll('tbody tr:not([hidden]) th')].map((cell) => cell.textContent)"
    return browser.ask(script)


def column(browser, title: str) -> list[str]:
    """Cells of a column, from above."""
    script = """
    const heads = [...document.querySelectorAll('#table thead th')];
    const place = heads.findIndex((head) => head.textContent.trim() === arguments[0]);
    return [...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[place].firstChild.textContent);
    """
    return browser.ask(script, title)


def press(browser, title: str) -> None:
    """Click the head of a column."""
    browser.ask("document.querySelector('.scroll').scrollLeft = 0")  # the names stay and cover what is scrolled
    (head,) = (head for head in browser.all('#table thead button') if head.text.strip() == title)
    head.click()


def write(browser, text: str) -> None:
    box = browser.one('#find')
    box.clear()
    box.send_keys(text)


def mark(browser, title: str, name: str):
    """The mark of a pair in the picture of a number, in the middle of the window."""
    script = """
    const figures = [...document.querySelectorAll('figure')];
    const figure = figures.find((figure) => figure.querySelector('figcaption b').textContent === arguments[0]);
    figure.scrollIntoView({ block: 'center' });
    """
    browser.ask(script, title)
    found = []
    end = time.time() + 10
    while not found and time.time() < end:  # pictures are drawn when they come into sight
        found = browser.all(f'figure svg[aria-label^="{title}"] [data-pair="{name}"]')
    (only,) = found
    return only


def wait_for(condition, seconds: float = 10) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, 'it took too long'
        time.sleep(0.05)


@pytest.mark.parametrize('width', WIDTHS)
def test_it_opens_without_complaint_and_is_legible(study, browser, width):
    browser.open(study[0] / 'group_registration.html', width)
    for details in browser.all('main > section > details:not([open]) > summary'):
        details.click()
    browser.ask("window.dispatchEvent(new Event('beforeprint'))")  # draws all
    figures = len(browser.all('figure'))
    assert figures > 60
    assert len(browser.all('figure .plot svg')) == figures
    assert browser.overflow() == 0
    assert browser.smallest_text() >= 11
    assert browser.missing_figures() == []
    assert browser.ask("return performance.getEntriesByType('resource').length") == 0, 'nothing is loaded'
    assert browser.complaints() == []


def test_one_mark_for_each_pair_and_a_unit_on_each_axis(study, page):
    _, names = study
    page.ask("window.dispatchEvent(new Event('beforeprint'))")
    judged = page.all('section#distributions > details[open] figure svg')
    numbers = len({check.value for check in CHECKS.values()})  # one of them is judged on both sides
    assert len(judged) == numbers
    every_mark = "return [...arguments[0].querySelectorAll('[data-pair]')].map((mark) => mark.dataset.pair)"
    counts = collections.Counter()
    for svg in judged:
        marks = page.ask(every_mark, svg)
        assert len(marks) == len(set(marks))
        counts[len(marks)] += 1
    with_own_mask = 12  # every fourth subject gave one: ten, three of them with two sessions, one without a pair
    assert counts == {len(names) - 5: numbers - 2, with_own_mask: 2}
    script = """
    return [...document.querySelectorAll(arguments[0])].map((text) => text.textContent)
    """
    axes = page.ask(script, 'details[open] svg text:not([class]):not([data-name])')
    assert 'Displacement, 95th percentile (mm)' in axes
    assert 'SD of log Jacobian (no unit)' in axes
    assert len(axes) == numbers
    inside = """
    return [...document.querySelectorAll('details[open] [data-pair]')].map((mark) => {
      const frame = mark.ownerSVGElement.getBoundingClientRect(), own = mark.getBoundingClientRect();
      return own.left >= frame.left && own.right <= frame.right && own.top >= frame.top && own.bottom <= frame.bottom;
    });
    """
    within = page.ask(inside)
    assert within
    assert all(within)


def test_verdicts_differ_in_shape_and_not_in_colour_alone(page):
    title, examples = 'Dice of the brain masks after the affine', ('sub-02', 'sub-17', 'sub-11')
    strokes = {
        mark(page, title, name).get_attribute('d').translate(str.maketrans('', '', '0123456789.- '))
        for name in examples
    }
    assert strokes == {'MaaZ', 'MLLZ', 'MhvhZ'}, 'a circle, a triangle, a square'


def test_the_worst_come_first_and_heads_sort(study, page):
    _, names = study
    assert set(shown(page)[:3]) == {'sub-05', 'sub-11', 'sub-21'}
    press(page, 'Pair')
    assert shown(page) == names
    press(page, 'Pair')
    assert shown(page) == names[::-1]
    title = 'Displacement, 95th percentile, mm'
    for way in ('ascending', 'descending'):
        press(page, title)
        cells = column(page, title)
        values = [float(cell) for cell in cells if cell != '–']
        assert values == sorted(values, reverse=way == 'descending')
        assert cells[-5:] == ['–'] * 5, 'what is missing comes last, either way'
        (head,) = page.all('th[aria-sort]')
        assert head.get_attribute('aria-sort') == way
    press(page, 'Verdict')
    press(page, 'Verdict')
    assert shown(page)[0] == 'sub-01', 'PASS first'
    assert page.complaints() == []


def test_filters(study, page):
    _, names = study
    said = page.one('#shown')
    write(page, 'MIRRORED sub-')
    assert sorted(shown(page)) == ['sub-05', 'sub-11'], 'one flipped, one that a mirror would hardly spoil'
    assert said.text == f'2 of {len(names)} shown'
    write(page, 'ses-2')
    assert sorted(shown(page)) == ['sub-12_ses-2', 'sub-24_ses-2', 'sub-36_ses-2']
    press(page, 'Pair')
    assert len(shown(page)) == 3, 'sorting keeps the filter'
    write(page, 'no such thing')
    assert shown(page) == []
    page.one('#find').clear()
    page.one('#find').send_keys(' ')
    assert len(shown(page)) == len(names)
    page.one('#verdict-filter input[value="PASS"]').click()
    page.one('#verdict-filter input[value=""]').click()
    assert sorted(shown(page)) == ['sub-05', 'sub-08', 'sub-11', 'sub-17', 'sub-21']
    page.one('#only-outliers').click()
    assert sorted(shown(page)) == ['sub-05', 'sub-08', 'sub-11', 'sub-17']
    faded = mark(page, 'SD of log Jacobian', 'sub-02')
    assert 'off' in faded.get_attribute('class').split()
    assert 'off' not in mark(page, 'SD of log Jacobian', 'sub-08').get_attribute('class').split()


def test_contrasts_are_chosen(tmp_path, browser):
    out = tmp_path / 'mixed'
    names = fake_study.write_study(out, 40)
    flair = fake_study.add_flair(out, ['sub-02', 'sub-03'])
    assert main(['/nowhere', str(out), 'group']) == 0
    browser.open(out / 'group_registration.html')
    every = set(shown(browser))
    assert every == {*names, *flair}
    browser.one('#contrast-filter input[value="T2w to T1w"]').click()
    without_pair = f'sub-{fake_study.NO_T2W}'
    assert set(shown(browser)) == {*flair, without_pair}
    browser.one('#contrast-filter input[value="T2w to T1w"]').click()
    browser.one('#contrast-filter input[value="FLAIR to T1w"]').click()
    assert set(shown(browser)) == every - set(flair)
    off = mark(browser, 'SD of log Jacobian', 'sub-02_from-FLAIR_to-T1w').get_attribute('class').split()
    assert 'off' in off


@pytest.mark.parametrize('name', ['sub-11', 'sub-24_ses-2'])
def test_a_mark_opens_the_page_of_its_pair_at_the_pair(study, page, name):
    out, _ = study
    target = mark(page, 'Dice of the brain masks after the affine', name)
    wanted = (out / f'{name.partition("_")[0]}.html').as_uri() + f'#{name}'
    from selenium.webdriver import ActionChains

    ActionChains(page.driver).move_to_element(target).perform()
    assert page.one('#tip').text.startswith(f'{name}: ')
    rings = len(page.all('.ring[visibility=visible]'))
    assert rings > 1, 'the pair is shown in the other pictures, too'
    target.click()
    wait_for(lambda: page.driver.current_url == wanted)
    wait_for(
        lambda: abs(page.ask('return document.getElementById(arguments[0]).getBoundingClientRect().top', name)) < 60
    )


def test_a_row_and_a_name_open_the_page(study, page):
    out, _ = study
    page.all('tbody tr.opens td.why')[0].click()
    wait_for(lambda: '.html#sub-11' in page.driver.current_url)
    page.open(out / 'group_registration.html')
    page.driver.find_element('link text', 'sub-05').click()
    wait_for(lambda: page.driver.current_url.endswith('/sub-05.html#sub-05'))


def test_the_keyboard_reaches_every_pair(study, page):
    from selenium.webdriver import Keys

    mark(page, 'Information lost by a turn', 'sub-11')
    svg = page.one('svg[aria-label^="Information lost by a turn"]')
    page.ask('arguments[0].focus()', svg)
    svg.send_keys(Keys.HOME)
    assert page.one('#tip').text == 'sub-11: 0.02, FAIL'
    assert page.one('#said').get_attribute('textContent') == 'sub-11: 0.02, FAIL', 'and is read out'
    svg.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert page.one('#tip').text.startswith('sub-11')
    svg.send_keys(Keys.ENTER)
    wait_for(lambda: page.driver.current_url.endswith('/sub-11.html#sub-11'))


def test_a_finger_looks_first_and_opens_then(study, browser):
    from selenium.webdriver.common.actions import interaction
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    def tap(target) -> None:
        finger = ActionBuilder(browser.driver, mouse=PointerInput(interaction.POINTER_TOUCH, 'finger'))
        finger.pointer_action.move_to(target).pointer_down().pointer_up()
        finger.perform()

    page = study[0] / 'group_registration.html'
    browser.open(page, 390)
    target = mark(browser, 'Dice of the brain masks after the affine', 'sub-11')
    tap(target)
    wait_for(lambda: browser.one('#tip').text == 'sub-11: 0.76, FAIL')
    assert browser.driver.current_url == page.as_uri()
    tap(target)
    wait_for(lambda: browser.driver.current_url.endswith('/sub-11.html#sub-11'))


def test_pictures_follow_the_width_of_the_window(page):
    mark(page, 'SD of log Jacobian', 'sub-02')
    page.resize(390)
    svg = 'svg[aria-label^="SD of log Jacobian"]'
    wait_for(lambda: page.ask('return document.querySelector(arguments[0]).viewBox.baseVal.width', svg) < 390)
    assert page.overflow() == 0


@pytest.mark.slow
def test_a_thousand_pairs(browser, tmp_path):
    """Small enough to mail, and open in seconds on a busy machine."""
    out = tmp_path / 'out'
    names = fake_study.write_study(out, 924)
    fake_study.write_pages(out, names)
    assert len(names) >= 1000
    begun = time.process_time()
    assert main(['/nowhere', str(out), 'group']) == 0
    assert time.process_time() - begun < 30
    page = out / 'group_registration.html'
    assert page.stat().st_size < 3e6
    browser.open(page)
    timing = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    wait_for(lambda: browser.ask(timing) > 0)
    assert browser.ask(timing) < 15_000
    assert len(shown(browser)) == len(names)
    assert browser.complaints() == []
