"""The subject page in a real browser: nothing missing, no errors, legible on a screen and on a phone, offline."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from bidsreg.outcome import Outcome
from bidsreg.reports import write_reports
from bidsreg.reports.pictures import PICTURES

webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed (the extra "test")')
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROME = shutil.which('chromium') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
pytestmark = pytest.mark.skipif(not (CHROME and DRIVER), reason='no browser: apt-get install chromium chromium-driver')
WIDTHS = (1280, 390)


@pytest.fixture(scope='module')
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for word in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser, page, width=1280):
    """Open a page that is a file, in a window of this width, and wait for its pictures."""
    metrics = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': False}
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
    browser.get_log('browser')
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(
        lambda driver: driver.execute_script('return [...document.images].every(image => image.complete)')
    )


def write(finished, **options):
    (page,) = write_reports(dataclasses.replace(finished.settings, **options), finished.plan, ())
    return page


def test_every_picture_is_seen_and_nothing_is_wrong(browser, finished, tmp_path):
    show(browser, write(finished))
    images = browser.find_elements(By.TAG_NAME, 'img')
    objects = browser.find_elements(By.TAG_NAME, 'object')
    assert len(images) + len(objects) == len(PICTURES)
    assert all(browser.execute_script('return arguments[0].naturalWidth', image) > 100 for image in images)
    for shown in objects:  # what is shown in place of a file that cannot be is a line of text
        assert shown.size['height'] > 200
    assert browser.get_log('browser') == []
    # pictures that are not there are noticed by these very checks
    picture = next((finished.settings.output_dir / 'sub-01' / 'figures').glob('*checker*'))
    picture.rename(tmp_path / 'gone.svg')
    show(browser, finished.settings.output_dir / 'sub-01.html')
    assert 'ERR_FILE_NOT_FOUND' in str(browser.get_log('browser'))


def test_one_file_needs_nothing_else_and_no_network(browser, finished, tmp_path):
    page = tmp_path / 'mailed' / 'report.html'
    page.parent.mkdir()
    shutil.move(write(finished, self_contained=True), page)
    shutil.rmtree(finished.settings.output_dir)
    browser.execute_cdp_cmd('Network.enable', {})
    offline = {'offline': True, 'latency': 0, 'downloadThroughput': 0, 'uploadThroughput': 0}
    browser.execute_cdp_cmd('Network.emulateNetworkConditions', offline)
    try:
        show(browser, page)
    finally:
        browser.execute_cdp_cmd('Network.emulateNetworkConditions', {**offline, 'offline': False})
    images = browser.find_elements(By.TAG_NAME, 'img')
    drawn = browser.find_elements(By.CSS_SELECTOR, '.figure > svg')
    assert len(images) + len(drawn) == len(PICTURES)
    assert all(browser.execute_script('return arguments[0].naturalWidth', image) > 100 for image in images)
    assert all(shown.size['height'] > 200 for shown in drawn)
    assert browser.get_log('browser') == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith('data:')] == []


@pytest.mark.parametrize('inside', [True, False])
def test_under_the_pointer_the_lines_go_and_the_pictures_fade(browser, finished, inside):
    show(browser, write(finished, self_contained=inside))
    if inside:
        picture = browser.find_elements(By.CSS_SELECTOR, '.figure > svg')[-1]
        browser.execute_script('arguments[0].scrollIntoView()', picture)
        state = lambda: browser.execute_script(  # noqa: E731
            'const at = name => getComputedStyle(arguments[0].querySelector(name));'
            "return [at('.bidsreg-top').animationPlayState, at('.bidsreg-lines').visibility]",
            picture,
        )
        assert state() == ['paused', 'visible']
        ActionChains(browser).move_to_element(picture).perform()
        WebDriverWait(browser, 10).until(lambda _: state() == ['running', 'hidden'])
        return
    # an object of a file is a world of its own, so it is looked at: at rest it is still, under the pointer it changes
    picture = browser.find_elements(By.TAG_NAME, 'object')[-1]
    browser.execute_script('arguments[0].scrollIntoView()', picture)
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, 'nav')).perform()
    WebDriverWait(browser, 10).until(lambda _: picture.screenshot_as_png == picture.screenshot_as_png)
    rest = picture.screenshot_as_png
    ActionChains(browser).move_to_element(picture).perform()
    WebDriverWait(browser, 10).until(lambda _: picture.screenshot_as_png != rest)


@pytest.mark.parametrize('width', WIDTHS)
def test_it_is_legible(browser, finished, width):
    """The page fits the window; figures keep a size at which their letters can be read, and are moved about."""
    show(browser, write(finished, self_contained=True), width)
    fits = 'return [document.documentElement.scrollWidth, window.innerWidth]'
    page, window = browser.execute_script(fits)
    assert window == width
    assert page <= width
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.figure > svg text')]"
        '.map(text => parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a)'
    )
    assert len(sizes) > 50
    assert min(sizes) > 10
    letters = (
        "return [...document.querySelectorAll('p, td, li, .box')].map(x => parseFloat(getComputedStyle(x).fontSize))"
    )
    assert min(browser.execute_script(letters)) >= 13


def test_the_verdict_is_on_the_first_screen(browser, finished):
    show(browser, write(finished), 390)
    badge = browser.find_element(By.CLASS_NAME, 'badge')
    assert badge.text in ('PASS', 'CHECK', 'FAIL')
    assert badge.location['y'] < 300


def test_the_methods_are_copied(browser, finished):
    show(browser, write(finished))
    button = browser.find_element(By.CSS_SELECTOR, 'button[data-copy]')
    browser.execute_script("document.body.append(document.createElement('textarea'))")
    button.click()
    WebDriverWait(browser, 10).until(lambda _: button.text == 'Copied')
    area = browser.find_element(By.TAG_NAME, 'textarea')
    ActionChains(browser).click(area).key_down('\ue009').send_keys('v').key_up('\ue009').perform()
    copied = area.get_property('value')
    assert 'were registered' in copied
    assert 'Heinrich MP' in copied
    assert 'Copy' not in copied


def test_a_failed_pair(browser, finished):
    finished.outputs['qc'].unlink()
    (pair,) = finished.plan.pairs
    failed = Outcome(pair.name, pair.subject, None, 'failed', 'register', 'it ran <out> of memory')
    (page,) = write_reports(finished.settings, finished.plan, [failed])
    show(browser, page)
    text = browser.find_element(By.TAG_NAME, 'main').text
    assert text.count('it ran <out> of memory') >= 3
    assert browser.find_element(By.CLASS_NAME, 'badge').text == 'FAIL'
    assert browser.get_log('browser') == []
    for link in browser.find_elements(By.CSS_SELECTOR, 'a[href^="#"]'):
        assert browser.find_elements(By.ID, link.get_attribute('href').partition('#')[2])
