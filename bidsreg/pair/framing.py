"""The solver works in the frame of the fixed image; what it finds is brought back into the world.

The steps of an optimiser amplify the last bit of a number: two scans whose headers are both turned or moved would get
another deformation. In the frame (:mod:`bidsreg.frame`) they are the same to the last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bidsreg.frame import own_frame, rounded, without_rounding

if TYPE_CHECKING:
    from bidsreg.registration import Deformation, Grid, Image, Result

#: Steps to which the affine is rounded while the solver works: its linear part, and its translation (mm). Together they
#: move no point of a head by more than about a thousandth of a millimetre. Headers that are moved leave some 1e-9 in
#: the one and 1e-5 mm in the other, which brings one pair in a hundred to the next step (of 600 simulated ones).
LINEAR_STEP, SHIFT_STEP = 2.0**-20, 2.0**-9


class Framing:
    """A pair in the frame of its fixed image, its voxels in the order that is closest to RAS+ there.

    Parameters
    ----------
    fixed, moving
        The images in the world.

    Attributes
    ----------
    fixed, moving : Image
        The images in the frame.
    """

    def __init__(self, fixed: Image, moving: Image) -> None:
        _, straight = _order(fixed, np.eye(4))
        frame = own_frame(straight.affine, straight.shape)
        self.fixed, self._here = _without_rounding(fixed, frame)
        self.moving, self._there = _without_rounding(moving, frame)

    def inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Bring what `register` takes beside the images into the frame: masks, lesions, the affine or a start."""
        ways: dict[str, Callable[[Any], Any]] = {'affine': self._affine, 'start': self._start}
        given = dict(inputs) if 'start' in inputs else {'affine': np.eye(4), **inputs}
        return {name: ways[name](value) if name in ways else self._mask(name, value) for name, value in given.items()}

    def _mask(self, name: str, mask: Image) -> Image:
        image, way = (self.fixed, self._here) if name.startswith('fixed') else (self.moving, self._there)
        from bidsreg.registration.problem import SAME_GRID_MM

        found = _in_order(mask, way)
        # on the grid of its image but for rounding; another grid is refused later
        same = found.grid.same_as(image.grid, SAME_GRID_MM)
        return dataclasses.replace(found, grid=image.grid) if same else found

    def _affine(self, affine: np.ndarray) -> np.ndarray:
        return rounded(self._there @ affine @ np.linalg.inv(self._here), LINEAR_STEP, SHIFT_STEP)

    def _start(self, start: Deformation) -> Deformation:
        moved = _moved(start, self._here, self._there)
        return dataclasses.replace(moved, affine=self._affine(start.affine))

    def result(self, result: Result, inputs: Mapping[str, Any]) -> Result:
        """Bring what the solver found back into the world, with the very affine that the `inputs` begin with."""
        begun = inputs['start'].affine if 'start' in inputs else inputs.get('affine', np.eye(4))
        deformation = _moved(result.deformation, np.linalg.inv(self._here), np.linalg.inv(self._there))
        deformation = dataclasses.replace(deformation, affine=begun)
        mask = dataclasses.replace(result.mask, grid=deformation.grid)
        return dataclasses.replace(result, deformation=deformation, mask=mask)


def _order(image: Image, frame: np.ndarray) -> tuple[np.ndarray, Grid]:
    """Return the order of an image's axes that is RAS+ in another world, and its grid in that order there."""
    import nibabel as nib

    from bidsreg.registration import Grid

    affine = frame @ image.grid.affine
    order = nib.io_orientation(affine)
    x, y, z = (image.data.shape[int(axis)] for axis in np.argsort(order[:, 0]))
    return order, Grid((x, y, z), affine @ nib.orientations.inv_ornt_aff(order, image.grid.shape))


def _in_order(image: Image, frame: np.ndarray) -> Image:
    """Return an image in another world, its voxels in RAS+ order there."""
    import nibabel as nib

    from bidsreg.registration import Image

    order, grid = _order(image, frame)
    return Image(np.ascontiguousarray(nib.orientations.apply_orientation(image.data, order)), grid)


def _without_rounding(image: Image, frame: np.ndarray) -> tuple[Image, np.ndarray]:
    """Return an image in a frame as if headers did not round, and the rigid 4x4 that it was moved by."""
    from bidsreg.registration import Grid

    found = _in_order(image, frame)
    affine, shift = without_rounding(found.grid.affine, found.grid.shape)
    moved = frame.copy()
    moved[:3, 3] += shift
    return dataclasses.replace(found, grid=Grid(found.grid.shape, affine)), moved


def _moved(deformation: Deformation, here: np.ndarray, there: np.ndarray) -> Deformation:
    """Return a deformation between two worlds that were moved rigidly."""
    from bidsreg.registration import Grid

    turn = here[:3, :3].T.astype(np.float32)
    straight = np.array_equal(turn, np.eye(3))
    forward, inverse = (u if straight else u @ turn for u in (deformation.forward, deformation.inverse))
    affine = there @ deformation.affine @ np.linalg.inv(here)
    grid = Grid(deformation.grid.shape, here @ deformation.grid.affine)
    return dataclasses.replace(deformation, affine=affine, forward=forward, inverse=inverse, grid=grid)
