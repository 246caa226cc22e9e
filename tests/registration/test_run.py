"""Whole registrations of small heads whose deformation is known."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest
import torch

from bidsreg.registration import Deformation, FoldedError, Grid, Image, finish, metrics, register
from bidsreg.registration.events import NothingFound, SolvedAgain, StartFitted
from bidsreg.registration.numerics import boxes, threads
from bidsreg.registration.numerics.inversion import InversionError, invert_displacement
from bidsreg.registration.similarity import dataterm
from tests import data
from tests.heart import QUICK, before_and_after, loaded, solved


@pytest.mark.parametrize(
    'name',
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ('ras', 'left-handed', 'far', 'sagittal')),
        *('oblique-left-handed', 'thick', 'sheared'),
    ],
)
def test_a_known_deformation_is_recovered_on_every_kind_of_grid(name):
    shape, affine = data.GRIDS[name]
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    fixed_affine = affine.copy()
    fixed_affine[:3, 3] -= centre  # the head is at the origin
    pair = data.pair(
        shape=shape, seed=1, fixed_affine=fixed_affine, moving_shape=(44, 52, 44), known=data.truth(1, amplitude=6.0)
    )
    result = solved(pair)
    before, after = before_and_after(pair, result)
    assert before > 1
    assert after < 0.7 * before  # partial volume of 4 mm voxels moves the optimum itself
    assert result.folds == 0


def test_the_answer_in_mm_does_not_depend_on_the_world_position(pair, plain):
    shift = np.eye(4)
    shift[:3, 3] = (310, -205, 150)
    moved = register(
        *(Image(i.data, Grid(i.grid.shape, shift @ i.grid.affine)) for i in (loaded(pair.fixed), loaded(pair.moving))),
        QUICK,
        fixed_mask=Image(loaded(pair.fixed_mask).data, Grid(pair.fixed.shape, shift @ pair.fixed.affine)),
        affine=shift @ pair.truth.matrix @ np.linalg.inv(shift),
    )
    np.testing.assert_allclose(moved.deformation.forward, plain.deformation.forward, atol=0.05)


@pytest.mark.parametrize(
    'changes',
    [
        {'regularity': (('bending', 100.0),)},
        {'similarity': 'mind-ssc', 'beside': (('gmi', 0.1), ('lncc', 0.1)), 'solver': 'midpoint'},
    ],
)
def test_same_seed_same_bits_for_any_number_of_threads(pair, monkeypatch, changes):
    # as for the images of whole heads
    for name in ('LARGE', 'EACH'):
        monkeypatch.setattr(threads, name, 1)
    monkeypatch.setattr(boxes, 'BOX_SIZE', 12)
    monkeypatch.setattr(dataterm, 'COLUMN', (8, 8, 16))
    few = dataclasses.replace(QUICK, levels=((8.0, 5), (4.0, 5)), **changes)
    one = solved(pair, few)
    for count in (2, 4):
        torch.set_num_threads(count)
        more = solved(pair, few)
        assert torch.get_num_threads() == count
        assert np.array_equal(one.deformation.forward, more.deformation.forward)
        assert np.array_equal(one.deformation.inverse, more.deformation.inverse)
        assert one.evidence == more.evidence


def test_inverse_consistency_and_no_folds(pair, plain):
    before, after = before_and_after(pair, plain)
    assert after < 0.85 * before
    assert plain.folds == 0
    assert plain.path_length is None
    deformation = plain.deformation
    error = metrics.inverse_consistency(deformation.forward, deformation.inverse, deformation.grid, plain.mask.data > 0)
    assert error['mean'] < 0.05
    assert error['p99'] < 0.5
    assert np.abs(deformation.forward[[0, -1]]).max() == 0
    there = deformation.points(pair.points[:, :3])
    assert np.linalg.norm(deformation.inverted().points(there) - pair.points[:, :3], axis=1).mean() < 0.05


def test_an_aligned_pair_stays_put():
    head = data.pair(seed=2, known=data.truth(2, amplitude=0.0))
    _, after = before_and_after(head, solved(head))
    assert after < 0.25 * 4.1  # mm: a quarter of a voxel, partial volume differs between the contrasts
    # the same scan with another contrast has no such excuse
    fixed, mask = loaded(head.fixed), loaded(head.fixed_mask)
    inverted = Image(1000 - 0.7 * fixed.data, fixed.grid)
    deformation = register(fixed, inverted, QUICK, fixed_mask=mask).deformation
    assert np.linalg.norm(deformation.points(head.points[:, :3]) - head.points[:, :3], axis=1).max() < 0.05


@pytest.mark.parametrize('solver', ['euler', 'rk4'])
def test_both_solvers_lower_the_loss(pair, solver):
    result = solved(pair, dataclasses.replace(QUICK, solver=solver, levels=((8.0, 20),)))
    losses = [row['loss'] for row in result.history]
    assert losses[-1] < 0.9 * losses[0]
    assert len(losses) <= 20


def test_a_result_that_still_folds_is_solved_again_stiffer_and_then_refused(pair, monkeypatch):
    monkeypatch.setattr(finish, 'REPAIRS', ())
    counts = iter([7, 0])
    monkeypatch.setattr(finish, 'count_folds', lambda *_: next(counts))
    quick = dataclasses.replace(QUICK, levels=((8.0, 5),))
    result = solved(pair, quick)
    assert result.attempts == 2
    assert result.preset.regularity == (('h1', 4 * quick.regularity[0][1]),)
    assert SolvedAgain(1, 7, 4.0) in result.events
    assert SolvedAgain.warning
    monkeypatch.setattr(finish, 'count_folds', lambda *_: 3)
    with pytest.raises(FoldedError, match='still folds at 3'):
        solved(pair, quick)


def test_a_result_without_an_inverse_is_solved_again_stiffer(pair, monkeypatch):
    search, tried = invert_displacement, []

    def fail_once(field, grid):
        tried.append(field)
        if len(tried) == 1:
            raise InversionError('none here', np.zeros_like(field), 5, 1.0)
        return search(field, grid)

    monkeypatch.setattr(finish, 'invert_displacement', fail_once)
    stiff = {'regularity': (('h1-displacement', 1.0),), 'learning_rate': 0.005}
    chosen = dataclasses.replace(QUICK, velocity='nodeo', solver='euler', levels=((8.0, 5),), **stiff)
    result = solved(pair, chosen)
    assert (result.attempts, result.folds, len(tried)) == (2, 0, 2)
    assert SolvedAgain(1, 5, 4.0) in result.events


def test_a_slab_too_thin_to_compare_is_an_error_not_a_silent_identity():
    rng = np.random.default_rng(0)
    grid = Grid((40, 40, 4), np.diag([4.0, 4.0, 4.0, 1.0]))
    thin, other = (Image(rng.normal(size=grid.shape).astype(np.float32), grid) for _ in range(2))
    with pytest.raises(ValueError, match='too thin'):
        register(thin, other, QUICK)


def test_an_earlier_answer_is_a_start(pair, plain):
    first = plain
    no_more = dataclasses.replace(QUICK, levels=((8.0, 1),), learning_rate=1e-9)
    again = register(
        loaded(pair.fixed),
        loaded(pair.moving),
        no_more,
        fixed_mask=loaded(pair.fixed_mask),
        start=first.deformation,
    )
    fitted = again.events[0]
    assert isinstance(fitted, StartFitted)
    assert 0 <= fitted.error < fitted.displacement
    points = pair.points[:, :3]
    apart = np.linalg.norm(again.deformation.points(points) - first.deformation.points(points), axis=1)
    moved = np.linalg.norm(
        first.deformation.points(points) - nib.affines.apply_affine(pair.truth.matrix, points), axis=1
    )
    assert apart.mean() < 0.2 * moved.mean()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (lambda d: {'start': d, 'affine': np.eye(4)}, 'either start or affine'),
        (lambda d: {'start': d.inverted()}, 'give its inverse'),
        (lambda d: {'start': d, 'method': dataclasses.replace(QUICK, levels=((8.0, 250),))}, 'at most 240'),
    ],
)
def test_a_start_that_does_not_fit_is_refused(pair, options, words):
    grid = Grid((8, 8, 8), np.diag([20.0, 20, 20, 1]))
    still = np.zeros((8, 8, 8, 3), np.float32)
    chosen = {'method': QUICK} | options(Deformation(np.eye(4), still, still, grid))
    with pytest.raises(ValueError, match=words):
        register(loaded(pair.fixed), loaded(pair.moving), **chosen)


@pytest.mark.slow
@pytest.mark.parametrize('side', ['fixed', 'moving'])
def test_lesions_do_not_count(pair, side):
    """A blob that is in one scan only pulls the deformation, unless it is masked."""
    scan = loaded(getattr(pair, side))
    middle = pair.points[np.argmin(np.linalg.norm(pair.points[:, :3] - [25, 10, 15], axis=1))]
    centre = middle[:3] if side == 'fixed' else middle[3:]
    index = np.stack(np.meshgrid(*map(np.arange, scan.grid.shape), indexing='ij'), -1)
    away = np.linalg.norm(scan.grid.to_world(index) - centre, axis=-1)
    sick = Image(np.where(away < 14, 1500.0, scan.data).astype(np.float32), scan.grid)
    lesion = Image((away < 18).astype(np.float32), scan.grid)
    images = {'fixed': loaded(pair.fixed), 'moving': loaded(pair.moving)} | {side: sick}
    options = {'fixed_mask': loaded(pair.fixed_mask), 'affine': pair.truth.matrix}
    near = pair.points[np.linalg.norm(pair.points[:, :3] - middle[:3], axis=1) < 30]
    chosen = dataclasses.replace(QUICK, levels=((8.0, 50), (4.0, 10)))

    def error(result):
        return np.linalg.norm(result.deformation.points(near[:, :3]) - near[:, 3:], axis=1).mean()

    healthy = error(solved(pair, chosen))
    plain, masked = (
        error(register(images['fixed'], images['moving'], chosen, **options, **more)) - healthy
        for more in ({}, {f'{side}_lesion': lesion})
    )
    assert plain > 0.2
    assert masked < 0.7 * plain


@pytest.mark.parametrize('velocity', ['lddmm', 'nodeo', 'nodeo-averaging', 'grid'])
def test_every_other_velocity_registers_without_folds(pair, velocity):
    rate = 0.2 if velocity == 'grid' else 0.02
    result = solved(pair, dataclasses.replace(QUICK, velocity=velocity, learning_rate=rate))
    before, after = before_and_after(pair, result)
    assert after < 0.85 * before
    assert result.folds == 0
    deformation = result.deformation
    error = metrics.inverse_consistency(
        deformation.forward, deformation.inverse, deformation.grid, result.mask.data > 0
    )
    assert error['mean'] < 0.05
    assert error['p99'] < 0.5
    assert (result.path_length is None) == (velocity != 'lddmm')


def test_the_path_of_lddmm_is_at_least_half_as_long_as_its_displacements(pair):
    """The V-norm is at least the L2 norm; a path that is no geodesic ends nearer than it is long."""
    result = solved(pair, dataclasses.replace(QUICK, velocity='lddmm', levels=((8.0, 10),)))
    inside = np.linalg.norm(result.deformation.forward[result.mask.data > 0], axis=-1)
    assert 0.5 * np.sqrt((inside**2).mean()) < result.path_length < 100


@pytest.mark.parametrize('similarity', ['mind-features', 'mind-ssc', 'ngf', 'lmi', 'gmi'])
def test_every_other_similarity_for_two_contrasts_brings_them_together(pair, similarity):
    scale = {'lmi': 5.0, 'gmi': 10.0, 'ngf': 5.0}.get(similarity, 1.0)
    result = solved(pair, dataclasses.replace(QUICK, similarity=similarity).stiffer(scale))
    before, after = before_and_after(pair, result)
    assert after < 0.9 * before
    assert result.folds == 0


@pytest.mark.parametrize('similarity', ['ssd', 'lncc'])
def test_similarities_for_one_contrast(pair, similarity):
    known = data.truth(1, amplitude=6.0)
    head = data.head(seed=1, contrast='T1w', moved=known)
    found = register(
        loaded(pair.fixed),
        loaded(head.scan),
        dataclasses.replace(QUICK, similarity=similarity),
        fixed_mask=loaded(pair.fixed_mask),
        moving_mask=loaded(head.mask),  # both scaled by what lies in the brain
        affine=known.matrix,
    )
    error = pair.error(found.deformation.points(pair.points[:, :3])).mean()
    assert error < 0.8 * pair.error(nib.affines.apply_affine(known.matrix, pair.points[:, :3])).mean()


def test_a_velocity_that_varies_in_time_and_an_adjoint_gradient(pair):
    varying = dataclasses.replace(
        QUICK, time_knots=3, time_steps=2, solver='midpoint', adjoint=True, levels=((8.0, 20),)
    )
    result = solved(pair, varying)
    assert result.history[-1]['loss'] < 0.9 * result.history[0]['loss']
    assert result.folds == 0


def test_an_optimisation_that_ends_where_it_began_says_that_it_found_nothing(pair, plain):
    wild = dataclasses.replace(QUICK, levels=((8.0, 10),), learning_rate=1e3)
    result = solved(pair, wild)
    assert result.events[-1] == NothingFound(0.0)
    assert not result.deformation.forward.any()
    assert not any(isinstance(event, NothingFound) for event in plain.events)
