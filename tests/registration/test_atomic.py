"""A file or a folder appears complete or not at all."""

import os
from pathlib import Path

import pytest

from bidsreg.registration.atomic import atomic_folder, hidden_name, write_atomic, write_text


def test_a_file_is_there_complete(tmp_path):
    path = tmp_path / 'new folder' / 'é.json'
    assert write_text(path, 'ü', durable=True) == path
    assert path.read_text(encoding='utf-8') == 'ü'
    assert [file.name for file in path.parent.iterdir()] == [path.name]


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
