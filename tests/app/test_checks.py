"""What is refused before any work, and how that is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from bidsreg.app import checks
from bidsreg.errors import InputError
from bidsreg.programs import niftyreg_install
from bidsreg.settings import Settings
from tests.app_fixtures import fails, settings_of
from tests.templates.flow import write_template


def test_bids_folder_missing(app, capsys, tmp_path):
    fails(app, capsys, 'is not a folder', bids=tmp_path / 'nowhere')


def test_not_a_bids_folder(app, capsys, tmp_path):
    (tmp_path / 'empty').mkdir()
    fails(app, capsys, 'no dataset_description.json', bids=tmp_path / 'empty')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('text', ['{broken', '[]', '{"Name": "x"}'])
def test_bad_description(raw, text):
    (raw / 'dataset_description.json').write_text(text)
    settings = Settings(bids_dir=raw, output_dir=raw.parent / 'out')
    with pytest.raises(InputError, match=r'cannot be read|has no|no JSON object'):
        checks.check_dataset(settings)


@pytest.mark.parametrize('text', ['[1]', '"x"', 'null'])
def test_a_description_that_describes_nothing(app, capsys, raw, text):
    (raw / 'dataset_description.json').write_text(text)
    fails(app, capsys, 'dataset_description.json holds no JSON object', '--skip-bids-validation')


def test_a_study_has_its_subjects_a_folder_further_down(app, capsys, raw, tmp_path):
    study = tmp_path / 'study'
    shutil.copytree(raw, study / 'rawdata')
    shutil.copy(raw / 'dataset_description.json', study)
    fails(app, capsys, f'has no subject (no folder sub-*), but {study / "rawdata"} has some: give that.', bids=study)


def test_no_subjects(app, capsys, raw):
    for path in raw.glob('sub-*'):
        shutil.rmtree(path)
    fails(app, capsys, 'has no subject')


def test_unknown_participant_and_session(app, capsys):
    fails(app, capsys, 'there is no sub-99', '--participant-label', '99')
    fails(app, capsys, '--session-label 9', '--session-label', '9')


def test_bad_filter_file(app, capsys, tmp_path):
    path = tmp_path / 'f.json'
    path.write_text('{"t1w": {"acquisition": "nothing"}}')
    fails(app, capsys, 'matches no file', '--bids-filter-file', path)
    path.write_text('{')
    fails(app, capsys, 'cannot be read', '--bids-filter-file', path)


def test_nothing_to_do(app, capsys, tmp_path):
    fails(app, capsys, 'sub-03: only T1w, no T2w', '--participant-label', '03')
    assert not (tmp_path / 'out').exists()


def test_output_in_the_bids_folder(app, capsys, raw, tmp_path):
    fails(app, capsys, 'is the BIDS folder', out=raw)
    fails(app, capsys, 'lies in the BIDS folder', out=raw / 'out')
    fails(app, capsys, 'lies in the BIDS folder', out=raw / 'derivatives')
    (tmp_path / 'link').symlink_to(raw)
    fails(app, capsys, 'lies in the BIDS folder', out=tmp_path / 'link' / 'out')
    assert sorted(path.name for path in raw.iterdir()) == sorted(
        ['README', 'dataset_description.json', 'sub-01', 'sub-02', 'sub-03']
    )


def test_work_folder_in_the_bids_folder(app, capsys, raw, tmp_path):
    fails(app, capsys, 'give another with -w', work=raw / 'work')
    fails(app, capsys, 'give another with -w', work=tmp_path / 'out')
    fails(app, capsys, 'square bracket', work=tmp_path / 'work [old]')


def test_output_not_writable(app, capsys, tmp_path):
    (tmp_path / 'file').touch()
    fails(app, capsys, 'cannot be written', out=tmp_path / 'file' / 'out')
    fails(app, capsys, 'cannot be written', work=tmp_path / 'file' / 'work')


@pytest.mark.parametrize(
    ('name', 'level'),
    [
        ('logs', 'participant'),
        ('logs', 'group'),
        ('.bidsreg', 'participant'),
        ('dataset_description.json', 'participant'),
    ],
)
def test_what_is_in_the_place_of_a_file_or_folder_of_the_output(app, capsys, tmp_path, name, level):
    """Somebody's file called as a folder of ours, or the other way round, is one line, and nothing has begun."""
    assert app() == 0
    path = tmp_path / 'out' / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text('mine')
    else:
        path.unlink()
        path.mkdir()
    capsys.readouterr()
    work = tmp_path / 'new'
    assert app(levels=[level], work=work) == 2
    said = capsys.readouterr().err
    assert 'bidsreg: error: ' in said
    assert 'cannot be ' in said
    assert 'Traceback' not in said
    assert not list(work.glob('begun.txt'))


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_output_without_permission(app, capsys, tmp_path):
    (tmp_path / 'out').mkdir(mode=0o500)
    fails(app, capsys, 'Permission denied')


def test_output_of_another_program(app, capsys, tmp_path):
    (tmp_path / 'out').mkdir()
    text = {'Name': 'x', 'BIDSVersion': '1.4.0', 'DatasetType': 'derivative', 'GeneratedBy': [{'Name': 'fMRIPrep'}]}
    (tmp_path / 'out' / 'dataset_description.json').write_text(json.dumps(text))
    fails(app, capsys, 'holds the derivatives of fMRIPrep')


