"""Tasks done: outputs are checked first, nothing half-written stays, one that fails leaves the others alone."""

import json

import numpy as np
import pytest

from bidsreg.apply.base import Options, Route, Task
from bidsreg.apply.chain import Leg
from bidsreg.apply.run import carry_all, describe_dataset
from bidsreg.errors import InputError
from tests import data

from .conftest import write_image

TABLE = 'x\ty\tz\n1\t2\t3\n'


@pytest.fixture
def task(tmp_path, transforms):
    """A function that makes a task of a table of points, or of an image."""

    def make(name='points.tsv', out='out.tsv', content=TABLE, **more):
        source = tmp_path / name
        if content is not None and not source.exists():
            source.write_text(content)
        leg = (Leg(transforms['folder'] / 'ab.h5'),)
        return Task(source, tmp_path / out, Route(leg, leg, 'T2w', 'T1w'), **more)

    return make


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_sidecar_keeps_what_was_known_and_says_how(task, tmp_path):
    (tmp_path / 'points.json').write_text(json.dumps({'x': {'Units': 'mm'}, 'Sources': ['old']}))
    one = task(out='out/sub-01/points.tsv', sidecar=tmp_path / 'out/sub-01/points.json', dataset=tmp_path)
    assert carry_all([one], Options()) == []
    found = json.loads(one.sidecar.read_text())
    assert found['x'] == {'Units': 'mm'}
    assert found['Sources'] == ['bids::points.tsv', one.route.points[0].path.as_uri()]
    assert found['Transforms'] == [{'Path': 'ab.h5', 'Inverted': False}]
    assert found['Description'] == 'points.tsv, carried from T2w to T1w'
    assert found['OutsideOfField'] == 0


def test_an_image_names_its_reference(task, tmp_path):
    shape, affine = data.GRIDS['ras']
    image = write_image(tmp_path / 'x_T2w.nii.gz', np.asarray(data.t2w(shape).dataobj), affine)
    one = task('x_T2w.nii.gz', 'o.nii.gz', None, reference=image, sidecar=tmp_path / 'o.json', dataset=tmp_path)
    assert carry_all([one], Options()) == []
    found = json.loads(one.sidecar.read_text())
    assert found['SpatialReference'] == 'bids::x_T2w.nii.gz'
    assert found['Interpolation'] == 'trilinear'


@pytest.mark.parametrize('which', ['out.tsv', 'out.json'])
def test_what_is_there_is_not_replaced_unasked(task, tmp_path, which):
    (tmp_path / which).write_text('mine')
    one = task(sidecar=tmp_path / 'out.json')
    with pytest.raises(InputError, match=f'{which} exists already'):
        carry_all([one], Options())
    assert (tmp_path / which).read_text() == 'mine'
    assert carry_all([one], Options(overwrite=True)) == []
    assert (tmp_path / which).read_text() != 'mine'


def test_what_is_read_is_never_replaced(task, transforms):
    one = task(out='points.tsv')
    with pytest.raises(InputError, match='is what is read'):
        carry_all([one], Options(overwrite=True))
    assert one.source.read_text() == TABLE
    transform = one.route.images[0].path
    with pytest.raises(InputError, match='is what is read'):
        carry_all([Task(one.source, transform, one.route)], Options(overwrite=True))


def test_two_files_of_one_result(task, tmp_path):
    with pytest.raises(InputError, match=r'other\.tsv and .*points\.tsv would both become'):
        carry_all([task(), task('other.tsv')], Options())
    assert not (tmp_path / 'out.tsv').exists()


def test_places_that_cannot_be_written(task, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.tsv').mkdir()
    with pytest.raises(InputError, match=r'cannot be written: .*file is no folder'):
        carry_all([task(out='file/out.tsv')], Options())
    with pytest.raises(InputError, match='is a folder'):
        carry_all([task(out='folder.tsv')], Options(overwrite=True))
    monkeypatch.setattr('os.access', lambda path, mode: False)
    with pytest.raises(InputError, match='you may write to'):
        carry_all([task()], Options())


def test_a_full_disk_leaves_nothing(task, tmp_path, monkeypatch):
    from bidsreg.apply.points import Points

    def full(self, task, options, hidden):
        hidden.write_text('half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Points, 'carry', full)
    (error,) = carry_all([task()], Options())
    assert 'the disk is full' in str(error)
    assert left_in(tmp_path) == ['points.tsv']


def test_all_are_checked_before_the_first_is_carried(task, tmp_path):
    with pytest.raises(InputError, match=r'bad\.tsv: has no column'):
        carry_all([task(), task('bad.tsv', 'bad_out.tsv', 'a\n1\n')], Options())
    assert left_in(tmp_path) == ['bad.tsv', 'points.tsv']


def test_one_that_fails_leaves_the_others(task, tmp_path):
    """Labels that were interpolated show only when their voxels are read."""
    shape, affine = data.GRIDS['ras']
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    image = write_image(tmp_path / 'x_dseg.nii.gz', values, affine)
    bad = task('x_dseg.nii.gz', 'bad.nii.gz', None, reference=image)
    (error,) = carry_all([bad, task()], Options())
    assert 'holds whole numbers' in str(error)
    assert left_in(tmp_path) == ['out.tsv', 'points.tsv', 'x_dseg.nii.gz']


def test_a_dataset_is_described_once(tmp_path):
    describe_dataset(tmp_path / 'nowhere')
    describe_dataset(tmp_path)
    path = tmp_path / 'dataset_description.json'
    assert json.loads(path.read_text())['DatasetType'] == 'derivative'
    path.write_text('mine')
    describe_dataset(tmp_path)
    assert path.read_text() == 'mine'
