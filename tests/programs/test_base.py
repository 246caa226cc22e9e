"""What happens to the answer of any program, with programs that misbehave."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.programs import Program, ProgramError, ProgramSettings
from bidsreg.programs.events import FieldFolds, InverseMissing, InverseSearched, ProgramEnded
from bidsreg.registration import Grid, Image
from tests.fake_program import Pretended, PretendedSettings, smooth_field


def folding_field(grid):
    """A block of voxels thrown over its neighbours."""
    field = smooth_field(grid, 1.0)
    field[15:18, 20:23, 15:18, 0] += 25
    return field


def test_a_pair_with_a_known_answer(heads):
    """The truth itself: inverted, judged better than the affine, and nothing left behind."""
    program = Pretended(heads.displacement())
    masks = {'fixed_mask': heads.fixed_mask, 'moving_mask': heads.moving_mask}
    found = program.register(heads.fixed, heads.moving, affine=heads.truth.matrix, threads=1, seed=5, **masks)
    brain, there = heads.pair.points[:, :3], heads.pair.points[:, 3:]
    assert np.linalg.norm(found.deformation.points(brain) - there, axis=1).mean() < 0.1
    assert np.linalg.norm(found.deformation.inverted().points(there) - brain, axis=1).mean() < 0.1
    assert found.evidence['diffeo'].mi > 1.05 * found.evidence['affine'].mi > found.evidence['before'].mi
    assert (found.folds, found.iterations, found.history, found.attempts, found.repaired) == (0, None, [], 1, 0)
    assert found.events == (ProgramEnded('pretended'), InverseSearched('pretended'))
    [workspace] = program.workspaces
    assert (workspace.threads, workspace.seed, workspace.masked, workspace.sloppy) == (1, 5, True, False)
    assert not workspace.folder.exists()


def test_an_inverse_of_its_own_is_taken(heads):
    field = smooth_field(heads.fixed.grid)
    found = Pretended(field, -field).register(heads.fixed, heads.moving)
    assert np.array_equal(found.deformation.inverse, -field)
    assert found.events == (ProgramEnded('pretended'),)
    assert found.mask.data.all()


def test_folds_are_counted_told_and_left(heads):
    field = folding_field(heads.fixed.grid)
    found = Pretended(field).register(heads.fixed, heads.moving)
    assert found.folds > 10
    assert np.array_equal(found.deformation.forward, field)
    ended, missing, folded = found.events
    assert isinstance(missing, InverseMissing)
    assert missing.voxels > 10
    assert missing.worst_mm > 1
    assert folded == FieldFolds('pretended', found.folds)
    assert (ended.warning, missing.warning, folded.warning) == (False, True, True)
    # away from the fold the inverse is as good as any
    grid = heads.fixed.grid
    quiet = grid.to_world([[8.0, 10, 8], [26, 30, 24]])
    there = found.deformation.points(quiet)
    np.testing.assert_allclose(found.deformation.inverted().points(there), quiet, atol=0.05)


@pytest.mark.parametrize(
    ('field', 'words'),
    [
        (lambda grid: np.full((*grid.shape, 3), np.nan, np.float32), 'NaN or infinite'),
        (lambda grid: np.zeros((4, 5, 6, 3), np.float32), r'shape \(4, 5, 6, 3\)'),
    ],
)
def test_a_field_of_no_use_is_refused(heads, field, words):
    with pytest.raises(ProgramError, match=words):
        Pretended(field(heads.fixed.grid)).register(heads.fixed, heads.moving)


def test_a_missing_program_is_said_before_any_work(heads):
    program = Pretended(absent='it is on the moon')
    with pytest.raises(ProgramError, match='pretended: it is on the moon'):
        program.register(heads.fixed, heads.moving)
    assert program.workspaces == []


def on_a_sheared_grid(heads):
    affine = heads.fixed.grid.affine.copy()
    affine[:3, 0] += 0.1 * affine[:3, 1]
    return {'fixed': Image(heads.fixed.data, Grid(heads.fixed.grid.shape, affine))}


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        (on_a_sheared_grid, 'not at right angles'),
        (lambda h: {'fixed_mask': h.moving_mask}, 'fixed mask lies on another grid'),
        (lambda h: {'moving_mask': Image(0 * h.moving.data, h.moving.grid)}, 'moving mask is empty'),
        (lambda h: {'moving': Image(0 * h.moving.data, h.moving.grid)}, 'moving: the image is constant'),
        (lambda h: {'affine': nib.affines.from_matvec(np.eye(3), [900, 0, 0])}, 'right way round'),
    ],
)
def test_bad_input_is_refused_before_any_work(heads, changed, words):
    program = Pretended()
    given = {'fixed': heads.fixed, 'moving': heads.moving} | changed(heads)
    with pytest.raises(ValueError, match=words):
        program.register(given.pop('fixed'), given.pop('moving'), **given)
    assert program.workspaces == []


class Careful(Pretended):
    """Leaves lesions of the fixed image out, and keeps the masks that it got."""

    leaves_out = ('fixed',)

    def run(self, workspace):
        self.masks = [Image.load(workspace.path(f'{end}_mask')).data for end in ('fixed', 'moving')]
        self.shown = Image.load(workspace.path('fixed')).data
        return super().run(workspace)


def lesion_of(heads):
    marked = np.zeros_like(heads.fixed.data)
    marked[14:20, 16:24, 12:18] = 1
    return Image(marked, heads.fixed.grid)


@pytest.mark.parametrize('masked', [True, False])
def test_a_lesion_is_taken_out_of_the_mask_and_of_the_evidence(masked, heads):
    lesion = lesion_of(heads)
    masks = {'fixed_mask': heads.fixed_mask} if masked else {}
    program, plain = Careful(heads.displacement()), Careful(heads.displacement())
    found = program.register(heads.fixed, heads.moving, affine=heads.truth.matrix, fixed_lesion=lesion, **masks)
    whole = plain.register(heads.fixed, heads.moving, affine=heads.truth.matrix, **masks)
    assert program.workspaces[0].masked
    here, there = program.masks
    left = ndi.binary_dilation(lesion.data, np.ones((3, 3, 3)))
    np.testing.assert_array_equal(here, plain.masks[0] * ~left)
    np.testing.assert_array_equal(program.shown[~left], heads.fixed.data[~left])
    assert there.all()
    np.testing.assert_array_equal(found.mask.data, whole.mask.data)
    assert found.evidence['diffeo'] != whole.evidence['diffeo']
    # what stands in the lesion does not matter
    heads.fixed.data[lesion.data > 0] += 500
    other = Careful(heads.displacement())
    again = other.register(heads.fixed, heads.moving, affine=heads.truth.matrix, fixed_lesion=lesion, **masks)
    heads.fixed.data[lesion.data > 0] -= 500
    assert again.evidence == found.evidence
    np.testing.assert_array_equal(other.shown, program.shown)


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (
            lambda h: {'moving_lesion': h.moving_mask},
            'takes no mask of the moving image.*that of the fixed image alone',
        ),
        (lambda h: {'fixed_lesion': h.moving_mask}, 'fixed lesion mask lies on another grid'),
        (lambda h: {'fixed_lesion': Image(0 * h.fixed.data, h.fixed.grid)}, 'fixed lesion mask is empty'),
        (lambda h: {'fixed_lesion': h.fixed_mask, 'fixed_mask': h.fixed_mask}, 'covers 100 % of the brain mask'),
    ],
)
def test_a_lesion_that_cannot_be_left_out_is_refused(given, words, heads):
    program = Careful(heads.displacement())
    with pytest.raises(ValueError, match=words):
        program.register(heads.fixed, heads.moving, affine=heads.truth.matrix, **given(heads))
    assert program.workspaces == []


def test_a_program_without_a_package_is_there_and_has_no_version():
    class Bare(Program[ProgramSettings]):
        name, settings = 'bare', ProgramSettings()

        def run(self, workspace):
            """Find nothing."""

    assert (Bare().missing(), Bare().version()) == ('', '')


def test_only_a_program_that_asks_for_one_has_a_python_process():
    with pytest.raises(ProgramError, match='pretended has no Python process'):
        Pretended().child([])


def test_a_quick_look_changes_what_its_class_says_and_nothing_else():
    settings = Pretended().used_settings(sloppy=True)
    assert settings == PretendedSettings(depth=1)
    assert Pretended().as_dict() == {'name': 'pretended', 'depth': 3}
    assert Pretended().as_dict(sloppy=True) == {'name': 'pretended', 'depth': 1}
