"""A finished pair as a run leaves it, without pictures, and a study of many."""

import shutil
from pathlib import Path

import pytest

from tests import fake_study
from tests.reports.finished import Finished, make_finished


@pytest.fixture
def finished(tmp_path) -> Finished:
    return make_finished(tmp_path)


@pytest.fixture(scope='session')
def written(tmp_path_factory):
    """Derivatives of 40 subjects with pages, and their names."""
    out = tmp_path_factory.mktemp('study') / 'out'
    names = fake_study.write_study(out, 40)
    fake_study.write_pages(out, names)
    return out, names


@pytest.fixture
def study(written, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(written[0], tmp_path / 'out put')), written[1]
