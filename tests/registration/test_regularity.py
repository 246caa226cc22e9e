"""Regularisers against closed forms, in millimetres on any grid, and their gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate

from bidsreg.registration.presets import preset
from bidsreg.registration.regularity import NEARLY_FOLDED, REGULARISERS, TV_EPSILON, gradient, jacobians
from bidsreg.registration.velocity.base import FlowPath

PRESET = preset('node-mind')
SLOPES = torch.tensor([[0.1, -0.2, 0.05], [0.3, 0.2, -0.1], [0.15, -0.05, -0.25]], dtype=torch.float64)
TURN = torch.tensor([[0, -0.3, 0.2], [0.3, 0, -0.1], [-0.2, 0.1, 0]], dtype=torch.float64)
SHAPE, SPACING = (6, 5, 7), (2.0, 3.0, 1.5)
CELLS = math.prod((n - 1) * h for n, h in zip(SHAPE, SPACING, strict=True))
"""mm^3 over which forward differences exist."""


def points(shape, spacing):
    axes = [torch.arange(n, dtype=torch.float64) * h for n, h in zip(shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'))


def linear(slopes, shape=SHAPE, spacing=SPACING):
    """The field x -> slopes x, (1, 3, X, Y, Z)."""
    return torch.einsum('ij,jxyz->ixyz', slopes, points(shape, spacing))[None]


def path(field, spacing=SPACING):
    """The same field as velocity and as displacement."""
    return FlowPath(field, field[:1], torch.tensor(spacing, dtype=torch.float64), PRESET)


def value(name, field, spacing=SPACING):
    return REGULARISERS[name](path(field, spacing)).item()


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bump(spacing, sigma=12.0, height=(2.0, -3.0, 1.0)):
    """A Gaussian bump in a box of 128 mm."""
    shape = [round(128 / h) + 1 for h in spacing]
    at = points(shape, spacing) - 64
    return torch.tensor(height, dtype=torch.float64)[:, None, None, None] * torch.exp(
        -at.square().sum(0) / (2 * sigma**2)
    )


def test_gradient_of_a_linear_field_is_its_matrix():
    found = gradient(linear(SLOPES), torch.tensor(SPACING, dtype=torch.float64))
    assert found.shape == (1, 3, 3, 5, 4, 6)
    torch.testing.assert_close(found, SLOPES[None, :, :, None, None, None].expand_as(found))


def test_gradient_by_plain_loops():
    field = noise(2, 3, 3, 4, 3)
    found = gradient(field, torch.tensor(SPACING, dtype=torch.float64)).numpy()
    for k, i, j in itertools.product(range(2), range(3), range(3)):
        for at in np.ndindex(2, 3, 2):
            ahead = tuple(a + (axis == j) for axis, a in enumerate(at))
            difference = (field[(k, i, *ahead)] - field[(k, i, *at)]).item()
            assert found[(k, i, j, *at)] == pytest.approx(difference / SPACING[j])


def test_jacobians_of_an_affine_displacement_are_its_determinant():
    found = jacobians(linear(SLOPES), torch.tensor(SPACING, dtype=torch.float64))
    truth = torch.linalg.det(torch.eye(3, dtype=torch.float64) + SLOPES)
    assert found.shape == (2, 5, 4, 6)
    torch.testing.assert_close(found, truth.expand_as(found))


def test_jacobians_of_any_displacement_by_plain_loops():
    field = 0.3 * noise(1, 3, *SHAPE)
    forward, backward = jacobians(field, torch.tensor(SPACING, dtype=torch.float64)).numpy()
    u = field[0].numpy()
    for at in np.ndindex(5, 4, 6):
        for sign, found, here in (
            (1, forward[at], at),
            (-1, backward[tuple(-1 - a for a in at)], tuple(a + 1 for a in at)),
        ):
            matrix = np.eye(3)
            for j in range(3):
                there = tuple(a + sign * (axis == j) for axis, a in enumerate(here))
                matrix[:, j] += (u[:, *there] - u[:, *here]) / (sign * SPACING[j])
            assert found == pytest.approx(np.linalg.det(matrix), abs=1e-12)


@pytest.mark.parametrize('suffix', ['', '-displacement'])
def test_closed_forms_of_a_linear_field(suffix):
    energy = SLOPES.square().sum().item()
    assert value('h1' + suffix, linear(SLOPES)) == pytest.approx(energy * CELLS)
    smooth_root = math.sqrt(energy + TV_EPSILON**2) - TV_EPSILON
    assert value('tv' + suffix, linear(SLOPES)) == pytest.approx(smooth_root * CELLS)
    constant = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64).view(1, 3, 1, 1, 1).expand(1, 3, *SHAPE)
    assert value('l2' + suffix, constant) == pytest.approx(14 * math.prod(SHAPE) * math.prod(SPACING))
    for name in ('h1', 'tv'):
        assert value(name + suffix, constant) == pytest.approx(0, abs=1e-9)


def test_total_variation_of_a_ramp_is_its_height_however_steep():
    """Height times area, where h1 would ask more for the steeper one."""
    height, shape = 5.0, (33, 4, 4)
    for width in (4, 16):
        ramp = (torch.arange(33, dtype=torch.float64) - 8).clamp(0, width) * height / width
        field = torch.zeros(1, 3, *shape, dtype=torch.float64)
        field[:, 0] = ramp[:, None, None]
        area = 3 * 3 * SPACING[1] * SPACING[2]
        assert value('tv', field) == pytest.approx(height * area, rel=0.01)


def test_bending_energy_of_affine_and_quadratic_fields():
    assert value('bending', linear(SLOPES)) == pytest.approx(0, abs=1e-12)
    x = torch.arange(SHAPE[0], dtype=torch.float64) * SPACING[0]
    y = torch.arange(SHAPE[1], dtype=torch.float64) * SPACING[1]
    field = torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
    field[0, 1] = 0.5 * x[:, None, None] ** 2 + 3 * x[:, None, None] * y[None, :, None]
    cells = math.prod(n - 2 for n in SHAPE) * math.prod(SPACING)
    assert value('bending', field) == pytest.approx((1 + 2 * 3**2) * cells)


def test_divergence_is_the_trace_and_nothing_for_a_rotation():
    assert value('divergence', linear(SLOPES)) == pytest.approx(SLOPES.trace().item() ** 2 * CELLS)
    assert value('divergence', linear(TURN)) == pytest.approx(0, abs=1e-12)
    assert value('h1', linear(TURN)) > 1


def test_volume_change_is_the_squared_logarithm_and_the_same_for_twice_and_half():
    scaled = [linear((s - 1) * torch.eye(3, dtype=torch.float64)) for s in (2 ** (1 / 3), 0.5 ** (1 / 3))]
    for field in scaled:
        assert value('volume', field) == pytest.approx(math.log(2) ** 2 * CELLS)
    rotated = torch.linalg.matrix_exp(TURN) - torch.eye(3, dtype=torch.float64)
    assert value('volume', linear(rotated)) == pytest.approx(0, abs=1e-12)


def test_volume_change_of_a_folded_field_goes_on_as_a_line():
    flipped = linear(torch.diag(torch.tensor([-2.0, 0, 0], dtype=torch.float64)))  # determinant -1 everywhere
    line = math.log(NEARLY_FOLDED) + (-1 - NEARLY_FOLDED) / NEARLY_FOLDED
    assert value('volume', flipped) == pytest.approx(line**2 * CELLS)


def test_barrier_counts_what_is_missing_from_the_smallest_determinant_allowed():
    flipped = linear(torch.diag(torch.tensor([-2.0, 0, 0], dtype=torch.float64)))
    assert value('jacobian', flipped) == pytest.approx((1 + NEARLY_FOLDED) ** 2 * CELLS)
    assert value('jacobian', 0.4 * bump((4.0, 4.0, 4.0))[None], (4.0, 4.0, 4.0)) == 0


@pytest.mark.parametrize('name', ['jacobian', 'volume'])
def test_a_step_down_the_gradient_unfolds(name):
    field = (12 * bump((4.0, 4.0, 4.0)))[None].requires_grad_()
    spacing = torch.full((3,), 4.0, dtype=torch.float64)
    before = jacobians(field, spacing).min().item()
    assert before < 0
    down = torch.autograd.grad(REGULARISERS[name](path(field, (4.0, 4.0, 4.0))), field)[0]
    stepped = field - 0.05 * down / down.abs().max()
    assert jacobians(stepped, spacing).min().item() > before + 1e-3


def test_values_of_a_bump_are_the_integrals():
    sigma = 12.0
    field, spacing = bump((2.0, 2.0, 2.0), sigma)[None], (2.0, 2.0, 2.0)
    assert value('l2', field, spacing) == pytest.approx(14 * math.pi**1.5 * sigma**3, rel=1e-4)
    assert value('h1', field, spacing) == pytest.approx(14 * 1.5 * math.pi**1.5 * sigma, rel=0.01)
    assert value('divergence', field, spacing) == pytest.approx(14 * math.pi**1.5 * sigma / 2, rel=0.01)
    assert value('bending', field, spacing) == pytest.approx(14 * 3.75 * math.pi**1.5 / sigma, rel=0.02)
    wave_numbers = 1 + 2 * 40 * 1.5 / sigma**2 + 40**2 * 3.75 / sigma**4  # means of |k|^2 and |k|^4 of the bump
    assert value('v-norm', field, spacing) == pytest.approx(14 * math.pi**1.5 * sigma**3 * wave_numbers, rel=0.01)

    def shell(r):
        slope = math.sqrt(14) * r / sigma**2 * math.exp(-(r**2) / (2 * sigma**2))
        return 4 * math.pi * r**2 * (math.sqrt(slope**2 + TV_EPSILON**2) - TV_EPSILON)

    assert value('tv', field, spacing) == pytest.approx(integrate.quad(shell, 0, 64)[0], rel=0.005)


@pytest.mark.parametrize('name', REGULARISERS)
def test_same_field_same_value_on_any_grid(name):
    """2 mm, 4 mm and unequal voxels agree to 7 % for a bump of 12 mm (one that folds, for the barrier)."""
    scale = 12 if name == 'jacobian' else 1
    fine, coarse, uneven = (
        value(name, scale * bump(h)[None], h) for h in ((2.0, 2.0, 2.0), (4.0, 4.0, 4.0), (2.0, 4.0, 1.0))
    )
    assert fine > 0
    assert coarse == pytest.approx(fine, rel=0.07)
    assert uneven == pytest.approx(fine, rel=0.07)


def test_jacobian_terms_err_in_the_second_order_of_the_voxel_size():
    for name in ('volume', 'jacobian'):
        one, two, four = (value(name, 12 * bump((h, h, h))[None], (h, h, h)) for h in (1.6, 3.2, 6.4))
        assert (two - four) / (one - two) == pytest.approx(4, rel=0.15)


def test_time_counts_by_the_trapezoid():
    field = noise(1, 3, *SHAPE)
    stretched = torch.cat([field, 2 * field, 0 * field])
    for name, mean in (('l2', (1 + 2 * 4) / 4), ('h1', (1 + 2 * 4) / 4), ('divergence', (1 + 2 * 4) / 4)):
        assert value(name, stretched) == pytest.approx(mean * value(name, field))


@pytest.mark.parametrize('name', REGULARISERS)
def test_gradient_by_finite_differences(name):
    about = noise(2, 3, 4, 3, 4) * (2.0 if name in ('jacobian', 'volume') else 1.0)  # the rough field is folded, too
    assert name != 'jacobian' or value(name, about) > 0
    assert torch.autograd.gradcheck(lambda field: REGULARISERS[name](path(field)), about.requires_grad_(), atol=1e-4)


@pytest.mark.parametrize('name', ['h1', 'divergence', 'h1-displacement'])
def test_single_precision_on_a_cpu_is_compiled_to_the_same(name):
    field = noise(2, 3, 5, 6, 4)
    answers = []
    for kind in (torch.float64, torch.float32):
        leaf = field.to(kind, copy=True).requires_grad_()
        energy = REGULARISERS[name](path(leaf))
        (3 * energy).backward()
        answers.append((energy.detach().double(), leaf.grad.double()))
    for double, single in zip(*answers, strict=True):
        torch.testing.assert_close(single, double, rtol=1e-5, atol=1e-3)
