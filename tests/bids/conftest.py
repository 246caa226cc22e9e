"""A raw dataset of small scans, its pairs, and a pair that is finished."""

from __future__ import annotations

import pytest

from bidsreg.bids.names import figure_path
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import publish
from bidsreg.settings import Settings
from tests import data
from tests.fake_app import fake_files

SUBJECTS = {
    '01': {None: ['T1w', 'T2w', 'acq-tse_run-2_T2w']},
    '02': {'1': ['run-1_T1w', 'T2w'], '2': ['T2w']},
}


@pytest.fixture
def settings(tmp_path):
    raw = data.write_dataset(tmp_path / 'raw', SUBJECTS)
    return Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', pairing='subject')


@pytest.fixture
def pairs(settings):
    return {pair.name: pair for pair in find_pairs(settings).pairs}


@pytest.fixture
def pair(pairs):
    return pairs['sub-02_ses-2']


@pytest.fixture
def finish():
    """Publish small files as those of a pair, with figures and with facts of the test's own."""

    def publish_fake(pair, settings, **facts):
        files = fake_files(pair, settings.work_dir / pair.name)
        figures = {}
        for desc in ('before', 'diffeo'):
            svg = settings.work_dir / f'{desc}.svg'
            svg.write_text('<svg/>')
            figures[figure_path(pair.entities, settings.output_dir, desc)] = svg
        publish(files, pair, settings, facts, figures)

    return publish_fake
