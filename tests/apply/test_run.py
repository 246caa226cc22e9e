"""Errands done: outputs are checked first, nothing half-written stays, one that fails leaves the others alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bidsreg.apply.base import Errand, Options, Route
from bidsreg.apply.chain import Leg
from bidsreg.apply.run import carry_all, describe_dataset
from bidsreg.errors import InputError
from tests import data

from .conftest import write_image

TABLE = 'x\ty\tz\n1\t2\t3\n'


@pytest.fixture
def errand(tmp_path, transforms):
    """A function that makes an errand of a table of points, or of an image."""

    def make(name='points.tsv', out='out.tsv', content=TABLE, **more):
        source = tmp_path / name
        if content is not None and not source.exists():
            source.write_text(content)
        leg = (Leg(transforms['folder'] / 'ab.h5'),)
        return Errand(source, tmp_path / out, Route(leg, leg, 'T2w', 'T1w'), **more)

    return make


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_sidecar_keeps_what_was_known_and_says_how(errand, tmp_path):
    (tmp_path / 'points.json').write_text(json.dumps({'x': {'Units': 'mm'}, 'Sources': ['old']}))
    one = errand(out='out/sub-01/points.tsv', sidecar=tmp_path / 'out/sub-01/points.json', dataset=tmp_path)
    assert carry_all([one], Options()) == []
    found = json.loads(one.sidecar.read_text())
    assert found['x'] == {'Units': 'mm'}
    assert found['Sources'] == ['bids::points.tsv', one.route.points[0].path.as_uri()]
    assert found['Transforms'] == [{'Path': 'ab.h5', 'Inverted': False}]
    assert found['Description'] == 'points.tsv, carried from T2w to T1w'
    assert found['OutsideOfField'] == 0


def test_what_is_to_be_known_of_the_way_is_told_and_written(errand, tmp_path, caplog):
    one = errand(out='out/points.tsv', sidecar=tmp_path / 'out/points.json', dataset=tmp_path)
    one = replace(one, route=replace(one.route, notes=('of another scan',)))
    assert carry_all([one], Options()) == []
    assert json.loads(one.sidecar.read_text())['Notes'] == ['of another scan']
    assert 'points.tsv: of another scan' in caplog.text


def test_an_image_names_its_reference(errand, tmp_path):
    shape, affine = data.GRIDS['ras']
    image = write_image(tmp_path / 'x_T2w.nii.gz', np.asarray(data.t2w(shape).dataobj), affine)
    one = errand('x_T2w.nii.gz', 'o.nii.gz', None, reference=image, sidecar=tmp_path / 'o.json', dataset=tmp_path)
    assert carry_all([one], Options()) == []
    found = json.loads(one.sidecar.read_text())
    assert found['SpatialReference'] == 'bids::x_T2w.nii.gz'
    assert found['Interpolation'] == 'trilinear'


@pytest.mark.parametrize('which', ['out.tsv', 'out.json'])
def test_what_is_there_is_not_replaced_unasked(errand, tmp_path, which):
    (tmp_path / which).write_text('mine')
    one = errand(sidecar=tmp_path / 'out.json')
    with pytest.raises(InputError, match=f'{which} exists already'):
        carry_all([one], Options())
    assert (tmp_path / which).read_text() == 'mine'
    assert carry_all([one], Options(overwrite=True)) == []
    assert (tmp_path / which).read_text() != 'mine'


def test_what_is_read_is_never_replaced(errand, transforms):
    one = errand(out='points.tsv')
    with pytest.raises(InputError, match='is what is read'):
        carry_all([one], Options(overwrite=True))
    assert one.source.read_text() == TABLE
    transform = one.route.images[0].path
    with pytest.raises(InputError, match='is what is read'):
        carry_all([Errand(one.source, transform, one.route)], Options(overwrite=True))


def test_two_files_of_one_result(errand, tmp_path):
    with pytest.raises(InputError, match=r'other\.tsv and .*points\.tsv would both become'):
        carry_all([errand(), errand('other.tsv')], Options())
    assert not (tmp_path / 'out.tsv').exists()


def test_places_that_cannot_be_written(errand, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.tsv').mkdir()
    with pytest.raises(InputError, match=r'cannot be written: .*file is no folder'):
        carry_all([errand(out='file/out.tsv')], Options())
    with pytest.raises(InputError, match='is a folder'):
        carry_all([errand(out='folder.tsv')], Options(overwrite=True))
    monkeypatch.setattr('os.access', lambda path, mode: False)
    with pytest.raises(InputError, match='you may write to'):
        carry_all([errand()], Options())


def test_a_full_disk_leaves_nothing(errand, tmp_path, monkeypatch):
    from bidsreg.apply.points import Points

    def full(self, errand, options, hidden):
        hidden.write_text('half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Points, 'carry', full)
    (error,) = carry_all([errand()], Options())
    assert 'the disk is full' in str(error)
    assert left_in(tmp_path) == ['points.tsv']


def test_all_are_checked_before_the_first_is_carried(errand, tmp_path):
    with pytest.raises(InputError, match=r'bad\.tsv: has no column'):
        carry_all([errand(), errand('bad.tsv', 'bad_out.tsv', 'a\n1\n')], Options())
    assert left_in(tmp_path) == ['bad.tsv', 'points.tsv']


def test_one_that_fails_leaves_the_others(errand, tmp_path):
    """Labels that were interpolated show only when their voxels are read."""
    shape, affine = data.GRIDS['ras']
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    image = write_image(tmp_path / 'x_dseg.nii.gz', values, affine)
    bad = errand('x_dseg.nii.gz', 'bad.nii.gz', None, reference=image)
    (error,) = carry_all([bad, errand()], Options())
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
