"""The node that collects seconds, inputs that are set, and files that were damaged before a step reads them."""

from __future__ import annotations

import gzip
import subprocess
import sys

import nibabel as nb
import numpy as np
import pytest
from nipype.interfaces.base import File, InputMultiObject, traits

from bidsreg.bids.images import load_image
from bidsreg.checksums import write_checksums
from bidsreg.errors import DamagedFileError, InputError
from bidsreg.interfaces import base, register
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, Timing, given


def test_timing_collects_what_there_is():
    timing = Timing(['one', 'two', 'three'])
    timing.inputs.one, timing.inputs.two = 1.5, {'a': 2.0}
    assert timing.run().outputs.seconds == {'one': 1.5, 'two': {'a': 2.0}}


def test_only_what_is_set_is_given():
    timing = Timing(['one', 'two'])
    timing.inputs.one = 0.0
    assert given(timing.inputs, ('one', 'two')) == {'one': 0.0}


class _SumIn(StepInputSpec):
    one = File(exists=True)
    several = traits.List(File(exists=True))
    many = InputMultiObject(File(exists=True))
    words = traits.Str()


class _SumOut(StepOutputSpec):
    total = traits.Float()


class Sum(Step):
    """Reads voxels as the steps do, which stop before the checksum."""

    input_spec, output_spec = _SumIn, _SumOut

    def _compute(self, runtime):
        found = given(self.inputs, ['one', 'several', 'many'])
        paths = [*([found['one']] if 'one' in found else []), *found.get('several', []), *found.get('many', [])]
        self._results['total'] = float(sum(np.asanyarray(load_image(path).dataobj).sum() for path in paths))


@pytest.fixture(params=['.nii', '.nii.gz'])
def made(request, tmp_path):
    """The file of a step that has ended."""
    folder = tmp_path / 'step' / 'inner'
    folder.mkdir(parents=True)
    path = folder / f'made{request.param}'
    nb.Nifti1Image(np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32), np.eye(4)).to_filename(path)
    write_checksums(tmp_path / 'step')
    return path


def turn(path, where):
    """Turn a bit of the last byte, of one in the middle, or of the first ones."""
    content = bytearray(path.read_bytes())
    content[{'first': 4, 'middle': len(content) // 2, 'last': -1}[where]] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize('field', ['one', 'several', 'many'])
@pytest.mark.parametrize('where', ['first', 'middle', 'last'])
def test_nothing_is_made_of_a_file_with_a_turned_bit(made, tmp_path, monkeypatch, field, where):
    monkeypatch.chdir(tmp_path)
    value = str(made) if field == 'one' else [str(made)]
    before = Sum(**{field: value}).run().outputs.total
    assert before == pytest.approx(float(np.asanyarray(nb.load(made).dataobj).sum()))
    turn(made, where)
    with pytest.raises(DamagedFileError, match='has changed since the step that made it ended'):
        Sum(**{field: value}).run()


@pytest.mark.parametrize('where', ['middle', 'last'])
def test_a_file_that_no_step_has_made_is_read_to_its_checksum(tmp_path, monkeypatch, where):
    """Such as the derivatives, from which a normalisation begins."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'of others.nii.gz'
    nb.Nifti1Image(np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32), np.eye(4)).to_filename(path)
    assert Sum(one=str(path)).run()
    turn(path, where)
    with pytest.raises(InputError, match=r'of others\.nii\.gz is truncated or damaged'):
        Sum(one=str(path)).run()


def test_files_beside_a_step_that_runs_alone_stay_the_users_own(tmp_path, monkeypatch):
    """Nothing is noted in a folder that is of no graph, so that files there may change."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'mine.nii'
    for value in (1, 2):
        nb.Nifti1Image(np.full((3, 3, 3), value, np.int16), np.eye(4)).to_filename(path)
        assert Sum(one=str(path)).run().outputs.total == 27 * value
    assert [found.name for found in tmp_path.iterdir()] == ['mine.nii']


def test_words_are_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'words.gz').write_bytes(gzip.compress(b'words')[:-1])
    assert Sum(words='words.gz').run()
    assert Sum(words=str(tmp_path)).run()


def test_the_solver_gets_no_damaged_file(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    turn(made, 'middle')
    node = register.Register(fixed=str(made), moving=str(made))
    with pytest.raises(DamagedFileError):
        node.run()


def test_every_step_looks_at_its_files():
    """None of them has a way of its own around it."""
    code = 'import pkgutil, importlib, bidsreg.interfaces as rooms\n'
    code += '[importlib.import_module(f"bidsreg.interfaces.{m.name}") for m in pkgutil.iter_modules(rooms.__path__)]\n'
    code += 'import bidsreg.benchmark.interfaces\nfrom bidsreg.interfaces.base import Step\n'
    code += 'def below(c): return [c, *(d for s in c.__subclasses__() for d in below(s))]\n'
    code += 'found = below(Step)\nprint(len(found), [c.__name__ for c in found if "_run_interface" in vars(c)])'
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    count, _, own = said.partition(' ')
    assert int(count) > 15
    assert own.strip() == "['Step']"
    assert base.require_whole_inputs is register.require_whole_inputs
