"""A matrix between two images in the formats of FSL and FreeSurfer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import nibabel as nb
import numpy as np


def _fsl(matrix: np.ndarray, fixed: nb.Nifti1Image, moving: nb.Nifti1Image) -> str:
    from nitransforms.io.fsl import FSLLinearTransform

    return FSLLinearTransform.from_ras(matrix, moving=moving, reference=fixed).to_string()


def _lta(matrix: np.ndarray, fixed: nb.Nifti1Image, moving: nb.Nifti1Image) -> str:
    from nitransforms.io.lta import FSLinearTransform

    # nitransforms names the image of the points the source; to FreeSurfer it is that which is brought to the other
    return FSLinearTransform.from_ras(matrix, moving=fixed, reference=moving).to_string()


#: Writers by the names that ``--affine-formats`` takes: text for a matrix, the fixed and the moving image.
WRITERS: Mapping[str, Callable[[np.ndarray, nb.Nifti1Image, nb.Nifti1Image], str]] = {'fsl': _fsl, 'lta': _lta}


def write_matrix(
    path: str | os.PathLike, matrix: np.ndarray, fixed: nb.Nifti1Image, moving: nb.Nifti1Image, name: str
) -> None:
    """Write a matrix for another program.

    Parameters
    ----------
    path
        The file.
    matrix
        4x4, fixed world to moving world, mm, RAS+.
    fixed, moving
        The two images: FSL's matrices depend on their grids, and FreeSurfer's tell them.
    name
        ``fsl``: what ``flirt -applyxfm`` brings the moving onto the fixed image with. ``lta``: the same for
        ``mri_vol2vol``, world to world, the moving image as source.
    """
    with open(path, 'w', encoding='utf-8') as file:
        file.write(WRITERS[name](matrix, fixed, moving).rstrip('\n') + '\n')
