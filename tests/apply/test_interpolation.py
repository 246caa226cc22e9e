"""Grids filled through chains: beside SciPy and ANTs, on awkward grids, the same for any number of threads."""

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.apply.chain import Chain, Leg
from bidsreg.apply.interpolation import INTERPOLATIONS, fill
from bidsreg.registration import Grid, Image
from tests import data

from .conftest import write_image

#: ANTs' names.
THEIRS = {'nearest': 'nearestNeighbor', 'labels': 'genericLabel', 'linear': 'linear', 'bspline': 'bSpline'}
TARGET = Grid(*data.GRIDS['left-handed'])


def scan(name, labels=False):
    shape, affine = data.GRIDS[name]
    head = data.head(shape, 1, affine=affine, noise=0)
    values = np.asarray((head.labels if labels else head.scan).dataobj)
    return values.astype(np.int32 if labels else np.float32), Grid(shape, affine)


def chain_of(transforms, *names):
    return Chain.read([Leg(transforms['folder'] / f'{name}.h5') for name in names])


def reached(chain, grid):
    """Voxels of the image that the target's lead to, by the chain's own map of points."""
    world = data.world(TARGET.shape, TARGET.affine).reshape(-1, 3)
    return grid.to_voxels(chain.points(world)[0]).T


@pytest.mark.parametrize('name', ['oblique-left-handed', 'thick', 'sheared'])
@pytest.mark.parametrize(('interpolation', 'order'), [('nearest', 0), ('linear', 1), ('bspline', 3)])
def test_as_scipy_does_at_mapped_points(transforms, name, interpolation, order):
    values, grid = scan(name)
    chain = chain_of(transforms, 'ab', 'bc')
    (found,), seen, _ = fill([values], grid, chain, TARGET, INTERPOLATIONS[interpolation])
    at = reached(chain, grid)
    inside = ((at >= -0.5) & (at < np.array(grid.shape)[:, None] - 0.5)).all(0)
    mode = 'mirror' if order == 3 else 'nearest'
    expected = ndi.map_coordinates(values.astype(float), at, order=order, mode=mode)
    difference = np.abs(found.ravel() - np.where(inside, expected, 0))
    # of places between two voxels the last bit decides which is nearer
    assert (difference > 0.01).mean() < (1e-3 if order == 0 else 1e-9)
    assert seen == inside.sum()
    assert 0.3 < inside.mean() < 0.99


@pytest.mark.parametrize('interpolation', list(INTERPOLATIONS))
def test_any_number_of_threads_gives_the_same_bits(transforms, interpolation):
    values, grid = scan('oblique', labels=interpolation == 'labels')
    chain = chain_of(transforms, 'ab').inverted()
    one = fill([values], grid, chain, TARGET, INTERPOLATIONS[interpolation])
    for threads in (2, 3):
        other = fill([values], grid, chain, TARGET, INTERPOLATIONS[interpolation], threads=threads)
        np.testing.assert_array_equal(other[0][0], one[0][0])
        assert other[1] == one[1]


def resampled_by_ants(tmp_path, transforms, values, grid, interpolator):
    import ants

    kind = np.float32 if values.dtype == np.float32 else np.int32
    write_image(tmp_path / 'image.nii.gz', values.astype(kind), grid.affine)
    write_image(tmp_path / 'target.nii.gz', np.zeros(TARGET.shape, np.float32), TARGET.affine)
    return ants.apply_transforms(
        ants.image_read(str(tmp_path / 'target.nii.gz')),
        ants.image_read(str(tmp_path / 'image.nii.gz')),
        [str(transforms['folder'] / f'{name}.h5') for name in ('ab', 'bc')],
        interpolator=interpolator,
    ).numpy()


@pytest.mark.parametrize('interpolation', list(THEIRS))
def test_antspy_resamples_alike_through_a_chain(tmp_path, transforms, interpolation):
    labels = interpolation in ('labels', 'nearest')
    values, grid = scan('oblique', labels)
    chain = chain_of(transforms, 'ab', 'bc')
    (ours,), *_ = fill([values], grid, chain, TARGET, INTERPOLATIONS[interpolation])
    theirs = resampled_by_ants(tmp_path, transforms, values, grid, THEIRS[interpolation])
    at = reached(chain, grid)
    inside = ((at >= 0) & (at <= np.array(grid.shape)[:, None] - 1)).all(0).reshape(TARGET.shape)
    assert inside.mean() > 0.5
    if labels:
        assert (ours == theirs)[inside].mean() > 0.9995
    else:
        # 600 is white matter; fields are kept in 32 bits
        assert np.abs(ours - theirs)[inside].max() < 0.5


