"""Where compiled kernels are kept: at home, in an image, on a disk that cannot be written."""

import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bidsreg.registration.errors import RegistrationError
from bidsreg.registration.numerics.kernels import compiling

ROOT = Path(__file__).resolve().parents[4]


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
    """A kernel whose code is ready, as after its first call."""
    found = compiling.kernel('f4(f4)')(plus_one)
    found.compile()
    return found


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


def test_a_kernel_is_compiled_when_it_is_called(places):
    compiling.kernel('f4(f4)')(plus_one)
    assert kept(places['image']) == []


def test_a_folder_that_is_named_later_is_filled(places, monkeypatch, caplog):
    monkeypatch.delenv(compiling.FOLDER_VARIABLE)
    made()
    assert len(kept(places['home'])) == 1
    compiling._say_compiling.cache_clear()
    caplog.set_level(logging.INFO)
    # what the first one said, where a command of ours has set the level
    caplog.clear()
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(places['image']))
    made()
    assert kept(places['image']) == kept(places['home'])
    assert not caplog.messages


def test_a_processor_that_cannot_run_the_code_is_an_error(places, monkeypatch):
    monkeypatch.setattr(compiling.config, 'CPU_FEATURES', '+avx2,+time-travel,-sse4a')
    assert 'time-travel' in compiling.missing_features()
    with pytest.raises(RegistrationError, match='time-travel'):
        made()


IMAGE = {
    name: value.rstrip('\\').strip()
    for name, value in re.findall(r'(NUMBA_CPU_\w+)=(.*)', (ROOT / 'Dockerfile').read_text(encoding='utf-8'))
}
"""For which processor the image compiles."""
COMPILE = """
import logging, os, sys
from bidsreg.registration.numerics.kernels import regularity
from bidsreg.registration.numerics.kernels.compiling import Kernel
logging.basicConfig(level=logging.INFO)
if sys.argv[1:]:  # the Python itself may lie where others cannot read it, so not before all of it is loaded
    from numba.core.registry import cpu_target
    cpu_target.target_context.refresh()
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
next(value for value in vars(regularity).values() if isinstance(value, Kernel)).compile()
"""


@pytest.fixture(scope='module')
def image():
    """A folder such as the image has, with one kernel for a processor with AVX2, and what compiles or reads it."""
    # not pytest's own folder, which is closed to other users
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place) / 'kernels'
        environment = {**without_folders(), **IMAGE, compiling.FOLDER_VARIABLE: str(folder)}
        words = [sys.executable, '-c', COMPILE]
        done = subprocess.run(words, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
        assert 'Compiling' in done.stderr
        assert len(kept(folder)) == 1
        folder.chmod(0o555)
        yield environment, words, folder


def without_folders():
    return {k: v for k, v in os.environ.items() if k not in ('HOME', 'XDG_CACHE_HOME')} | {'OMP_NUM_THREADS': '1'}


def again(image, *user, **more):
    environment, words, folder = image
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    done = subprocess.run(
        [*words, *user], env={**environment, **more}, cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    return done.stderr


def test_nothing_is_compiled_or_imported_before_it_is_needed():
    code = 'import sys, bidsreg.cli, bidsreg.pair.cli, bidsreg.registration; sys.exit("numba" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


@pytest.mark.slow
def test_code_of_an_image_is_used_where_nothing_can_be_written(image):
    """Nothing is compiled without a home, where neither the folder nor any other can be written."""
    assert again(image, TMPDIR='/proc', XDG_CACHE_HOME='/proc/nothing') == ''


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason='only root becomes another user')
def test_code_of_an_image_is_used_by_any_user(image):
    """Root's folder is trusted by a user without a name, whose home is another's."""
    assert again(image, '54321', TMPDIR='/proc', HOME='/root') == ''


@pytest.mark.slow
def test_other_code_is_compiled_for_this_processor(image):
    """The image's code is not taken where the variables that it was compiled with are not set."""
    environment, words, folder = image
    environment = {name: value for name, value in environment.items() if name not in IMAGE}
    folder.chmod(0o755)
    subprocess.run(words, env=environment, cwd=ROOT, check=True, capture_output=True)
    assert len(kept(folder)) == 2
