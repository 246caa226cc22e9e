"""A device, folders, a package: what is missing is said before any work."""

from __future__ import annotations

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


def test_resource_monitor_without_psutil(app, capsys, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, 'find_spec', lambda name: None)
    fails(app, capsys, 'needs the package psutil', '--resource-monitor')
