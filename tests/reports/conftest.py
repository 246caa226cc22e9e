"""A finished pair as a run leaves it, without pictures."""

import pytest

from tests.reports.finished import Finished, make_finished


@pytest.fixture
def finished(tmp_path) -> Finished:
    return make_finished(tmp_path)