def test_unknown_method(app, capsys):
    fails(app, capsys, "there is no such method. Did you mean 'node-mind'", '--method', 'nod-mind')
    fails(app, capsys, 'node-mind', '--method', 'magic')


def test_a_method_for_comparisons_only(app, capsys):
    fails(app, capsys, 'only bidsreg-pair has it', '--method', 'greedy')
    fails(app, capsys, "Did you mean 'niftyreg'", '--method', 'nifty-reg')


def test_a_missing_program_is_said_before_any_work(app, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    monkeypatch.delenv('NIFTYREGDIR', raising=False)
    monkeypatch.setattr(niftyreg_install, 'installed', lambda: tmp_path / 'no')
    fails(app, capsys, "pip install 'bidsreg[niftyreg]' and then", '--method', 'niftyreg-mind')
    assert not (tmp_path / 'out').exists()
    fails(app, capsys, 'reg_f3d and reg_transform neither on the PATH', '--method', 'niftyreg', '--dry-run')


def test_a_missing_program_may_be_on_the_machines_of_a_plugin(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(niftyreg_install, 'find_binary', lambda name: None)
    settings = settings_of('--method', 'niftyreg', '--use-plugin', str(tmp_path / 'p.yml'))
    checks.check_program(settings)
    assert 'the plugin may run the work elsewhere' in caplog.text


def test_what_does_not_go_with_another_program(app, capsys):
    fails(app, capsys, 'works on the CPU only: use --device cpu', '--method', 'ants-syn', '--device', 'cuda:0')
    fails(app, capsys, 'leave --working-resolution out', '--method', 'ants-syn', '--working-resolution', '2')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[displacment]\ncheck_above = 1', "Did you mean 'displacement'"),
        ('[a', 'cannot be read'),
        (None, 'cannot be read'),
    ],
)
def test_bad_thresholds_file(app, capsys, tmp_path, text, message):
    if text is not None:
        (tmp_path / 'mine.toml').write_text(text)
    fails(app, capsys, message, '--qc-thresholds', tmp_path / 'mine.toml')


@pytest.mark.parametrize(
    ('words', 'lacking'), [(['-m', 'FLAIR'], 'T2w'), (['--reference', 'T2w', '-m', 'FLAIR', 'PDw'], 'T1w')]
)
def test_a_ratio_of_contrasts_that_have_none(app, capsys, tmp_path, words, lacking):
    said = f'--ratio uncalibrated is made of a T1w and a T2w: add {lacking} to --modalities.'
    fails(app, capsys, said, *words, '--ratio', 'uncalibrated')
    assert not (tmp_path / 'out').exists()


def test_missing_derivatives(app, capsys, tmp_path):
    fails(app, capsys, '--derivatives', '-d', tmp_path / 'none')


def test_memory_without_sense(app, capsys):
    fails(app, capsys, 'amount of memory', '--mem', 'much')


def test_validator_errors_are_warnings(monkeypatch, raw, tmp_path, caplog):
    answer = {'issues': {'issues': [{'code': 'BAD', 'severity': 'error', 'location': '/sub-01'}]}}
    monkeypatch.setattr(checks.shutil, 'which', lambda *_, **__: '/validator')
    done = subprocess.CompletedProcess([], 16, stdout=json.dumps(answer), stderr='')
    monkeypatch.setattr(checks.subprocess, 'run', lambda *_, **__: done)
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out')
    checks.validate_bids(settings)
    assert 'BIDS validator: BAD (1 times, for example /sub-01)' in caplog.text
    done.stdout = 'nonsense'
    checks.validate_bids(settings)
    assert 'did not work' in caplog.text


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['MNI:res-9'], 'has the resolutions 1'),
        (['fsaverage'], 'a surface, not a volume'),
        (['MNI152NLin2009cAsym:res-1'], "get('MNI152NLin2009cAsym'"),
        (['Pretended:res-3'], 'no such resolution; known: 1, 2'),
        (['Half'], 'was not downloaded yet'),
        (['mystudy:nowhere.nii.gz'], 'there is no file'),
    ],
)
def test_spaces_that_cannot_be_had_are_said_before_any_work(app, capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.setenv('TEMPLATEFLOW_AUTOUPDATE', 'off')
    home = tmp_path / 'templateflow'
    write_template(home, 'Pretended')
    (write_template(home, 'Half') / 'tpl-Half_res-01_T1w.nii.gz').write_bytes(b'')
    fails(app, capsys, said, '--output-spaces', *words, '--templateflow-home', home)
    assert not (tmp_path / 'out').exists()


def test_a_template_that_is_missing_is_fetched_before_any_work(raw, tmp_path, monkeypatch, caplog):
    home = tmp_path / 'templateflow'
    asked = []

    def get(space, folder, problem):
        asked.append((space.label, folder, problem.problem))
        write_template(folder, space.name)

    monkeypatch.setattr(checks, 'fetch_template', get)
    settings = Settings(
        bids_dir=raw, output_dir=tmp_path / 'out', output_spaces=('Pretended', 'MNI'), templateflow_home=home
    )
    checks.check_spaces(replace(settings, dry_run=True))
    assert 'A run would try to fetch it' in caplog.text
    assert not asked
    checks.check_spaces(settings)
    checks.check_spaces(settings)
    assert [(label, folder) for label, folder, _ in asked] == [('Pretended', home)], 'once'
    with pytest.raises(InputError, match='no such resolution'):  # the client has not more than that
        checks.check_spaces(replace(settings, output_spaces=('Pretended:res-3',)))
