"""Masks that nobody gave: in an image that is evidently skull-stripped, the brain is what is not zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bidsreg.registration.events import Event
from bidsreg.stripped import region_ml, stripped_brain

if TYPE_CHECKING:
    import numpy as np

    from bidsreg.registration import Image


@dataclass(frozen=True)
class TakenForBrain(Event):
    """No mask of an image was given, and it is skull-stripped: what is not zero was taken for the brain.

    Attributes
    ----------
    image : str
        ``fixed`` or ``moving``.
    volume_ml : float
        Of that brain.
    """

    image: str
    volume_ml: float


def with_brains(
    fixed: Image, moving: Image, inputs: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[TakenForBrain, ...]]:
    """Add masks of the brain for images that have none and are skull-stripped, by `bidsreg.stripped`.

    Parameters
    ----------
    fixed, moving : Image
        The pair.
    inputs : mapping
        What is given beside them: a ``fixed_mask`` or ``moving_mask`` in it stays as it is.

    Returns
    -------
    inputs : dict
        With the masks that were found.
    events : tuple of TakenForBrain
        One for each of these.
    """
    found, events = dict(inputs), []
    for name, image in (('fixed', fixed), ('moving', moving)):
        brain = None if f'{name}_mask' in inputs else stripped_brain(image.data, image.grid.affine)[0]
        if brain is not None:
            found[f'{name}_mask'] = _image(brain, image)
            events.append(TakenForBrain(name, round(region_ml(brain, image.grid.affine), 1)))
    return found, tuple(events)


def _image(mask: np.ndarray, like: Image) -> Image:
    import numpy as np

    from bidsreg.registration import Image

    return Image(mask.astype(np.float32), like.grid)
