"""The app from its command line to its exit code; the registration itself is pretended (tests/fake_app.py)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg import cli
from bidsreg.app import checks
from bidsreg.app import run as bidsreg_run
from bidsreg.bids.derivatives import pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.cli import build_parser, main, parse_settings
from bidsreg.errors import InputError
from bidsreg.execution.crashes import KILLED, read_crash
from bidsreg.programs import APP_PROGRAMS, niftyreg_install
from bidsreg.reports.citation import methods_text
from bidsreg.settings import Settings
from tests import data, fake_app

ROOT = Path(__file__).resolve().parents[1]
PAIR = {None: ['T1w', 'T2w']}


@pytest.fixture(scope='module')
def two_subjects(tmp_path_factory):
    return data.write_dataset(tmp_path_factory.mktemp('data') / 'raw', {'01': PAIR, '02': PAIR, '03': {None: ['T1w']}})


@pytest.fixture
def raw(two_subjects, tmp_path):
    return Path(shutil.copytree(two_subjects, tmp_path / 'raw'))


@pytest.fixture
def app(raw, tmp_path, monkeypatch):
    """Run the pretended app in this process: ``app('--sloppy', fake={...}, levels=['participant'])``."""
    monkeypatch.setattr('bidsreg.reports.write_reports', fake_app.write_reports, raising=False)
    monkeypatch.setitem(sys.modules, 'bidsreg.workflows.app', fake_app)
    monkeypatch.setattr('bidsreg.execution.local.POLL_SECONDS', 0.05)
    monkeypatch.chdir(tmp_path)

    def run(*options, fake=None, bids=raw, out=tmp_path / 'out', work=tmp_path / 'work', levels=('participant',)):
        monkeypatch.setenv(fake_app.VARIABLE, json.dumps(fake or {}))
        fast = ['-w', str(work), '--nprocs', '2', '--skip-bids-validation']
        return main([str(bids), str(out), *levels, *fast, *map(str, options)])

    return run


def settings_of(*options: str) -> Settings:
    return parse_settings(['raw', 'out', 'participant', *options])


def pairs_of(raw: Path, out: Path):
    settings = Settings(bids_dir=raw, output_dir=out)
    return {pair.name: pair_outputs(pair, out) for pair in find_pairs(settings).pairs}


def begun(work: Path) -> list[str]:
    return (work / 'begun.txt').read_text().split()


# ------------------------------------------------------------------------------------------------------- options
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
        (['--nipype-plugin-file', '/p.yml'], 'use_plugin', Path('/p.yml')),
        (['--qc-thresholds', '/t.toml'], 'qc_thresholds', Path('/t.toml')),
        (['--device', 'cuda:1'], 'device', 'cuda:1'),
        (['--working-resolution', '2'], 'working_resolution', 2.0),
        (['--notrack'], 'method', 'node-mind'),
    ],
)
def test_spellings(options, field, value):
    assert getattr(settings_of(*options), field) == value


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
    [['--nosuch'], ['--pairing', 'x'], ['--nprocs', 'two'], ['--partic', '01'], ['--participant-label']],
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


def test_level_of_a_config_file(tmp_path):
    with pytest.raises(InputError, match='--analysis-level'):
        Settings(bids_dir=tmp_path, output_dir=tmp_path, analysis_level='subject')
    assert Settings(bids_dir=tmp_path, output_dir=tmp_path, analysis_level='group').analysis_level == ('group',)


def test_the_study_after_the_pairs(app, raw, tmp_path, capsys):
    """Both levels in one command, then the second alone, without the raw data: pairs that failed are rows, too."""
    assert app(levels=('participant', 'group'), fake={'sub-02': 'raise'}) == 1
    table = tmp_path / 'out' / 'group_registration.tsv'
    first = table.read_text()
    status = {line.split('\t')[0]: line.split('\t')[4:6] for line in first.splitlines()}
    assert status['sub-01'][0] == 'done'
    assert status['sub-02'][0] == 'not done'  # the pretended reports keep no record of what failed
    assert re.search(r'an earlier run left logs/.*/crash-', status['sub-02'][1])
    assert status['sub-03'] == ['no pair', 'only T1w, no T2w']
    table.unlink()
    raw.rename(tmp_path / 'away')
    capsys.readouterr()
    assert main([str(raw), str(tmp_path / 'out'), 'group', '--dry-run']) == 0
    assert not table.exists()
    assert main([str(raw), str(tmp_path / 'out'), 'group']) == 0
    assert '3 pair(s): 0 PASS, 0 CHECK, 0 FAIL, 3 without a verdict' in capsys.readouterr().out
    assert table.read_text() == first


def test_version_and_help_are_fast_and_free_of_heavy_imports():
    code = (
        'import sys; from bidsreg.cli import main, build_parser; build_parser().format_help(); import bidsreg.app.run; '
        'print([name for name in ("torch", "nipype", "ants", "matplotlib", "nilearn") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
    done = subprocess.run([sys.executable, '-m', 'bidsreg', '--version'], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('bidsreg ')


def test_network_look_ups_are_off(monkeypatch):
    for name in ('NIPYPE_NO_ET', 'NO_ET', 'LOGNAME'):
        monkeypatch.delenv(name, raising=False)
    cli.silence_network()
    assert os.environ['NIPYPE_NO_ET'] == os.environ['NO_ET'] == '1'
    assert os.environ['LOGNAME']


# --------------------------------------------------------------------------------------------- errors before work
def fails(app, capsys, message: str, *options, **places) -> None:
    assert app(*options, **places) == 2
    error = capsys.readouterr().err
    assert 'bidsreg: error: ' in error
    assert message in error
    assert 'Traceback' not in error


def test_bids_folder_missing(app, capsys, tmp_path):
    fails(app, capsys, 'is not a folder', bids=tmp_path / 'nowhere')


def test_not_a_bids_folder(app, capsys, tmp_path):
    (tmp_path / 'empty').mkdir()
    fails(app, capsys, 'no dataset_description.json', bids=tmp_path / 'empty')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('text', ['{broken', '[]', '{"Name": "x"}'])
def test_bad_description(app, capsys, raw, text, monkeypatch):
    (raw / 'dataset_description.json').write_text(text)
    monkeypatch.setattr(sys, 'argv', ['bidsreg'])
    settings = Settings(bids_dir=raw, output_dir=raw.parent / 'out')
    with pytest.raises(InputError, match=r'cannot be read|has no'):
        checks.check_dataset(settings)


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


def test_output_in_derivatives_is_fine(app, raw):
    assert app('--participant-label', '01', out=raw / 'derivatives' / 'bidsreg') == 0


def test_work_folder_in_the_bids_folder(app, capsys, raw, tmp_path):
    fails(app, capsys, 'give another with -w', work=raw / 'work')
    fails(app, capsys, 'give another with -w', work=tmp_path / 'out')
    fails(app, capsys, 'square bracket', work=tmp_path / 'work [old]')


def test_output_not_writable(app, capsys, tmp_path):
    (tmp_path / 'file').touch()
    fails(app, capsys, 'cannot be written', out=tmp_path / 'file' / 'out')
    fails(app, capsys, 'cannot be written', work=tmp_path / 'file' / 'work')


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


def test_the_whole_way_with_another_program(app, tmp_path):
    """The methods text names the program and whom to cite, and the results are another run's than the default's."""
    assert app('--method', 'ants-syn', '--participant-label', '01') == 0
    text = (tmp_path / 'out/logs/CITATION.md').read_text()
    assert 'method ants-syn, version ' in text
    assert text.count('10.1016/j.media.2007.06.004') == text.count('10.1109/TMI.2003.809072') == 1
    assert 'ordinary differential' not in text
    assert settings_of('--method', 'ants-syn').fingerprint() != settings_of().fingerprint()


@pytest.mark.parametrize('name', APP_PROGRAMS)
def test_the_methods_text_of_every_program(name):
    text = methods_text(settings_of('--method', name))
    body, references = text.split('## References')
    assert f'(method {name}' in ' '.join(body.split())
    for author, year in re.findall(r'([A-Z][a-z]+) et al\. (\d{4})', ' '.join(body.split())):
        assert re.search(rf'^- {author}.*\({year}\)', references, re.M), author


def test_a_plugin_says_which_gpu(app, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr('bidsreg.execution.batch.base.missing_programs', lambda plugin: [])
    (tmp_path / 'p.yml').write_text('plugin: SLURM')
    fails(app, capsys, 'with SLURM use --device cuda', '--device', 'cuda:1', '--use-plugin', tmp_path / 'p.yml')


def test_a_batch_system_that_is_not_here(app, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    for plugin, program in (('SLURM', 'sbatch'), ('SGE', 'qsub'), ('PBS', 'qsub')):
        (tmp_path / 'p.yml').write_text(f'plugin: {plugin}')
        fails(app, capsys, f'{plugin} needs {program}', '--use-plugin', tmp_path / 'p.yml')


def test_cuda_without_gpu(app, capsys, monkeypatch):
    monkeypatch.setattr(checks, 'count_gpus', lambda: 0)
    fails(app, capsys, 'PyTorch sees no CUDA device', '--device', 'cuda')
    monkeypatch.setattr(checks, 'count_gpus', lambda: 1)
    fails(app, capsys, 'PyTorch sees 1 CUDA device', '--device', 'cuda:1')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('plugin: Slurm', "no plugin 'Slurm'. Did you mean 'SLURM'"),
        ('plugin: SLURMGraph', 'does not wait for its jobs; use SLURM.'),
        ('plugin: PBSGraph', 'does not wait'),
        ('[1]', 'plugin: NAME'),
        ('plugin: MultiProc\nplugin_args: 3', 'plugin: NAME'),
        ('a: b: c', 'cannot be read'),
    ],
)
def test_bad_plugin_file(app, capsys, tmp_path, text, message):
    (tmp_path / 'p.yml').write_text(text)
    fails(app, capsys, message, '--use-plugin', tmp_path / 'p.yml')


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


def test_resource_monitor_without_psutil(app, capsys, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, 'find_spec', lambda name: None)
    fails(app, capsys, 'needs the package psutil', '--resource-monitor')


@pytest.mark.parametrize('fake', [{}, {'sub-02': 'raise'}])
def test_resource_monitor_leaves_one_table_and_no_litter(app, tmp_path, fake):
    pytest.importorskip('psutil')
    here = {path.name for path in Path().iterdir()}
    assert app('--resource-monitor', fake=fake) == (1 if fake else 0)
    assert {path.name for path in Path().iterdir()} - here <= {'out', 'work'}
    assert Path.cwd() == tmp_path
    assert not list(tmp_path.rglob('.proc-*'))
    (table,) = (tmp_path / 'out' / 'logs').glob('*/resource_monitor.tsv')
    header, *rows = table.read_text().splitlines()
    assert header.split('\t') == ['time', 'process', 'cpu_percent', 'rss_mb', 'vms_mb']
    assert rows
    assert all(float(row.split('\t')[3]) > 1 for row in rows)


def test_a_small_mask_is_no_reason_to_warn(app, raw, caplog):
    """What a header check finds odd about a scan says nothing about a mask."""
    scan = raw / 'sub-01' / 'anat' / 'sub-01_T1w.nii.gz'
    shutil.copy(scan, scan.with_name('sub-01_desc-brain_mask.nii.gz'))
    with caplog.at_level('WARNING', logger='bidsreg'):
        assert app() == 0
    assert 'sub-01_T1w.nii.gz: ' in caplog.text
    assert 'mask.nii.gz: ' not in caplog.text


def test_missing_derivatives(app, capsys, tmp_path):
    fails(app, capsys, '--derivatives', '-d', tmp_path / 'none')


def test_memory_without_sense(app, capsys):
    fails(app, capsys, 'amount of memory', '--mem', 'much')


# ----------------------------------------------------------------------------------------------------- a whole run
def test_too_little_memory_is_said_at_the_start(app, capsys):
    """The pretended step declares 0.25 GB; it runs nevertheless, alone."""
    assert app('--mem', '100MB') == 0
    said = capsys.readouterr().err
    assert 'memory 0.1 GB; device cpu (of auto)' in said
    assert said.index('these steps need more: work 0.2 GB') < said.index('work done')
    assert said.count('Memory is short') == 1
    assert app('--mem', '1GB', out=Path.cwd() / 'out2') == 0
    assert 'Memory is short' not in capsys.readouterr().err


def test_dry_run_tells_and_writes_nothing(app, capsys, raw, tmp_path):
    before = data.files_below(raw)
    assert app('--dry-run') == 0
    text = capsys.readouterr().out
    assert '2 pair(s) to register' in text
    for word in ('sub-01_T2w.nii.gz', 'the only T1w of the subject', 'only T1w, no T2w'):
        assert word in text
    assert data.files_below(raw) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['raw']


def test_run_and_run_again(app, capsys, raw, tmp_path):
    before = data.files_below(raw)
    assert app('--mem', '4GB') == 0
    said = capsys.readouterr()
    assert '2 done, 1 no pair' in said.out
    assert 'no pair: sub-03, step pairing: only T1w, no T2w' in said.out
    assert 'memory 4 GB' in said.err
    out = tmp_path / 'out'
    files = data.files_below(out)
    for paths in pairs_of(raw, out).values():
        assert all(path.is_file() for path in paths.values())
    assert (out / 'report.txt').read_text().splitlines() == ['03 no pair', 'sub-01 done', 'sub-02 done']
    assert app() == 0
    assert '2 already done' in capsys.readouterr().out
    assert len(begun(tmp_path / 'work')) == 2
    again = data.files_below(out)
    assert {name: again[name] for name in files if name.startswith('sub-')} == {
        name: content for name, content in files.items() if name.startswith('sub-')
    }
    assert data.files_below(raw) == before
    logs = [path for path in (out / 'logs').iterdir() if path.is_dir()]
    assert len(logs) == 2
    for folder in logs:
        assert Settings.from_toml(folder / 'config.toml').bids_dir == raw
        assert 'sub-01 register' in (folder / 'bidsreg.log').read_text()
    assert 'Heinrich' in (out / 'logs' / 'CITATION.md').read_text()


def test_an_emptied_output_is_filled_again_from_the_work_folder(app, tmp_path):
    assert app() == 0
    shutil.rmtree(tmp_path / 'out')
    assert app() == 0
    assert len(begun(tmp_path / 'work')) == 2  # the work itself was kept


def test_clean_workdir(app, tmp_path):
    assert app() == 0
    shutil.rmtree(tmp_path / 'out')
    (tmp_path / 'work' / 'mine.txt').touch()
    assert app('--clean-workdir') == 0
    assert len(begun(tmp_path / 'work')) == 4
    assert (tmp_path / 'work' / 'mine.txt').exists()


def test_other_settings_do_it_again(app, capsys, tmp_path):
    assert app() == 0
    assert app('--random-seed', '1', '--participant-label', '01') == 0
    assert '1 done' in capsys.readouterr().out


def test_pairs_table_keeps_other_subjects(app, tmp_path):
    assert app('--participant-label', '01') == 0
    assert app('--participant-label', '02') == 0
    lines = (tmp_path / 'out' / 'logs' / 'pairs.tsv').read_text().splitlines()
    assert [line.split('\t')[:1] for line in lines] == [['subject'], ['01'], ['02']]


@pytest.mark.parametrize(
    ('what', 'step', 'cause'),
    [
        ('raise', 'work', 'ValueError: the work went wrong'),
        ('input', 'work', 'sub-01_T2w.nii.gz: is no good'),
        ('tool', 'work', 'no such weights'),
    ],
)
def test_one_failure_does_not_touch_the_others(app, capsys, raw, tmp_path, what, step, cause):
    assert app(fake={'sub-01': what}) == 1
    text = capsys.readouterr().out
    (line,) = (line for line in text.splitlines() if line.startswith('failed'))
    assert line.startswith(f'failed: sub-01, step {step}: ')
    assert cause in line
    crash = Path(line.rpartition('crash file: ')[2].rstrip(')'))
    assert crash.is_file()
    assert crash.parent.parent == tmp_path / 'out' / 'logs'
    assert '1 done, 1 failed' in text
    assert all(path.is_file() for path in pairs_of(raw, tmp_path / 'out')['sub-02'].values())
    assert 'sub-01 failed' in (tmp_path / 'out' / 'report.txt').read_text()
    assert app() == 0  # repaired, the same command completes
    assert '1 done, 1 already done' in capsys.readouterr().out


def test_a_bad_header_fails_its_pair_only(app, capsys, raw):
    image = nib.Nifti1Image(np.ones((16, 16, 16, 4), 'float32'), np.eye(4))
    image.to_filename(raw / 'sub-01' / 'anat' / 'sub-01_T2w.nii.gz')
    (raw / 'sub-02' / 'anat' / 'sub-02_acq-x_T2w.nii.gz').touch()
    assert app() == 1
    text = capsys.readouterr().out
    assert 'failed: sub-01, step check: sub-01_T2w.nii.gz: is 4-D' in text
    assert 'failed: sub-02_acq-x, step check: sub-02_acq-x_T2w.nii.gz: is empty (0 bytes)' in text
    assert '1 done, 2 failed' in text


def test_a_killed_process_is_named_and_the_others_go_on(app, capsys):
    assert app(fake={'sub-01': 'die'}) == 1
    text = capsys.readouterr().out
    assert f'failed: sub-01, step work: {KILLED}' in text
    assert '1 done, 1 failed' in text


def test_a_killed_process_gets_a_second_chance(app, capsys):
    assert app(fake={'sub-01': 'die-once'}) == 0
    said = capsys.readouterr()
    assert 'sub-01: once more, alone' in said.err
    assert '2 done' in said.out


def test_stop_on_first_crash(app, capsys):
    started = time.time()
    assert app('--stop-on-first-crash', fake={'sub-01': 'raise', 'sub-02': 'slow'}) == 1
    assert time.time() - started < 20
    text = capsys.readouterr().out
    assert 'failed: sub-01, step work: ValueError' in text
    assert 'failed: sub-02, step run: not finished, because another step crashed' in text


def test_many_pairs_are_several_graphs(app, capsys, monkeypatch):
    """A failure in one graph leaves the next alone, unless it is to stop everything."""
    graphs = []
    build = fake_app.init_bidsreg_wf

    def counted(*, pairs, **options):
        graphs.append([pair.name for pair in pairs])
        return build(pairs=pairs, **options)

    monkeypatch.setattr(fake_app, 'init_bidsreg_wf', counted)
    monkeypatch.setattr(bidsreg_run, 'graph_size', lambda settings: 1)
    assert app('--stop-on-first-crash', fake={'sub-01': 'raise'}) == 1
    assert graphs == [['sub-01']]
    assert 'failed: sub-02, step run: not begun, because another step crashed' in capsys.readouterr().out
    assert app(fake={'sub-01': 'raise'}) == 1
    assert graphs[1:] == [['sub-01'], ['sub-02']]
    assert '1 done, 1 failed' in capsys.readouterr().out


def test_a_graph_keeps_all_cpus_busy():
    few, many = settings_of('--nprocs', '2'), settings_of('--nprocs', '32')
    assert bidsreg_run.graph_size(few) == 40
    assert bidsreg_run.graph_size(many) == 128
    assert bidsreg_run.graph_size(settings_of('--use-plugin', 'slurm.yml')) == 200
    assert bidsreg_run.graph_size(settings_of('--resource-monitor')) > 10**6  # all in one table


def test_a_report_that_fails_is_exit_code_1(app, capsys, monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError('no ink')

    monkeypatch.setattr('bidsreg.reports.write_reports', broken)
    assert app(levels=('participant', 'group')) == 1
    said = capsys.readouterr()
    assert 'no ink' in said.err
    assert '2 done' in said.out
    assert (tmp_path / 'out' / 'group_registration.html').is_file(), 'the study does not depend on the pages'


def test_a_graph_that_cannot_be_built_is_told(app, capsys, monkeypatch, tmp_path):
    def broken(**_):
        raise RuntimeError('no such room')

    monkeypatch.setattr(fake_app, 'init_bidsreg_wf', broken)
    assert app() == 1
    assert 'failed: sub-01, step run: RuntimeError: no such room' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'report.txt').is_file()


def test_reports_only(app, capsys, tmp_path):
    assert app(fake={'sub-02': 'raise'}) == 1
    (tmp_path / 'out' / 'report.txt').unlink()
    capsys.readouterr()
    assert app('--reports-only', '--random-seed', '5') == 1
    text = capsys.readouterr().out
    assert '1 already done, 1 failed' in text
    assert 'step work: ValueError: the work went wrong (crash file: ' in text  # of the earlier run
    assert (tmp_path / 'out' / 'report.txt').is_file()
    assert len(begun(tmp_path / 'work')) == 2


def test_reports_only_still_knows_a_bad_scan(app, capsys, raw):
    (raw / 'sub-02' / 'anat' / 'sub-02_T2w.nii.gz').write_bytes(b'')
    assert app() == 1
    capsys.readouterr()
    assert app('--reports-only') == 1
    assert 'failed: sub-02, step check: sub-02_T2w.nii.gz: is empty (0 bytes)' in capsys.readouterr().out


def test_read_only_bids_folder(app, raw, tmp_path):
    if os.geteuid() == 0:
        target = tmp_path / 'ro'
        target.mkdir()
        if subprocess.run(['mount', '--bind', raw, target], capture_output=True, check=False).returncode:
            pytest.skip('no permission to mount')
        try:
            subprocess.run(['mount', '-o', 'remount,ro,bind', target], check=True)
            with pytest.raises(OSError, match='Read-only'):
                (target / 'x').touch()
            assert app(bids=target) == 0
        finally:
            subprocess.run(['umount', target], check=True)
    else:
        folders = [path for path in (raw, *raw.rglob('*')) if path.is_dir()]
        for path in folders:
            path.chmod(0o500)
        try:
            assert app() == 0
        finally:
            for path in folders:
                path.chmod(0o700)


def test_paths_with_spaces_and_accents(app, raw, tmp_path):
    bids = raw.rename(tmp_path / 'données brutes')
    assert app(bids=bids, out=tmp_path / 'sortie été', work=tmp_path / 'travail à faire ünd') == 0


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 4 MB."""
    place = tmp_path / 'disk'
    place.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', place]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('no permission to mount a small tmpfs')
    yield place
    subprocess.run(['umount', '-l', place], check=True)


