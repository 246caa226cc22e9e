"""A volume is translated as three stacks of slices, across each of the world axes; what they say is averaged."""

from __future__ import annotations

import numpy as np
import torch

from bidsreg.registration.similarity import descriptors
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.settings import BLOCK
from bidsreg.translation.slices import framed, worthwhile
from bidsreg.translation.volumes import WorldBrain

#: Slices that are translated at once.
AT_ONCE = 16
#: What a slice with hardly any brain, as none is trained on, counts for beside others.
LITTLE = 1e-3


def translate_volume(model: TranslationModel, volume: WorldBrain, device: str = 'cpu') -> np.ndarray:
    """Translate a brain on a grid along the world axes.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
        In [0, 1], zero outside of the brain.
    """
    total, weights = np.zeros(volume.values.shape, np.float32), np.zeros(volume.values.shape, np.float32)
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = -1
        weight = np.where(worthwhile(volume.inside, axis), 1, LITTLE).astype(np.float32).reshape(shape)
        total += weight * translate_stack(model, volume, axis, device)
        weights += weight
    return total / weights * volume.inside


def translate_stack(model: TranslationModel, volume: WorldBrain, axis: int, device: str = 'cpu') -> np.ndarray:
    """Translate the slices across one axis; float32, shape (X, Y, Z)."""
    planes = [np.moveaxis(data.astype(np.float32), axis, 0) for data in (volume.values, volume.inside)]
    shape = planes[0].shape[1:]
    # as wide as those that were drawn in the training, lest the mean over a slice be another
    wide = [max(model.size, -(-n // BLOCK) * BLOCK) for n in shape]
    out = np.zeros_like(planes[0])
    for start in range(0, len(out), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        values, inside = (
            torch.from_numpy(np.stack([framed(plane, wide) for plane in stack[part]])[:, None]).to(device)
            for stack in planes
        )
        found = model.translate(values, inside)[:, 0].cpu().numpy()
        out[part] = [framed(plane, shape) for plane in found]
    return np.moveaxis(out, 0, axis)


def mind_distance(volume: WorldBrain, translated: np.ndarray) -> float:
    """Return how far the structure of a translation is from that of the brain: does it move anatomy?

    Parameters
    ----------
    volume : WorldBrain
        The brain.
    translated : ndarray of float32
        On its grid.

    Returns
    -------
    float
        The mean squared difference of MIND (six neighbours, patches of 3 x 3 x 3 voxels) inside, from 0 to 1; each has
        its own floor of the variance.
    """
    weight = torch.from_numpy(volume.inside[2:-2, 2:-2, 2:-2].astype(np.float32))[None, None]
    found = []
    for data in (volume.values, translated):
        image = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))[None, None]
        found.append(descriptors.mind(image, floor=descriptors.variance_floor(image, weight)))
    difference = (found[0] - found[1]).square().mean(1, keepdim=True)
    return float((difference * weight).sum() / weight.sum())
