"""Whole registrations of small heads whose deformation is known."""

import dataclasses
import json
import math

import nibabel as nib
import numpy as np
import pytest
import torch

from bidsreg.pair import cli
from bidsreg.registration import Grid, Image, evidence, metrics, preset, register, solve
from bidsreg.registration.numerics import threads as parallel
from bidsreg.registration.numerics.optimiser import TensorwiseAdam
from bidsreg.registration.similarity import dataterm
from tests import data

QUICK = dataclasses.replace(
    preset('node-mind'),
    levels=((8.0, 25), (4.0, 25)),
    patches=(1,),
    regularity=(('h1', 0.2),),
    loosened=(),
    reach=3.0,
    velocity_spacing=8.0,
    learning_rate=0.02,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loaded(image):
    return Image(np.asarray(image.dataobj, np.float32), Grid(image.shape, image.affine))


def solved(pair, chosen=QUICK, **options):
    return register(
        loaded(pair.fixed),
        loaded(pair.moving),
        chosen,
        fixed_mask=loaded(pair.fixed_mask),
        affine=pair.truth.matrix,
        **options,
    )


def before_and_after(pair, result):
    start = nib.affines.apply_affine(pair.truth.matrix, pair.points[:, :3])
    return pair.error(start).mean(), pair.error(result.deformation.points(pair.points[:, :3])).mean()


@pytest.fixture(scope='module')
def pair():
    return data.pair(seed=1, known=data.truth(1, amplitude=6.0))


@pytest.mark.parametrize('name', ['ras', 'left-handed', 'sagittal', 'oblique-left-handed', 'thick', 'far', 'sheared'])
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


def test_the_answer_in_mm_does_not_depend_on_the_world_position(pair):
    shift = np.eye(4)
    shift[:3, 3] = (310, -205, 150)
    moved = register(
        *(Image(i.data, Grid(i.grid.shape, shift @ i.grid.affine)) for i in (loaded(pair.fixed), loaded(pair.moving))),
        QUICK,
        fixed_mask=Image(loaded(pair.fixed_mask).data, Grid(pair.fixed.shape, shift @ pair.fixed.affine)),
        affine=shift @ pair.truth.matrix @ np.linalg.inv(shift),
    )
    np.testing.assert_allclose(moved.deformation.forward, solved(pair).deformation.forward, atol=0.05)


def test_same_seed_same_bits_for_any_number_of_threads(pair, monkeypatch):
    monkeypatch.setattr(parallel, 'LARGE', 1)  # as for the images of whole heads
    monkeypatch.setattr(dataterm, 'BOX_SIZE', 12)
    one = solved(pair)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        more = solved(pair)
        assert torch.get_num_threads() == threads
        assert np.array_equal(one.deformation.forward, more.deformation.forward)
        assert np.array_equal(one.deformation.inverse, more.deformation.inverse)


def test_inverse_consistency_and_no_folds(pair):
    result = solved(pair)
    deformation = result.deformation
    error = metrics.inverse_consistency(
        deformation.forward, deformation.inverse, deformation.grid, result.mask.data > 0
    )
    assert error['mean'] < 0.05
    assert error['p99'] < 0.5
    assert np.abs(deformation.forward[[0, -1]]).max() == 0
    there = deformation.points(pair.points[:, :3])
    assert np.linalg.norm(deformation.inverted().points(there) - pair.points[:, :3], axis=1).mean() < 0.05


def test_patches_go_with_the_levels_and_the_last_with_the_loosened_stage():
    within = preset('node-mind')
    assert [within.patch(level) for level in (0, 1, 2, -1)] == [1, 1, 1, 0]
    assert [preset('node-mind-fast').patch(level) for level in (0, 1, -1)] == [1, 1, 0]
    assert [preset('node-mind-inter').patch(level) for level in range(4)] == [1, 1, 0, 0]
    few = dataclasses.replace(within, patches=(2, 1))
    assert [few.patch(level) for level in (0, 1, 2, -1)] == [2, 1, 1, 1]


def test_each_stage_compares_patches_of_its_own(pair, monkeypatch):
    used = []
    run_level = solve.Optimisation.run_level
    monkeypatch.setattr(
        solve.Optimisation, 'run_level', lambda *given: used.append((given[1], given[4])) or run_level(*given)
    )
    solved(pair, dataclasses.replace(QUICK, patches=(1, 1, 0), loosened=((0.5, 5),)))
    assert used == [(8.0, 1), (4.0, 1), (4.0, 0)]


def consistency(result):
    found = result.deformation
    return metrics.inverse_consistency(found.forward, found.inverse, found.grid, result.mask.data > 0)


def test_fields_that_do_not_invert_are_written_on_a_finer_grid_and_say_so(pair, monkeypatch, caplog):
    plain = solved(pair)
    assert not any('consistent' in line or 'inverse is off' in line for line in plain.stopped)
    strict = consistency(plain)['mean'] / 2
    monkeypatch.setattr(solve, 'CONSISTENT', {'mean': strict, 'p99': 0.5})
    finer = solved(pair)
    assert finer.deformation.grid.spacing == pytest.approx(plain.deformation.grid.spacing / 2)
    assert finer.mask.grid.same_as(finer.deformation.grid)
    assert consistency(finer)['mean'] < strict
    assert finer.folds == 0
    assert [line for line in finer.stopped if 'consistent to' in line and 'half' in line]
    there = [result.deformation.points(pair.points[:, :3]) for result in (plain, finer)]
    np.testing.assert_allclose(*there, atol=0.1)
    # there is an end to it, and a word about it
    monkeypatch.setattr(solve, 'CONSISTENT', {'mean': 0.0, 'p99': 0.5})
    monkeypatch.setattr(solve, 'FINER_ABOVE', 3.0)
    best = solved(pair)
    assert best.deformation.grid.spacing.max() <= 3.0
    assert 'inverse is off' in best.stopped[-1]
    assert 'inverse is off' in caplog.text


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


@pytest.mark.parametrize('similarity', ['mind', 'mind-ssc', 'mind-features', 'lmi'])
def test_points_that_no_compared_voxel_depends_on_need_not_flow(pair, similarity):
    """Value and gradient are the same as with all particles."""
    quick = dataclasses.replace(QUICK, similarity=similarity)
    problem = solve.prepare(
        loaded(pair.fixed), loaded(pair.moving), quick, loaded(pair.fixed_mask), None, pair.truth.matrix
    )
    optimisation = solve.Optimisation(problem, quick, torch.device('cpu'), 1)
    optimisation.run_level(8.0, 5, 1.0, 1, None)
    measure = solve.SIMILARITIES[similarity]()
    term = solve.DataTerm.at(problem, 4.0, 0, measure, torch.device('cpu'))
    assert len(term.needed) < 0.9 * np.prod(problem.velocity.shape)
    answers = []
    for needed in (None, term.needed):
        optimisation.optimiser.zero_grad()
        loss = term(optimisation.path(0, needed).displacement)
        loss.backward()
        answers.append((loss.item(), optimisation.network.network.detail.grad.clone()))
    (whole, slope), (part, same_slope) = answers
    assert whole == part
    torch.testing.assert_close(same_slope, slope, rtol=1e-4, atol=1e-6 * slope.abs().max().item())


def test_coarse_images_get_a_coarse_velocity_and_the_step_shrinks_at_the_end(pair):
    chosen = preset('node-mind-inter')
    problem = solve.prepare(
        loaded(pair.fixed), loaded(pair.moving), chosen, loaded(pair.fixed_mask), None, pair.truth.matrix
    )
    optimisation = solve.Optimisation(problem, chosen, torch.device('cpu'), 1)
    assert [optimisation.coarser(level) for level in (8.0, 4.0, 3.0, 2.0, 1.0)] == [2, 2, 1, 1, 0]
    assert optimisation.rate(2.0, 0.99) == chosen.learning_rate
    assert optimisation.rate(1.0, 0.5) == chosen.learning_rate
    assert optimisation.rate(1.0, 0.75) == pytest.approx(chosen.learning_rate / 2)
    assert optimisation.rate(1.0, 0.999) == pytest.approx(chosen.learning_rate / 10)


def test_a_level_stops_on_the_slope_of_the_loss(pair):
    result = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 150),), slope_tolerance=0.05))
    assert len(result.history) < 150
    assert 'fell by less' in result.stopped[0]


