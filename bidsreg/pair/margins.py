"""Margins that were put around what was measured: they are no part of the field of view that is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bidsreg.registration.events import Event

if TYPE_CHECKING:
    import numpy as np

    from bidsreg.registration import Image

#: A field of view ends at a margin where more than this part of the side behind it differs from the margin. By
#: judgement, between noisy air (nearly all of it) and what ends by itself (`bidsreg.stripped.LARGEST_SIDE`: less).
MEASURED_SIDE = 0.5

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class MarginLeftOut(Event):
    """An image without a mask has a margin of one value around what was measured, which is not compared.

    Attributes
    ----------
    image : str
        ``fixed`` or ``moving``.
    percent : float
        Of its voxels that lie in the margin.
    """

    image: str
    percent: float


def without_margins(
    fixed: Image, moving: Image, inputs: Mapping[str, Any]
) -> tuple[Image, Image, dict[str, Any], tuple[MarginLeftOut, ...]]:
    """Cut images that have no mask down to what was measured, and their lesions alike.

    The edge of a field of view is no anatomy: it would be aligned like one, and the margin would count as volume.

    Parameters
    ----------
    fixed, moving : Image
        The pair.
    inputs : mapping
        What is given beside them; an image whose mask is among it stays as it is.

    Returns
    -------
    fixed, moving : Image
        What was measured of them.
    inputs : dict
        The same inputs, lesions on the grids of the images.
    events : tuple of MarginLeftOut
        One for each image that was cut.
    """
    from bidsreg.registration.problem import SAME_GRID_MM

    images, given, events = {'fixed': fixed, 'moving': moving}, dict(inputs), []
    for name, image in images.items():
        box = measured(image.data)
        cut = _within(image, box)
        if f'{name}_mask' in given or cut.data.size == image.data.size:
            continue
        images[name] = cut
        lesion = given.get(f'{name}_lesion')
        # a lesion on another grid is refused later
        if lesion is not None and lesion.grid.same_as(image.grid, SAME_GRID_MM):
            given[f'{name}_lesion'] = _within(lesion, box)
        events.append(MarginLeftOut(name, round(100 * (1 - cut.data.size / image.data.size), 1)))
    return images['fixed'], images['moving'], given, tuple(events)


def measured(data: np.ndarray) -> Box:
    """Return the box of what was measured within margins of one value; a side that ends by itself stays.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        The values of an image.
    """
    margins = {(axis, end): _margin(_from_side(data, axis, end)) for axis in range(3) for end in (0, -1)}
    inner = data[_box(data, margins)]
    for (axis, end), margin in margins.items():
        side = _from_side(inner, axis, end)[0]
        if margin and (side != _from_side(data, axis, end)[0, 0, 0]).mean() <= MEASURED_SIDE:
            margins[axis, end] = 0
    return _box(data, margins)


def _margin(planes: np.ndarray) -> int:
    """Return how many planes from the first one on hold one value; none where all do."""
    differs = (planes != planes[0, 0, 0]).any(axis=(1, 2))
    return int(differs.argmax())


def _from_side(data: np.ndarray, axis: int, end: int) -> np.ndarray:
    """Return the planes across an axis, those at one of its ends first."""
    planes = data.swapaxes(0, axis)
    return planes[::-1] if end else planes


def _box(data: np.ndarray, margins: Mapping[tuple[int, int], int]) -> Box:
    x, y, z = (slice(margins[axis, 0], n - margins[axis, -1]) for axis, n in enumerate(data.shape))
    return x, y, z


def _within(image: Image, box: Box) -> Image:
    import numpy as np

    from bidsreg.registration import Image

    start, stop = (np.array([getattr(axis, end) for axis in box]) for end in ('start', 'stop'))
    return Image(np.ascontiguousarray(image.data[box]), image.grid.cropped(start, stop))
