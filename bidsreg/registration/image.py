"""Images: voxel values on a grid, and how they are loaded, smoothed and sampled."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np

from bidsreg.registration import packing
from bidsreg.registration.grid import Grid
from bidsreg.registration.integrity import DamagedError, check_size, content_size

FWHM = 2 * np.sqrt(2 * np.log(2))
LEAST_SIGMA = 0.1
"""Voxels: a narrower Gaussian would change nothing."""
PLACE_MM = 1e-3
"""mm: the place of a voxel is not known better, as headers hold 32 bits of that of one corner."""


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
            The file; axes of length one at the end are dropped.
        dtype : type
            Of the values.

        Raises
        ------
        ValueError
            If the file cannot be read whole, fails its checksum, is longer or shorter than its header says, is not
            three-dimensional, has no affine that can be inverted, or holds colours, complex numbers, NaN or infinite
            values.
        """
        path = Path(path)
        try:
            size = content_size(path)
            image: Any = nib.load(path)
            if isinstance(image, nib.Nifti1Image):
                check_size(size, cast(nib.arrayproxy.ArrayProxy, image.dataobj))
            data: np.ndarray = np.asanyarray(image.dataobj)
        except FileNotFoundError:
            raise ValueError(f'{path}: there is no such file') from None
        except DamagedError as error:
            raise ValueError(f'{path}: {error}') from error
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(f'{path}: cannot be read as a NIfTI image ({error}); is it whole?') from error
        return cls.of(data, image.affine, path, dtype)

    @classmethod
    def of(cls, voxels: np.ndarray, affine: np.ndarray, path: str | Path, dtype: type = np.float32) -> Image:
        """Make an image of what a file holds.

        Parameters
        ----------
        voxels : ndarray
            The values; axes of length one at the end are dropped.
        affine : ndarray, shape (4, 4)
            Voxel indices to world coordinates in mm, RAS+.
        path : str or Path
            The file, for messages.
        dtype : type
            Of the values.

        Raises
        ------
        ValueError
            If it is not three-dimensional, has no volume, or holds NaN, infinite values or no numbers.
        """
        if voxels.dtype.kind not in 'biuf':
            raise ValueError(f'{path}: holds {voxels.dtype}, one number a voxel is needed')
        with np.errstate(over='ignore'):  # infinite values are refused below
            data: np.ndarray = np.asarray(voxels, dtype=dtype)
        while data.ndim > 3 and data.shape[-1] == 1:
            data = data[..., 0]
        if data.ndim != 3 or min(data.shape) < 2:
            raise ValueError(f'{path}: a three-dimensional image is needed, this one has shape {data.shape}')
        if not np.isfinite(data).all():
            raise ValueError(
                f'{path}: {int((~np.isfinite(data)).sum())} voxels are NaN or infinite; replace them first'
            )
        x, y, z = data.shape
        try:
            grid = Grid((x, y, z), affine)
        except ValueError as error:
            raise ValueError(f'{path}: its header places no voxels: {error}') from error
        return cls(data, grid)

    def save(self, path: str | Path, threads: int = 1) -> None:
        """Write as NIfTI in mm, with equal qform and sform (code 1: scanner) where the axes are at right angles.

        Parameters
        ----------
        path : str or Path
            The file, ``.nii`` or ``.nii.gz``.
        threads : int
            How many pack the latter; the file does not depend on it.
        """
        image = nib.Nifti1Image(self.data, self.grid.affine)
        image.header.set_xyzt_units('mm', 'sec')
        image.set_sform(self.grid.affine, code=1)
        if self.grid.is_orthogonal():
            image.set_qform(self.grid.affine, code=1)
        if not str(path).endswith('.nii.gz'):
            nib.save(image, path)
            return
        stream = io.BytesIO()
        image.to_stream(stream)
        with open(path, 'wb') as file:
            strategy = packing.FLOATS if self.data.dtype.kind == 'f' else zlib.Z_DEFAULT_STRATEGY
            file.writelines(packing.gzipped(stream.getbuffer(), threads, strategy))

    def canonical(self) -> Image:
        """Return the same voxels in the order that is closest to RAS+; none is interpolated.

        The first voxel's place is rounded to `PLACE_MM`: an optimiser takes the same path, bit for bit, however the
        scan was stored.
        """
        order = nib.io_orientation(self.grid.affine)
        turned = nib.orientations.apply_orientation(self.data, order)
        affine = self.grid.affine @ nib.orientations.inv_ornt_aff(order, self.grid.shape)
        affine[:3, 3] = np.round(affine[:3, 3] / PLACE_MM) * PLACE_MM
        return Image(np.ascontiguousarray(turned), Grid(turned.shape, affine))

    def smoothed_for(self, spacing: np.ndarray) -> Image:
        """Blur so that sampling at `spacing` mm does not alias.

        The full width at half maximum grows, along each axis, from the image's own voxel size to `spacing`.
        """
        sigma = smoothing_sigma(self.grid, spacing)
        if sigma is None:
            return self
        # not before it is needed: it takes a fifth of a second
        from scipy import ndimage as ndi

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


def smoothing_sigma(grid: Grid, spacing: np.ndarray) -> np.ndarray | None:
    """Return the Gaussian that blurs an image for a coarser grid, or None where that is next to nothing.

    Parameters
    ----------
    grid : Grid
        Of the image.
    spacing : ndarray, shape (3,)
        Voxel size in mm of the coarser grid, along the image's own axes.

    Returns
    -------
    ndarray, shape (3,)
        Standard deviations in voxels of `grid`: the full width at half maximum grows from its voxel size to `spacing`.
    """
    have, want = grid.spacing, np.maximum(np.asarray(spacing, dtype=float), grid.spacing)
    sigma = np.sqrt(want**2 - have**2) / FWHM / have
    return None if sigma.max() < LEAST_SIGMA else sigma


def resample(image: Image, grid: Grid, order: int = 1) -> np.ndarray:
    """Return values of `image` at the voxels of `grid`; zero outside its field of view. SciPy, slice by slice.

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
    from scipy import ndimage as ndi

    return ndi.affine_transform(
        image.data,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=grid.shape,
        order=order,
        mode='constant',
        prefilter=order > 1,
    )