@pytest.mark.parametrize(
    ('losses', 'thrown', 'kept'),
    [
        ([3.0, 2.0, 2.001, 1.0], [False, False, False, False], 3),
        ([3.0, 2.0, 2.003, 2.5, 1.9], [False, False, True, True, False], 4),
        ([-3.0, -2.9], [False, True], 0),
        ([-3.0, -2.998], [False, False], 0),
        ([2.0, math.nan, math.inf], [False, True, True], 0),
        ([math.nan, 2.0], [True, False], 1),
    ],
)
def test_what_had_the_lowest_loss_comes_back_when_the_loss_has_risen(losses, thrown, kept):
    parameter = torch.nn.Parameter(torch.zeros(1))
    best = solve.Best(TensorwiseAdam([parameter], 0.1))
    for i, loss in enumerate(losses):
        torch.nn.init.constant_(parameter, i)
        assert best.put_back(loss) is thrown[i]
        assert thrown[i] or parameter.item() == i
    assert best.times == sum(thrown)
    assert not thrown[-1] or parameter.item() == kept
    assert best.saved.parameters[0].item() == kept


def test_an_optimiser_that_went_back_goes_on_as_it_would_have_from_rest():
    def step(gradient):
        p.grad = torch.tensor(gradient)
        optimiser.step()
        return p.tolist()

    p = torch.nn.Parameter(torch.ones(2))
    optimiser = TensorwiseAdam([p], 0.1)
    assert step([1.0, 1.0]) == pytest.approx([0.9, 0.9])
    then = optimiser.snapshot()
    step([math.nan, 1e30])
    optimiser.back_to(then)
    assert p.tolist() == pytest.approx([0.9, 0.9])
    # it does not coast, and the second moment is that of one unit step and another
    assert step([0.0, 0.0]) == pytest.approx([0.9, 0.9])
    optimiser.back_to(then)
    # momentum 0.1 of what two equal steps would have by 1 - 0.9^2
    assert step([1.0, 1.0]) == pytest.approx(2 * [0.9 - 0.1 * 0.1 / 0.19])
    optimiser.back_to(then)
    assert p.tolist() == pytest.approx([0.9, 0.9])


