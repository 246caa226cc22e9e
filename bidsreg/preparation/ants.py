"""The one door to ANTsPy: deterministic, and with headers that we convert ourselves.

ANTsPy's own reading of NIfTI headers has changed between versions; images are handed over as arrays with the origin,
spacing and direction worked out here, so that what ANTs sees is what nibabel sees.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nibabel as nb
import numpy as np


def load_ants() -> Any:
    """Import ANTsPy with one ITK thread, which its results need to be reproducible.

    ITK reads the variable when it first starts a filter, so it is set before the import. A process that has already
    used ANTsPy with more threads keeps them: results then differ in the last digits from run to run.
    """
    os.environ['ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS'] = '1'
    import ants

    return ants


@contextmanager
def no_files_left() -> Iterator[None]:
    """Give what ANTsPy writes on the way a folder that is removed in the end: some of its functions leave files."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix='bidsreg-ants-') as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def to_ants(image: nb.Nifti1Image, *, binary: bool = False) -> Any:
    """Turn a 3-D nibabel image with orthogonal axes into an ANTsImage (float, or uint8 if ``binary``)."""
    ants = load_ants()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    data = np.asanyarray(image.dataobj)
    data = (data > 0).astype('uint8') if binary else data.astype('float32')
    return ants.from_numpy(data, origin=lps[:3, 3].tolist(), spacing=spacing.tolist(), direction=lps[:3, :3] / spacing)


def new_image(data: np.ndarray, like: nb.Nifti1Image) -> nb.Nifti1Image:
    """Return ``data`` as a NIfTI image on the grid of ``like``: qform and sform equal, both with code 1, units mm."""
    image = nb.Nifti1Image(data, like.affine)
    image.header.set_xyzt_units('mm')
    image.set_qform(like.affine, code=1)
    image.set_sform(like.affine, code=1)
    return image
