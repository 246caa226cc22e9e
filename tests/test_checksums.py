"""Files that were damaged since they were written are found."""

from __future__ import annotations

import pytest

from bidsreg.checksums import DAMAGED, NAME, find_damage, require_whole, write_checksums
from bidsreg.errors import DamagedFileError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'inner').mkdir()
    for name in ('a.nii', 'inner/é.h5', '_node.pklz', '.hidden', 'empty.txt'):
        (tmp_path / name).write_bytes(b'' if name == 'empty.txt' else bytes(range(256)))
    (tmp_path / 'link').symlink_to('a.nii')
    write_checksums(tmp_path)
    return tmp_path


def test_nothing_is_said_of_what_is_whole(folder, tmp_path):
    assert find_damage(folder) == find_damage(folder, content=False) == ''
    (folder / '_node.pklz').write_bytes(b'')  # Nipype's own
    (folder / 'more.txt').write_text('new')
    assert find_damage(folder) == ''
    assert find_damage(tmp_path / 'nowhere') == ''


@pytest.mark.parametrize('name', ['a.nii', 'inner/é.h5'])
def test_damage_is_named(folder, name):
    path, content = folder / name, (folder / name).read_bytes()
    path.write_bytes(content[:-1])
    assert find_damage(folder, content=False) == find_damage(folder) == f'{name} has 255 of 256 bytes'
    path.write_bytes(content[:-1] + b'0')
    assert find_damage(folder) == f'the content of {name} has changed'
    assert find_damage(folder, content=False) == ''
    path.unlink()
    assert find_damage(folder, content=False) == f'{name} cannot be read (No such file or directory)'


@pytest.mark.parametrize('content', [b'', b'{"a.nii": [25', b'\xff', b'\0' * 40, b'[1]', b'{"a.nii": 256}'])
def test_a_list_that_is_damaged_itself(folder, content):
    (folder / NAME).write_bytes(content)
    assert find_damage(folder) == f'{NAME} cannot be read'
    with pytest.raises(DamagedFileError, match=f'{NAME} cannot be read since'):
        require_whole(folder / 'a.nii')


def test_a_file_that_is_to_be_read_is_compared(folder, tmp_path):
    assert require_whole(folder / 'a.nii')
    assert require_whole(folder / 'inner' / 'é.h5')
    (folder / 'later.nii').write_text('not noted')
    assert not require_whole(folder / 'later.nii')
    assert not require_whole(tmp_path.parent / 'of nobody.nii')


@pytest.mark.parametrize('bit', [0, 7 * 8 + 3, 255 * 8 + 7])
def test_whoever_finds_a_turned_bit_marks_the_step(folder, bit):
    """The next run does the step again, even where it would only look at sizes."""
    path = folder / 'inner' / 'é.h5'
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    assert find_damage(folder, content=False) == ''
    with pytest.raises(
        DamagedFileError, match=r'the content of inner/é.h5 has changed since the step that made it ended'
    ):
        require_whole(path)
    assert find_damage(folder, content=False) == 'the content of inner/é.h5 has changed'
    (folder / DAMAGED).write_bytes(b'')  # half written by a full disk
    assert find_damage(folder, content=False)