TOO_LARGE = dataclasses.replace(QUICK, levels=((8.0, 60),), regularity=(('h1', 1.0),), learning_rate=0.5)


def test_steps_that_are_too_large_for_a_stiff_problem_are_put_back_and_made_smaller(pair, monkeypatch):
    rates = []
    step = TensorwiseAdam.step
    monkeypatch.setattr(TensorwiseAdam, 'step', lambda self: rates.append(self.lr) or step(self))
    careful = solved(pair, TOO_LARGE)
    assert 'put back 2 times, to go on with a quarter of the steps' in careful.stopped[0]
    # the steps of the level's first half fall for no other reason
    assert {rate / TOO_LARGE.learning_rate for rate in rates[:28]} == {1.0, 1 / 4, 1 / 16}
    monkeypatch.setattr(solve.Best, 'put_back', lambda *_: False)
    careless = solved(pair, TOO_LARGE)
    before, after = before_and_after(pair, careful)
    assert after < 0.95 * before < before < before_and_after(pair, careless)[1]


def test_a_loosened_stage_begins_with_an_optimiser_of_its_own(pair, monkeypatch):
    seen = []
    step = TensorwiseAdam.step
    monkeypatch.setattr(TensorwiseAdam, 'step', lambda self: seen.append(max(self.seen)) or step(self))
    chosen = dataclasses.replace(QUICK, levels=((8.0, 10), (4.0, 10)), loosened=((0.01, 10),))
    monkeypatch.setattr(solve.Best, 'put_back', lambda *_: False)
    solved(pair, chosen)
    assert seen == [*range(20), *range(10)]


def test_progress_is_reported(pair):
    looks = []
    solved(pair, dataclasses.replace(QUICK, levels=((8.0, 20),)), callback=looks.append)
    assert [look.iteration for look in looks] == [10, 20]
    assert looks[-1].seconds_left == 0


def sharp(optimisation):
    """Make the velocity of a few points so sharp that the written field folds."""
    with torch.no_grad():
        optimisation.network.network.detail[0, :, 4:6, 4:6, 4:6] = 400.0


def test_folds_are_repaired_where_they_are(pair, caplog):
    quick = dataclasses.replace(QUICK, levels=((8.0, 5),))
    problem = solve.prepare(
        loaded(pair.fixed), loaded(pair.moving), quick, loaded(pair.fixed_mask), None, pair.truth.matrix
    )
    optimisation = solve.Optimisation(problem, quick, torch.device('cpu'), 1)
    optimisation.run_level(8.0, 5, 1.0, 1, None)
    smooth = optimisation.field(backward=False)
    sharp(optimisation)
    folded = optimisation.field(backward=False)
    before = metrics.count_folds(folded, problem.field)
    assert before > 0
    for sigma in solve.REPAIRS:
        optimisation.repair(folded, sigma)
        folded = optimisation.field(backward=False)
    assert metrics.count_folds(folded, problem.field) < before
    # far from the folds nothing changed, and the inverse is that of the repaired flow
    far = np.linalg.norm(folded - smooth, axis=-1) < 1e-3
    assert far.mean() > 0.3
    inverse = optimisation.field(backward=True)
    mask = Image(solve.resample(problem.fixed_mask, problem.field, order=0) > 0, problem.field).data
    assert metrics.inverse_consistency(folded, inverse, problem.field, mask)['p95'] < 0.5


