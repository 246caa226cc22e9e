"""The folder of results: what may be replaced, what may not, and what is said before any work."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bidsreg.pair import cli, destination
from bidsreg.pair.request import PairRequest
from tests.fake_program import Pretended

OWN = {'method': 'node-mind', 'settings': {}, 'versions': {}, 'decision': {}, 'jacobian': {}}


def result_folder(path, **more):
    """Files as bidsreg-pair leaves them, and more."""
    path.mkdir()
    texts = {name: name for name in destination.RESULT_FILES} | {'result.json': json.dumps(OWN)} | more
    for name, text in texts.items():
        (path / name).write_text(text)
    return path


def check(out, overwrite=True, **more):
    names = {'fixed': Path('fixed.nii'), 'moving': Path('moving.nii')}
    destination.check_destination(PairRequest(**names | more, out=out, overwrite=overwrite))


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob('*')}


@pytest.mark.parametrize('kept', [destination.RESULT_FILES, ('result.json',), ()])
def test_a_result_or_an_empty_folder_may_be_replaced(tmp_path, kept):
    out = result_folder(tmp_path / 'out')
    for name in set(destination.RESULT_FILES) - set(kept):
        (out / name).unlink()
    check(out)
    with pytest.raises(ValueError, match='exists already'):
        check(out, overwrite=False)


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        ({'notes.txt': 'mine'}, 'notes.txt'),
        ({'.hidden': 'mine'}, '.hidden'),
        ({'result.json': '{}'}, 'forward.h5'),
        ({'result.json': '[1]'}, 'forward.h5'),
        ({'result.json': '{"method": '}, 'forward.h5'),
        ({'result.json': '[' * 10**5}, 'forward.h5'),
        ({'result.json': json.dumps({'decision': 1, 'versions': 2})}, 'forward.h5'),
    ],
)
def test_a_folder_with_anything_else_is_not_replaced(tmp_path, more, said):
    out = result_folder(tmp_path / 'out', **more)
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match='holds more than a result of bidsreg-pair') as error:
        check(out)
    assert said in str(error.value)
    assert snapshot(tmp_path) == before


def test_folders_and_links_in_the_place_of_results_are_not_replaced(tmp_path):
    out = result_folder(tmp_path / 'out')
    (out / 'warped.nii.gz').unlink()
    (out / 'warped.nii.gz').symlink_to('/etc/hostname')
    with pytest.raises(ValueError, match=r'warped\.nii\.gz'):
        check(out)
    (out / 'warped.nii.gz').unlink()
    (out / 'warped.nii.gz').mkdir()
    with pytest.raises(ValueError, match=r'warped\.nii\.gz'):
        check(out)


@pytest.mark.parametrize('field', ['fixed', 'moving', 'fixed_mask', 'affine', 'start', 'preset_file'])
def test_a_folder_that_holds_an_input_is_not_replaced(tmp_path, field):
    out = result_folder(tmp_path / 'out')
    (tmp_path / 'link').symlink_to('out')
    path = tmp_path / 'link' / 'warped.nii.gz'
    with pytest.raises(ValueError, match='which would be replaced'):
        check(out, **{field: (path, path) if field == 'start' else path})
    with pytest.raises(ValueError, match='which would be replaced'):
        check(tmp_path / 'new', **{field: (out, tmp_path / 'new' / 'x') if field == 'start' else tmp_path / 'new'})


def test_the_folder_of_the_inputs_is_kept(run, heads, capsys):
    """The case that once cost a user the scans."""
    folder = heads.paths['fixed'].parent
    before = snapshot(folder)
    code, _, said = run('--overwrite', '--out', folder, program=Pretended(heads.displacement()))
    assert code == 2
    assert 'is not replaced' in said
    assert snapshot(folder) == before


def test_a_folder_that_cannot_be_written_is_said_before_any_work(run, heads, tmp_path):
    """Neither the program nor an image is touched."""
    program = Pretended(heads.displacement())
    (tmp_path / 'file').write_text('')
    code, _, said = run('--out', tmp_path / 'file' / 'out', program=program)
    assert code == 2
    assert '--out cannot be written' in said
    code, _, said = run('--out', '/proc/nowhere/out', program=program)
    assert code == 2
    assert '--out cannot be written' in said
    assert program.workspaces == []
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_a_full_disk_is_said_before_any_work(run, heads, monkeypatch):
    program = Pretended(heads.displacement())

    def full(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(destination.tempfile, 'TemporaryFile', full)
    code, _, said = run(program=program)
    assert code == 1
    assert '--out cannot be written: No space left on device' in said
    assert program.workspaces == []


@pytest.mark.skipif(os.getuid() == 0, reason='root may write everywhere')
def test_rights_are_looked_at(tmp_path):
    out = result_folder(tmp_path / 'out')
    out.chmod(0o555)
    with pytest.raises(PermissionError):
        check(out)
    out.chmod(0o755)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            check(tmp_path / 'new')
    finally:
        tmp_path.chmod(0o755)


def test_where_a_file_system_is_mounted_nothing_can_be_renamed(tmp_path, monkeypatch):
    (tmp_path / 'out').mkdir()
    monkeypatch.setattr(os.path, 'ismount', lambda path: Path(path) == tmp_path / 'out')
    with pytest.raises(OSError, match='a file system is mounted there'):
        check(tmp_path / 'out')


def test_what_comes_meanwhile_is_not_replaced(run, heads, tmp_path):
    """Somebody puts files into the place of the folder while the work is done."""
    out = tmp_path / 'out'

    def late(fixed):
        out.mkdir(exist_ok=True)
        (out / 'thesis.tex').write_text('mine')
        return heads.displacement()

    for more, said in ([], 'exists already'), (['--overwrite'], 'thesis.tex'):
        code, _, words = run('-q', *more, program=Pretended(late))
        assert code == 2
        assert said in words
        assert [path.name for path in tmp_path.rglob('*')] == ['out', 'thesis.tex']
        (out / 'thesis.tex').unlink()
        out.rmdir()


COMMAND = """
import sys, time
from pathlib import Path
from bidsreg.pair import cli
from tests.fake_program import Pretended, smooth_field
def field(fixed):
    print('begun', flush=True)
    return smooth_field(fixed.grid)
sys.exit(cli.main(sys.argv[1:], {'pretended': Pretended(field)}))
"""


@pytest.mark.slow  # four processes that load torch
def test_a_kill_leaves_the_old_result_or_the_new_one(heads, tmp_path):
    """The command itself, killed after ever longer times; the next one clears up."""
    words = [heads.paths['fixed'], heads.paths['moving'], '--method', 'pretended', '--out', tmp_path / 'out', '-q']
    words = [str(word) for word in [*words, '--threads', 1, '--device', 'cpu', '--overwrite']]
    place = {'cwd': Path(__file__).resolve().parents[2], 'stdout': subprocess.PIPE, 'text': True}
    assert cli.main(words, {'pretended': Pretended(heads.displacement())}) == 0
    for seconds in (0, 0.2, 0.5):
        process = subprocess.Popen([sys.executable, '-c', COMMAND, *words], **place)
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.wait()
        assert {path.name for path in (tmp_path / 'out').iterdir()} == set(destination.RESULT_FILES)
        assert json.loads((tmp_path / 'out' / 'result.json').read_text()).keys() >= OWN.keys()
    assert subprocess.run([sys.executable, '-c', COMMAND, *words], **place, check=False).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_the_keys_of_every_result(run, heads):
    _, told, _ = run('-q', program=Pretended(heads.displacement()))
    assert told.keys() >= destination.OWN_KEYS
