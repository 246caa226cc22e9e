"""The settings of the app: strictly typed, in TOML and out of it, and what of them changes results."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from bidsreg import SEED
from bidsreg.errors import InputError
from bidsreg.registration import register
from bidsreg.settings import NONE, RESULT_FIELDS, Settings, read_toml


def make(**values) -> Settings:
    return Settings(**{'bids_dir': 'raw', 'output_dir': 'out', **values})


def test_toml_round_trip(tmp_path):
    settings = make(
        bids_dir=tmp_path / 'é ü',
        participant_label=['01', '02'],
        bids_filters={'t1w': {'acquisition': NONE, 'run': [1, 2]}, 't2w': {'run': '*'}},
        derivatives=[tmp_path / 'masks'],
        mem_gb=7.5,
        sloppy=True,
        run_uuid='abc',
    )
    settings.to_toml(tmp_path / 'config.toml')
    assert Settings(**read_toml(tmp_path / 'config.toml')) == settings


def test_the_heart_has_the_same_seed():
    assert inspect.signature(register).parameters['seed'].default == make().random_seed == SEED


@pytest.mark.parametrize('resolution', [0.1, 0.25, 8])
def test_the_scans_of_today_are_worked_on_at_their_own_resolution(resolution):
    assert make(working_resolution=resolution).working_resolution == resolution


def test_frozen_and_absolute():
    settings = make(work_dir='~/work here')
    assert settings.bids_dir == Path.cwd() / 'raw'
    assert settings.work_dir == Path.home() / 'work here'
    with pytest.raises(FrozenInstanceError):
        settings.method = 'other'


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'pairing': 'nearest'}, '--pairing.*session, subject'),
        ({'device': 'gpu'}, '--device.*cuda:N'),
        ({'analysis_level': 'subject'}, '--analysis-level'),
        ({'nprocs': 0}, '--nprocs must be above zero'),
        ({'nprocs': '4'}, 'nprocs should be of type int'),
        ({'sloppy': 1}, 'sloppy should be of type bool'),
        ({'mem_gb': -1.0}, '--mem must be above zero'),
        ({'working_resolution': 0}, '--working-resolution must lie between 0.1 and 8.0'),
        ({'working_resolution': 10}, '--working-resolution must lie between 0.1 and 8.0, not 10'),
        ({'working_resolution': 10**400}, 'working_resolution should be of type float'),
        ({'random_seed': -1}, '--random-seed'),
        ({'random_seed': 10**22}, '--random-seed must lie between 0 and 2147483647'),
        ({'output_dir': ''}, "output_dir should be of type Path, not ''"),
        ({'work_dir': 'a\0b'}, 'work_dir should be of type Path'),
        ({'derivatives': ['']}, 'derivatives should be of type Path'),
        ({'bids_filters': {'t1w': 'acq-x'}}, 'bids_filters'),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(InputError, match=message):
        make(**values)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('nprocs = "two"', 'nprocs should be of type int'),
        ('nproc = 2', "no setting 'nproc'. Did you mean 'nprocs'"),
        ('nprocs = ', 'Cannot read the configuration file'),
    ],
)
def test_bad_config_file(tmp_path, text, message):
    path = tmp_path / 'c.toml'
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_toml(path)


def test_missing_config_file(tmp_path):
    with pytest.raises(InputError, match='Cannot read'):
        read_toml(tmp_path / 'none.toml')


def test_fingerprint_is_of_what_changes_results():
    base = make()
    others = {
        'method': 'nodeo-mind',
        'device': 'cpu',
        'working_resolution': 2.0,
        'sloppy': True,
        'random_seed': 1,
        'skull_strip': 'skip',
        'bias_correction': 'none',
    }
    assert set(others) == set(RESULT_FIELDS)
    prints = {replace(base, **{name: value}).fingerprint() for name, value in others.items()}
    assert len(prints | {base.fingerprint()}) == len(others) + 1
    same = replace(base, nprocs=7, omp_nthreads=3, run_uuid='x', work_dir='/elsewhere', bids_dir='/moved', verbose=2)
    assert same.fingerprint() == base.fingerprint()
    assert replace(base, device='cuda:0').fingerprint() == replace(base, device='cuda:1').fingerprint()


def test_labels_are_read_with_their_prefix_wherever_they_are_written():
    found = make(participant_label=['sub-01', '02', '01'], session_label='ses-1')
    assert (found.participant_label, found.session_label) == (('01', '02'), ('1',))
