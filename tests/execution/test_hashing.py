"""Nipype's hashes of files: as its own, and a file is read again only when it is another one."""

from __future__ import annotations

import os

import pytest
from nipype.interfaces.base import specs
from nipype.pipeline import engine as pe
from nipype.utils.filemanip import hash_infile

from bidsreg.execution import hashing, local
from bidsreg.execution.settings import ExecutionSettings
from bidsreg.interfaces.spaces import CutOut


@pytest.fixture
def read(monkeypatch):
    """Which files are read to be hashed, of a process that has hashed none."""
    paths = []

    def reading(path):
        paths.append(str(path))
        return hash_infile(path)

    hashing._hash.cache_clear()
    monkeypatch.setattr(hashing, 'hash_infile', reading)
    return paths


def test_a_file_is_read_once(read, tmp_path):
    path = tmp_path / 'a'
    path.write_text('one')
    assert hashing.hash_once(str(path)) == hashing.hash_once(str(path)) == hash_infile(path)
    assert len(read) == 1
    assert hashing.hash_once(str(tmp_path / 'none')) is None


@pytest.mark.parametrize('how', ['written again', 'another in its place', 'its old time given back'])
def test_a_file_that_has_changed_is_read_again(read, tmp_path, how):
    path = tmp_path / 'a'
    path.write_text('one')
    before, state = hashing.hash_once(str(path)), path.stat()
    goal = tmp_path / 'b' if how == 'another in its place' else path
    goal.write_text('two')  # as long as before
    os.utime(goal, ns=(state.st_atime_ns, state.st_mtime_ns if 'old' in how else state.st_mtime_ns + 10**9))
    goal.replace(path)
    assert hashing.hash_once(str(path)) == hash_infile(path) != before


def test_a_node_has_the_hash_that_nipype_gives_it_and_reads_its_files_once(read, tmp_path, monkeypatch):
    for name in ('image.nii', 'mask.nii'):
        (tmp_path / name).write_text(name)

    def hashed():
        inputs = {'in_file': str(tmp_path / 'image.nii'), 'mask': str(tmp_path / 'mask.nii')}
        return pe.Node(CutOut(**inputs), name='node', base_dir=str(tmp_path)).inputs.get_hashval('content')

    monkeypatch.setattr(specs, 'hash_infile', hash_infile)
    own = hashed()
    local.configure(ExecutionSettings(work_dir=tmp_path), tmp_path)
    assert hashed() == hashed() == own
    assert sorted(read) == [str(tmp_path / 'image.nii'), str(tmp_path / 'mask.nii')]
