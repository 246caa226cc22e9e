"""Volumes: images as the solver works on them, on the device it works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, smoothing_sigma
from bidsreg.registration.numerics import volumes

Tensor = torch.Tensor
LEAST_SPREAD = 0.1
"""The least interquartile range that intensities are compressed by: a narrower one is that of a flat image's noise."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxel values on a grid, as a tensor.

    Attributes
    ----------
    data : Tensor, shape (X, Y, Z), float32
        The values.
    grid : Grid
        Where they lie.
    """

    data: Tensor
    grid: Grid

    @classmethod
    def of(cls, image: Image | Volume, device: torch.device | str | None = None) -> Volume:
        """Return an image on a device, by default where it is: an image in the computer's memory, a volume as it is."""
        data = image.data
        if isinstance(data, np.ndarray):
            data = torch.from_numpy(np.require(data, np.float32, ['C', 'W']))
        return cls(data if device is None else data.to(device), image.grid)

    def image(self) -> Image:
        """Return it as an image, in the computer's memory."""
        return Image(self.data.cpu().numpy(), self.grid)

    def resampled(self, grid: Grid, order: int = 1) -> Tensor:
        """Return its values at the voxels of a grid, zero outside its own; trilinear, or nearest for `order` 0."""
        matrix = np.linalg.inv(self.grid.affine) @ grid.affine
        return volumes.resampled(self.data, matrix, grid.shape, order)

    def smoothed_for(self, spacing: np.ndarray) -> Volume:
        """Blur so that sampling at `spacing` mm does not alias; see `Image.smoothed_for`."""
        sigma = smoothing_sigma(self.grid, spacing)
        return self if sigma is None else Volume(volumes.blurred(self.data, sigma), self.grid)

    def dilated(self, mm: float) -> Volume:
        """Return where it is above zero within `mm` mm, 0 or 1."""
        return Volume(volumes.dilated(self.data, mm, self.grid.spacing), self.grid)

    def binary(self) -> Volume:
        """Return where it is above zero, 0 or 1."""
        return Volume((self.data > 0).float(), self.grid)

    def cropped(self, start: np.ndarray, stop: np.ndarray) -> Volume:
        """Return the voxels from `start` up to `stop`, both (3,) and within its grid."""
        x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return Volume(self.data[x, y, z].contiguous(), self.grid.cropped(start, stop))

    def standardised(self, mask: Volume | None = None) -> Volume:
        """Scale to about [0, 1]; see `Image.standardised`.

        Raises
        ------
        ValueError
            If the values within the mask are constant.
        """
        values = self.data if mask is None else self.data[mask.data > 0]
        low, high = volumes.percentiles(values, (0.5, 99.5))
        if not high > low:
            raise ValueError('the image is constant inside the mask: there is nothing to align')
        return Volume((self.data - low) / (high - low), self.grid)

    def compressed(self, mask: Volume, strength: float) -> Volume:
        """Compress intensities far from the median of those within a mask.

        Parameters
        ----------
        mask : Volume
            Above zero where the median and the quartiles are taken.
        strength : float
            Above 0: values become asinh(`strength` times their distance from the median in interquartile ranges); a
            range below `LEAST_SPREAD` (of a standardised volume) is taken for that.
        """
        low, middle, high = volumes.percentiles(self.data[mask.data > 0], (25, 50, 75))
        spread = max(high - low, LEAST_SPREAD)
        return Volume(torch.asinh((self.data - middle) * (strength / spread)), self.grid)
