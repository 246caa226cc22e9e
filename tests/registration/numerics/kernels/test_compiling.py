"""Where compiled kernels are kept: at home, in an image, on a disk that cannot be written."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from bidsreg.registration.numerics.kernels import compiling
from bidsreg.registration.numerics.kernels.__main__ import every_kernel


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders of the image, of the user and of temporary files, none of which exists; nothing was said before."""
    found = {name: tmp_path / name for name in ('image', 'home', 'temporary')}
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(found['image']))
    monkeypatch.setenv('XDG_CACHE_HOME', str(found['home']))
    monkeypatch.setattr(compiling.tempfile, 'gettempdir', lambda: str(found['temporary']))
    for once in (compiling._say_compiling, compiling._warn_of_place):
        once.cache_clear()
        monkeypatch.setattr(compiling, once.__name__, once)
    return found


def plus_one(a):
    return a + 1


def made():
    kernel = compiling.kernel('f4(f4)')(plus_one)
    kernel.compile()
    return kernel


def kept(folder):
    return sorted(path.name for path in folder.rglob('*.code')) if folder.exists() else []


def test_a_kernel_is_compiled_once_and_then_read(places, caplog):
    caplog.set_level(logging.INFO)
    assert made()(np.float32(2)) == 3
    (name,) = kept(places['image'])
    assert [kept(places[other]) for other in ('home', 'temporary')] == [[], []]
    assert len(caplog.messages) == 1
    compiling._say_compiling.cache_clear()
    again = made()
    assert again(np.float32(2)) == 3
    assert kept(places['image']) == [name]
    assert len(caplog.messages) == 1


def test_other_sources_or_another_processor_have_another_file(places, monkeypatch):
    made()
    monkeypatch.setattr(compiling, 'sources_stamp', lambda: 'changed')
    made()
    assert len(kept(places['image'])) == 2


@pytest.mark.parametrize(('blocked', 'where'), [(['image'], 'home'), (['image', 'home'], 'temporary')])
def test_what_cannot_be_written_is_passed_over(places, blocked, where, caplog):
    for name in blocked:
        # a file where a folder should be cannot be written, by root neither
        places[name].write_text('')
    assert made()(np.float32(2)) == 3
    assert len(kept(places[where])) == 1
    assert ('no cache folder' in caplog.text) == (where == 'temporary')


def test_where_nothing_can_be_written_kernels_work_and_a_warning_says_so(places, caplog):
    for path in places.values():
        path.write_text('')
    assert made()(np.float32(2)) == 3
    assert 'every process' in caplog.text


def test_without_a_home_or_temporary_files_there_is_no_folder(places, monkeypatch):
    def nowhere():
        raise FileNotFoundError

    monkeypatch.delenv(compiling.FOLDER_VARIABLE)
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setattr(compiling.os.path, 'expanduser', lambda path: path)
    monkeypatch.setattr(compiling.tempfile, 'gettempdir', nowhere)
    assert list(compiling.folders()) == []


def test_code_that_others_may_have_written_is_not_run(places):
    made()
    places['image'].chmod(0o777)
    assert places['image'] not in list(compiling.trusted_folders())
    made()
    assert len(kept(places['home'])) == 1


def test_a_file_that_is_no_code_is_compiled_anew(places):
    made()
    (name,) = kept(places['image'])
    (places['image'] / name).write_bytes(b'half a fi')
    assert made()(np.float32(2)) == 3


def test_other_types_are_an_error(places):
    with pytest.raises(TypeError):
        made()('one')


def test_a_kernel_is_compiled_when_it_is_called_first(places):
    kernel = compiling.kernel('f4(f4)')(plus_one)
    assert kept(places['image']) == []
    assert kernel(np.float32(2)) == 3
    assert len(kept(places['image'])) == 1


def test_an_image_compiles_every_kernel():
    names = {kernel.__name__ for kernel in every_kernel()}
    assert {'warp', 'collect', 'mismatch'} <= names


def test_nothing_is_compiled_or_imported_before_it_is_needed():
    code = 'import sys, bidsreg.cli, bidsreg.pair.cli, bidsreg.registration; sys.exit("numba" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})
