"""The kinds of cases of verdicts.py: what scans look like, what is done to them, and whether they are then wrong."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass, field, replace
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage as ndi
from verdict_cases import SLICES_MM, THICK_MM, Change, Look, Scans, acquired, image, turned, world
from verdict_draws import drawn_change, drawn_look, face_cut, other_axes, tight_view

from bidsreg.app.example import smooth_noise
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.bias import correct_bias

#: Standard deviation of the place of a rough mask's edge, mm.
ROUGH_MM = 2.5


# ---------------------------------------------------------------------------------------------------- changes
Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def as_it_is(scans: Scans, rng: np.random.Generator) -> Scans:
    """Change nothing."""
    return scans


def moving_values(change: Callable[[np.ndarray, np.random.Generator], np.ndarray], known: bool = False) -> Change:
    """Change the voxels of the T2w; whether the places of its points are still known."""

    def changed(scans: Scans, rng: np.random.Generator) -> Scans:
        values = change(scans.moving.get_fdata(dtype=np.float32), rng)
        return replace(scans, moving=image(values, scans.moving.affine), points=scans.points if known else None)

    return changed


def worse(look: Look) -> Change:
    """Add what a look has (noise, bias field, ghosts) to both scans, in units of the middle grey of the brain."""

    def changed(scans: Scans, rng: np.random.Generator) -> Scans:
        both = {}
        for name, brain in (('fixed', scans.mask), ('moving', scans.moving_brain)):
            one = getattr(scans, name)
            values = one.get_fdata(dtype=np.float32)
            level = float(np.median(values[np.asanyarray(brain.dataobj) > 0]))
            both[name] = image(acquired(values / level, look, rng), one.affine)
        return replace(scans, fixed=both['fixed'], moving=both['moving'])

    return changed


def bias_left(scans: Scans, rng: np.random.Generator) -> Scans:
    """Put a strong bias field over both scans, and leave what N4 leaves of it."""
    scans = worse(Look(noise=0.0, bias=0.3))(scans, rng)
    both = {}
    for name, brain in (('fixed', scans.mask), ('moving', scans.moving_brain)):
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            nib.save(getattr(scans, name), 'scan.nii.gz')
            nib.save(brain, 'brain.nii.gz')
            both[name] = correct_bias('scan.nii.gz', 'brain.nii.gz')
    return replace(scans, fixed=both['fixed'], moving=both['moving'])


def moved_head(scans: Scans, rng: np.random.Generator) -> Scans:
    """Let the head of the T2w lie elsewhere: by its header, so that nothing is interpolated."""
    way = rigid_matrix(tuple(rng.uniform(-8, 8, 3)), tuple(rng.uniform(-8, 8, 3)))
    points = None if scans.points is None else np.hstack([scans.points[:, :3], apply_affine(way, scans.points[:, 3:])])
    moving, brain = (nib.Nifti1Image(one.dataobj, way @ one.affine) for one in (scans.moving, scans.moving_brain))
    return replace(scans, moving=moving, moving_brain=brain, points=points)


def copied(scans: Scans, rng: np.random.Generator) -> Scans:
    """Take the T1w for the T2w as well."""
    return replace(scans, moving=scans.fixed, moving_brain=scans.mask, points=None)


def exchanged(scans: Scans, rng: np.random.Generator) -> Scans:
    """Take each scan for the other one."""
    brain = scans.moving_brain
    return Scans(fixed=scans.moving, moving=scans.fixed, mask=brain, second=brain, moving_brain=scans.mask)


def mask_depth(change: Callable[[nib.Nifti1Image, np.random.Generator], np.ndarray]) -> Change:
    """Take another mask."""

    def changed(scans: Scans, rng: np.random.Generator) -> Scans:
        return replace(scans, mask=image(change(scans.mask, rng), scans.mask.affine))

    return changed


def depth_of(mask: nib.Nifti1Image) -> np.ndarray:
    """Return the depth under the surface of a mask, mm, negative outside."""
    inside, spacing = np.asanyarray(mask.dataobj) > 0, nib.affines.voxel_sizes(mask.affine)
    return ndi.distance_transform_edt(inside, spacing) - ndi.distance_transform_edt(~inside, spacing)


def direction(rng: np.random.Generator) -> np.ndarray:
    """Return a random unit vector."""
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def moved_mask(distance: float) -> Callable[[nib.Nifti1Image, np.random.Generator], np.ndarray]:
    """Return what shifts a mask along one of its axes, mm."""

    def move(mask: nib.Nifti1Image, rng: np.random.Generator) -> np.ndarray:
        axis, sign = rng.integers(3), rng.choice((-1, 1))
        step = np.zeros(3)
        step[axis] = sign * distance / nib.affines.voxel_sizes(mask.affine)[axis]
        return ndi.shift(np.asarray(mask.dataobj, np.float32), step, order=0, mode='constant') > 0.5

    return move


def half_of(mask: nib.Nifti1Image, rng: np.random.Generator) -> np.ndarray:
    """Return the left or the right half of a mask."""
    x = world(mask.shape, mask.affine)[..., 0]
    inside = np.asanyarray(mask.dataobj) > 0
    return inside & (rng.choice((-1, 1)) * (x - x[inside].mean()) > 0)


def without(axis: int, end: int, share: float) -> Callable[[nib.Nifti1Image, np.random.Generator], np.ndarray]:
    """Return what cuts a share of its length off a mask, at the lower (-1) or the upper (1) end of an axis."""

    def cut(mask: nib.Nifti1Image, rng: np.random.Generator) -> np.ndarray:
        place = end * world(mask.shape, mask.affine)[..., axis]
        inside = np.asanyarray(mask.dataobj) > 0
        low, high = place[inside].min(), place[inside].max()
        return inside & (place < high - share * (high - low))

    return cut


def shrunk(share: float) -> Callable[[nib.Nifti1Image, np.random.Generator], np.ndarray]:
    """Return what erodes a mask to a share of its volume."""

    def shrink(mask: nib.Nifti1Image, rng: np.random.Generator) -> np.ndarray:
        depth = depth_of(mask)
        return depth > np.quantile(depth[depth > 0], 1 - share)

    return shrink


def cut_to(share: float | None = None, slab_mm: float | None = None, axis: int = 2) -> Change:
    """Keep of the T2w a share, or a slab, of its field of view: of its middle."""

    def cut(scans: Scans, rng: np.random.Generator) -> Scans:
        n = scans.moving.shape[axis]
        size = nib.affines.voxel_sizes(scans.moving.affine)[axis]
        kept = round(share * n if share is not None else (slab_mm or 0) / size)
        box = [slice(None)] * 3
        box[axis] = slice((n - kept) // 2, (n - kept) // 2 + kept)
        return replace(scans, moving=scans.moving.slicer[tuple(box)], points=None)

    return cut


def scaled(factor: float, axis: int) -> Change:
    """Let the header of the T2w say that voxels are longer along an axis."""

    def scale(scans: Scans, rng: np.random.Generator) -> Scans:
        larger = np.ones(4)
        larger[axis] = factor
        points = None if scans.points is None else scans.points * np.hstack([np.ones(3), larger[:3]])
        moving = nib.Nifti1Image(scans.moving.dataobj, np.diag(larger) @ scans.moving.affine)
        return replace(scans, moving=moving, points=points)

    return scale


def rough(mask: nib.Nifti1Image, rng: np.random.Generator) -> np.ndarray:
    """Return a mask whose edge lies elsewhere, by some mm, as masks of other programs do."""
    return depth_of(mask) > smooth_noise(rng, mask.shape, 4, ROUGH_MM)


def stripped(scans: Scans, rng: np.random.Generator) -> Scans:
    """Leave only the brain in both scans; its mask is what is left."""
    fixed, moving = (
        image(one.get_fdata(dtype=np.float32) * (np.asanyarray(mask.dataobj) > 0), one.affine)
        for one, mask in ((scans.fixed, scans.mask), (scans.moving, scans.moving_brain))
    )
    return replace(scans, fixed=fixed, moving=moving, second=scans.mask)


def shifted_by(distance: float) -> Spoil:
    """Return what puts a shift, in a random direction, behind a matrix, mm."""
    return lambda matrix, rng: rigid_matrix((0, 0, 0), tuple(distance * direction(rng))) @ matrix


def turned_by(degrees: float) -> Spoil:
    """Return what puts a turn about a random axis through the brain's centre (the origin) before a matrix."""

    return lambda matrix, rng: matrix @ turned(degrees, rng)


