"""The work folder belongs to the user alone, or the run is refused with what to do."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from types import SimpleNamespace

import pytest

from bidsreg.errors import InputError
from bidsreg.execution import private
from bidsreg.execution.private import others_who_write, prepare_work_folder
from tests.app_fixtures import fails

MINE, GROUP = 4001, 4002


@pytest.fixture
def folder(tmp_path):
    """A folder with something in it."""
    path = tmp_path / 'work'
    path.mkdir(mode=0o700)
    (path / 'earlier').mkdir()
    return path


@pytest.fixture
def names(monkeypatch):
    """Users and groups that the system knows: this one with a group of the same name, and members of a lab."""

    def know(members=(), name='me'):
        me = SimpleNamespace(pw_name='me', pw_gid=os.getegid())
        monkeypatch.setattr(private.pwd, 'getpwuid', {os.geteuid(): me}.__getitem__)
        group = SimpleNamespace(gr_name=name, gr_mem=list(members))
        monkeypatch.setattr(private.grp, 'getgrgid', {os.getegid(): group}.__getitem__)

    return know


def test_a_new_folder_is_for_the_user_alone(tmp_path):
    before = os.umask(0)
    try:
        prepare_work_folder(tmp_path / 'a' / 'work')
    finally:
        os.umask(before)
    assert (tmp_path / 'a' / 'work').stat().st_mode & 0o777 == 0o700
    prepare_work_folder(tmp_path / 'a' / 'work')


def test_an_empty_one_of_the_user_is_closed(tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work').chmod(0o777)
    prepare_work_folder(tmp_path / 'work')
    assert (tmp_path / 'work').stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(('mode', 'who'), [(0o777, 'everybody'), (0o1777, 'everybody'), (0o702, 'everybody')])
def test_one_that_everybody_may_write_to_is_refused_or_taken_by_name(folder, caplog, mode, who):
    folder.chmod(mode)
    with pytest.raises(InputError, match=f'{who} may write there.*chmod 700.*--shared-work-dir'):
        prepare_work_folder(folder)
    assert folder.stat().st_mode & 0o7777 == mode
    prepare_work_folder(folder, shared=True)
    assert 'is trusted to run code as you' in caplog.text


def test_others_may_read(folder):
    folder.chmod(0o755)
    prepare_work_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_group_of_the_user_alone_is_the_user(folder, names):
    folder.chmod(0o770)
    names()
    assert others_who_write(folder) == ''
    names(members=['me'])
    assert others_who_write(folder) == ''
    names(members=['me', 'you'])
    assert others_who_write(folder) == 'the group me may write there'
    names(name='lab')
    assert others_who_write(folder) == 'the group lab may write there'


def test_where_users_have_no_names_a_group_is_others(folder, monkeypatch):
    """As in a container that is run with a number."""
    folder.chmod(0o770)
    for module, name in ((private.pwd, 'getpwuid'), (private.grp, 'getgrgid')):
        monkeypatch.setattr(module, name, {}.__getitem__)
    assert others_who_write(folder) == f'the group {os.getegid()} may write there'


def test_whose_it_is(folder, monkeypatch):
    """Another user's, even one that nobody else may write to; root's is as good as one's own."""
    facts = folder.stat()
    monkeypatch.setattr(private.os, 'geteuid', lambda: facts.st_uid + MINE)
    monkeypatch.setattr(private.Path, 'stat', lambda self, **_: os.stat_result((0o40700, 1, 1, 2, 7777, 0, 0, 0, 0, 0)))
    assert others_who_write(folder) == 'it belongs to user 7777'
    monkeypatch.setattr(private.Path, 'stat', lambda self, **_: os.stat_result((0o40755, 1, 1, 2, 0, 0, 0, 0, 0, 0)))
    assert others_who_write(folder) == ''


def acl(*entries) -> bytes:
    """An access list: tag, permissions, number."""
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
OWNER, OTHER = (0x01, 7, NOBODY), (0x20, 0, NOBODY)


@pytest.mark.parametrize(
    ('entries', 'who'),
    [
        ([(0x02, 7, MINE), (0x04, 0, NOBODY), (0x10, 7, NOBODY)], f'its access list lets user {MINE} write there'),
        ([(0x02, 7, MINE), (0x04, 0, NOBODY), (0x10, 5, NOBODY)], ''),  # the mask takes the right away
        ([(0x02, 5, MINE), (0x04, 0, NOBODY), (0x10, 7, NOBODY)], ''),
        ([(0x04, 0, NOBODY), (0x08, 7, GROUP), (0x10, 7, NOBODY)], f'the group {GROUP} may write there'),
    ],
)
def test_access_lists_are_read(folder, entries, who):
    try:
        os.setxattr(folder, private._ACL, acl(OWNER, *entries, OTHER))
    except OSError as error:
        pytest.skip(f'no access lists here: {error}')
    assert others_who_write(folder) == who


class Evil:
    """Leaves a file where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_what_others_may_have_put_there_is_never_unpickled(app, capsys, tmp_path):
    """The case that was proved: somebody else's result in a work folder that all may write to."""
    assert app() == 0
    work, trace = tmp_path / 'work', tmp_path / 'trace'
    for path in work.rglob('result_*.pklz'):
        path.write_bytes(gzip.compress(pickle.dumps(Evil(trace))))
    work.chmod(0o777)
    (tmp_path / 'out' / 'sub-01' / 'anat' / 'sub-01_desc-registration_qc.json').unlink()
    fails(app, capsys, 'everybody may write there')
    assert not trace.exists()
    app('--shared-work-dir')
    assert trace.exists()  # the option means what it says