def test_a_result_that_folded_says_how_much_was_repaired(pair, monkeypatch, caplog):
    counts = iter([7, 0])
    monkeypatch.setattr(solve.metrics, 'count_folds', lambda *_: next(counts))
    monkeypatch.setattr(solve.metrics, 'folded', lambda field, _: np.linalg.norm(field, axis=-1) > 0.9 * field.max())
    result = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 5),)))
    assert (result.attempts, result.folds) == (1, 0)
    assert result.repaired > 0
    assert 'smoothed about them' in caplog.text
    assert 'repaired' in result.stopped[-1]


def test_a_result_that_still_folds_is_solved_again_stiffer_and_then_refused(pair, monkeypatch, caplog):
    monkeypatch.setattr(solve, 'REPAIRS', ())
    counts = iter([7, 0])
    monkeypatch.setattr(solve.metrics, 'count_folds', lambda *_: next(counts))
    quick = dataclasses.replace(QUICK, levels=((8.0, 5),))
    result = solved(pair, quick)
    assert result.attempts == 2
    assert result.preset.regularity == (('h1', 4 * quick.regularity[0][1]),)
    assert 'folds at 7 voxels' in caplog.text
    monkeypatch.setattr(solve.metrics, 'count_folds', lambda *_: 3)
    with pytest.raises(solve.FoldedError, match='still folds at 3'):
        solved(pair, quick)


def test_a_result_without_an_inverse_is_solved_again_stiffer(pair, monkeypatch, caplog):
    search, tried = solve.invert_displacement, []

    def fail_once(field, grid):
        tried.append(field)
        if len(tried) == 1:
            raise solve.InversionError('none here', np.zeros_like(field), 5)
        return search(field, grid)

    monkeypatch.setattr(solve, 'invert_displacement', fail_once)
    stiff = {'regularity': (('h1-displacement', 1.0),), 'learning_rate': 0.005}
    chosen = dataclasses.replace(QUICK, velocity='nodeo', solver='euler', levels=((8.0, 5),), **stiff)
    result = solved(pair, chosen)
    assert (result.attempts, result.folds, len(tried)) == (2, 0, 2)
    assert 'folds at 5 voxels' in caplog.text


def test_held_out_evidence_prefers_truth_to_affine_to_harm(pair):
    fixed, moving, mask = loaded(pair.fixed), loaded(pair.moving), loaded(pair.fixed_mask)
    room = fixed.grid.cropped(np.full(3, -8), np.array(fixed.grid.shape) + 8)
    u = pair.truth.displacement(data.world(room.shape, room.affine)).astype(np.float32)
    brain = Image(np.pad(mask.data, 8), room)

    judge = evidence.Judge(fixed, moving, pair.truth.matrix, brain)
    affine, good, harmful = judge.after_affine, judge(u), judge(-u)
    assert evidence.decide(affine, good).kept == 'diffeo'
    decision = evidence.decide(affine, harmful)
    assert decision.kept == 'affine'
    assert 'held-out MIND' in decision.reason
    assert judge.before.mi < harmful.mi < affine.mi < good.mi
    assert judge.before.edge_correlation < affine.edge_correlation < good.edge_correlation
    assert evidence.improves(affine, good)
    assert not evidence.improves(good, affine)


@pytest.mark.parametrize(
    ('mind', 'mi', 'edges', 'kept'),
    [
        (0.030, 0.50, 0.60, 'diffeo'),
        (0.0299, 0.51, 0.598, 'diffeo'),  # one a little worse, the others better by more
        (0.0299, 0.502, 0.58, 'affine'),  # one worse by more than the others gained
        (0.029, 0.49, 0.59, 'affine'),  # two of three worse
        (0.03001, 0.4999, 0.5999, 'diffeo'),  # no change to speak of
    ],
)
def test_the_evidence_is_taken_together(mind, mi, edges, kept):
    affine = evidence.Evidence(mind_heldout=0.030, mi=0.50, nmi=1.1, edge_correlation=0.60)
    diffeo = evidence.Evidence(mind_heldout=mind, mi=mi, nmi=1.1, edge_correlation=edges)
    assert evidence.decide(affine, diffeo).kept == kept


