"""Good pairs of verdicts.py that differ in many ways at once: what scans look like, and what is done, is drawn."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage as ndi
from verdict_cases import Look, Scans, image, world

#: mm: what faces are cut off beside: the brain and that much around it; and from where on: in front of, and below.
AROUND_MM, FRONT_MM, BELOW_MM = 10.0, 20.0, 0.0
#: Voxels around the brain that are left in a tight view.
ROOM = 1


def drawn_look(contrast: str, rng: np.random.Generator) -> Look:
    """Draw what the scans of a good pair look like: 3D, or slices of 4 to 5 mm across any axis."""
    voxel = np.full(3, rng.uniform(1.5, 2.5))
    if rng.random() < 0.6:
        voxel[:] = rng.uniform(1.2, 2.0)
        voxel[rng.integers(3)] = rng.uniform(4.0, 5.0)
    return Look(
        voxel=tuple(map(float, voxel)),
        fixed_voxel=(float(rng.uniform(2.4, 3.2)),) * 3,
        noise=float(rng.uniform(0.02, 0.06)),
        bias=float(rng.uniform(0.05, 0.2)),
        warp=float(rng.uniform(0.5, 1.6)),
        texture=float(rng.uniform(0.02, 0.05)),
        edge=float(rng.uniform(0.5, 1.2)),
        lesions=int(rng.integers(0, 21)),
        ghosts=float(rng.uniform(0.0, 0.06)),
        oblique=float(rng.uniform(0.0, 20.0)),
        atrophy=int(rng.integers(0, 2)),
        contrasts=('T1w', contrast),
    )


def drawn_change(scans: Scans, rng: np.random.Generator) -> Scans:
    """Do with a half each what follows."""
    for change in (face_cut, tight_view, other_axes):
        if rng.random() < 0.5:
            scans = change(scans, rng)
    return scans


def face_cut(scans: Scans, rng: np.random.Generator) -> Scans:
    """Take the face out of both scans, as is done so that nobody is known by it."""
    return replace(
        scans,
        fixed=_without_face(scans.fixed, scans.second),
        moving=_without_face(scans.moving, scans.moving_brain),
    )


def _without_face(scan: nib.Nifti1Image, brain: nib.Nifti1Image) -> nib.Nifti1Image:
    inside = np.asanyarray(brain.dataobj) > 0
    away = ndi.distance_transform_edt(~inside, nib.affines.voxel_sizes(brain.affine))
    centre = apply_affine(brain.affine, np.argwhere(inside)).mean(0)
    places = world(scan.shape, scan.affine) - centre
    face = (places[..., 1] > FRONT_MM) & (places[..., 2] < BELOW_MM) & (away > AROUND_MM)
    return image(np.where(face, 0, scan.get_fdata(dtype=np.float32)), scan.affine)


def tight_view(scans: Scans, rng: np.random.Generator) -> Scans:
    """Leave of the T2w a box around the brain."""
    inside = np.argwhere(np.asanyarray(scans.moving_brain.dataobj) > 0)
    box = tuple(
        slice(max(int(a) - ROOM, 0), int(b) + ROOM + 1) for a, b in zip(inside.min(0), inside.max(0), strict=True)
    )
    return replace(scans, moving=scans.moving.slicer[box], moving_brain=scans.moving_brain.slicer[box])


def other_axes(scans: Scans, rng: np.random.Generator) -> Scans:
    """Store the voxels of each scan in another order, and turned over; nothing moves in the world."""
    one, other = _random_axes(rng), _random_axes(rng)
    named = {'fixed': one, 'mask': one, 'second': one, 'moving': other, 'moving_brain': other}
    return replace(scans, **{name: getattr(scans, name).as_reoriented(axes) for name, axes in named.items()})


def _random_axes(rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([rng.permutation(3), rng.choice((-1, 1), 3)])
