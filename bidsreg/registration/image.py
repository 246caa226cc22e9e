"""Images: voxel values on a grid, and how they are loaded, smoothed and sampled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage as ndi

from bidsreg.registration.grid import Grid

Tensor = torch.Tensor
FWHM = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True, eq=False)
class Image:
    """Voxel values on a grid.

    Attributes
    ----------
    data : ndarray, shape (X, Y, Z)
        The values, float32 unless they are labels.
    grid : Grid
        Where they lie.
    """

    data: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.data.shape != self.grid.shape:
            raise ValueError(f'image data of shape {self.data.shape} on a grid of shape {self.grid.shape}')

    @classmethod
    def load(cls, path: str | Path, dtype: type = np.float32) -> Image:
        """Read a three-dimensional NIfTI image.

        Parameters
        ----------
        path : str or Path
            The file; a trailing axis of length one is dropped.
        dtype : type
            Of the values.

        Raises
        ------
        ValueError
            If the file cannot be read whole, is not three-dimensional or holds NaN or infinite values.
        """
        path = Path(path)
        try:
            image: Any = nib.load(path)
            data: np.ndarray = np.asarray(np.asanyarray(image.dataobj), dtype=dtype)
        except FileNotFoundError:
            raise ValueError(f'{path}: there is no such file') from None
        except Exception as error:
            raise ValueError(f'{path}: cannot be read as a NIfTI image ({error}); is it whole?') from error
        if data.ndim == 4 and data.shape[3] == 1:
            data = data[..., 0]
        if data.ndim != 3 or min(data.shape) < 2:
            raise ValueError(f'{path}: a three-dimensional image is needed, this one has shape {data.shape}')
        if not np.isfinite(data).all():
            raise ValueError(
                f'{path}: {int((~np.isfinite(data)).sum())} voxels are NaN or infinite; replace them first'
            )
        x, y, z = data.shape
        return cls(data, Grid((x, y, z), image.affine))

    def save(self, path: str | Path) -> None:
        """Write as NIfTI in mm, with equal qform and sform (code 1: scanner) where the axes are at right angles."""
        image = nib.Nifti1Image(self.data, self.grid.affine)
        image.header.set_xyzt_units('mm', 'sec')
        image.set_sform(self.grid.affine, code=1)
        if self.grid.is_orthogonal():
            image.set_qform(self.grid.affine, code=1)
        nib.save(image, path)

    def smoothed_for(self, spacing: np.ndarray) -> Image:
        """Blur so that sampling at `spacing` mm does not alias.

        The full width at half maximum grows, along each axis, from the image's own voxel size to `spacing`.
        """
        have, want = self.grid.spacing, np.maximum(np.asarray(spacing, dtype=float), self.grid.spacing)
        sigma = np.sqrt(want**2 - have**2) / FWHM / have
        if sigma.max() < 0.1:
            return self
        return Image(ndi.gaussian_filter(self.data, sigma, mode='nearest', truncate=3), self.grid)

    def standardised(self, mask: np.ndarray | None = None) -> Image:
        """Scale to about [0, 1]: the 0.5th to 99.5th percentile within `mask`, so that tolerances mean the same.

        Raises
        ------
        ValueError
            If the values within the mask are constant.
        """
        values = self.data if mask is None else self.data[mask]
        low, high = np.percentile(values, (0.5, 99.5))
        if not high > low:
            raise ValueError('the image is constant inside the mask: there is nothing to align')
        return Image(((self.data - low) / (high - low)).astype(np.float32), self.grid)


def resample(image: Image, grid: Grid, order: int = 1) -> np.ndarray:
    """Values of `image` at the voxels of `grid`; zero outside its field of view. SciPy, slice by slice.

    Parameters
    ----------
    image : Image
        What to sample.
    grid : Grid
        Where.
    order : int
        Of the interpolating spline; 0 is nearest.

    Returns
    -------
    ndarray
        Of the grid's shape.
    """
    matrix = np.linalg.inv(image.grid.affine) @ grid.affine
    return ndi.affine_transform(
        image.data,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=grid.shape,
        order=order,
        mode='constant',
        prefilter=order > 1,
    )


def to_sampler(matrix: np.ndarray, source: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray:
    """Rewrite a voxel-to-voxel matrix for torch's ``grid_sample``.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        From voxel indices of `source` to those of `target`.
    source, target : tuple of int
        The shapes of the two grids.

    Returns
    -------
    ndarray, shape (4, 4)
        The same map between ``grid_sample`` coordinates: axes reversed, [-1, 1] from first to last voxel centre.
    """

    def normalise(shape: tuple[int, ...]) -> np.ndarray:
        half = np.maximum((np.array(shape[::-1]) - 1) / 2, 0.5)
        out = np.eye(4)
        out[:3, :3] = np.diag(1 / half)[:, ::-1]
        out[:3, 3] = -1
        return out

    return normalise(target) @ matrix @ np.linalg.inv(normalise(source))


def identity(shape: tuple[int, ...], device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32) -> Tensor:
    """The identity map in ``grid_sample`` coordinates, shape (1, X, Y, Z, 3)."""
    axes = [torch.linspace(-1, 1, n, device=device, dtype=dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing='ij')[::-1], -1)[None]


def sample(volume: Tensor, at: Tensor, padding: str = 'zeros') -> Tensor:
    """Trilinear values of (1, C, X, Y, Z) at ``grid_sample`` coordinates (1, X', Y', Z', 3), as (1, C, X', Y', Z')."""
    return F.grid_sample(volume, at, padding_mode=padding, align_corners=True)
