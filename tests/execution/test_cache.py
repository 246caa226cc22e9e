"""Steps whose files were damaged since they ended are forgotten, all others are kept."""

from __future__ import annotations

import gzip

import pytest
from nipype.pipeline import engine as pe

from bidsreg.execution.cache import forget_damaged
from bidsreg.interfaces.base import Timing
from tests.fake_app import Work


class Pair:
    """What the pretended work wants of a pair."""

    name = 'sub-01'


class Settings:
    """What it wants of settings."""

    def __init__(self, work_dir):
        self.work_dir = work_dir


@pytest.fixture
def pair_folder(tmp_path):
    """Two steps that have ended, one of them without files, in the folder of a pair."""
    workflow = pe.Workflow('pair_sub_01', base_dir=str(tmp_path))
    work = pe.Node(Work(pair=Pair(), settings=Settings(tmp_path)), name='work')
    timing = pe.Node(Timing(['work']), name='timing')
    workflow.connect(work, 'seconds', timing, 'work')
    workflow.config['execution'] = {'remove_unnecessary_outputs': 'false'}  # as in every run of ours
    workflow.run()
    return tmp_path / 'pair_sub_01'


def test_whole_steps_are_kept(pair_folder, tmp_path):
    assert forget_damaged(pair_folder, 'sub-01') == []
    assert forget_damaged(tmp_path / 'nowhere', 'sub-01') == []
    assert {path.name for path in pair_folder.iterdir() if path.is_dir()} == {'work', 'timing'}


@pytest.mark.parametrize(
    'content',
    [b'', b'\x1f\x8b', b'\0' * 99, gzip.compress(b'no pickle'), gzip.compress(b'')],
    ids=['empty', 'two bytes', 'zeros', 'no pickle', 'packed nothing'],
)
def test_results_that_cannot_be_read(pair_folder, caplog, content):
    (pair_folder / 'timing' / 'result_timing.pklz').write_bytes(content)
    assert forget_damaged(pair_folder, 'sub-01') == ['timing']
    assert not (pair_folder / 'timing').exists()
    assert 'sub-01: timing runs again: in ' in caplog.text
    assert 'result_timing.pklz cannot be used (' in caplog.text


def test_a_step_that_has_not_ended_is_left_to_nipype(pair_folder):
    (done,) = (pair_folder / 'work').glob('_0x*.json')
    done.rename(done.with_name(done.name.replace('.json', '_unfinished.json')))
    (pair_folder / 'work' / 'work.txt').unlink()
    assert forget_damaged(pair_folder, 'sub-01') == []


def test_content_is_read_where_it_is_asked_for(pair_folder):
    (pair_folder / 'work' / 'work.txt').write_bytes(b'SUB-01')
    assert forget_damaged(pair_folder, 'sub-01', content=False) == []
    assert forget_damaged(pair_folder, 'sub-01') == ['work']
