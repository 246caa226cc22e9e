"""Images opened, read whole, told apart by their voxels, and written."""

import gzip

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply.volumes import load, open_image, same_as_neighbours, told_by_content, told_by_header, write
from bidsreg.errors import InputError
from tests import data

from .conftest import scattered, write_image

SHAPE, AFFINE = data.GRIDS['oblique']


@pytest.fixture(scope='module')
def head():
    return data.head(SHAPE, 1, affine=AFFINE)


def saved(tmp_path, values, affine=AFFINE, name='x.nii.gz'):
    return write_image(tmp_path / name, values, affine)


@pytest.mark.parametrize(
    ('values', 'labels'),
    [
        (lambda head: np.asarray(head.scan.dataobj), False),
        (lambda head: np.asarray(head.scan.dataobj) / 7.0, False),
        (lambda head: np.asarray(head.labels.dataobj), True),
        (lambda head: np.asarray(head.labels.dataobj).astype(np.float32), True),
        (lambda head: np.asarray(head.mask.dataobj), True),
        (lambda head: np.zeros(SHAPE, np.int16), True),
        # scattered labels, and a scan of few grey values
        (lambda head: scattered(SHAPE), None),
        (lambda head: np.asarray(head.scan.dataobj) // 100, None),
    ],
)
def test_labels_are_told_by_their_voxels_or_not_at_all(tmp_path, head, values, labels):
    assert told_by_content(saved(tmp_path, values(head))) is labels


def test_neighbours_by_a_loop():
    values = np.random.default_rng(0).integers(0, 3, (4, 5, 3))
    same = both = 0
    for a in np.ndindex(values.shape):
        for axis in range(3):
            b = tuple(np.add(a, np.eye(3, dtype=int)[axis]))
            if b[axis] < values.shape[axis] and values[a] and values[b]:
                both += 1
                same += values[a] == values[b]
    assert same_as_neighbours(values) == pytest.approx(same / both)


def test_labels_are_told_by_the_intent(tmp_path, head):
    path = saved(tmp_path, np.asarray(head.scan.dataobj))
    assert not told_by_header(path)
    image = nb.load(path)
    image.header.set_intent('label')
    nb.save(image, tmp_path / 'label.nii.gz')
    assert told_by_header(tmp_path / 'label.nii.gz')


def test_a_file_that_is_no_image(tmp_path):
    for content in (b'', b'just words' * 60, gzip.compress(b'more words' * 60)):
        (tmp_path / 'x.nii.gz').write_bytes(content)
        with pytest.raises(InputError, match=r'x\.nii\.gz'):
            load(tmp_path / 'x.nii.gz')
    with pytest.raises(InputError, match='is not there'):
        load(tmp_path / 'nowhere.nii.gz')


def test_a_truncated_file_is_refused(tmp_path, head):
    path = saved(tmp_path, np.asarray(head.scan.dataobj))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match='truncated'):
        load(path)


@pytest.mark.parametrize(
    ('shape', 'dtype', 'words'),
    [
        ((4, 4), np.float32, '2-D'),
        ((4, 4, 4, 1, 3), np.float32, 'vectors and tensors'),
        ((4, 4, 4), np.complex64, 'complex'),
        ((4, 4, 4), [('R', 'u1'), ('G', 'u1'), ('B', 'u1')], 'colours'),
    ],
)
def test_what_has_not_one_number_a_voxel_is_refused(tmp_path, shape, dtype, words):
    path = saved(tmp_path, np.zeros(shape, dtype), np.eye(4))
    with pytest.raises(InputError, match=words):
        open_image(path)


def test_a_place_that_is_not_told_is_refused(tmp_path):
    nb.save(data.image(np.zeros((4, 4, 4), np.float32), np.eye(4), (0, 0)), tmp_path / 'x.nii.gz')
    with pytest.raises(InputError, match='neither a qform nor a sform'):
        open_image(tmp_path / 'x.nii.gz')


