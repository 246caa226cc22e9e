"""The T1w image of MP2RAGE, ``UNIT1``, without the noise that its air is full of."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import head_of
from bidsreg.errors import InputError
from bidsreg.preparation.ants import new_image

#: Values of a UNIT1 as scanners write it, from -1/2 to 1/2.
FULL_RANGE = 4095.0
#: The noise level is this many times the mean of the second inversion image in the air (O'Brien et al. 2014).
NOISE_FACTOR = 6.0
#: Voxels of room that growing and closing need around a head.
REACH = 5
#: Side in voxels of the cubes in which a UNIT1 is called rough or smooth.
CUBE = 5
#: Air is where it is rougher than this part of its roughest tenth, which is air. On the example head with voxels of
#: 1 to 5 mm air has .84 of it at least, and a brain .71 at most; no MP2RAGE scan was in view.
NOISY = 0.78
#: A UNIT1 whose roughest tenth is smoother than this has no noise in its air: pure noise has .29 to .35.
QUIET = 0.15
#: Where so many of the voxels have the smallest value (or hardly more), the air is dark already: of noise 3 % have it.
DARK = 0.15
#: A head is no smaller, ml.
SMALLEST_HEAD_ML = 300.0


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

    Raises
    ------
    InputError
        If no head is left when the air is taken away.
    """
    ratio = _as_ratio(np.asanyarray(uni.dataobj))
    if len(inversions) == 2 and all(image.shape == uni.shape for image in inversions):
        first, second = (np.abs(np.asanyarray(image.dataobj)).astype(np.float32) for image in inversions)
        cleaned = _robust_ratio(ratio, first, second, nb.affines.voxel_sizes(uni.affine))
        return _image(cleaned, uni), 'a UNIT1: the noise of its air was outweighed with both inversion images'
    air = _air(ratio)
    if not air.any():
        return _image(ratio, uni), 'a UNIT1: there was no noise in its air'
    left = float((~air).sum() * abs(np.linalg.det(uni.affine[:3, :3])) / 1000)
    if left < SMALLEST_HEAD_ML:
        raise InputError(
            f'The head in the UNIT1 cannot be told from the noise around it ({left:.0f} ml are no noise). Put the '
            'images of its two inversions (inv-1 and inv-2, MP2RAGE) beside it, or a T1w without the noise.'
        )
    cleaned = np.where(air, -0.5, ratio)
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


def _robust_ratio(ratio: np.ndarray, first: np.ndarray, second: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Form the ratio of the two inversions with a constant that outweighs what the air has of both."""
    air = ~head_of(second, spacing)
    noise = NOISE_FACTOR * float(second[air].mean()) if air.any() else 0.0
    constant = max(noise**2, 1e-6)
    signed = np.where(ratio < 0, -first, first)
    return (signed * second - constant) / (signed**2 + second**2 + 2 * constant)


def _air(ratio: np.ndarray) -> np.ndarray:
    """Return where the image is noise: outside the largest smooth region, its holes filled; nowhere without noise."""
    from scipy import ndimage

    rough = _roughness(ratio)
    most = float(np.percentile(rough, 90))
    labels, count = ndimage.label(ndimage.binary_opening(rough < NOISY * most))
    dark = float((ratio < ratio.min() + 0.002).mean())
    if most < QUIET or dark > DARK or count == 0:
        return np.zeros(ratio.shape, bool)
    largest = np.pad(labels == np.bincount(labels.ravel())[1:].argmax() + 1, REACH)
    # thin parts of the head are seen with the noise on both sides of them
    cube = np.ones((3, 3, 3), bool)
    head = ndimage.binary_closing(ndimage.binary_dilation(largest, cube), cube, iterations=2)
    inner = tuple(slice(REACH, -REACH) for _ in range(3))
    return ~ndimage.binary_fill_holes(head)[inner]


def _roughness(ratio: np.ndarray) -> np.ndarray:
    """Return how much neighbours differ in the cube around each voxel, as a standard deviation of noise would be.

    Unlike the spread of the values it is small where tissues lie side by side: noise differs from voxel to voxel,
    tissue from one fold to the next.
    """
    from scipy import ndimage

    steps = [np.diff(ratio, axis=axis, append=np.take(ratio, [-1], axis)) ** 2 for axis in range(3)]
    return np.sqrt(ndimage.uniform_filter(sum(steps) / 6, CUBE))
