"""What a result is judged by, against SciPy on whole volumes."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from bidsreg.registration import Grid, Image, evidence, looking, views
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.numerics import boxes
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.threads import one_thread_an_operation
from tests import data
from tests.comparisons import plain_histogram_information
from tests.heart import loaded

PATCH = np.array([1, 2, 1]) / 4


@pytest.fixture(autouse=True, params=[views.TiledViewer, views.CompiledViewer], ids=['torch', 'compiled'])
def _one_thread_and_several_boxes(monkeypatch, request):
    monkeypatch.setitem(views.VIEWERS, 'cpu', request.param)
    monkeypatch.setattr(boxes, 'BOX_SIZE', 20)
    monkeypatch.setattr(looking, 'COLUMN', (17, 20, 30))
    with one_thread_an_operation():
        yield


# ------------------------------------------------------------------------------------------------ whole volumes
def plain_distances(image):
    """Squared differences to the six neighbours two voxels away, averaged over patches; the border means nothing."""
    found = []
    for axis in range(3):
        for shift in (2, -2):
            square = (image - np.roll(image, shift, axis)) ** 2
            for along in range(3):
                square = ndi.correlate1d(square, PATCH, along)
            found.append(square)
    return np.stack(found)


def plain_mind(distances, weight):
    variance = distances.mean(0)
    return np.exp(-distances / np.maximum(variance, 1e-3 * variance[weight].mean()))


def plain_edges(image, spacing):
    sigma = np.maximum(1 / spacing, 0.7)
    return np.linalg.norm(
        [
            ndi.gaussian_filter(image, sigma, order=order) / step
            for order, step in zip(np.eye(3, dtype=int), spacing, strict=True)
        ],
        axis=0,
    )


def near(lesion, mm):
    """Where a lesion lies at most so far."""
    return ndi.distance_transform_edt(lesion.data == 0, sampling=lesion.grid.spacing) <= mm * (1 + 1e-9)


def plain_evidence(fixed, moving, affine, mask, displacement, fixed_lesion=None, moving_lesion=None):
    """The same on the whole grid of the mask, in double precision; the fixed image is on that grid."""
    grid, brain = mask.grid, mask.data > 0
    reach = 3 * grid.spacing.max()
    if fixed_lesion is not None:
        brain = brain & ~near(fixed_lesion, reach)
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    at = moving.grid.to_voxels(apply_affine(affine, world + displacement))
    seen = brain & np.all((at >= -1e-3) & (at <= np.array(moving.grid.shape) - 1 + 1e-3), -1)
    if moving_lesion is not None:
        hidden = near(moving_lesion, reach).astype(float)
        seen &= ndi.map_coordinates(hidden, np.moveaxis(at, -1, 0), order=1, mode='nearest') < 0.5
    images = [
        ndi.map_coordinates(
            fixed.data.astype(float), np.moveaxis(fixed.grid.to_voxels(world), -1, 0), order=1, mode='nearest'
        ),
        ndi.map_coordinates(moving.data.astype(float), np.moveaxis(at, -1, 0), order=1, mode='nearest'),
    ]
    deep = np.zeros_like(brain)
    deep[3:-3, 3:-3, 3:-3] = True
    minds = [
        plain_mind(plain_distances(ndi.gaussian_filter(image, 0.7)), weight & deep)
        for image, weight in zip(images, (brain, seen), strict=True)
    ]
    edges = [plain_edges(image, grid.spacing)[seen] for image in images]
    return evidence.Evidence(
        np.square(minds[0] - minds[1]).mean(0)[seen & deep].mean(),
        *plain_histogram_information(*(image[seen] for image in images)),
        np.corrcoef(*edges)[0, 1],
    )


# ------------------------------------------------------------------------------------------------ a pair
def smooth(shape, seed, sigma=2.0):
    values = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return (0.5 + 0.2 * values / values.std()).astype(np.float32)


def turned(spacing, degrees=12.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * spacing
    affine[:3, 3] = (-20, 31, 4)
    return affine


@dataclasses.dataclass
class Pair:
    fixed: Image
    moving: Image
    affine: np.ndarray
    mask: Image
    displacement: np.ndarray

    def judge(self, **options):
        return evidence.Judge(self.fixed, self.moving, self.affine, self.mask, **options)


def pair(spacing=(1.0, 1.3, 0.9), shape=(66, 50, 41), border=9, moving_shape=None):
    """Two images that share some structure, a wobbly brain `border` voxels from the edge, and a smooth displacement."""
    grid = Grid(shape, turned(np.array(spacing)))
    base = smooth(shape, 0)
    affine = np.eye(4)
    affine[:3, 3] = (0.4, -0.7, 0.3)
    onto = Grid(shape, affine @ grid.affine).cropped(np.full(3, -1), np.array(moving_shape or shape) - 1)
    moving = ndi.map_coordinates(
        (base - 0.4) ** 2 + 0.02 * smooth(shape, 1, 1), np.indices(onto.shape) - 1.0, order=1, mode='nearest'
    ).astype(np.float32)
    brain = np.zeros(shape, np.float32)
    core = tuple(slice(border, n - border) for n in shape)
    brain[core] = (smooth(shape, 2, 4) > 0.4)[core]
    wave = np.stack([smooth(shape, seed, 6) - 0.5 for seed in (3, 4, 5)], -1) * 4
    return Pair(Image(base, grid), Image(moving, onto), affine, Image(brain, grid), wave.astype(np.float32))


def check(found, wanted, rel):
    for name, value in dataclasses.asdict(wanted).items():
        assert getattr(found, name) == pytest.approx(value, rel=rel), name


@pytest.mark.parametrize('ends', [('fixed',), ('moving',), ('fixed', 'moving')])
def test_lesions_are_not_judged_nor_what_reaches_into_them(ends):
    case, lesions = pair(), {}
    for end, box in (('fixed', np.s_[20:30, 20:28, 15:22]), ('moving', np.s_[36:44, 12:22, 18:26])):
        image = getattr(case, end)
        marked = np.zeros(image.data.shape, np.float32)
        marked[box] = 1
        if end in ends:
            lesions[f'{end}_lesion'] = Image(marked, image.grid)
    judge, scans = case.judge(**lesions), (case.fixed, case.moving, case.affine, case.mask)
    still = np.zeros_like(case.displacement)
    for found, moved in ((judge(case.displacement), case.displacement), (judge.after_affine, still)):
        wanted = plain_evidence(*scans, moved, **lesions)
        check(dataclasses.replace(found, mi=0, nmi=0), dataclasses.replace(wanted, mi=0, nmi=0), 5e-4)
        # bins of the fixed image span the brain, whatever the moving one shows of it: not so in the plain version
        assert found.mi == pytest.approx(wanted.mi, rel=0.01)
    assert judge(case.displacement) != case.judge()(case.displacement)


def test_a_lesion_over_the_whole_brain_leaves_nothing_to_judge():
    case = pair()
    with pytest.raises(ValueError, match='nothing to judge'):
        case.judge(fixed_lesion=case.mask)


@pytest.mark.parametrize('spacing', [(1.0, 1.3, 0.9), (0.6, 0.6, 3.0)])
def test_the_evidence_is_that_of_scipy_on_whole_volumes(spacing):
    case = pair(spacing)
    judge = case.judge()
    still = np.zeros_like(case.displacement)
    check(judge.before, plain_evidence(case.fixed, case.moving, np.eye(4), case.mask, still), 5e-4)
    check(judge.after_affine, plain_evidence(case.fixed, case.moving, case.affine, case.mask, still), 5e-4)
    wanted = plain_evidence(case.fixed, case.moving, case.affine, case.mask, case.displacement)
    check(judge(case.displacement), wanted, 5e-4)
    assert judge.after_affine.mi > 1.2 * wanted.mi  # the displacement does matter


def test_a_brain_at_the_border_and_half_out_of_view_is_judged_by_what_is_seen():
    """Voxels without a whole neighbourhood on the grid are left out of MIND, those beyond the moving image of all."""
    case = pair(border=0, moving_shape=(40, 50, 41))
    judge = case.judge()
    assert not judge.viewer.deep.all()
    wanted = plain_evidence(case.fixed, case.moving, case.affine, case.mask, case.displacement)
    found = judge(case.displacement)
    # its bins are those of the whole brain, which shifts them a little
    check(dataclasses.replace(found, mi=0, nmi=0), dataclasses.replace(wanted, mi=0, nmi=0), 5e-4)
    assert found.mi == pytest.approx(wanted.mi, rel=0.05)


def test_what_lies_outside_the_fixed_image_is_zero():
    case = pair()
    cropped = Image(case.fixed.data[20:], case.fixed.grid.cropped(np.array([20, 0, 0]), case.fixed.grid.shape))
    filled = np.where(np.arange(66)[:, None, None] < 20, np.float32(0), case.fixed.data)
    check(
        dataclasses.replace(case, fixed=cropped).judge().after_affine,
        dataclasses.replace(case, fixed=Image(filled, case.fixed.grid)).judge().after_affine,
        1e-5,
    )


def test_threads_change_nothing():
    case = pair()
    one, three = case.judge(), case.judge(compute=Compute(torch.device('cpu'), threads=3))
    assert one.before == three.before
    assert one.after_affine == three.after_affine
    assert one(case.displacement) == three(case.displacement)


def test_far_off_headers_leave_nothing_to_say_before_the_affine():
    case = pair()
    far = np.eye(4)
    far[0, 3] = 500
    moved = Image(case.moving.data, Grid(case.moving.grid.shape, far @ case.moving.grid.affine))
    judge = dataclasses.replace(case, moving=moved, affine=far @ case.affine).judge()
    assert judge.before is None
    check(judge.after_affine, case.judge().after_affine, 1e-4)
    with pytest.raises(ValueError, match='field of view'):
        dataclasses.replace(case, moving=moved).judge()


def test_an_empty_mask_is_refused():
    case = pair()
    empty = Image(np.zeros_like(case.mask.data), case.mask.grid)
    with pytest.raises(ValueError, match='mask is empty'):
        dataclasses.replace(case, mask=empty).judge()


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
    assert 'mind_heldout' in decision.worse
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