def test_a_header_in_metres_is_read_in_mm(tmp_path, head):
    path = saved(tmp_path, np.asarray(head.scan.dataobj))
    image = nb.load(path)
    image.header.set_xyzt_units('meter')
    image.set_sform(np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE, 1)
    nb.save(image, path)
    np.testing.assert_allclose(open_image(path)[1].affine, AFFINE, atol=1e-3)


def test_freesurfers_format(tmp_path, head):
    nb.save(nb.MGHImage(np.asarray(head.labels.dataobj).astype(np.int32), AFFINE), tmp_path / 'x.mgz')
    found = load(tmp_path / 'x.mgz')
    np.testing.assert_array_equal(found.data[..., 0], np.asarray(head.labels.dataobj))
    np.testing.assert_allclose(found.grid.affine, AFFINE, atol=1e-3)


def test_a_changed_file_is_read_again(tmp_path):
    path = saved(tmp_path, np.zeros((4, 4, 4), np.float32), np.eye(4), 'x.nii')
    assert load(path).data.max() == 0
    saved(tmp_path, np.ones((5, 4, 4), np.float32), np.eye(4), 'x.nii')
    assert load(path).data.max() == 1


@pytest.mark.parametrize('name', ['ras', 'oblique-left-handed', 'sheared'])
@pytest.mark.parametrize('ending', ['.nii', '.nii.gz'])
def test_volumes_are_written_where_the_target_is(tmp_path, name, ending):
    shape, affine = data.GRIDS[name]
    target = saved(tmp_path, np.zeros(shape, np.float32), affine, 'target.nii.gz')
    source = data.image(np.zeros((5, 5, 5, 3), np.int16), np.eye(4))
    source.header.set_zooms((1, 1, 1, 2.5))
    nb.save(source, tmp_path / 'source.nii.gz')
    volumes = [np.random.default_rng(k).normal(size=shape).astype(np.float32) for k in range(3)]
    out = tmp_path / f'out{ending}'
    write(out, iter(volumes), np.dtype(np.float32), load(tmp_path / 'source.nii.gz'), target, 1)
    found = nb.load(out)
    np.testing.assert_array_equal(found.get_fdata(dtype=np.float32), np.stack(volumes, -1))
    np.testing.assert_allclose(found.affine, affine, atol=1e-3)
    assert found.header.get_zooms()[3] == 2.5
    assert found.header.get_xyzt_units() == ('mm', 'sec')
    assert int(found.header['sform_code']) == 1
    assert int(found.header['qform_code']) == (0 if name == 'sheared' else 1)
    first = out.read_bytes()
    write(out, iter(volumes), np.dtype(np.float32), load(tmp_path / 'source.nii.gz'), target, 3)
    assert out.read_bytes() == first


def test_others_read_several_members_of_gzip(tmp_path):
    """A series is packed volume by volume."""
    import ants

    shape = (6, 7, 5)
    target = saved(tmp_path, np.zeros(shape, np.float32), np.eye(4), 'target.nii.gz')
    source = saved(tmp_path, np.zeros((*shape, 2), np.float32), np.eye(4), 'source.nii.gz')
    volumes = [np.full(shape, k + 1, np.float32) for k in range(2)]
    write(tmp_path / 'out.nii.gz', iter(volumes), np.dtype(np.float32), load(source), target, 1)
    np.testing.assert_array_equal(ants.image_read(str(tmp_path / 'out.nii.gz')).numpy(), np.stack(volumes, -1))


def test_the_code_of_a_template_is_kept(tmp_path):
    nb.save(data.image(np.zeros((4, 4, 4), np.float32), np.eye(4), (4, 4)), tmp_path / 'target.nii')
    source = saved(tmp_path, np.zeros((4, 4, 4), np.int16), np.eye(4))
    write(tmp_path / 'o.nii', [np.zeros((4, 4, 4))], np.dtype(np.int16), load(source), tmp_path / 'target.nii', 1)
    found = nb.load(tmp_path / 'o.nii')
    assert (int(found.header['sform_code']), int(found.header['qform_code'])) == (4, 4)
    assert found.shape == (4, 4, 4)
