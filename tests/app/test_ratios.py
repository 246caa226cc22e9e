"""The ratios of a run, which come after the pairs and can undo nothing of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bidsreg.bids.locks import lock_pair
from bidsreg.bids.names import RATIO_FAILURE, ratio_path
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete, read_qc
from bidsreg.outcome import Cause
from bidsreg.settings import Settings
from tests import fake_ratios
from tests.app_fixtures import begun

RATIO = ['--ratio', 'uncalibrated']


@pytest.fixture
def app(app, monkeypatch):
    """Run the pretended app, with pretended ratios."""
    monkeypatch.setitem(sys.modules, 'bidsreg.workflows.pair_ratio', fake_ratios)
    return app


@pytest.fixture
def settings(raw, tmp_path):
    return Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', ratio='uncalibrated')


def there(settings) -> list[str]:
    paths = (ratio_path(pair.entities, settings.output_dir, settings.ratio) for pair in find_pairs(settings).pairs)
    return [path.name[:6] for path in paths if path.is_file()]


def test_every_pair_has_its_ratio_and_once_more_does_nothing(app, capsys, settings, tmp_path):
    assert app(*RATIO) == 0
    assert there(settings) == ['sub-01', 'sub-02']
    told = capsys.readouterr().out
    assert '2 done, 1 no pair' in told
    assert 'ratios: 2 done' in told
    for pair in find_pairs(settings).pairs:
        qc = read_qc(pair, settings)
        assert qc['ratio']['kind'] == 'uncalibrated'
        assert qc['seconds_per_step']['ratio'] == {'ratio': 1.0}
    assert app(*RATIO) == 0
    assert 'ratios: 2 already done' in capsys.readouterr().out
    assert app() == 0
    assert 'ratios' not in capsys.readouterr().out
    assert len(begun(tmp_path / 'work')) == 2


def test_a_failed_ratio_leaves_its_pair_as_it_is_and_is_told_everywhere(app, capsys, settings, tmp_path):
    assert app(*RATIO, fake={'sub-01_ratio': 'input'}) == 1
    told = capsys.readouterr().out
    assert 'failed: sub-01_ratio, step publish: there is nothing to take a ratio of (crash file: ' in told
    assert '2 done, 1 no pair' in told
    assert 'ratios: 1 done, 1 failed' in told
    assert there(settings) == ['sub-02']
    one, _ = find_pairs(settings).pairs
    assert is_complete(one, settings)
    noted = read_qc(one, settings)[RATIO_FAILURE]
    assert noted == {
        'kind': 'uncalibrated',
        'cause': Cause.BAD_INPUT.value,
        'step': 'publish',
        'detail': 'there is nothing to take a ratio of',
    }
    assert app(*RATIO, '--reports-only') == 1
    assert 'there is nothing to take a ratio of' in capsys.readouterr().out, 'it is remembered'
    assert app(*RATIO) == 0
    assert 'ratios: 1 done, 1 already done' in capsys.readouterr().out
    assert there(settings) == ['sub-01', 'sub-02']
    assert RATIO_FAILURE not in read_qc(one, settings)
    assert len(begun(tmp_path / 'work')) == 2, 'the pairs were done once'


def test_a_ratio_that_is_asked_for_later_does_no_pair_again(app, capsys, settings, tmp_path):
    assert app() == 0
    capsys.readouterr()
    assert app(*RATIO) == 0
    told = capsys.readouterr().out
    assert '2 already done, 1 no pair' in told
    assert 'ratios: 2 done' in told
    assert len(begun(tmp_path / 'work')) == 2


def test_a_pair_that_failed_has_no_ratio_and_a_pair_that_is_done_anew_has_a_new_one(app, capsys, settings):
    assert app(*RATIO, fake={'sub-01': 'raise'}) == 1
    told = capsys.readouterr().out
    assert '1 done, 1 failed, 1 no pair' in told
    assert 'ratios: 1 done' in told
    assert app(*RATIO, '--random-seed', 1) == 0
    assert 'ratios: 2 done' in capsys.readouterr().out


def test_at_the_first_failure_nothing_more_begins(app, settings):
    assert app(*RATIO, '--stop-on-first-crash', fake={'sub-01': 'raise'}) == 1
    assert there(settings) == []


def test_the_ratio_of_a_pair_that_another_run_has_is_left_to_it(app, capsys, settings, tmp_path):
    one, _ = find_pairs(settings).pairs
    code = (
        'import sys; from bidsreg.bids.locks import lock_pair; from bidsreg.bids.pairs import find_pairs; '
        'from bidsreg.settings import Settings; from pathlib import Path; '
        f's = Settings(bids_dir=Path({str(settings.bids_dir)!r}), output_dir=Path({str(settings.output_dir)!r}), '
        f'work_dir=Path({str(settings.work_dir)!r})); lock = lock_pair(find_pairs(s).pairs[0], s); '
        'print(bool(lock), flush=True); sys.stdin.read()'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == 'True\n'
        assert app(*RATIO) == 1
        other.stdin.close()
    told = capsys.readouterr().out
    assert 'locked: sub-01_ratio, step start: another run is working on it' in told
    assert 'ratios: 1 done, 1 locked' in told
    with lock_pair(one, settings):
        pass


def test_a_ratio_whose_qc_file_was_written_anew_is_told_again(app, capsys, settings):
    """A pair that is done again with the same settings keeps the map; its new QC file knows nothing of it."""
    assert app(*RATIO) == 0
    one, _ = find_pairs(settings).pairs
    path = settings.output_dir / 'sub-01' / 'anat' / 'sub-01_desc-registration_qc.json'
    qc = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in qc.items() if key != 'ratio'}))
    capsys.readouterr()
    assert app(*RATIO) == 0
    assert 'ratios: 1 done, 1 already done' in capsys.readouterr().out
    assert read_qc(one, settings)['ratio']['kind'] == 'uncalibrated'
