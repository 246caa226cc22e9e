"""Linear alignment: a known transform comes back, from any start, in the same bits."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation import prealign
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.compared import compared
from bidsreg.registration.itk import write_affine
from tests import data


def run(paths, **inputs):
    return prealign.prealign(str(paths['fixed']), str(paths['moving']), **inputs)


def error(pair, matrix) -> np.ndarray:
    return pair.error(nb.affines.apply_affine(matrix, pair.points[:, :3]))


@pytest.mark.slow  # ANTs at full length
def test_a_known_rigid_transform_is_found_between_odd_grids(rigid_pair, here):
    pair, paths = rigid_pair
    matrix, _ = run(paths, stage='rigid')
    assert error(pair, matrix).mean() < 0.6  # mm, with voxels of 4.2 mm, and 6 mm slices
    linear = matrix[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(run(paths, stage='rigid')[0], matrix)


@pytest.mark.parametrize('stage', ['affine', pytest.param('rigid', marks=pytest.mark.slow)])
def test_headers_that_are_moved_together_change_nothing(stage, here, tmp_path):
    pair = data.pair((32, 38, 32), 1, known=data.truth(1, turn=(2, -3, 1), shift=(2, 1, -2), amplitude=0))
    world = rigid_matrix((14, -9, 7), (130, -40, 25))
    paths = pair.save(tmp_path / 'one')
    masks = {name: str(paths[name]) for name in ('fixed_mask', 'moving_mask')} if stage == 'affine' else {}
    plain, _ = run(paths, stage=stage, sloppy=True, **masks)
    for name in ('fixed', 'moving', 'fixed_mask', 'moving_mask'):
        image = getattr(pair, name)
        nb.save(data.image(np.asanyarray(image.dataobj), world @ image.affine), paths[name])
    found = np.linalg.inv(world) @ run(paths, stage=stage, sloppy=True, **masks)[0] @ world
    apart = nb.affines.apply_affine(found, pair.points[:, :3]) - nb.affines.apply_affine(plain, pair.points[:, :3])
    assert np.abs(apart).max() < 1e-3


def test_a_search_begins_with_the_same_bits_wherever_headers_lie(here, tmp_path, monkeypatch):
    """ANTs makes hundredths of a millimetre of the last bits that a way through the world leaves in a matrix."""
    pair = data.pair((16, 18, 16), 1)
    paths, given, starts = pair.save(tmp_path / 'one'), rigid_matrix((1.7, -2.3, 0.9), (1.3, -0.7, 2.1)), []
    monkeypatch.setattr(prealign, 'optimise', lambda fixed, moving, start, **_: starts.append(start) or start)
    for world in (np.eye(4), rigid_matrix((14, -9, 7), (130, -40, 25)), rigid_matrix((-8, 3, 0), (0, 11, 2))):
        for name in ('fixed', 'moving'):
            image = getattr(pair, name)
            nb.save(data.image(np.asanyarray(image.dataobj), world @ image.affine), paths[name])
        write_affine(tmp_path / 'given.txt', world @ given @ np.linalg.inv(world))
        matrix, _ = run(paths, stage='affine', initial=str(tmp_path / 'given.txt'), sloppy=True)
        off = nb.affines.apply_affine(np.linalg.inv(world) @ matrix @ world, pair.points[:, :3])
        assert np.abs(off - nb.affines.apply_affine(given, pair.points[:, :3])).max() < 0.02  # mm
    for start in starts[1:]:
        np.testing.assert_array_equal(start, starts[0])


def test_the_rounding_of_headers_changes_neither_box_nor_levels():
    """A margin of 12 mm is six voxels of 2 mm, also where a header makes 1.9999999 mm of them."""
    inside = np.zeros((40, 44, 40), np.uint8)
    inside[12:28, 14:30, 12:28] = 1
    for turn in np.random.default_rng(0).uniform(-30, 30, (10, 3)):
        fine, coarse = (
            data.grid(inside.shape, turn=turn, voxel=voxel).astype(np.float32).astype(float) for voxel in (2.0, 4.0)
        )
        near, mask = prealign._around(nb.Nifti1Image(inside, fine), nb.Nifti1Image(inside, fine))
        assert near.shape == mask.shape == (16 + 12, 16 + 12, 16 + 12)
        assert prealign._levels(prealign.PLANS['affine'], nb.Nifti1Image(inside, coarse)) == [('Affine', 4.0)]


@pytest.mark.slow
def test_affine_inside_masks_finds_the_scales(here, tmp_path):
    known = data.truth(5, turn=(3, 2, -4), shift=(2, -3, 2), scale=(1.04, 0.97, 1.03), amplitude=0)
    pair = data.pair((60, 72, 60), 5, known=known, bias=0.0)
    paths = pair.save(tmp_path / 'affine')
    moving = np.asanyarray(pair.moving.dataobj).copy()
    moving[:, :, :10] = np.random.default_rng(0).integers(0, 900, moving[:, :, :10].shape)  # a neck of noise
    nb.save(data.image(moving, pair.moving.affine), paths['moving'])
    rigid = rigid_matrix((3, 2, -4), (2, -3, 2))
    write_affine(tmp_path / 'rigid.txt', rigid)
    masks = {name: str(paths[name]) for name in ('fixed_mask', 'moving_mask')}
    matrix, start = run(paths, stage='affine', initial=str(tmp_path / 'rigid.txt'), **masks)
    before = pair.error(nb.affines.apply_affine(rigid, pair.points[:, :3])).mean()
    assert before > 1.0
    assert error(pair, matrix).mean() < 0.35
    assert start == 'the matrix given'


@pytest.mark.parametrize(
    ('turn', 'shift'),
    [
        pytest.param((35, 0, 10), (10, 60, -40), marks=pytest.mark.slow, id='nodding and far off'),
        pytest.param((0, 0, 0), (300, -200, 150), marks=pytest.mark.slow, id='another origin'),
        pytest.param((-5, 25, 20), (-30, 20, 25), marks=pytest.mark.slow, id='turned'),
    ],
)
def test_heads_in_any_position_meet(turn, shift, here, tmp_path):
    known = data.truth(1, turn=turn, shift=shift, amplitude=0)
    pair = data.pair(
        (44, 52, 44), 1, known=known, moving_affine=data.grid((44, 52, 44), 'LPS', voxel=5.0, centre=shift)
    )
    start, why = prealign.find_start(pair.fixed, pair.moving)
    assert pair.error(nb.affines.apply_affine(start, pair.points[:, :3])).mean() < 5.0, why


@pytest.mark.parametrize(
    'turn',
    [
        pytest.param((45, 0, 0), marks=pytest.mark.slow),
        pytest.param((0, 60, 0), marks=pytest.mark.slow),
        pytest.param((90, 0, 0), marks=pytest.mark.slow),
        pytest.param((0, -90, 0), marks=pytest.mark.slow),
        pytest.param((0, 0, 120), marks=pytest.mark.slow),
        (180, 0, 0),
        pytest.param((0, 180, 0), marks=pytest.mark.slow),
        pytest.param((0, 0, 180), marks=pytest.mark.slow),
        pytest.param((-70, 50, 140), marks=pytest.mark.slow),
    ],
)
def test_a_head_on_its_side_or_under_a_wrong_header_is_found(turn, here):
    """Another axis is the nearest one: turned between the scans, or the header names the wrong axes."""
    pair = data.pair((28, 34, 28), 1, known=data.truth(1, turn=(2, -3, 4), shift=(3, 2, -4), amplitude=0))
    world = rigid_matrix(turn)
    moving = data.image(np.asanyarray(pair.moving.dataobj), world @ pair.moving.affine)
    start, why = prealign.find_start(pair.fixed, moving)
    found = nb.affines.apply_affine(np.linalg.inv(world) @ start, pair.points[:, :3])
    assert pair.error(found).mean() < 5.0, why


def test_all_ways_in_which_axes_can_lie_are_tried():
    ways = {tuple(rigid_matrix(turn)[:3, :3].round().astype(int).ravel()) for turn in [(0, 0, 0), *prealign.FAR_TURNS]}
    assert len(ways) == len(prealign.FAR_TURNS) + 1 == 24


@pytest.mark.slow
def test_the_scanners_positions_are_trusted(rigid_pair, here):
    still = data.pair((44, 52, 44), 2, known=data.truth(2, turn=(1, 0, 0), shift=(0, 1, 0), amplitude=0))
    start, why = prealign.find_start(still.fixed, still.moving)
    assert why == 'the positions of the scanner'
    assert still.error(nb.affines.apply_affine(start, still.points[:, :3])).mean() < 1.0


@pytest.mark.slow
def test_nothing_outside_the_masks_matters(here, tmp_path):
    pair = data.pair((44, 52, 44), 6, known=data.truth(6, turn=(2, -1, 3), shift=(2, 1, -2), amplitude=0))
    paths = pair.save(tmp_path / 'one')
    masks = {name: str(paths[name]) for name in ('fixed_mask', 'moving_mask')}
    clean, _ = run(paths, stage='affine', **masks)
    rng = np.random.default_rng(0)
    for name in ('fixed', 'moving'):
        scan, mask = getattr(pair, name), getattr(pair, f'{name}_mask')
        far = compared(paths[f'{name}_mask'], None, scan, '').get_fdata() == 0
        junk = np.where(far, rng.integers(0, 1500, mask.shape), np.asanyarray(scan.dataobj)).astype(np.int16)
        nb.save(data.image(junk, scan.affine), paths[name])
    one, other = error(pair, clean), error(pair, run(paths, stage='affine', **masks)[0])
    assert abs(one.mean() - other.mean()) < 0.4
    assert other.mean() < 0.6


def test_a_mask_of_another_grid_is_refused(rigid_pair, here):
    _, paths = rigid_pair
    with pytest.raises(InputError, match='voxels'):
        run(paths, stage='affine', fixed_mask=str(paths['moving_mask']))


def test_images_that_never_meet_are_an_error(rigid_pair, here, tmp_path):
    _, paths = rigid_pair
    write_affine(tmp_path / 'far.txt', rigid_matrix(translation=(2000, 0, 0)))
    with pytest.raises(InputError, match='same head'):
        run(paths, stage='rigid', initial=str(tmp_path / 'far.txt'))


def test_a_head_in_a_wide_field_of_view_meets_one_in_a_narrow_field(rigid_pair, here, tmp_path):
    """Of the air around it hardly any is in the other field of view, but all of the other head is in this one."""
    pair, paths = rigid_pair
    fixed = nb.load(paths['fixed'])
    wide = np.pad(np.asarray(fixed.dataobj), 40)
    moved = nb.affines.from_matvec(fixed.affine[:3, :3], nb.affines.apply_affine(fixed.affine, [-40] * 3))
    nb.save(nb.Nifti1Image(wide, moved), tmp_path / 'wide.nii.gz')
    write_affine(tmp_path / 'start.txt', pair.truth.matrix)
    given = {'stage': 'rigid', 'initial': str(tmp_path / 'start.txt'), 'sloppy': True}
    matrix, _ = run({**paths, 'fixed': tmp_path / 'wide.nii.gz'}, **given)
    assert error(pair, matrix).mean() < 1.5
