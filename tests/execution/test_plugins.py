"""The file that names a plugin of Nipype."""

from __future__ import annotations

import pytest

from tests.app_fixtures import fails


def test_a_batch_system_that_is_not_here(app, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    for plugin, program in (('SLURM', 'sbatch'), ('SGE', 'qsub'), ('PBS', 'qsub')):
        (tmp_path / 'p.yml').write_text(f'plugin: {plugin}')
        fails(app, capsys, f'{plugin} needs {program}', '--use-plugin', tmp_path / 'p.yml')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('plugin: Slurm', "no plugin 'Slurm'. Did you mean 'SLURM'"),
        ('plugin: SLURMGraph', 'does not wait for its jobs; use SLURM.'),
        ('plugin: PBSGraph', 'does not wait'),
        ('[1]', 'plugin: NAME'),
        ('plugin: MultiProc\nplugin_args: 3', 'plugin: NAME'),
        ('a: b: c', 'cannot be read'),
        ('plugin: MultiProc\nplugin_args: {memory_gb: 16GB}', "memory_gb must be a number from 0.1 on, not '16GB'"),
        ('plugin: MultiProc\nplugin_args: {memory_gb: 0.008}', 'memory_gb must be a number from 0.1 on, not 0.008'),
        ('plugin: MultiProc\nplugin_args: {n_procs: 0}', 'n_procs must be a number from 1 on, not 0'),
        ('plugin: MultiProc\nplugin_args: {n_procs: .nan}', 'n_procs must be a number from 1 on, not nan'),
    ],
)
def test_bad_plugin_file(app, capsys, tmp_path, text, message):
    (tmp_path / 'p.yml').write_text(text)
    fails(app, capsys, message, '--use-plugin', tmp_path / 'p.yml')