@pytest.mark.parametrize(
    ('gains', 'worth'),
    [((0.018, 0.022, 0.12), False), ((0.04, 0.04, 0.0), True), ((0.04, 0.04, -0.01), False), ((0.02,) * 3, False)],
)
def test_loosening_has_to_gain_more_than_noise_brings(gains, worth):
    """The first gains are the largest of heads that were simulated aligned."""
    stiff = evidence.Evidence(mind_heldout=0.05, mi=0.8, nmi=1.1, edge_correlation=0.5)
    mind, mi, edges = gains
    looser = dataclasses.replace(
        stiff, mind_heldout=0.05 * (1 - mind), mi=0.8 * (1 + mi), edge_correlation=0.5 * (1 + edges)
    )
    assert evidence.improves(stiff, looser) is worth


def test_regularity_is_loosened_where_held_out_evidence_improves(pair):
    stiff = dataclasses.replace(QUICK, regularity=(('h1', 20.0),))
    loosened = solved(pair, dataclasses.replace(stiff, loosened=((0.01, 20),)))
    assert 'taken back' not in loosened.stopped[-1]
    assert {row['factor'] for row in loosened.history} == {1.0, 0.01}
    assert before_and_after(pair, loosened)[1] < 0.8 * before_and_after(pair, solved(pair, stiff))[1]


def test_a_loosening_that_does_not_help_is_taken_back_whole(pair, monkeypatch):
    stiff = dataclasses.replace(QUICK, levels=((8.0, 15),), regularity=(('h1', 20.0),))
    monkeypatch.setattr(evidence, 'improves', lambda *_: False)
    result = solved(pair, dataclasses.replace(stiff, loosened=((0.01, 10), (0.005, 10))))
    assert 'taken back' in result.stopped[-1]
    assert len(result.history) == 25
    alone = solved(pair, stiff)
    assert np.array_equal(result.deformation.forward, alone.deformation.forward)
    assert np.array_equal(result.deformation.inverse, alone.deformation.inverse)
    assert result.evidence == alone.evidence


def arguments(paths, out, *more):
    return [
        str(paths['fixed']),
        str(paths['moving']),
        '--out',
        str(out),
        '--threads',
        '1',
        '--working-resolution',
        '4',
        *more,
    ]


def test_command_line_leaves_five_files_whole(tmp_path, pair, capsys):
    paths = pair.save(tmp_path / 'in')
    out = tmp_path / 'wo rk' / 'Ergebnis é'
    more = [
        '--fixed-mask',
        str(paths['fixed_mask']),
        '--moving-mask',
        str(paths['moving_mask']),
        '--affine',
        str(paths['affine']),
    ]
    assert cli.main(arguments(paths, out, *more)) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        'forward.h5',
        'inverse.h5',
        'jacobian.nii.gz',
        'result.json',
        'warped.nii.gz',
    ]
    result = json.loads((out / 'result.json').read_text())
    assert result['decision']['kept'] == 'diffeo'
    assert result['jacobian']['folds'] == 0
    assert result['inverse_consistency_mm']['mean'] < 0.05
    assert {'before', 'affine', 'diffeo'} == set(result['evidence'])
    assert result['iterations'] == len(result['loss_history']) <= 300
    assert result['path_length_mm'] is None  # no metric but that of lddmm
    assert result['seed'] == 2026
    assert result['peak_memory_mb'] > 50
    assert 'iteration' in capsys.readouterr().err
    deformation = solve.Deformation.load(out / 'forward.h5', out / 'inverse.h5')
    assert pair.error(deformation.points(pair.points[:, :3])).mean() < 0.85 * before_and_after(pair, solved(pair))[0]
    warped = nib.load(out / 'warped.nii.gz')
    assert warped.shape == pair.fixed.shape
    assert int(warped.header['qform_code']) == int(warped.header['sform_code']) == 1
    # the plain matrix says the same, masks are optional, and an existing folder is not overwritten unasked
    assert cli.main(arguments(paths, out)) == 2
    assert cli.main(arguments(paths, tmp_path / 'two', '--affine', str(paths['matrix']), '--sloppy', '-q')) == 0


