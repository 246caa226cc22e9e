"""Lesions of the user: read, brought onto the grid of their image, and taken out of what is looked at."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.bids.lesions import Lesion
from bidsreg.errors import InputError
from bidsreg.preparation import bias, prealign
from bidsreg.preparation.lesions import fit_lesions, read_lesion, without_lesion
from tests import data

SHAPE = (44, 52, 44)
AFFINE = data.grid(SHAPE, 'LAS', (3, -8, 12), (4.1, 4.0, 4.2))
BOX = np.s_[24:30, 22:30, 20:27]


@pytest.fixture(scope='module')
def head():
    return data.head(SHAPE, 1, affine=AFFINE)


def drawn(path, box=BOX, affine=AFFINE, value=1, dtype='uint8', shape=SHAPE):
    values = np.zeros(shape, dtype)
    values[box] = value
    nb.save(nb.Nifti1Image(values, affine), path)
    return Lesion(path)


def test_a_lesion_is_what_is_above_zero(tmp_path, head):
    mask, words = fit_lesions([drawn(tmp_path / 'lesion.nii.gz', value=255)], head.scan, of='T1w.nii.gz')
    expected = np.zeros(SHAPE, bool)
    expected[BOX] = True
    np.testing.assert_array_equal(mask, expected)
    volume = expected.sum() * np.prod(nb.affines.voxel_sizes(AFFINE)) / 1000
    assert words == f'{volume:.1f} ml left out: lesion.nii.gz'


def test_of_a_segmentation_the_lesions_alone(tmp_path, head):
    lesion = drawn(tmp_path / 'dseg.nii.gz', value=7)
    image = nb.load(lesion.path)
    values = np.asarray(image.dataobj).copy()
    values[:10] = 3
    nb.save(nb.Nifti1Image(values, AFFINE), lesion.path)
    mask, words = fit_lesions([Lesion(lesion.path, (7, 9))], head.scan, of='T1w.nii.gz')
    np.testing.assert_array_equal(mask, values == 7)
    assert 'dseg.nii.gz, values 7, 9' in words


@pytest.mark.parametrize('dtype', ['uint8', 'int16'])
@pytest.mark.parametrize(('value', 'values'), [(1, ()), (7, (7,))])
def test_a_lesion_that_is_stored_with_a_scale_is_the_same(tmp_path, dtype, value, values):
    """As nibabel stores floats under the header of a scan."""
    where = np.zeros(SHAPE)
    where[BOX] = value
    if values:
        where[2:5, 2:5, 2:5] = 3
    header = nb.Nifti1Header()
    header.set_data_dtype(dtype)
    nb.save(nb.Nifti1Image(where, AFFINE, header), tmp_path / 'lesion.nii.gz')
    assert np.unique(nb.load(tmp_path / 'lesion.nii.gz').dataobj)[-1] != value
    found = np.asanyarray(read_lesion(Lesion(tmp_path / 'lesion.nii.gz', values)).dataobj)
    np.testing.assert_array_equal(found > 0, where == value)


def test_several_files_are_one_lesion_whatever_the_order_of_their_voxels(tmp_path, head):
    one = drawn(tmp_path / 'one.nii.gz')
    other = drawn(tmp_path / 'other.nii.gz', np.s_[10:14, 22:30, 20:27])
    whole = np.asarray(nb.load(one.path).dataobj) | np.asarray(nb.load(other.path).dataobj)
    nb.save(nb.load(other.path).as_reoriented([[2, 1], [0, -1], [1, 1]]), other.path)
    mask, words = fit_lesions([one, other], head.scan, of='T1w.nii.gz')
    np.testing.assert_array_equal(mask, whole > 0)
    assert 'other.nii.gz, its voxels put into the order of the image' in words


def test_a_finer_grid_is_resampled(tmp_path, head):
    fine = np.repeat(
        np.repeat(np.repeat(np.asarray(nb.load(drawn(tmp_path / 'x.nii').path).dataobj), 2, 0), 2, 1), 2, 2
    )
    affine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] -= AFFINE[:3, :3].sum(1) / 4
    nb.save(nb.Nifti1Image(fine, affine), tmp_path / 'fine.nii.gz')
    mask, words = fit_lesions([Lesion(tmp_path / 'fine.nii.gz')], head.scan, of='T1w.nii.gz')
    assert mask[BOX].all()
    assert mask.sum() == mask[BOX].size
    assert 'resampled from' in words


@pytest.mark.parametrize('here', ['ras', 'left-handed', 'oblique', 'oblique-left-handed', 'sagittal'])
@pytest.mark.parametrize('drawn_on', ['ras', 'oblique', 'oblique-left-handed'])
def test_a_lesion_is_where_it_was_drawn_in_the_world_on_every_grid(tmp_path, here, drawn_on):
    """A ball is known on all grids: brought onto another one it has its centre and its volume there."""

    def ball(name):
        shape, affine = data.GRIDS[name]
        return np.linalg.norm(data.world(shape, affine) - (24, 8, 14), axis=-1) < 21.2, affine

    (there, affine), (expected, _) = ball(drawn_on), ball(here)
    nb.save(nb.Nifti1Image(there.astype(np.uint8), affine), tmp_path / 'lesion.nii.gz')
    shape, affine = data.GRIDS[here]
    mask, _ = fit_lesions([Lesion(tmp_path / 'lesion.nii.gz')], data.t1w(shape, 1, affine=affine), of='T1w.nii.gz')
    points = data.world(shape, affine)
    np.testing.assert_allclose(points[mask].mean(0), points[expected].mean(0), atol=0.4)
    assert mask.sum() == pytest.approx(expected.sum(), rel=0.05)


@pytest.mark.parametrize('voxel', [(2.0, 2.0, 2.0), (1.5, 1.5, 6.0)])
@pytest.mark.parametrize('radius', [0.7, 2.0, 3.0])
def test_a_small_lesion_of_a_fine_grid_is_neither_refused_nor_lost(tmp_path, voxel, radius):
    """A voxel of the scan may be larger than the lesion: then it is the one in which the lesion lies."""
    shape = tuple(int(n / v) for n, v in zip(data.FIELD_OF_VIEW, voxel, strict=True))
    scan = data.t1w(shape, 1, affine=data.grid(shape, voxel=voxel))
    fine = data.grid((80, 80, 80), voxel=1.0, centre=(0.3, 0.2, -0.4))
    points = data.world((80, 80, 80), fine)
    for centre in np.random.default_rng(0).uniform(-25, 25, (6, 3)):
        away = np.linalg.norm(points - centre, axis=-1)
        ball = away <= max(radius, away.min())
        nb.save(nb.Nifti1Image(ball.astype(np.uint8), fine), tmp_path / 'lesion.nii.gz')
        mask, words = fit_lesions([Lesion(tmp_path / 'lesion.nii.gz')], scan, of='T1w.nii.gz')
        assert 'resampled from' in words
        assert mask.any()
        apart = nb.affines.apply_affine(scan.affine, np.argwhere(mask)).mean(0) - points[ball].mean(0)
        assert (np.abs(apart) <= np.array(voxel) / 2 + 0.1).all()


def test_of_several_lesions_none_is_lost_for_being_small(tmp_path, head):
    """A large one and a voxel that falls between the centres of all voxels of the scan."""
    fine = AFFINE @ np.diag([0.25, 0.25, 0.25, 1])
    values = np.zeros([4 * n for n in SHAPE], np.uint8)
    values[96:120, 88:120, 80:108] = 1
    values[89, 89, 89] = 1
    nb.save(nb.Nifti1Image(values, fine), tmp_path / 'lesion.nii.gz')
    mask, _ = fit_lesions([Lesion(tmp_path / 'lesion.nii.gz')], head.scan, of='T1w.nii.gz')
    assert mask[22, 22, 22]
    assert mask[24:30, 22:30, 20:27].all()
    assert mask.sum() == 6 * 8 * 7 + 1


def test_empty_files_are_told_and_leave_nothing_out(tmp_path, head):
    empty = drawn(tmp_path / 'empty.nii.gz', value=0)
    mask, words = fit_lesions([empty], head.scan, of='T1w.nii.gz')
    assert not mask.any()
    assert words == '0.0 ml left out: empty.nii.gz (empty)'
    # a segmentation in which none of its lesions is
    mask, _ = fit_lesions([Lesion(drawn(tmp_path / 'dseg.nii.gz').path, (5,))], head.scan, of='T1w.nii.gz')
    assert not mask.any()


@pytest.mark.parametrize(
    ('value', 'dtype', 'words'),
    [(0.4, 'float32', 'not binary'), (-1, 'int16', 'not binary'), (np.nan, 'float32', 'not binary')],
)
def test_what_is_no_mask_is_refused(tmp_path, value, dtype, words):
    with pytest.raises(InputError, match=words):
        read_lesion(drawn(tmp_path / 'lesion.nii.gz', value=value, dtype=dtype))


def test_a_file_that_is_cut_short_or_lies_elsewhere_is_refused(tmp_path, head):
    lesion = drawn(tmp_path / 'lesion.nii.gz')
    lesion.path.write_bytes(lesion.path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r'Lesion mask .*lesion\.nii\.gz'):
        read_lesion(lesion)
    away = AFFINE.copy()
    away[:3, 3] += 500
    with pytest.raises(InputError, match=r'Lesion mask .* does not fit T1w.nii.gz: 0 of its'):
        fit_lesions([drawn(tmp_path / 'away.nii.gz', affine=away)], head.scan, of='T1w.nii.gz')


def test_a_mask_of_the_brain_is_no_lesion(tmp_path, head):
    inside = np.asarray(head.mask.dataobj) > 0
    with pytest.raises(InputError, match=r'covers 100 % of the brain in T1w\.nii\.gz'):
        without_lesion(inside, head.mask, head.scan, path='mask.nii.gz', of='T1w.nii.gz')
    left = without_lesion(inside, nb.load(drawn(tmp_path / 'l.nii.gz').path), head.scan, path='l', of='T1w')
    assert left.sum() == inside.sum() - inside[BOX].sum()


# ---------------------------------------------------------------------------------------------------- what uses them
def test_the_bias_field_is_not_estimated_from_a_lesion(tmp_path):
    """A bright lesion makes N4 see a field; with its mask the field is that of the healthy head."""
    biased = data.head(SHAPE, 1, bias=0.15, affine=AFFINE)
    lesion = drawn(tmp_path / 'lesion.nii.gz', np.s_[22:32, 20:32, 18:28])
    where = np.asarray(nb.load(lesion.path).dataobj) > 0
    values = np.asarray(biased.scan.dataobj)
    paths = {name: str(tmp_path / f'{name}.nii.gz') for name in ('healthy', 'ill', 'mask')}
    nb.save(biased.scan, paths['healthy'])
    nb.save(nb.Nifti1Image(np.where(where, np.int16(2500), values), AFFINE), paths['ill'])
    nb.save(biased.mask, paths['mask'])

    def field(name, **options):
        corrected = bias.correct_bias(paths[name], paths['mask'], **options).get_fdata()
        brain = (np.asarray(biased.mask.dataobj) > 0) & ~where & (values > 50)
        ratio = np.log(corrected[brain] / values[brain])
        return ratio - ratio.mean()

    plain, ill, masked = field('healthy'), field('ill'), field('ill', lesion=str(lesion.path))
    assert np.abs(masked - plain).mean() < 0.5 * np.abs(ill - plain).mean()
    np.testing.assert_array_equal(masked, field('ill', lesion=str(lesion.path)))


@pytest.mark.parametrize('stage', ['rigid', 'affine'])
def test_the_affine_does_not_look_into_a_lesion(tmp_path, monkeypatch, stage):
    """Whatever stands in it: the masks that ANTs gets leave it out, with and without brain masks."""
    monkeypatch.chdir(tmp_path)
    pair = data.pair((34, 40, 34), 1, known=data.truth(1, amplitude=0.0))
    paths = {name: str(path) for name, path in pair.save(tmp_path).items()}
    lesion = data.with_lesion(pair, 'moving')
    nb.save(lesion.masks['moving'], tmp_path / 'lesion.nii.gz')
    seen = []

    def optimise(fixed, moving, start, *, masks, **options):
        seen.append([None if mask is None else mask.numpy() for mask in masks])
        return start

    monkeypatch.setattr(prealign, 'optimise', optimise)
    masks = {'fixed_mask': paths['fixed_mask'], 'moving_mask': paths['moving_mask']} if stage == 'affine' else {}
    given = {'stage': stage, 'initial': paths['affine'], 'sloppy': True, **masks}
    prealign.prealign(paths['fixed'], paths['moving'], **given)
    prealign.prealign(paths['fixed'], paths['moving'], moving_lesion=str(tmp_path / 'lesion.nii.gz'), **given)
    half = len(seen) // 2
    (here, there), (same, without) = seen[half - 1], seen[-1]
    np.testing.assert_array_equal(np.asarray(here), np.asarray(same))
    before = np.ones_like(without) if there is None else there
    assert before.shape == without.shape
    volume = 40_000 / np.prod(nb.affines.voxel_sizes(pair.moving.affine))
    assert before.sum() - without.sum() == pytest.approx(volume, rel=0.15)