def test_full_disk(app, capsys, raw, small_disk):
    out = small_disk / 'out'
    ballast = small_disk / 'ballast'
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b'0' * (free - 80_000))
    assert app(out=out) == 1
    text = capsys.readouterr().out
    assert text.count('failed: ') == 2
    assert 'No space left' in text
    assert not [path for path in out.rglob('*') if path.suffix == '.gz' and path.stat().st_size == 0]
    ballast.unlink()
    assert app(out=out) == 0
    for paths in pairs_of(raw, out).values():
        assert all(path.stat().st_size for path in paths.values())


def test_disk_full_from_the_start(app, capsys, small_disk):
    (small_disk / 'ballast').write_bytes(b'0' * shutil.disk_usage(small_disk).free)
    fails(app, capsys, 'No space left', out=small_disk / 'out')


def test_write_graph(app, tmp_path):
    assert app('--write-graph', '--participant-label', '01') == 0
    (graph,) = (tmp_path / 'out' / 'logs').glob('*/graph.dot')
    assert 'digraph' in graph.read_text()


def test_plugin_file(app, capsys, tmp_path):
    (tmp_path / 'p.yml').write_text('plugin: Linear\n')
    assert app('--use-plugin', tmp_path / 'p.yml', fake={'sub-02': 'raise'}) == 1
    assert 'failed: sub-02, step work: ValueError' in capsys.readouterr().out
    (tmp_path / 'p.yml').write_text('plugin: MultiProc\nplugin_args: {n_procs: 1, raise_insufficient: false}\n')
    assert app('--use-plugin', tmp_path / 'p.yml') == 0


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


