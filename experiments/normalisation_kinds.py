"""The kinds of cases of normalisations.py: what is done to a head, its mask, the template or the affine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi
from verdict_cases import EDGE_MM, FIXED_MM, MOVING_MM, THICK_MM, Anatomy, Look, acquired, draw_lesions, image, world

from bidsreg.app.example import smooth_noise
from bidsreg.preparation.affine import rigid_matrix

#: Voxels of the scans, mm.
VOXELS = {'T1w': FIXED_MM, 'T2w': MOVING_MM}
#: How far a head is turned (degrees) and shifted (mm) in the world of its scan, at most.
TURN, SHIFT = 8.0, 15.0

#: A scan and its brain mask.
Scan = tuple[nib.Nifti1Image, nib.Nifti1Image]
Change = Callable[[nib.Nifti1Image, nib.Nifti1Image], Scan]


def scan_of(anatomy: Anatomy, contrast: str, look: Look, seed: int) -> Scan:
    """Scan a head: its contrast with noise and what N4 leaves of a bias field, and a brain mask that is not exact.

    The head lies in a world of its own, by the header, so that nothing is interpolated twice; where, depends on the
    head and the contrast alone, everything else on the seed as well.
    """
    place = [anatomy.number, sorted(VOXELS).index(contrast)]
    rng, position = np.random.default_rng([*place, seed]), np.random.default_rng(place)
    lesions = draw_lesions(anatomy, look.lesions, rng)
    voxel = look.voxel if look.voxel == THICK_MM else VOXELS[contrast]
    shape, affine = anatomy.grid(voxel)
    places = world(shape, affine)
    values = anatomy.sampled(anatomy.signal(contrast, lesions, voxel, rng), places)
    inside = anatomy.sampled(anatomy.depth, places, -99.0) > smooth_noise(rng, shape, 6, EDGE_MM)
    lies = rigid_matrix(tuple(position.uniform(-TURN, TURN, 3)), tuple(position.uniform(-SHIFT, SHIFT, 3)))
    return image(acquired(values, look, rng), lies @ affine), image(inside, lies @ affine)


def _data(one: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(one.dataobj, np.float32)


def _as_it_is(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
    return scan, mask


def _places(mask: nib.Nifti1Image, axis: int) -> tuple[int, np.ndarray]:
    """Return the voxel axis along a world axis, and the places of the mask's voxels along it, the lower first."""
    codes = nib.io_orientation(mask.affine)
    along = int(codes[:, 0].tolist().index(axis))
    return along, np.argwhere(_data(mask) > 0)[:, along]


