"""A headless Chromium, where there is one, and what is looked for on every page."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome')
DRIVERS = ('chromedriver', 'chromium.chromedriver')
HOW = 'install it (Debian: apt-get install chromium chromium-driver) for the tests of the pages'
OPTIONS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-extensions')

#: Loads the pictures that wait until they are scrolled to; whether all have come, or failed.
LOADED = """
for (const image of document.images) image.loading = 'eager';
return document.readyState === 'complete' && [...document.images].every((image) => image.complete);
"""
#: Pictures that are not shown: images without pixels, objects that show what is written inside them instead.
MISSING = """
const shows = (object) => {
  const range = document.createRange();
  range.selectNodeContents(object);
  return range.getBoundingClientRect().width > 0;
};
return [...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)
  .concat([...document.querySelectorAll('object')].filter(shows).map((object) => object.data));
"""
#: Sizes (px) of all texts that are shown.
SIZES = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const sizes = [];
while (walker.nextNode()) {
  const parent = walker.currentNode.parentElement;
  if (walker.currentNode.textContent.trim() && parent.getClientRects().length) {
    sizes.push(parseFloat(getComputedStyle(parent).fontSize));
  }
}
return sizes;
"""


def _find(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """A page in Chromium, opened from a file.

    Parameters
    ----------
    driver : selenium.webdriver.Chrome
        What drives it.
    """

    def __init__(self, driver) -> None:
        self.driver = driver
        self.ask = driver.execute_script

    def open(self, page: Path, width: int = 1280, height: int = 900) -> None:
        """Show a page in a window of this size, px."""
        self.resize(width, height)
        self.driver.get('about:blank')  # a page that differs by its #place alone would not be loaded again
        self.driver.get_log('browser')
        self.driver.get(page.as_uri())

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size, px."""
        size = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 600}
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)

    def all(self, selector: str) -> list:
        """Elements by a CSS selector."""
        return self.driver.find_elements('css selector', selector)

    def one(self, selector: str):
        """The element of a CSS selector."""
        (element,) = self.all(selector)
        return element

    def complaints(self) -> list[str]:
        """What the browser said of the page: errors of scripts, files that are missing, policies that were violated."""
        return [entry['message'] for entry in self.driver.get_log('browser')]

    def missing_figures(self) -> list[str]:
        """Addresses of the pictures that are not shown, once all are loaded."""
        end = time.time() + 30
        while not self.ask(LOADED):
            assert time.time() < end, 'the pictures take too long'
            time.sleep(0.05)
        return self.ask(MISSING)

    def overflow(self) -> int:
        """By how many px the page is wider than its window."""
        return self.ask('return document.documentElement.scrollWidth - document.documentElement.clientWidth')

    def smallest_text(self) -> float:
        """Size of the smallest text that is shown, px."""
        return min(self.ask(SIZES))


@pytest.fixture(scope='session')
def chromium():
    """Start Chromium once for all tests of a process; they are skipped where there is none."""
    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed: pip install bidsreg[test]')
    program, service = _find(PROGRAMS), _find(DRIVERS)
    if program is None or service is None:
        pytest.skip(f'there is no {"Chromium" if program is None else "chromedriver"}: {HOW}')
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium) -> Browser:
    """A browser without a page."""
    return Browser(chromium)
