"""The written fields: repaired, inverted, refined."""

import dataclasses

import numpy as np
import pytest
import torch

from bidsreg.registration import finish, metrics
from bidsreg.registration.events import InverseInexact, Refined, Repaired
from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.optimise import Optimisation, Stage
from bidsreg.registration.problem import prepare
from bidsreg.registration.volume import Volume
from tests.heart import QUICK, loaded, solved


def consistency(result):
    found = result.deformation
    return metrics.inverse_consistency(found.forward, found.inverse, found.grid, result.mask.data > 0)


@pytest.mark.slow
def test_fields_that_do_not_invert_are_written_on_a_finer_grid_and_say_so(pair, plain, monkeypatch):
    assert not any(isinstance(event, Refined | InverseInexact) for event in plain.events)
    strict = consistency(plain)['mean'] / 2
    monkeypatch.setattr(finish, 'CONSISTENT', {'mean': strict, 'p99': 0.5})
    finer = solved(pair)
    assert finer.deformation.grid.spacing == pytest.approx(plain.deformation.grid.spacing / 2)
    assert finer.mask.grid.same_as(finer.deformation.grid)
    assert consistency(finer)['mean'] < strict
    assert finer.folds == 0
    refined = [event for event in finer.events if isinstance(event, Refined)]
    assert [event.voxel_mm for event in refined] == [pytest.approx(plain.deformation.grid.spacing.max())]
    assert refined[0].mean > strict
    there = [result.deformation.points(pair.points[:, :3]) for result in (plain, finer)]
    np.testing.assert_allclose(*there, atol=0.1)
    # there is an end to it, and a word about it
    monkeypatch.setattr(finish, 'CONSISTENT', {'mean': 0.0, 'p99': 0.5})
    monkeypatch.setattr(finish, 'FINER_ABOVE', 3.0)
    best = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 10),)))
    assert best.deformation.grid.spacing.max() <= 3.0
    assert isinstance(best.events[-1], InverseInexact)
    assert best.events[-1].warning
    assert best.events[-1].mean > 0


def sharp(optimisation):
    """Make the velocity of a few points so sharp that the written field folds."""
    with torch.no_grad():
        optimisation.velocity.network.detail[0, :, 4:6, 4:6, 4:6] = 400.0


def test_folds_are_repaired_where_they_are(pair):
    quick = dataclasses.replace(QUICK, levels=((8.0, 5),))
    images = loaded(pair.fixed), loaded(pair.moving)
    problem = prepare(*images, quick, loaded(pair.fixed_mask), None, pair.truth.matrix)
    compute = Compute(torch.device('cpu'))
    optimisation = Optimisation(problem, quick, compute, 1)
    optimisation.run(Stage(8.0, 5, 1))
    writer = finish.FieldWriter(optimisation.velocity, problem, optimisation.solver, quick, compute)
    smooth = finish.on_host(writer.displacement())
    sharp(optimisation)
    field = writer.displacement()
    before = metrics.count_folds(finish.on_host(field), problem.field)
    assert before > 0
    for sigma in finish.REPAIRS:
        writer.repair(field, sigma)
        field = writer.displacement()
    folded = finish.on_host(field)
    assert metrics.count_folds(folded, problem.field) < before
    # far from the folds nothing changed, and the inverse is that of the repaired flow
    far = np.linalg.norm(folded - smooth, axis=-1) < 1e-3
    assert far.mean() > 0.3
    inverse = finish.on_host(writer.displacement(backward=True))
    mask = writer.mask().data.numpy() > 0
    assert metrics.inverse_consistency(folded, inverse, problem.field, mask)['p95'] < 0.5


def test_inconsistency_is_that_of_the_plain_measure(monkeypatch):
    rng = np.random.default_rng(3)
    grid = Grid((12, 10, 9), np.array([[0, -1.5, 0.2, 4], [1.3, 0, 0, -3], [0, 0.3, 1.9, 8], [0, 0, 0, 1]]))
    forward, inverse = (np.pad(rng.normal(size=(8, 6, 5, 3)), ((2, 2),) * 3 + ((0, 0),)) for _ in range(2))
    fields = [torch.as_tensor(np.moveaxis(f, -1, 0).copy(), dtype=torch.float32) for f in (forward, inverse)]
    brain = np.zeros(grid.shape, bool)
    brain[:: finish.EVERY, :: finish.EVERY, :: finish.EVERY] = True
    mask = Volume(torch.from_numpy(brain).float(), grid)
    found = finish.inconsistency(*fields, mask)
    assert found == pytest.approx(metrics.inverse_consistency(forward, inverse, grid, brain), rel=1e-4)
    monkeypatch.setattr(finish, 'CONSISTENT', {'mean': 9.0, 'p99': 9.0})
    assert finish.inconsistency(*fields, mask) == {}
    assert finish.inconsistency(*fields, Volume(torch.zeros(grid.shape), grid)) == {}


def test_a_result_that_folded_says_how_much_was_repaired(pair, monkeypatch):
    counts = iter([7, 0])
    monkeypatch.setattr(finish, 'count_folds', lambda *_: next(counts))
    monkeypatch.setattr(finish, 'folded', lambda field, _: field.norm(dim=0) > 0.9 * field.max())
    result = solved(pair, dataclasses.replace(QUICK, levels=((8.0, 5),)))
    assert (result.attempts, result.folds) == (1, 0)
    assert result.repaired > 0
    assert result.events[-1] == Repaired(result.repaired)
    assert result.events[-1].warning
