"""Images and labels carried as files."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply import images
from bidsreg.apply.base import Errand, Options, Route
from bidsreg.apply.chain import Leg
from bidsreg.apply.kinds import KINDS, kind_of
from bidsreg.errors import InputError
from bidsreg.registration import Grid, Image
from bidsreg.registration.itk import write_affine
from tests import data

from .conftest import write_image

SHAPE, AFFINE = data.GRIDS['oblique']
TARGET = data.GRIDS['left-handed']


@pytest.fixture
def carry(tmp_path, transforms):
    """Carry values as a kind of file; returns the image that was written, and what is said of it."""

    def do(values, kind='image', affine=AFFINE, legs=None, **options):
        source = write_image(tmp_path / 'x.nii.gz', values, affine)
        reference = write_image(tmp_path / 'r.nii.gz', np.zeros(TARGET[0], np.float32), TARGET[1])
        legs = (Leg(transforms['folder'] / 'ab.h5'),) if legs is None else legs
        errand = Errand(source, tmp_path / 'out.nii.gz', Route(legs, ()), reference)
        KINDS[kind].check(errand, Options(**options))
        outcome = KINDS[kind].carry(errand, Options(**options), errand.out)
        found = nb.load(errand.out)
        # the next one takes its place
        return nb.Nifti1Image(np.array(found.dataobj), None, found.header), outcome

    return do


@pytest.fixture(scope='module')
def head():
    return data.head(SHAPE, 1, affine=AFFINE, noise=0)


def test_intensities_are_floats_interpolated_linearly(carry, head, transforms):
    found, outcome = carry(np.asarray(head.scan.dataobj))
    assert found.get_data_dtype() == np.float32
    values = np.asarray(head.scan.dataobj).astype(np.float32)
    expected = transforms['ab'].apply(Image(values, Grid(SHAPE, AFFINE)), Grid(*TARGET))
    np.testing.assert_allclose(found.get_fdata(), expected.data, atol=0.05)
    assert outcome.facts['Interpolation'] == 'trilinear'
    assert 0.3 < outcome.facts['ShareInFieldOfView'] < 1


@pytest.mark.parametrize('interpolation', ['nearest', 'linear', 'bspline', 'lanczos'])
def test_every_interpolation_of_intensities(carry, head, interpolation):
    found, _ = carry(np.asarray(head.scan.dataobj), interpolation=interpolation)
    linear, _ = carry(np.asarray(head.scan.dataobj))
    assert np.corrcoef(found.get_fdata().ravel(), linear.get_fdata().ravel())[0, 1] > 0.94


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize('interpolation', [None, 'nearest', 'labels'])
def test_labels_keep_type_and_numbers(carry, head, dtype, interpolation):
    values = np.asarray(head.labels.dataobj).astype(dtype) * 40
    found, _ = carry(values, 'labels', interpolation=interpolation)
    assert found.get_data_dtype() == dtype
    assert set(np.unique(found.dataobj)) <= set(np.unique(values))
    assert len(np.unique(found.dataobj)) == 7


def test_labels_stored_as_floats_become_whole_again_and_that_is_said(carry, head):
    values = np.asarray(head.labels.dataobj)
    found, outcome = carry(values.astype(np.float64) * 1000, 'labels')
    assert found.get_data_dtype() == np.int16
    assert outcome.notes == ('labels stored as float64 are written as int16',)
    expected, _ = carry(values, 'labels')
    np.testing.assert_array_equal(np.asarray(found.dataobj), 1000 * np.asarray(expected.dataobj).astype(int))


def test_labels_stored_with_a_scale(carry, head, tmp_path):
    image = data.image(np.asarray(head.labels.dataobj), AFFINE)
    image.header.set_slope_inter(2, 1)
    nb.save(image, tmp_path / 'scaled.nii.gz')
    values = np.asanyarray(nb.load(tmp_path / 'scaled.nii.gz').dataobj)
    assert values.dtype.kind == 'f'
    found, _ = carry(values, 'labels')
    assert found.get_data_dtype() == np.uint8


@pytest.mark.parametrize('dtype', [np.uint8, np.int16])
def test_labels_that_a_scale_has_moved_off_whole_numbers(carry, head, dtype, tmp_path, transforms):
    """As nibabel stores floats under the header of a scan: 3 comes back as 2.99996 or so."""
    labels = np.asarray(head.labels.dataobj)
    expected, _ = carry(labels, 'labels')
    header = nb.Nifti1Header()
    header.set_data_dtype(dtype)
    nb.save(nb.Nifti1Image(labels.astype(float), AFFINE, header), tmp_path / 'scaled.nii.gz')
    assert not np.isin(np.unique(nb.load(tmp_path / 'scaled.nii.gz').dataobj), range(9)).all()
    reference = write_image(tmp_path / 'r.nii.gz', np.zeros(TARGET[0], np.float32), TARGET[1])
    errand = Errand(
        tmp_path / 'scaled.nii.gz', tmp_path / 'o.nii.gz', Route((Leg(transforms['folder'] / 'ab.h5'),), ()), reference
    )
    assert kind_of(errand.source) == (KINDS['labels'], 'by its voxels')
    KINDS['labels'].carry(errand, Options(), errand.out)
    np.testing.assert_array_equal(nb.load(errand.out).dataobj, expected.dataobj)


@pytest.mark.parametrize('dtype', [np.uint32, np.int64])
def test_labels_of_more_than_32_bits(carry, head, dtype):
    values = np.asarray(head.labels.dataobj).astype(dtype)
    codes = np.array([0, 5, 2**31 + 3, 2**31 + 7, 2**32 - 1, 2**32 - 2, 9]).astype(dtype)
    found, _ = carry(codes[values], 'labels')
    small, _ = carry(np.searchsorted(np.sort(codes), codes[values]).astype(np.int16), 'labels')
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.sort(codes)[np.asarray(small.dataobj)])


def test_a_label_image_that_was_interpolated_is_refused(carry, head):
    values = np.asarray(head.labels.dataobj).astype(np.float32)
    values[3, 4, 5] = 1.5
    with pytest.raises(InputError, match=r'1 others \(such as 1\.5\)'):
        carry(values, 'labels')
    values[3, 4, 5] = np.nan
    with pytest.raises(InputError, match='such as nan'):
        carry(values, 'labels')


@pytest.mark.parametrize(('kind', 'interpolation'), [('labels', 'linear'), ('labels', 'bspline'), ('image', 'labels')])
def test_interpolations_that_are_not_for_a_kind(carry, head, kind, interpolation):
    with pytest.raises(InputError, match=f'--interpolation {interpolation} is not for the kind {kind}: take nearest'):
        carry(np.asarray(head.labels.dataobj), kind, interpolation=interpolation)


@pytest.mark.parametrize('group', [1, 1 << 29])
def test_each_volume_of_a_series(carry, head, group, monkeypatch):
    monkeypatch.setattr(images, 'GROUP_BYTES', group)
    scan = np.asarray(head.scan.dataobj).astype(np.float32)
    found, _ = carry(np.stack([scan, scan / 2, scan[::-1]], -1))
    assert found.shape == (*TARGET[0], 3)
    for k, volume in enumerate((scan, scan / 2, scan[::-1])):
        alone, _ = carry(volume)
        np.testing.assert_array_equal(found.dataobj[..., k], alone.dataobj)


def test_a_series_of_labels(carry, head):
    values = np.asarray(head.labels.dataobj)
    found, _ = carry(np.stack([values, values % 2], -1), 'labels')
    alone, _ = carry(values % 2, 'labels')
    np.testing.assert_array_equal(found.dataobj[..., 1], alone.dataobj)


def test_nan_is_kept_where_it_is_and_not_spread(carry, head):
    values = np.asarray(head.scan.dataobj).astype(np.float32)
    values[20, 25, 20] = np.nan
    found, outcome = carry(values)
    assert 0 < np.isnan(found.get_fdata()).sum() < 20
    assert 'NaN' in outcome.notes[0]
    for interpolation in ('bspline', 'lanczos'):
        with pytest.raises(InputError, match=f'which {interpolation} would spread'):
            carry(values, interpolation=interpolation)


def test_a_chain_that_leads_out_of_the_image_is_refused(carry, head, tmp_path):
    write_affine(tmp_path / 'away.txt', data.grid((1, 1, 1), voxel=1.0, centre=(900, 0, 0)))
    with pytest.raises(InputError, match=r'no voxel of .* lies in it'):
        carry(np.asarray(head.scan.dataobj), legs=(Leg(tmp_path / 'away.txt'),))


def test_voxels_without_a_way_back_are_told(carry, head, tmp_path):
    """A warp that does not vanish at its border: 30 mm beside it nothing leads to."""
    field = np.zeros((20, 20, 20, 1, 3), np.float32)
    field[..., 0] = -30
    nb.save(nb.Nifti1Image(field, data.grid((20, 20, 20), voxel=4.0)), tmp_path / 'warp.nii.gz')
    _, outcome = carry(np.asarray(head.scan.dataobj), legs=(Leg(tmp_path / 'warp.nii.gz', inverted=True),))
    (note,) = outcome.notes
    lost = int(note.split()[0])
    assert note == f'{lost} voxels have no place in it, since the transform folds there'
    # between the old and the new left border, which the grid of the target cuts in voxels
    spacing = np.prod(np.linalg.norm(TARGET[1][:3, :3], axis=0))
    assert 0.7 < lost * spacing / (30 * 76 * 76) < 1.4


def test_directions_of_diffusion_are_not_turned_and_that_is_said(carry, head, tmp_path):
    (tmp_path / 'x.bvec').touch()
    _, outcome = carry(np.asarray(head.scan.dataobj))
    assert outcome.notes == ('x.bvec is not turned: its directions are those of x.nii.gz',)


def test_what_nothing_is_known_of(carry, head):
    values = np.asarray(head.scan.dataobj)
    found, _ = carry(values, outside=-1000)
    assert found.get_fdata().min() == -1000
    found, _ = carry(np.asarray(head.labels.dataobj), 'labels', outside=200)
    assert (np.asarray(found.dataobj) == 200).any()
    for value in (300, 0.5, np.nan, np.inf):
        with pytest.raises(InputError, match='is no label'):
            carry(np.asarray(head.labels.dataobj), 'labels', outside=value)


def test_names_and_references_are_checked_first(tmp_path, head):
    nb.save(head.scan, tmp_path / 'x.nii.gz')
    for out, reference, words in (
        ('out.mgz', 'x.nii.gz', r'ends in \.nii'),
        ('out.nii.gz', None, '--reference'),
        ('out.nii.gz', 'missing.nii.gz', 'is not there'),
    ):
        errand = Errand(
            tmp_path / 'x.nii.gz', tmp_path / out, Route((), ()), None if reference is None else tmp_path / reference
        )
        with pytest.raises(InputError, match=words):
            KINDS['image'].check(errand, Options())
