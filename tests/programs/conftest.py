"""A small pair of heads, what each program makes of it, and a machine without NiftyReg."""

import functools

import pytest

from bidsreg.programs import PROGRAMS
from tests.fake_program import make_heads
from tests.programs.comparison import made_ready


@pytest.fixture(scope='session')
def heads(tmp_path_factory):
    return make_heads(tmp_path_factory.mktemp('heads of a program'))  # a path with spaces


@pytest.fixture(scope='session')
def found(heads, tmp_path_factory):
    """The workspace of a program that has done its work, and its fields; each program runs once."""

    @functools.cache
    def run(name):
        workspace = made_ready(tmp_path_factory.mktemp(name), heads)
        return workspace, PROGRAMS[name].run(workspace)

    return run


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A system on which NiftyReg is not installed; the folder of its Python environment."""
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    monkeypatch.delenv('NIFTYREGDIR', raising=False)
    monkeypatch.setattr('sys.prefix', str(tmp_path / 'env'))
    return tmp_path
