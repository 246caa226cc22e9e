"""A file or a folder appears complete or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bidsreg.registration import atomic
from bidsreg.registration.atomic import atomic_folder, hidden_folder, hidden_name, sweep, write_atomic, write_text


def test_a_file_is_there_complete(tmp_path):
    path = tmp_path / 'new folder' / 'é.json'
    assert write_text(path, 'ü', durable=True) == path
    assert path.read_text(encoding='utf-8') == 'ü'
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_longest_name_is_written(tmp_path):
    for name in ('a' * 251 + '.txt', 'é' * 120 + '.nii.gz'):
        hidden = hidden_name(tmp_path / name)
        hidden.touch()
        assert hidden.name.endswith(name[-8:])
        assert write_text(tmp_path / name, 'whole').read_text() == 'whole'
        hidden.unlink()


@pytest.mark.parametrize('scratch', [None, 'scratch'])
def test_a_failure_leaves_what_was_there(tmp_path, scratch):
    path = write_text(tmp_path / 'out.txt', 'old')

    def fail(hidden):
        hidden.write_text('half')
        raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space'):
        write_atomic(path, fail, scratch=scratch and tmp_path / scratch)
    assert path.read_text() == 'old'
    assert [file for file in tmp_path.rglob('*') if file.is_file()] == [path]


def test_what_is_written_is_hidden_and_keeps_its_extension(tmp_path):
    seen = []
    write_atomic(tmp_path / 'a.nii.gz', lambda hidden: (seen.append(hidden), hidden.touch()), scratch=tmp_path / 'tmp')
    assert seen[0].parent == tmp_path / 'tmp'
    assert seen[0].name.startswith('.')
    assert seen[0].name.endswith('.a.nii.gz')


def test_no_two_writers_meet(tmp_path):
    names = {hidden_name(tmp_path / 'a').name for _ in range(50)}
    assert len(names) == 50
    assert all(str(os.getpid()) in name for name in names)


def test_a_folder_takes_the_place_of_another(tmp_path):
    goal = tmp_path / 'result'
    for content in ('one', 'two'):
        with atomic_folder(goal) as folder:
            assert not (folder / 'file').exists()
            (folder / 'file').write_text(content)
        assert (goal / 'file').read_text() == content
        assert list(tmp_path.iterdir()) == [goal]


def test_the_folder_behind_a_link_is_replaced(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    with atomic_folder(tmp_path / 'link') as folder:
        (folder / 'file').touch()
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real' / 'file').exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['link', 'real']


def test_a_file_is_never_taken_for_a_folder(tmp_path):
    goal = tmp_path / 'result'
    goal.write_text('mine')
    with pytest.raises(NotADirectoryError, match='is no folder'), atomic_folder(goal):
        pytest.fail('nothing is to be filled')
    assert goal.read_text() == 'mine'
    assert list(tmp_path.iterdir()) == [goal]


def test_a_folder_that_cannot_take_its_name_gives_it_back(tmp_path, monkeypatch):
    goal = tmp_path / 'result'
    goal.mkdir()
    (goal / 'file').write_text('old')
    monkeypatch.setattr(atomic, '_exchange', lambda one, two: False)
    rename = Path.rename

    def fail(self, target):
        if target == goal and (self / 'file').read_text() == 'new':
            raise OSError(5, 'Input/output error')
        return rename(self, target)

    monkeypatch.setattr(Path, 'rename', fail)
    with pytest.raises(OSError, match='Input/output'), atomic_folder(goal) as folder:
        (folder / 'file').write_text('new')
    assert (goal / 'file').read_text() == 'old'
    assert list(tmp_path.iterdir()) == [goal]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    goal = tmp_path / 'result'
    with atomic_folder(goal) as folder:
        (folder / 'file').write_text('old')

    def fail():
        with atomic_folder(goal) as folder:
            (folder / 'file').write_text('half')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (goal / 'file').read_text() == 'old'
    assert list(tmp_path.iterdir()) == [goal]


def test_what_comes_into_the_place_meanwhile_is_looked_at(tmp_path):
    def refuse(path):
        raise ValueError(f'{path.name} is not replaced')

    def run():
        with atomic_folder(tmp_path / 'result', refuse):
            (tmp_path / 'result').mkdir()
            (tmp_path / 'result' / 'mine').touch()

    with pytest.raises(ValueError, match='result is not replaced'):
        run()
    assert [path.name for path in tmp_path.rglob('*')] == ['result', 'mine']


# --------------------------------------------------------------------------------------------------- after a kill
WATCHED = ('open', 'os.', 'shutil.')


def killed_at(moment, work):
    """Do work in a process that is killed right before its so manyth call that may touch a file; False if it ended."""
    child = os.fork()
    if child == 0:
        calls = 0

        def watch(event, _):
            nonlocal calls
            if event.startswith(WATCHED) and event != 'os.kill':
                calls += 1
                if calls > moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize('exchange', [True, False])
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path, monkeypatch, exchange):
    """Without the exchange (as on NFS) the old one may have to be given its name back by the next run."""
    if not exchange:
        monkeypatch.setattr(atomic, '_exchange', lambda one, two: False)
    goal, found, moment = tmp_path / 'result', set(), 0

    def put(content):
        with atomic_folder(goal) as folder:
            for name in ('one', 'two'):
                (folder / name).write_text(content)

    def content():
        return {path.name: path.read_text() for path in goal.iterdir()}

    put('old')
    while killed_at(moment, lambda: put('new')):
        if exchange:
            assert goal.is_dir()
        sweep(tmp_path)
        assert content() in ({'one': 'old', 'two': 'old'}, {'one': 'new', 'two': 'new'})
        assert list(tmp_path.iterdir()) == [goal]
        found.add(content()['one'])
        put('old')
        moment += 1
    assert found == {'old', 'new'}
    assert moment > 8
    assert content()['one'] == 'new'


def test_a_kill_while_a_file_is_written_leaves_nothing_behind(tmp_path):
    goal, moment = write_text(tmp_path / 'a.txt', 'old'), 0
    while killed_at(moment, lambda: write_text(goal, 'new', scratch=tmp_path / 'tmp', durable=True)):
        assert goal.read_text() in ('old', 'new')
        moment += 1
    assert moment > 3
    sweep(tmp_path / 'tmp')
    assert list((tmp_path / 'tmp').iterdir()) == []


def dead_process():
    child = subprocess.Popen([sys.executable, '-c', ''])
    child.wait()
    return str(child.pid)


def named(name, **parts):
    """A hidden name with the parts of another writer."""
    for part, value in parts.items():
        mine = {'machine': atomic._machine(), 'process': str(os.getpid())}[part]
        name = name.replace(mine, value, 1)
    return name


def test_only_what_dead_processes_left_is_removed(tmp_path):
    """Of this machine by the process, of others by the age: that of two containers may have the same number."""
    hidden = hidden_name(tmp_path / 'a.nii.gz').name
    dead = dead_process()
    gone = {named(hidden, process=dead), named(hidden, machine='node7-0123abcd'), named(hidden, process='9' * 30)}
    mine = {hidden, named(hidden, machine='node8-0123abcd'), '.bashrc', '.a.1.b.c', 'a.nii.gz', f'x{hidden}'}
    for name in gone | mine:
        (tmp_path / name).write_text('x')
    folder = tmp_path / named(hidden_name(tmp_path / 'out').name, process=dead)
    (folder / 'inner').mkdir(parents=True)
    yesterday = time.time() - atomic.OLD_SECONDS - 9
    for name in (named(hidden, machine='node7-0123abcd'), hidden, '.bashrc'):
        os.utime(tmp_path / name, (yesterday, yesterday))
    assert {path.name for path in sweep(tmp_path)} == {*gone, folder.name}
    assert {path.name for path in tmp_path.iterdir()} == mine


def test_what_nobody_writes_any_more_is_removed_by_its_name(tmp_path):
    with hidden_folder(tmp_path, 'sub-01') as one, hidden_folder(tmp_path, 'sub-010') as other:
        assert sweep(tmp_path) == []
        assert sweep(tmp_path, 'sub-01') == [one]
        assert list(tmp_path.iterdir()) == [other]
    assert sweep(tmp_path / 'nowhere') == []


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'file').touch()
    link = tmp_path / named(hidden_name(tmp_path / 'a').name, process=dead_process())
    link.symlink_to('mine')
    sweep(tmp_path)
    assert not link.is_symlink()
    assert (tmp_path / 'mine' / 'file').exists()


def test_a_folder_set_aside_is_removed_where_the_new_one_has_come(tmp_path):
    name = named(f'{atomic._prefix()}-old.out', process=dead_process())
    for folder in (name, 'out'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'file').write_text(folder)
    sweep(tmp_path)
    assert (tmp_path / 'out' / 'file').read_text() == 'out'
    assert [path.name for path in tmp_path.iterdir()] == ['out']
