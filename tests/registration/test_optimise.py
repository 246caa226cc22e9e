"""Coarse to fine: stages, steps, backtracking and loosening."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bidsreg.registration import evidence, preset
from bidsreg.registration.events import Backtracked, LevelEnded, LooseningRejected, Progress
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.optimiser import TensorwiseAdam
from bidsreg.registration.optimise import LowestLoss, Optimisation, Stage
from bidsreg.registration.problem import prepare
from bidsreg.registration.similarity import SIMILARITIES
from bidsreg.registration.similarity.level import WeightedTerms
from tests.heart import QUICK, before_and_after, loaded, solved

CPU = Compute(torch.device('cpu'))


def begun(pair, chosen):
    """An optimisation of a pair before its first level."""
    images = loaded(pair.fixed), loaded(pair.moving)
    problem = prepare(*images, chosen, loaded(pair.fixed_mask), None, pair.truth.matrix)
    return Optimisation(problem, chosen, CPU, 1)


def test_each_stage_compares_patches_of_its_own(pair, monkeypatch):
    used = []
    run = Optimisation.run
    monkeypatch.setattr(Optimisation, 'run', lambda self, stage: used.append(stage) or run(self, stage))
    solved(pair, dataclasses.replace(QUICK, patches=(1, 1, 0), loosened=((0.5, 5),)))
    assert [(stage.spacing, stage.patch) for stage in used] == [(8.0, 1), (4.0, 1), (4.0, 0)]


@pytest.mark.parametrize('similarity', ['mind', 'mind-ssc', 'mind-features', 'lmi'])
def test_points_that_no_compared_voxel_depends_on_need_not_flow(pair, similarity):
    """Value and gradient are the same as with all particles."""
    quick = dataclasses.replace(QUICK, similarity=similarity)
    optimisation = begun(pair, quick)
    problem = optimisation.problem
    optimisation.run(Stage(8.0, 5, 1))
    term = WeightedTerms.at(problem, 0, [(SIMILARITIES[similarity](), 1.0, 4.0)], CPU)
    assert len(term.needed) < 0.9 * np.prod(problem.velocity.shape)
    answers = []
    for needed in (None, term.needed):
        optimisation.optimiser.zero_grad()
        loss = term(optimisation.path(optimisation.start(0, needed)).displacement)
        loss.backward()
        answers.append((loss.item(), optimisation.velocity.network.detail.grad.clone()))
    (whole, slope), (part, same_slope) = answers
    assert whole == part
    torch.testing.assert_close(same_slope, slope, rtol=1e-4, atol=1e-6 * slope.abs().max().item())


def test_coarse_images_get_a_coarse_velocity_and_the_step_shrinks_at_the_end(pair):
    chosen = preset('node-mind-inter')
    optimisation = begun(pair, chosen)
    assert [optimisation.coarser(level) for level in (8.0, 4.0, 3.0, 2.0, 1.0)] == [2, 2, 1, 1, 0]
    assert optimisation.rate(2.0, 0.99) == chosen.learning_rate
    assert optimisation.rate(1.0, 0.5) == chosen.learning_rate
    assert optimisation.rate(1.0, 0.75) == pytest.approx(chosen.learning_rate / 2)
    assert optimisation.rate(1.0, 0.999) == pytest.approx(chosen.learning_rate / 10)


def test_a_level_stops_on_the_slope_of_the_loss(pair):
    result = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 150),), slope_tolerance=0.05))
    assert len(result.history) < 150
    assert result.events[0].converged
    assert result.events[0].iterations == len(result.history)


@pytest.mark.parametrize(
    ('losses', 'risen', 'kept'),
    [
        ([3.0, 2.0, 2.001, 1.0], [False, False, False, False], 3),
        ([3.0, 2.0, 2.003, 2.5, 1.9], [False, False, True, True, False], 4),
        ([-3.0, -2.9], [False, True], 0),
        ([-3.0, -2.998], [False, False], 0),
        ([2.0, math.nan, math.inf], [False, True, True], 0),
        ([math.nan, 2.0], [True, False], 1),
    ],
)
def test_what_had_the_lowest_loss_comes_back_when_the_loss_has_risen(losses, risen, kept):
    parameter = torch.nn.Parameter(torch.zeros(1))
    lowest = LowestLoss(TensorwiseAdam([parameter], 0.1))
    for i, loss in enumerate(losses):
        torch.nn.init.constant_(parameter, i)
        assert lowest.backtrack(loss) is risen[i]
        assert risen[i] or parameter.item() == i
    assert lowest.backtracks == sum(risen)
    assert not risen[-1] or parameter.item() == kept
    assert lowest.saved.parameters[0].item() == kept


TOO_LARGE = dataclasses.replace(QUICK, levels=((8.0, 60),), regularity=(('h1', 1.0),), learning_rate=0.5)


@pytest.mark.slow
def test_steps_that_are_too_large_for_a_stiff_problem_are_taken_back_and_made_smaller(pair, monkeypatch):
    rates = []
    step = TensorwiseAdam.step
    monkeypatch.setattr(TensorwiseAdam, 'step', lambda self: rates.append(self.lr) or step(self))
    careful = solved(pair, TOO_LARGE)
    backtracked = [event for event in careful.events if isinstance(event, Backtracked)]
    scales = [event.step_scale for event in backtracked]
    assert scales
    assert scales == [4.0**-n for n in range(1, len(scales) + 1)]
    assert all(event.loss > event.lowest for event in backtracked)
    ended = next(event for event in careful.events if isinstance(event, LevelEnded))
    assert ended.backtracks == len(scales)
    # the steps of the level's first half fall for no other reason
    used = {rate / TOO_LARGE.learning_rate for rate in rates[:28]}
    assert used <= {1.0, *scales}
    assert len(used) > 1
    monkeypatch.setattr(LowestLoss, 'backtrack', lambda *_: False)
    careless = solved(pair, TOO_LARGE)
    before, after = before_and_after(pair, careful)
    assert after < 0.95 * before < before < before_and_after(pair, careless)[1]


def test_a_loosened_stage_begins_with_an_optimiser_of_its_own(pair, monkeypatch):
    seen = []
    step = TensorwiseAdam.step
    monkeypatch.setattr(TensorwiseAdam, 'step', lambda self: seen.append(max(self.seen)) or step(self))
    chosen = dataclasses.replace(QUICK, levels=((8.0, 10), (4.0, 10)), loosened=((0.01, 10),))
    monkeypatch.setattr(LowestLoss, 'backtrack', lambda *_: False)
    solved(pair, chosen)
    assert seen == [*range(20), *range(10)]


def test_a_loosened_round_keeps_its_optimiser_from_level_to_level(pair, monkeypatch):
    seen = []
    step = TensorwiseAdam.step
    monkeypatch.setattr(TensorwiseAdam, 'step', lambda self: seen.append(max(self.seen)) or step(self))
    monkeypatch.setattr(LowestLoss, 'backtrack', lambda *_: False)
    monkeypatch.setattr(evidence, 'improves', lambda *_: True)
    rounds = {'loosened': ((0.1, 3), (0.01, 2)), 'loosened_levels': ((8.0, 6), (6.0, 5))}
    result = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 5), (4.0, 5)), **rounds))
    assert seen == [*range(10), *range(14), *range(13)]
    levels = [(event.level, event.factor) for event in result.events if isinstance(event, LevelEnded)]
    strict, first, second = [(8.0, 1), (4.0, 1)], [(8.0, 0.1), (6.0, 0.1), (4.0, 0.1)], [(8.0, 0.01), (6.0, 0.01)]
    assert levels == [*strict, *first, *second, (4.0, 0.01)]


def test_progress_is_reported(pair):
    looks = []
    solved(pair, dataclasses.replace(QUICK, levels=((8.0, 20),)), callback=looks.append)
    progress = [event for event in looks if isinstance(event, Progress)]
    assert [look.iteration for look in progress] == [10, 20]
    assert progress[-1].seconds_left == 0
    assert isinstance(looks[-1], LevelEnded)


def test_regularity_is_loosened_where_held_out_evidence_improves(pair):
    stiff = dataclasses.replace(QUICK, regularity=(('h1', 20.0),))
    loosened = solved(pair, dataclasses.replace(stiff, loosened=((0.01, 20),)))
    assert not any(isinstance(event, LooseningRejected) for event in loosened.events)
    assert {row['factor'] for row in loosened.history} == {1.0, 0.01}
    assert before_and_after(pair, loosened)[1] < 0.8 * before_and_after(pair, solved(pair, stiff))[1]


def test_a_loosening_that_does_not_help_is_discarded_entirely(pair, monkeypatch):
    stiff = dataclasses.replace(QUICK, levels=((8.0, 15),), regularity=(('h1', 20.0),))
    monkeypatch.setattr(evidence, 'improves', lambda *_: False)
    result = solved(pair, dataclasses.replace(stiff, loosened=((0.01, 10), (0.005, 10))))
    assert result.events[-1] == LooseningRejected(0.01)
    assert len(result.history) == 25
    alone = solved(pair, stiff)
    assert np.array_equal(result.deformation.forward, alone.deformation.forward)
    assert np.array_equal(result.deformation.inverse, alone.deformation.inverse)
    assert result.evidence == alone.evidence


def test_steps_that_are_all_taken_back_are_followed_by_smaller_ones(pair):
    """As many iterations as there are between two looks, with steps so large that the look finds a higher loss."""
    result = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 10),), learning_rate=0.15, loosened=()))
    ends = [event for event in result.events if isinstance(event, LevelEnded)]
    assert [event.backtracks for event in ends] == [1, 0]
    assert len(result.history) == 20
    assert result.history[-1]['loss'] < result.history[0]['loss']
    usual = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 10),), loosened=()))
    assert len(usual.history) == 10


@pytest.mark.parametrize('outline', [0.0, 1.0])
def test_similarities_know_of_an_outline(pair, monkeypatch, outline):
    chosen = dataclasses.replace(QUICK, similarity='gmi', beside=(('lncc', 0.1),), outline=outline)
    masks = loaded(pair.fixed_mask), loaded(pair.moving_mask)
    problem = prepare(loaded(pair.fixed), loaded(pair.moving), chosen, *masks, pair.truth.matrix)
    told, at = [], WeightedTerms.at
    monkeypatch.setattr(
        WeightedTerms, 'at', lambda *given: told.extend(one.outlined for one, _, _ in given[2]) or at(*given)
    )
    Optimisation(problem, chosen, CPU, 1).run(Stage(8.0, 1, 1))
    assert told == [outline > 0] * 2
