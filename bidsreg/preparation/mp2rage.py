"""The T1w image of MP2RAGE, ``UNIT1``, without the noise that its air is full of."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import head_of
from bidsreg.preparation.ants import new_image

#: Values of a UNIT1 as scanners write it, from -1/2 to 1/2.
FULL_RANGE = 4095.0
#: The noise level is this many times the mean of the second inversion image in the air (O'Brien et al. 2014).
NOISE_FACTOR = 6.0
#: Voxels of room that growing and closing need around a head.
REACH = 5
#: Where a cube of five voxels varies by more than this part of the range, a UNIT1 shows air: there it is noise, whose
#: ratio varies by .35. By judgement, on the simulated head of the tests; no MP2RAGE scan was in view.
NOISY = 0.12


def clean_uni(uni: nb.Nifti1Image, inversions: Sequence[nb.Nifti1Image] = ()) -> tuple[nb.Nifti1Image, str]:
    """Remove the noise from the air of a ``UNIT1`` image.

    With the magnitude images of both inversions the ratio is formed again with a constant that outweighs the noise
    (O'Brien et al. 2014, PLoS ONE 9:e99676): (I1 I2 - b) / (I1^2 + I2^2 + 2 b), where the sign of I1 is that of the
    ratio. Without them the air is set to zero: where the image varies as noise does.

    Parameters
    ----------
    uni
        The image, of 0 to 4095, or of -1/2 to 1/2.
    inversions
        Its two inversion images, on its grid; none where they are not there.

    Returns
    -------
    image, words
        The image, float32, 0 to 4095 and about zero in the air; and what was done.
    """
    ratio = _as_ratio(np.asanyarray(uni.dataobj))
    if len(inversions) == 2 and all(image.shape == uni.shape for image in inversions):
        first, second = (np.abs(np.asanyarray(image.dataobj)).astype(np.float32) for image in inversions)
        cleaned = _robust_ratio(ratio, first, second)
        return _image(cleaned, uni), 'a UNIT1: the noise of its air was outweighed with both inversion images'
    cleaned = np.where(_air(ratio), -0.5, ratio)
    return _image(cleaned, uni), 'a UNIT1: its air, told by its noise, was set to zero'


def _image(ratio: np.ndarray, like: nb.Nifti1Image) -> nb.Nifti1Image:
    return new_image(((ratio + 0.5) * FULL_RANGE).astype(np.float32), like)


def _as_ratio(data: np.ndarray) -> np.ndarray:
    """Return the values as ratios, -1/2 to 1/2."""
    values = data.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if low >= -0.51 and high <= 0.51:
        return values
    return np.clip(values / max(high, FULL_RANGE if high > 100 else high) - 0.5, -0.5, 0.5)


def _robust_ratio(ratio: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Form the ratio of the two inversions with a constant that outweighs what the air has of both."""
    air = ~head_of(second)
    noise = NOISE_FACTOR * float(second[air].mean()) if air.any() else 0.0
    constant = max(noise**2, 1e-6)
    signed = np.where(ratio < 0, -first, first)
    return (signed * second - constant) / (signed**2 + second**2 + 2 * constant)


def _air(ratio: np.ndarray) -> np.ndarray:
    """Return where the image is noise: outside the largest region that varies little, its holes filled."""
    from scipy import ndimage

    mean = ndimage.uniform_filter(ratio, 5)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(ratio**2, 5) - mean**2, 0))
    quiet = ndimage.binary_opening(spread < NOISY)
    labels, count = ndimage.label(quiet)
    if count == 0:
        return np.zeros(ratio.shape, bool)
    largest = np.pad(labels == np.bincount(labels.ravel())[1:].argmax() + 1, REACH)
    # the spread sees an edge two voxels before it comes, and thin parts of the head from both sides
    cube = np.ones((3, 3, 3), bool)
    head = ndimage.binary_closing(ndimage.binary_dilation(largest, cube, iterations=2), cube, iterations=2)
    inner = tuple(slice(REACH, -REACH) for _ in range(3))
    return ~ndimage.binary_fill_holes(head)[inner]
