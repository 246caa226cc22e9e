"""A right scale is kept and a wrong one is not, by what lies deep in the brain."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation import linear
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.thinning import thinned, thinned_mask
from bidsreg.registration import Grid, Image
from bidsreg.registration.evidence import Judge
from tests import data

TURN, SHIFT = (3, 2, -4), (2, -3, 2)
STRETCH = (1.05, 0.96, 1.04)


def scaled(factors):
    """The known position, after a head that is so many times as large."""
    return rigid_matrix(TURN, SHIFT) @ np.diag([*np.broadcast_to(factors, 3), 1.0])


def saved(tmp_path, scale):
    known = data.truth(5, turn=TURN, shift=SHIFT, scale=scale, amplitude=0)
    return data.pair((46, 54, 46), 5, known=known).save(tmp_path / 'pair')


@pytest.fixture(scope='module')
def same_size(tmp_path_factory):
    return saved(tmp_path_factory.mktemp('same'), 1.0)


def choose(paths, rigid, affine, **more):
    words = {name: str(path) for name, path in more.items()}
    words.setdefault('fixed_mask', str(paths['fixed_mask']))
    return linear.choose_linear(str(paths['fixed']), str(paths['moving']), rigid=rigid, affine=affine, **words)


@pytest.mark.parametrize('wrong', [1.04, 0.96, (1.0, 1.0, 1.06)])
def test_an_affine_that_scales_a_head_of_the_same_size_is_not_kept(same_size, wrong):
    choice = choose(same_size, scaled(1.0), scaled(wrong))
    assert choice.kept == 'rigid'
    assert choice.mind_heldout['rigid'] < 0.99 * choice.mind_heldout['affine']


def test_an_affine_that_finds_a_scale_is_kept(tmp_path):
    paths = saved(tmp_path, STRETCH)
    choice = choose(paths, scaled(1.0), scaled(STRETCH))
    assert choice.kept == 'affine'
    assert choice.mind_heldout['affine'] < 0.99 * choice.mind_heldout['rigid']


def test_an_affine_that_stretches_nothing_is_kept(same_size):
    choice = choose(same_size, scaled(1.0), scaled(1.0))
    assert choice.kept == 'affine'
    assert choice.mind_heldout['affine'] == choice.mind_heldout['rigid']
    assert choice.stretch == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ('factors', 'stretch', 'affine', 'kept'),
    [
        (1.03, 0.03, 0.971, 'rigid'),
        (1.03, 0.03, 0.969, 'affine'),
        ((1.0, 0.96, 1.02), 0.04, 0.961, 'rigid'),
        ((1.0, 0.96, 1.02), 0.04, 0.959, 'affine'),
        (1.002, 0.002, 0.99, 'affine'),
        (1.002, 0.002, 1.001, 'rigid'),
    ],
)
def test_a_stretch_has_to_be_earned(same_size, monkeypatch, factors, stretch, affine, kept):
    monkeypatch.setattr(linear, 'mind_distances', lambda *images, **lesions: [1.0, affine])
    choice = choose(same_size, scaled(1.0), scaled(factors))
    assert choice.stretch == pytest.approx(stretch, rel=1e-3)
    assert choice.kept == kept


def test_both_figures_are_the_judges_of_the_inner_half(same_size):
    choice = choose(same_size, scaled(1.0), scaled(1.02))
    fixed, moving, mask = (nb.load(same_size[name]) for name in ('fixed', 'moving', 'fixed_mask'))
    brain = np.asanyarray(mask.dataobj) > 0
    inner = linear.inner_half(brain, np.ones_like(brain), mask.affine)
    parts = [(fixed, fixed.get_fdata()), (moving, moving.get_fdata()), (mask, inner)]
    fixed, moving, inner = (Image(np.asarray(x, np.float32), Grid(like.shape, like.affine)) for like, x in parts)
    for name, factor in (('rigid', 1.0), ('affine', 1.02)):
        wanted = Judge(fixed, moving, scaled(factor), inner).after_affine.mind_heldout
        assert choice.mind_heldout[name] == pytest.approx(wanted, rel=1e-6)


def test_fine_scans_are_thinned_out_first(same_size, tmp_path, monkeypatch):
    matrices = scaled(1.0), scaled(1.02)
    monkeypatch.setattr(linear, 'LOOK_MM', 9.0)
    choice = choose(same_size, *matrices)
    for name in ('fixed', 'moving', 'fixed_mask'):
        coarse = thinned_mask if name == 'fixed_mask' else thinned
        nb.save(coarse(nb.load(same_size[name]), 9.0), tmp_path / f'{name}.nii.gz')
    thin = {name: tmp_path / f'{name}.nii.gz' for name in ('fixed', 'moving', 'fixed_mask')}
    assert choose(thin, *matrices).mind_heldout == pytest.approx(choice.mind_heldout, rel=1e-5)
    monkeypatch.setattr(linear, 'LOOK_MM', 2.0)
    assert choose(same_size, *matrices).mind_heldout != pytest.approx(choice.mind_heldout, rel=0.05)


@pytest.mark.parametrize('axes', ['LPS', 'SRA'])
def test_neither_the_order_of_voxels_nor_the_world_changes_the_figures(same_size, tmp_path, monkeypatch, axes):
    monkeypatch.setattr(linear, 'LOOK_MM', 9.0)
    world = rigid_matrix((14, -9, 7), (130, -40, 25))
    for name in ('fixed', 'moving', 'fixed_mask'):
        image = nb.load(same_size[name])
        # odd numbers of voxels, so that blocks from the other end would be others
        image = image.slicer[:-1, :-1, :-1]
        nb.save(image, tmp_path / f'{name}.nii.gz')
        order = nb.orientations.ornt_transform(
            nb.io_orientation(image.affine), nb.orientations.axcodes2ornt(tuple(axes))
        )
        other = image.as_reoriented(order)
        nb.save(data.image(np.asanyarray(other.dataobj), world @ other.affine), tmp_path / f'{name}_other.nii.gz')
    paths, others = (
        {name: tmp_path / f'{name}{end}.nii.gz' for name in ('fixed', 'moving', 'fixed_mask')} for end in ('', '_other')
    )
    matrices = scaled(1.0), scaled(1.02)
    found = choose(paths, *matrices).mind_heldout
    again = choose(others, *(world @ matrix @ np.linalg.inv(world) for matrix in matrices)).mind_heldout
    assert again == pytest.approx(found, rel=1e-4)


def lesion_and_spoilt(paths, end, tmp_path):
    """A block deep in the brain, and the scan with noise in the middle of it, so that nothing is blurred out of it."""
    scan, mask = (nb.load(paths[name]) for name in (end, f'{end}_mask'))
    centre = np.argwhere(mask.get_fdata() > 0).mean(0).astype(int)
    block, middle = (tuple(slice(c - n, c + n) for c in centre) for n in (6, 3))
    marks, values = np.zeros(scan.shape, np.uint8), scan.get_fdata()
    marks[block] = 1
    values[middle] = np.random.default_rng(0).uniform(0, values.max(), (6, 6, 6))
    nb.save(nb.Nifti1Image(marks, scan.affine), tmp_path / 'lesion.nii.gz')
    nb.save(nb.Nifti1Image(values.astype(np.float32), scan.affine), tmp_path / 'spoilt.nii.gz')
    return tmp_path / 'lesion.nii.gz', {**paths, end: tmp_path / 'spoilt.nii.gz'}


@pytest.mark.parametrize('end', ['fixed', 'moving'])
def test_what_a_lesion_hides_tells_nothing(same_size, end, tmp_path):
    lesion, spoilt = lesion_and_spoilt(same_size, end, tmp_path)
    matrices = scaled(1.0), scaled(1.03)
    clean = choose(same_size, *matrices, **{f'{end}_lesion': lesion}).mind_heldout
    hidden = choose(spoilt, *matrices, **{f'{end}_lesion': lesion}).mind_heldout
    seen = choose(spoilt, *matrices).mind_heldout
    for name in ('rigid', 'affine'):
        assert hidden[name] == pytest.approx(clean[name], rel=1e-3)
        assert abs(seen[name] - hidden[name]) > 0.02 * hidden[name]


def test_the_inner_half_is_the_deeper_one_of_what_is_seen():
    at = np.indices((41, 41, 41)) - 20
    radius = np.sqrt((at**2).sum(0))
    brain, seen = radius < 18, at[0] > 0
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    inner = linear.inner_half(brain, np.ones_like(brain), affine)
    assert inner.sum() == pytest.approx(brain.sum() / 2, rel=0.1)
    assert radius[inner].max() < radius[brain & ~inner].min() + 1
    half = linear.inner_half(brain, seen, affine)
    assert not half[~seen].any()
    assert half.sum() == pytest.approx((brain & seen).sum() / 2, rel=0.1)
    assert not linear.inner_half(brain, np.zeros_like(brain), affine).any()


def test_depth_is_in_millimetres():
    brain = np.zeros((20, 20, 20), bool)
    brain[2:18, 2:18, 2:18] = True
    inner = linear.inner_half(brain, brain, np.diag([1.0, 1.0, 5.0, 1.0]))
    # slices are thick, so that none of those within is near to the surface
    assert inner[9, 9, 2:18].all()
    assert not inner[3, 9].any()


def test_the_view_is_that_of_all_matrices():
    fixed, moving = (nb.Nifti1Image(np.zeros(shape, np.float32), data.grid(shape, 'LPS', (5, -4, 9), 3.0))
                     for shape in ((12, 14, 10), (11, 12, 13)))  # fmt: skip
    matrices = rigid_matrix((4, 5, -3), (7, 0, 0)), rigid_matrix((0, 0, 0), (0, -8, 0))
    voxels = np.moveaxis(np.indices(fixed.shape), 0, -1)
    wanted = np.ones(fixed.shape, bool)
    for matrix in matrices:
        at = nb.affines.apply_affine(np.linalg.inv(moving.affine) @ matrix @ fixed.affine, voxels)
        wanted &= np.all((at >= 0) & (at <= np.array(moving.shape) - 1), -1)
    found = linear.in_view(fixed, moving, *matrices)
    assert 0.1 < found.mean() < 0.9
    np.testing.assert_array_equal(found, wanted)


def test_a_part_of_the_brain_in_view_is_enough(same_size, tmp_path):
    moving = nb.load(same_size['moving'])
    nb.save(moving.slicer[:, :, 24:], tmp_path / 'top.nii.gz')
    choice = choose({**same_size, 'moving': tmp_path / 'top.nii.gz'}, scaled(1.0), scaled(1.06))
    assert choice.kept == 'rigid'


# ---------------------------------------------------------------------------------------------------- bad inputs
def mask_like(path, values, tmp_path, grid=None):
    image = nb.load(path)
    nb.save(nb.Nifti1Image(values(image.shape).astype(np.uint8), image.affine if grid is None else grid),
            tmp_path / 'other.nii.gz')  # fmt: skip
    return tmp_path / 'other.nii.gz'


def test_a_mask_on_another_grid_is_refused(same_size, tmp_path):
    other = mask_like(same_size['fixed'], np.ones, tmp_path, np.diag([9.0, 1, 1, 1]))
    with pytest.raises(InputError, match=r'Mask .*other\.nii\.gz lies elsewhere than fixed\.nii\.gz'):
        choose(same_size, scaled(1.0), scaled(1.0), fixed_mask=other)


def test_a_lesion_of_the_whole_brain_is_refused(same_size, tmp_path):
    other = mask_like(same_size['fixed'], np.ones, tmp_path)
    with pytest.raises(InputError, match='covers 100 % of the brain'):
        choose(same_size, scaled(1.0), scaled(1.0), fixed_lesion=other)


def test_a_brain_that_is_nowhere_is_told(same_size, tmp_path):
    empty = mask_like(same_size['fixed'], np.zeros, tmp_path)
    with pytest.raises(InputError, match=r'shows nothing of the brain in .*other\.nii\.gz'):
        choose(same_size, scaled(1.0), scaled(1.0), fixed_mask=empty)
    with pytest.raises(InputError, match=r'moving\.nii\.gz shows nothing of the brain'):
        choose(same_size, scaled(1.0), rigid_matrix((0, 0, 0), (900, 0, 0)))


def test_a_brain_of_lesions_is_told(same_size, tmp_path, monkeypatch):
    """Lesions that cover less of the mask than is refused may yet hide the half that is looked at."""
    monkeypatch.setattr(linear, 'without_lesion', lambda *args, **kwargs: None)
    other = mask_like(same_size['moving'], np.ones, tmp_path)
    with pytest.raises(InputError, match='cannot be compared outside of their lesions'):
        choose(same_size, scaled(1.0), scaled(1.0), moving_lesion=other)