@pytest.mark.parametrize(
    ('break_it', 'words'),
    [
        (lambda p: p['fixed'].write_bytes(b''), 'fixed.nii.gz'),
        (lambda p: p['moving'].write_bytes(p['moving'].read_bytes()[:9000]), 'whole'),
        (lambda p: p['affine'].write_text('nonsense'), 'affine.txt'),
        (
            lambda p: nib.save(data.image(np.zeros((44, 52, 44), np.uint8), data.grid((44, 52, 44))), p['fixed_mask']),
            'empty',
        ),
        (lambda p: nib.save(data.image(np.ones((20, 20, 20), np.uint8), np.eye(4)), p['fixed_mask']), 'another grid'),
        (
            lambda p: nib.save(data.image(np.full((44, 52, 44), 7, np.int16), data.grid((44, 52, 44))), p['fixed']),
            'constant',
        ),
        (lambda p: np.savetxt(p['affine'], np.diag([1, 1, 1, 1.0]) + np.eye(4, k=3) * 900), 'right way round'),
    ],
)
def test_command_line_refuses_bad_input_with_a_reason_and_no_output(tmp_path, pair, capsys, break_it, words):
    paths = pair.save(tmp_path / 'in')
    break_it(paths)
    more = ['--fixed-mask', str(paths['fixed_mask']), '--affine', str(paths['affine'])]
    assert cli.main(arguments(paths, tmp_path / 'out', *more)) == 2
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['in']


@pytest.mark.parametrize('device', ['cuda:99', 'gpu', 'cuda:x'])
def test_a_device_that_is_not_there_is_an_error_not_the_cpu(device):
    with pytest.raises(ValueError, match='device'):
        cli.pick_device(device)


def test_at_most_three_hundred_iterations():
    with pytest.raises(ValueError, match='300'):
        dataclasses.replace(QUICK, levels=((4.0, 200), (2.0, 101)))
    with pytest.raises(ValueError, match='node-mind'):
        preset('nonsense')


def test_levels_follow_the_working_resolution():
    assert preset('node-mind').at_resolution(1.5).levels == ((4.0, 30), (2.0, 40), (1.5, 10))
    assert preset('node-mind').at_resolution(4.0).levels == ((4.0, 30),)
    assert preset('node-mind').at_resolution(6.0).levels == ((6.0, 30),)
    assert min(h for h, _ in preset('node-mind').sloppy().levels) == 2


def test_a_slab_too_thin_to_compare_is_an_error_not_a_silent_identity():
    rng = np.random.default_rng(0)
    grid = Grid((40, 40, 4), np.diag([4.0, 4.0, 4.0, 1.0]))
    thin, other = (Image(rng.normal(size=grid.shape).astype(np.float32), grid) for _ in range(2))
    with pytest.raises(ValueError, match='too thin'):
        register(thin, other, QUICK)


def test_moving_mask_elsewhere_is_refused(pair):
    moving = loaded(pair.moving)
    corner = np.zeros_like(moving.data)
    corner[:2, :2, :2] = 1
    with pytest.raises(ValueError, match='right way round'):
        solved(pair, moving_mask=Image(corner, moving.grid))


def test_an_earlier_answer_is_a_start(pair):
    first = solved(pair)
    no_more = dataclasses.replace(QUICK, levels=((8.0, 1),), learning_rate=1e-9)
    again = register(
        loaded(pair.fixed),
        loaded(pair.moving),
        no_more,
        fixed_mask=loaded(pair.fixed_mask),
        start=first.deformation,
    )
    assert again.stopped[0].startswith('start: fitted')
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
    chosen = {'method': QUICK} | options(solve.Deformation(np.eye(4), still, still, grid))
    with pytest.raises(ValueError, match=words):
        register(loaded(pair.fixed), loaded(pair.moving), **chosen)


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
    chosen = dataclasses.replace(QUICK, levels=((8.0, 50), (4.0, 50)))

    def error(result):
        return np.linalg.norm(result.deformation.points(near[:, :3]) - near[:, 3:], axis=1).mean()

    healthy = error(solved(pair, chosen))
    plain, masked = (
        error(register(images['fixed'], images['moving'], chosen, **options, **more)) - healthy
        for more in ({}, {f'{side}_lesion': lesion})
    )
    assert plain > 0.2
    assert masked < 0.7 * plain


@pytest.mark.parametrize('velocity', ['node', 'lddmm', 'nodeo', 'nodeo-averaging', 'grid'])
def test_every_velocity_registers_without_folds(pair, velocity):
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


@pytest.mark.parametrize('similarity', ['mind', 'mind-features', 'mind-ssc', 'ngf', 'lmi', 'gmi'])
def test_every_similarity_for_two_contrasts_brings_them_together(pair, similarity):
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