def _without(axis: int, both: bool = True) -> Change:
    """Return what sets the half of the mask, and of the image, along a world axis to zero."""

    def change(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        along, places = _places(mask, axis)
        where = tuple(slice(0, int(places.mean())) if number == along else slice(None) for number in range(3))
        data, inside = _data(scan).copy(), _data(mask) > 0
        inside[where] = False
        if both:
            data[where] = 0
        return image(data, scan.affine), image(inside, mask.affine)

    return change


def _cropped(axis: int, share: float) -> Change:
    """Return what leaves a share of the brain at the lower end of a world axis outside of the field of view."""

    def change(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        along, places = _places(mask, axis)
        start = int(np.quantile(places, share))
        box = tuple(slice(start, None) if number == along else slice(None) for number in range(3))
        return scan.slicer[box], mask.slicer[box]

    return change


def _sized(*factors: float) -> Change:
    """Return what makes a head, or a template, larger or smaller along the axes of the world."""
    scale = np.diag([*factors, 1.0])
    return lambda scan, mask: (
        nib.Nifti1Image(scan.dataobj, scale @ scan.affine),
        nib.Nifti1Image(mask.dataobj, scale @ mask.affine),
    )


def _fog(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
    """Return a head whose brain is noise as smooth as tissue."""
    rng, inside, values = np.random.default_rng(1), _data(mask) > 0, _data(scan)
    fog = smooth_noise(rng, scan.shape, 4.0, 1.0)
    fog = (fog - fog[inside].mean()) / fog[inside].std() * values[inside].std() + values[inside].mean()
    return image(np.where(inside, np.clip(fog, 0, None), values), scan.affine), mask


def _stripped(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
    return image(_data(scan) * (_data(mask) > 0), scan.affine), mask


def _upside_down(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
    """Return a head whose voxels are mirrored up-down, with those of its mask."""
    along = _places(mask, 2)[0]
    return image(np.flip(_data(scan), along), scan.affine), image(np.flip(_data(mask) > 0, along), mask.affine)


def _grown(mm: float) -> Change:
    """Return what makes a mask larger, or smaller, by some mm."""

    def change(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        inside, zooms = _data(mask) > 0, nib.affines.voxel_sizes(mask.affine)
        away = ndi.distance_transform_edt(~inside, zooms) - ndi.distance_transform_edt(inside, zooms)
        return scan, image(away <= mm, mask.affine)

    return change


def _moved_mask(mm: float) -> Change:
    """Return what shifts a mask upwards, mm."""

    def change(scan: nib.Nifti1Image, mask: nib.Nifti1Image) -> Scan:
        along = _places(mask, 2)[0]
        steps = round(mm / nib.affines.voxel_sizes(mask.affine)[along])
        return scan, image(np.roll(_data(mask) > 0, steps, along), mask.affine)

    return change


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of case.

    Attributes
    ----------
    wrong
        True where the verdict should not be PASS; None where CHECK and PASS are both right.
    look
        What the scan looks like.
    change
        Takes a head and its mask, and returns both as the case has them.
    template
        The same for the template and its mask.
    spoil
        A matrix behind the affine of the plain case of the same scan, about the middle of the template's brain; whether
        the result is wrong is then told by how far its map leads from the plain one.
    lies
        True where the head lies as in the plain case, whose rigid alignment is then taken.
    heads
        How many heads there are of it, each with a T1w and a T2w.
    """

    wrong: bool | None = True
    look: Look = field(default_factory=Look)
    change: Change = _as_it_is
    template: Change = _as_it_is
    spoil: np.ndarray | None = None
    lies: bool = False
    heads: int = 2


def _good(heads: int = 2, **more: Any) -> Kind:
    return Kind(wrong=False, heads=heads, **{'lies': True, **more})


#: The kinds of cases by their names.
KINDS: Mapping[str, Kind] = {
    'plain': _good(12, lies=False),
    'noisy': _good(look=Look(noise=0.08)),
    'bias field': _good(look=Look(bias=0.2)),
    'lesions': _good(look=Look(lesions=20)),
    'thick slices': _good(look=Look(voxel=THICK_MM)),
    'stripped': _good(change=_stripped),
    'mask 2 mm too wide': _good(4, change=_grown(2)),
    'mask 2 mm too narrow': _good(4, change=_grown(-2)),
    'a small head': _good(change=_sized(0.9, 0.9, 0.9), lies=False),
    'a head of an infant, in size': Kind(wrong=None, change=_sized(0.75, 0.75, 0.75)),
    'mask 5 mm too wide': Kind(wrong=None, change=_grown(5)),
    'one hemisphere': Kind(change=_without(0)),
    'mask of one hemisphere': Kind(change=_without(0, both=False)),
    'mask shifted by 20 mm': Kind(change=_moved_mask(20)),
    'lower half out of view': Kind(change=_cropped(2, 0.5)),
    'front half out of view': Kind(change=_cropped(1, 0.5)),
    'lower tenth out of view': Kind(change=_cropped(2, 0.1)),
    'noise for a brain': Kind(change=_fog),
    # mirror images, which a turn brings onto a symmetric template: nothing of a verdict can tell
    'upside down': Kind(wrong=None, change=_upside_down),
    'an animal, in size': Kind(change=_sized(0.4, 0.6, 0.35)),
    'voxels said 1.5 times as high': Kind(change=_sized(1, 1, 1.5)),
    'template of another shape': Kind(template=_sized(0.6, 1.0, 0.6)),
    'template upside down': Kind(wrong=None, template=_upside_down),
    'back to front': Kind(wrong=None, spoil=rigid_matrix(degrees=(0, 0, 180))),
    'shifted by 20 mm': Kind(wrong=None, spoil=rigid_matrix(translation=(0, 20, 0))),
    'turned by 30 degrees': Kind(wrong=None, spoil=rigid_matrix(degrees=(30, 0, 0))),
}
