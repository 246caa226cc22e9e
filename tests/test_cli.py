"""The command line of the app: every option in all its spellings, and the files it names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bidsreg.cli import build_parser, parse_settings
from bidsreg.errors import InputError
from bidsreg.settings import Settings
from tests.app_fixtures import settings_of


def test_defaults():
    settings = settings_of()
    assert settings.work_dir == Path.cwd() / 'work'
    assert (settings.method, settings.device, settings.random_seed) == ('node-mind', 'auto', 2026)
    assert settings.participant_label == ()


@pytest.mark.parametrize(
    ('options', 'field', 'value'),
    [
        (['--participant-label', 'sub-01', '02'], 'participant_label', ('01', '02')),
        (['--participant_label', '01'], 'participant_label', ('01',)),
        (['--session-label', 'ses-1'], 'session_label', ('1',)),
        (['--session-id', '1'], 'session_label', ('1',)),
        (['--session_id', '1'], 'session_label', ('1',)),
        (['--skip_bids_validation'], 'skip_bids_validation', True),
        (['--nthreads', '3'], 'nprocs', 3),
        (['--n_cpus', '3'], 'nprocs', 3),
        (['--omp-nthreads', '3'], 'omp_nthreads', 3),
        (['--mem', '16GB'], 'mem_gb', 16),
        (['--mem_mb', '2000'], 'mem_gb', 2),
        (['--work-dir', '/x'], 'work_dir', Path('/x')),
        (['-vv'], 'verbose', 2),
        (['-d', 'fmriprep=/f', '/g'], 'derivatives', (Path('/f'), Path('/g'))),
        (['-d', '/odd/a=b'], 'derivatives', (Path('/odd/a=b'),)),
        (['-m', 'T2w', 'FLAIR'], 'modalities', ('T2w', 'FLAIR')),
        (['--modalities', 'PDw'], 'modalities', ('PDw',)),
        (['--reference', 'T2w'], 'modalities', ('T1w',)),
        (['--nipype-plugin-file', '/p.yml'], 'use_plugin', Path('/p.yml')),
        (['--qc-thresholds', '/t.toml'], 'qc_thresholds', Path('/t.toml')),
        (['--device', 'cuda:1'], 'device', 'cuda:1'),
        (['--working-resolution', '2'], 'working_resolution', 2.0),
        (['--notrack'], 'method', 'node-mind'),
        (['--output-spaces', 'MNI:res-1', 'A'], 'output_spaces', ('MNI:res-1', 'A')),
        (['--output-spaces'], 'output_spaces', ('MNI152NLin2009aSym',)),
        (['--templateflow-home', '/t'], 'templateflow_home', Path('/t')),
    ],
)
def test_spellings(options, field, value):
    assert getattr(settings_of(*options), field) == value


@pytest.mark.parametrize(
    'words',
    [
        ['', 'out', 'participant'],
        ['raw', '', 'participant'],
        ['raw', 'out', 'participant', '-w', ''],
        ['raw', 'out', 'participant', '-d', ''],
        ['raw', 'out', 'participant', '--config-file', ''],
    ],
)
def test_an_empty_path_is_not_the_current_folder(words, capsys, tmp_path, monkeypatch):
    """It is a variable of a script that is not set."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        parse_settings(words)
    assert caught.value.code == 2
    assert 'a path is needed' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'field', 'value'),
    [
        (['-m', 'T2w', '-m', 'FLAIR'], 'modalities', ('T2w', 'FLAIR')),
        (['--participant-label', '01', '--participant_label', 'sub-02'], 'participant_label', ('01', '02')),
        (['--output-spaces', 'MNI', '--output-spaces', 'A:res-1', 'B'], 'output_spaces', ('MNI', 'A:res-1', 'B')),
    ],
)
def test_an_option_of_several_values_may_be_given_once_more(words, field, value):
    assert getattr(parse_settings(['raw', 'out', 'participant', *words]), field) == value


def test_every_setting_has_an_option():
    options = {action.dest for action in build_parser()._actions}
    fields = set(Settings.__dataclass_fields__) - {'run_uuid', 'bids_filters'}
    assert fields <= options
    assert options - fields == {'help', 'version', 'config_file', 'bids_filter_file', 'notrack'}


def test_config_file(tmp_path):
    path = tmp_path / 'c.toml'
    path.write_text('nprocs = 5\nsloppy = true\nrandom_seed = 7\nparticipant_label = ["09"]\nbids_dir = "/other"\n')
    settings = settings_of('--config-file', str(path), '--random-seed', '8')
    assert (settings.nprocs, settings.sloppy) == (5, True)
    assert settings.random_seed == 8  # the command line wins
    assert settings.participant_label == ('09',)
    assert settings.bids_dir == Path.cwd() / 'raw'


def test_the_toml_of_a_run_repeats_it(tmp_path):
    first = settings_of('--method', 'node-mind', '--mem', '3GB', '--sloppy')
    settings_of('--method', 'node-mind', '--mem', '3GB', '--sloppy', '--reports-only').to_toml(tmp_path / 'c.toml')
    again = settings_of('--config-file', str(tmp_path / 'c.toml'))  # not the one-off --reports-only
    assert again.run_uuid != first.run_uuid
    assert {**again.to_dict(), 'run_uuid': ''} == {**first.to_dict(), 'run_uuid': ''}


@pytest.mark.parametrize(
    'options',
    [
        ['--nosuch'],
        ['--pairing', 'x'],
        ['--nprocs', 'two'],
        ['--partic', '01'],
        ['--participant-label'],
        ['-m', 'bold'],
    ],
)
def test_usage_errors(options):
    with pytest.raises(SystemExit) as end:
        settings_of(*options)
    assert end.value.code == 2


def test_levels():
    assert settings_of().analysis_level == ('participant',)
    assert parse_settings(['raw', 'out', 'group']).analysis_level == ('group',)
    both = parse_settings(['raw', 'out', 'participant', 'group', '--sloppy'])
    assert both.analysis_level == ('participant', 'group')
    with pytest.raises(SystemExit) as end:
        parse_settings(['raw', 'out', 'subject'])
    assert end.value.code == 2


def test_version_and_help_are_fast_and_free_of_heavy_imports():
    code = (
        'import sys; from bidsreg.cli import main, build_parser; build_parser().format_help(); import bidsreg.app.run; '
        'print([name for name in ("torch", "nipype", "ants", "matplotlib", "nilearn") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
    done = subprocess.run([sys.executable, '-m', 'bidsreg', '--version'], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('bidsreg ')


def test_level_of_a_config_file(tmp_path):
    with pytest.raises(InputError, match='--analysis-level'):
        Settings(bids_dir=tmp_path, output_dir=tmp_path, analysis_level='subject')
    assert Settings(bids_dir=tmp_path, output_dir=tmp_path, analysis_level='group').analysis_level == ('group',)


def test_a_filter_file_of_windows_begins_with_a_mark_that_is_no_text(tmp_path):
    (tmp_path / 'f.json').write_text('{"t1w": {"run": 1}}', encoding='utf-8-sig')
    assert settings_of('--bids-filter-file', str(tmp_path / 'f.json')).bids_filters == {'t1w': {'run': 1}}


def test_a_modality_that_is_asked_for_twice_is_asked_for_once():
    assert settings_of('-m', 'FLAIR', 'T2w', '-m', 'FLAIR').modalities == ('FLAIR', 'T2w')
