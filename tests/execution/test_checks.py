"""A device, folders, a package: what is missing is said before any work."""

from __future__ import annotations

import errno

from bidsreg.execution import checks, devices
from tests.app_fixtures import fails


def test_a_plugin_says_which_gpu(app, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr('bidsreg.execution.batch.missing_programs', lambda plugin: [])
    (tmp_path / 'p.yml').write_text('plugin: SLURM')
    fails(app, capsys, 'with SLURM use --device cuda', '--device', 'cuda:1', '--use-plugin', tmp_path / 'p.yml')


def test_cuda_without_gpu(app, capsys, monkeypatch):
    monkeypatch.setattr(devices, 'count_gpus', lambda: 0)
    fails(app, capsys, 'PyTorch sees no CUDA device', '--device', 'cuda')
    monkeypatch.setattr(devices, 'count_gpus', lambda: 1)
    fails(app, capsys, 'PyTorch sees 1 CUDA device', '--device', 'cuda:1')


def test_a_disk_that_takes_a_little_is_not_full(tmp_path, monkeypatch):
    assert not checks.is_full(tmp_path)
    assert not checks.is_full(tmp_path / 'nowhere')

    def full(**_):
        raise OSError(errno.EDQUOT, 'Disk quota exceeded')

    monkeypatch.setattr(checks.tempfile, 'TemporaryFile', full)
    assert checks.is_full(tmp_path)


def test_a_folder_for_temporary_files_that_is_not_there_is_warned_of(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'nowhere'))
    monkeypatch.setattr(checks.tempfile, 'tempdir', None)
    checks.check_temporary()
    assert 'nowhere cannot be used (No such file or directory): temporary files go to /' in caplog.text
    caplog.clear()
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr(checks.tempfile, 'tempdir', None)
    checks.check_temporary()
    assert not caplog.text


def test_resource_monitor_without_psutil(app, capsys, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, 'find_spec', lambda name: None)
    fails(app, capsys, 'needs the package psutil', '--resource-monitor')