def test_a_windowed_sinc_is_that_of_antspy_but_for_its_sum(tmp_path, transforms):
    """ANTs does not make the weights sum to one: a constant image ripples by up to a percent."""
    values, grid = scan('oblique')
    chain = chain_of(transforms, 'ab', 'bc')
    theirs = resampled_by_ants(tmp_path, transforms, values, grid, 'lanczosWindowedSinc')
    constant = resampled_by_ants(tmp_path, transforms, np.ones_like(values), grid, 'lanczosWindowedSinc')
    (ours,), *_ = fill([values], grid, chain, TARGET, INTERPOLATIONS['lanczos'])
    at = reached(chain, grid)
    inside = ((at >= 3) & (at <= np.array(grid.shape)[:, None] - 4)).all(0).reshape(TARGET.shape)
    assert np.abs(constant[inside] - 1).max() > 0.002
    np.testing.assert_allclose(ours[inside], theirs[inside] / constant[inside], atol=0.5)


def test_nitransforms_resamples_alike(tmp_path, transforms):
    """On the field's own grid: between its voxels nitransforms takes a field by cubic splines, ITK and we linearly."""
    import nitransforms as nt
    from nitransforms.resampling import apply

    values, grid = scan('oblique')
    target = transforms['ab'].grid
    image = write_image(tmp_path / 'image.nii.gz', values, grid.affine)
    reference = write_image(tmp_path / 'target.nii.gz', np.zeros(target.shape, np.float32), target.affine)
    xfm = nt.manip.load(transforms['folder'] / 'ab.h5', fmt='h5')
    xfm.reference = reference
    theirs = np.asarray(apply(xfm, nb.load(image), order=1).dataobj)
    chain = chain_of(transforms, 'ab')
    (ours,), *_ = fill([values], grid, chain, target, INTERPOLATIONS['linear'])
    at = grid.to_voxels(chain.points(data.world(target.shape, target.affine).reshape(-1, 3))[0])
    inside = ((at >= 1) & (at <= np.array(grid.shape) - 2)).all(1).reshape(target.shape)
    assert inside.mean() > 0.5
    assert np.abs(ours - theirs)[inside].max() < 1e-3 * values.max()


def test_one_interpolation_is_sharper_than_two(transforms):
    """A chain reads between the voxels of the image once."""
    values, grid = scan('oblique')
    (once,), *_ = fill([values], grid, chain_of(transforms, 'ab', 'bc'), TARGET, INTERPOLATIONS['linear'])
    middle = Grid(*data.GRIDS['ras'])
    (half,), *_ = fill([values], grid, chain_of(transforms, 'bc'), middle, INTERPOLATIONS['linear'])
    (twice,), *_ = fill([half], middle, chain_of(transforms, 'ab'), TARGET, INTERPOLATIONS['linear'])
    brain = once > 0
    assert np.corrcoef(once[brain], twice[brain])[0, 1] > 0.95
    assert once[brain].std() > 1.02 * twice[brain].std()


def test_as_the_deformation_itself_does(transforms):
    used = transforms['ab']
    values, grid = scan('thick')
    labels, _ = scan('thick', labels=True)
    for chain, way in ((chain_of(transforms, 'ab'), used), (chain_of(transforms, 'ab_inverse'), used.inverted())):
        (ours,), *_ = fill([values], grid, chain, TARGET, INTERPOLATIONS['linear'])
        assert np.abs(ours - way.apply(Image(values, grid), TARGET).data).max() < 0.05
        (ours,), *_ = fill([labels], grid, chain, TARGET, INTERPOLATIONS['labels'])
        assert (ours == way.apply_labels(Image(labels, grid), TARGET).data).mean() > 0.9999


def test_what_lies_outside_gets_its_value(transforms):
    values, grid = scan('ras')
    (found,), seen, _ = fill(
        [values + 1], grid, chain_of(transforms, 'ab'), TARGET, INTERPOLATIONS['linear'], outside=-1000
    )
    assert (found == -1000).sum() == found.size - seen > 0


def test_several_volumes_are_as_each_of_them(transforms):
    values, grid = scan('ras')
    both, *_ = fill([values, 2 * values], grid, chain_of(transforms, 'ab'), TARGET, INTERPOLATIONS['bspline'])
    (alone,), *_ = fill([2 * values], grid, chain_of(transforms, 'ab'), TARGET, INTERPOLATIONS['bspline'])
    np.testing.assert_array_equal(both[1], alone)
    assert not np.array_equal(both[0], both[1])
