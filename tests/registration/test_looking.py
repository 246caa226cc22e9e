"""What held-out MIND sees without torch, and how it compares matrices."""

import subprocess
import sys

import numpy as np
import pytest

from bidsreg.registration import Grid, Image
from bidsreg.registration.evidence import Judge
from bidsreg.registration.looking import around, floor_of, mind_distances
from tests import data

SHAPE = (40, 46, 42)


@pytest.fixture(scope='module')
def head():
    return data.pair(SHAPE, 3, known=data.truth(3, turn=(2, -1, 2), shift=(2, 1, -1), amplitude=0.0))


def image(nifti):
    return Image(np.asarray(nifti.dataobj, np.float32), Grid(nifti.shape, nifti.affine))


def moved(mm):
    matrix = np.eye(4)
    matrix[:3, 3] = mm
    return matrix


def lesion_of(scan, start, stop):
    marks = np.zeros(scan.grid.shape, np.float32)
    marks[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = 1
    return Image(marks, scan.grid)


@pytest.mark.parametrize('ills', [(), ('fixed',), ('moving',), ('fixed', 'moving')])
def test_one_matrix_is_measured_as_the_judge_does_it(head, ills):
    fixed, moving, mask = (image(one) for one in (head.fixed, head.moving, head.fixed_mask))
    lesions = {f'{end}_lesion': lesion_of({'fixed': fixed, 'moving': moving}[end], (17,) * 3, (23,) * 3)
               for end in ills}  # fmt: skip
    judge = Judge(fixed, moving, head.truth.matrix, mask, **lesions)
    (found,) = mind_distances(fixed, moving, [head.truth.matrix], mask, **lesions)
    assert found == pytest.approx(judge.after_affine.mind_heldout, rel=1e-6)
    if ills:
        assert found != pytest.approx(mind_distances(fixed, moving, [head.truth.matrix], mask)[0], rel=1e-4)


def test_the_right_matrix_has_the_least_distance_whichever_comes_first(head):
    fixed, moving, mask = (image(one) for one in (head.fixed, head.moving, head.fixed_mask))
    matrices = [moved((6.0, 0, 0)) @ head.truth.matrix, head.truth.matrix, moved((0, 3.0, 0)) @ head.truth.matrix]
    far, right, near = mind_distances(fixed, moving, matrices, mask)
    assert right < 0.9 * near < 0.9 * far
    assert mind_distances(fixed, moving, matrices[::-1], mask) == [near, right, far]
    assert mind_distances(fixed, moving, matrices, mask, threads=3) == [far, right, near]


def test_what_one_of_the_matrices_moves_out_of_view_counts_for_none():
    """The right half is noise, and one matrix moves it out of view: without it the two agree about the left half."""
    rng = np.random.default_rng(0)
    grid = Grid((30, 30, 30), np.eye(4))
    base = rng.normal(size=grid.shape).astype(np.float32)
    spoilt = base.copy()
    spoilt[15:] = rng.normal(size=spoilt[15:].shape)
    fixed, moving = Image(base, grid), Image(spoilt, grid)
    mask = np.zeros(grid.shape, np.float32)
    mask[3:27, 8:22, 8:22] = 1
    alone, _ = mind_distances(fixed, moving, [np.eye(4)] * 2, Image(mask, grid))
    beside, _ = mind_distances(fixed, moving, [np.eye(4), moved((22.0, 0, 0))], Image(mask, grid))
    assert beside < 0.1 * alone


def test_a_slab_of_few_slices_can_be_measured():
    fixed, moving = (Image(np.random.default_rng(n).normal(size=(30, 30, 4)).astype(np.float32),
                           Grid((30, 30, 4), np.diag([1.0, 1, 5, 1]))) for n in (0, 1))  # fmt: skip
    mask = Image(np.ones((30, 30, 4), np.float32), fixed.grid)
    same, other = (mind_distances(fixed, one, [np.eye(4)], mask)[0] for one in (fixed, moving))
    assert same < 1e-9 < 0.01 < other


def test_nothing_to_measure_by_is_an_error(head):
    fixed, moving, mask = (image(one) for one in (head.fixed, head.moving, head.fixed_mask))
    with pytest.raises(ValueError, match='the brain mask is empty'):
        mind_distances(fixed, moving, [head.truth.matrix], Image(np.zeros_like(mask.data), mask.grid))
    with pytest.raises(ValueError, match='nothing of the brain lies in'):
        mind_distances(fixed, moving, [head.truth.matrix, moved((500.0, 0, 0))], mask)


def test_the_box_of_the_brain_ends_with_the_grid():
    marked = np.zeros((20, 30, 12), bool)
    marked[2, 15, 6] = True
    assert around(marked) == (slice(0, 9), slice(9, 22), slice(0, 12))


def test_the_floor_is_a_share_of_the_mean_of_what_counts():
    variance, counted = np.array([1, 3, 100], np.float32), np.array([True, True, False])
    assert floor_of(variance, counted) == pytest.approx(2e-3)
    assert floor_of(variance, np.zeros(3, bool)) == floor_of(np.zeros(3, np.float32), counted) == 1e-12


def test_torch_is_not_needed():
    code = """
import sys, numpy as np
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.looking import mind_distances
grid, marks = Grid((20, 20, 20), np.eye(4)), np.zeros((20, 20, 20), 'f4')
marks[3:5, 3:5, 3:5] = 1
one, ill = Image(np.random.default_rng(0).normal(size=grid.shape).astype('f4'), grid), Image(marks, grid)
mind_distances(one, one, [np.eye(4)], Image(np.ones_like(marks), grid), ill, ill)
print('torch' in sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'