# ---------------------------------------------------------------------------------------------------- kinds
@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of cases.

    Attributes
    ----------
    wrong : bool or None
        Whether it must not be PASS; None where the errors at known points tell.
    good : bool
        Where they tell that it is not wrong: whether it is then good, or neither, for its numbers are odd.
    look : Look
        What the scans look like.
    drawn : callable, optional
        Draws what they look like instead.
    change : callable
        What is done to the scans.
    spoil : callable, optional
        What is done to the affine that was found in the plain pair, which is then not searched anew.
    other : bool
        The T2w is another head's.
    mask_alone : bool
        Only the mask differs from the plain pair, whose transform is taken.
    contrast : str
        What the second scan is said to be.
    base : str
        The kind whose places, and where the scans lie as its own do, whose rigid alignment are taken; its own name for
        places of its own.
    heads, visits : int
        How many heads there are of it, and of each how many pairs of scans in positions of their own.
    """

    wrong: bool | None
    good: bool = True
    look: Look = field(default_factory=Look)
    drawn: Callable[[np.random.Generator], Look] | None = None
    change: Change = as_it_is
    spoil: Spoil | None = None
    other: bool = False
    mask_alone: bool = False
    contrast: str = 'T2w'
    base: str = 'plain'
    heads: int = 2
    visits: int = 1


def _wrong_mask(change: Callable[[nib.Nifti1Image, np.random.Generator], np.ndarray]) -> Kind:
    return Kind(wrong=True, change=mask_depth(change), mask_alone=True, heads=6)


def _mirrored(axis: int) -> Change:
    return moving_values(lambda values, rng: np.flip(values, axis))


def _mirrored_half(scans: Scans, rng: np.random.Generator) -> Scans:
    return mask_depth(half_of)(_mirrored(0)(scans, rng), rng)


def _good(look: Look | None = None, heads: int = 4, **more: Any) -> Kind:
    return Kind(wrong=None, look=look or Look(), heads=heads, visits=2, **more)


def _spoilt(spoil: Spoil) -> Kind:
    return Kind(wrong=None, good=False, spoil=spoil, heads=4)


def _good_of_its_own(name: str, **more: Any) -> dict[str, Kind]:
    return {name: Kind(wrong=None, base=name, visits=4, **more)}


def _of_contrast(name: str) -> dict[str, Kind]:
    look = Look(voxel=SLICES_MM, contrasts=('T1w', name))
    wrong = functools.partial(Kind, wrong=True, contrast=name, base=name, heads=8)
    return {
        **_good_of_its_own(name, look=look, contrast=name, heads=12),
        **_drawn(name),
        f'{name}, mirrored': wrong(look=look, change=_mirrored(0)),
        f'{name}, another head': wrong(look=look, other=True),
        f'{name}, shift of 20 mm': Kind(
            wrong=None, good=False, look=look, spoil=shifted_by(20), contrast=name, base=name, heads=8
        ),
        f'{name}, T1w twice': wrong(look=Look(voxel=SLICES_MM, contrasts=('T1w', 'T1w'))),
        f'{name}, a copy': wrong(look=look, change=copied),
    }


def _drawn(name: str) -> dict[str, Kind]:
    look = functools.partial(drawn_look, name)
    return _good_of_its_own(f'{name}, drawn', drawn=look, change=drawn_change, contrast=name, heads=12)


# seeds are places in this list: what is new belongs at its end
KINDS: Mapping[str, Kind] = {
    'plain': _good(heads=12),
    'noisy': _good(Look(noise=0.08), heads=6),
    'bias': _good(Look(bias=0.3)),
    'thick slices': _good(Look(voxel=THICK_MM), heads=6),
    'lesions': _good(Look(lesions=20)),
    'ghosts': _good(Look(ghosts=0.1)),
    'distorted': _good(Look(warp=1.8), heads=6),
    'stripped': _good(change=stripped),
    'wider mask': _good(change=mask_depth(lambda mask, rng: depth_of(mask) > -4), mask_alone=True, heads=12),
    'tighter mask': _good(change=mask_depth(lambda mask, rng: depth_of(mask) > 4), mask_alone=True, heads=12),
    'x longer by 3 %': Kind(wrong=None, change=scaled(1.03, 0)),
    'distorted by up to 12 mm': Kind(wrong=None, good=False, look=Look(warp=4.0, largest=12.0)),
    'mirrored': Kind(wrong=True, change=_mirrored(0), heads=4),
    'mirrored front-back': Kind(wrong=True, change=_mirrored(1)),
    'mirrored up-down': Kind(wrong=True, change=_mirrored(2)),
    'mirrored, half a mask': Kind(wrong=True, change=_mirrored_half),
    'another head': Kind(wrong=True, other=True, heads=8),
    'another head, bias': Kind(wrong=True, look=Look(bias=0.3), other=True),
    'another head, thick slices': Kind(wrong=True, look=Look(voxel=THICK_MM), other=True, heads=4),
    **{f'shift of {mm} mm': _spoilt(shifted_by(mm)) for mm in (5, 10, 20, 30)},
    **{f'turn by {degrees}°': _spoilt(turned_by(degrees)) for degrees in (6, 12, 20, 45)},
    'z longer by 5 %': Kind(wrong=True, change=scaled(1.05, 2)),
    'y shorter by 8 %': Kind(wrong=True, change=scaled(0.92, 1)),
    'mask shifted by 24 mm': _wrong_mask(moved_mask(24)),
    'mask shifted by 12 mm': _wrong_mask(moved_mask(12)),
    'mask of a half': _wrong_mask(half_of),
    'mask without its front': _wrong_mask(without(1, 1, 0.3)),
    'mask without its top': _wrong_mask(without(2, 1, 0.3)),
    'mask shrunk to 44 %': _wrong_mask(shrunk(0.44)),
    'mask grown by 12 mm': _wrong_mask(lambda mask, rng: depth_of(mask) > -12),
    'slab of 60 mm': Kind(wrong=True, change=cut_to(slab_mm=60)),
    'a quarter in view': Kind(wrong=True, change=cut_to(share=0.25, axis=1)),
    'noise alone': Kind(
        wrong=True, change=moving_values(lambda values, rng: np.abs(rng.normal(300, 100, values.shape)))
    ),
    'T1w twice': Kind(wrong=True, look=Look(contrasts=('T1w', 'T1w'))),
    'a copy': Kind(wrong=True, change=copied),
    'contrasts exchanged': Kind(wrong=True, look=Look(contrasts=('T2w', 'T1w'))),
    **_good_of_its_own('oblique', look=Look(oblique=25.0), heads=6),
    **_good_of_its_own('little tissue', look=Look(atrophy=1), heads=6),
    **_good_of_its_own('faces cut off', change=face_cut, heads=6),
    **_good_of_its_own('the brain alone in view', change=tight_view, heads=6),
    **_good_of_its_own('sagittal slices', look=Look(voxel=SLICES_MM[::-1]), heads=6),
    **_good_of_its_own('other axes', change=other_axes, heads=6),
    **_drawn('T2w'),
    **_of_contrast('FLAIR'),
    **_of_contrast('PDw'),
    **_of_contrast('T2starw'),
    'rough mask': _good(change=mask_depth(rough), mask_alone=True, heads=12),
}
#: What real sessions are made of: as they are, as some of the kinds above, and as kinds that only they have.
REAL: Mapping[str, Kind] = {
    'real': Kind(wrong=False),
    'real, another session': Kind(wrong=False),
    'real, another head': Kind(wrong=True),
    'real, noisy': Kind(wrong=None, change=worse(Look(noise=0.08, bias=0.0))),
    'real, bias': Kind(wrong=None, change=bias_left),
    'real, ghosts': Kind(wrong=None, change=worse(Look(noise=0.0, bias=0.0, ghosts=0.1))),
    'real, moved head': Kind(wrong=None, change=moved_head),
    'real, contrasts exchanged': Kind(wrong=True, change=exchanged),
    **{
        f'real, {name}': KINDS[name]
        for name in (
            'stripped',
            'wider mask',
            'tighter mask',
            'mirrored',
            'mirrored front-back',
            'z longer by 5 %',
            'y shorter by 8 %',
            'slab of 60 mm',
            'a quarter in view',
            'noise alone',
            'a copy',
            'shift of 10 mm',
            'turn by 12°',
            *(name for name in KINDS if name.startswith('mask ')),
        )
    },
}