# --------------------------------------------------------------------------------- several processes, and signals
def start(raw: Path, tmp_path: Path, fake: dict, *options: str) -> subprocess.Popen:
    command = [sys.executable, '-m', 'tests.fake_app', raw, tmp_path / 'out', 'participant', '-w', tmp_path / 'work']
    command += ['--nprocs', '2', '--skip-bids-validation', *options]
    environment = {**os.environ, fake_app.VARIABLE: json.dumps(fake)}
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, **pipes)


def wait_for(condition, process: subprocess.Popen, seconds: float = 30) -> None:
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < end, 'it took too long'
        time.sleep(0.05)


def marker(tmp_path: Path, name: str) -> Path:
    return tmp_path / 'out' / name / 'anat' / f'{name}_desc-registration_qc.json'


def workers_of(pid: int) -> list[int]:
    """List the living children of a process."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != 'Z':
            found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def test_sigkill_then_the_same_command_completes(app, capsys, raw, tmp_path):
    process = start(raw, tmp_path, {'sub-02': 'slow'})
    try:
        wait_for(lambda: marker(tmp_path, 'sub-01').exists() and 'sub-02' in begun(tmp_path / 'work'), process)
        children = workers_of(process.pid)
        assert children
    finally:
        process.kill()
        process.communicate()
    end = time.time() + 10
    while any(alive(pid) for pid in children) and time.time() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in children)  # no orphan goes on working
    assert not marker(tmp_path, 'sub-02').exists()
    assert app() == 0
    assert '1 done, 1 already done' in capsys.readouterr().out
    undisturbed = tmp_path / 'undisturbed'
    assert app(out=undisturbed, work=tmp_path / 'work2') == 0
    one, two = (
        {name: content for name, content in data.files_below(out).items() if name.startswith('sub-')}
        for out in (tmp_path / 'out', undisturbed)
    )
    assert one == two


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_and_says_so(raw, tmp_path, number):
    process = start(raw, tmp_path, {'sub-02': 'slow'})
    wait_for(lambda: marker(tmp_path, 'sub-01').exists() and 'sub-02' in begun(tmp_path / 'work'), process)
    children = workers_of(process.pid)
    process.send_signal(number)
    text = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + number
    assert 'the same command goes on from here' in text
    assert 'failed: sub-02, step run: interrupted' in text
    assert '1 done, 1 failed' in text
    assert 'Traceback' not in text
    assert not any(alive(pid) for pid in children)


def test_two_runs_into_one_output(app, capsys, raw, tmp_path):
    process = start(raw, tmp_path, {'sub-01': 'slow'}, '--participant-label', '01')
    try:
        wait_for(lambda: (tmp_path / 'work' / 'begun.txt').exists(), process)
        assert app() == 1
        text = capsys.readouterr().out
        assert 'locked: sub-01, step start: another run is working on it' in text
        assert '1 done, 1 locked' in text
    finally:
        process.kill()
        process.communicate()
    assert app() == 0


# ---------------------------------------------------------------------------------------------------- crash files
TOLD = 'Cmdline:\n\tx\nStdout:\n\nStderr:\n\t{}\nTraceback:\n\tRuntimeError: subprocess exited with code {}.\n'


@pytest.mark.parametrize(
    ('tail', 'cause'),
    [
        ('Traceback:\n  File "x"\nbidsreg.errors.InputError: a.nii: is empty\n', 'a.nii: is empty'),
        (TOLD.format('one\n\ttwo', 1), 'two'),
        (TOLD.format('Killed', -9), KILLED),
        (TOLD.format('', 137), KILLED),
        (TOLD.format('', 1), 'RuntimeError: subprocess exited with code 1.'),
        (
            'MemoryError: big\n\nWhen creating this crashfile, the results file corresponding\nto the',
            'MemoryError: big',
        ),
    ],
)
def test_cause_in_one_line(tmp_path, tail, cause):
    path = tmp_path / 'crash.txt'
    path.write_text(f'Node: bidsreg_wf.pair_sub_01.register\nWorking directory: /w\n\nNode inputs:\n\na = b\n\n{tail}')
    assert read_crash(path) == ('bidsreg_wf.pair_sub_01.register', cause)
