"""Brain masks: the user's own, the voxels of an image that is stripped already, or deepbet's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image, volume_ml
from bidsreg.errors import InputError
from bidsreg.outcome import MEMORY_ADVICE, killed_error
from bidsreg.preparation.deepbet import NO_BRAIN
from bidsreg.preparation.grids import require_same_grid

#: Volumes (ml) between which the non-zero part of a stripped image must lie: wide bounds on a brain, to tell it from a
#: whole head and from a fragment.
PLAUSIBLE_BRAIN_ML = (300.0, 2300.0)
#: The largest part of a volume's outermost voxels that may be non-zero in a stripped image: hardly any.
LARGEST_RIM = 0.02


def brain_mask(
    path: str, *, mode: str = 'auto', user_mask: str | None = None, threads: int = 1
) -> tuple[np.ndarray, str]:
    """Find the brain in a T1w image.

    Works in the current folder, where deepbet leaves its file.

    Parameters
    ----------
    path
        The image, conformed.
    mode
        ``skip`` takes the non-zero voxels; ``force`` runs deepbet (Fisch et al. 2024) in a process of its own; ``auto``
        does the one or the other by the rule of :func:`stripped_already`.
    user_mask
        A mask on the grid of the image; it wins over the mode, after :func:`check_mask`.
    threads
        Threads of deepbet's network.

    Returns
    -------
    mask
        bool, of the image's shape.
    method
        Words that say what was done, and why.

    Raises
    ------
    InputError
        If the user's mask does not fit, or no brain was found.
    """
    image = load_image(path)
    if user_mask is not None:
        mask = check_mask(user_mask, image, of=path)
        method = f'mask given by the user: {Path(user_mask).name}'
    else:
        stripped, why = stripped_already(image)
        if mode == 'skip' or (mode == 'auto' and stripped):
            mask = nonzero_mask(image)
            method = f'voxels that are not zero, {"as asked for" if mode == "skip" else why}'
        else:
            mask = run_deepbet(path, threads=threads)
            method = f'deepbet, {"as asked for" if mode == "force" else why}'
    if not mask.any():
        raise InputError(
            f'No brain was found in {path} ({method}). '
            'Is it a T1w image of a head? If so, give a brain mask of your own.'
        )
    return mask, method


def run_deepbet(path: str, *, threads: int = 1) -> np.ndarray:
    """Run deepbet on an image in a process of its own, so that torch stays out of this one; bool, of its shape.

    Raises
    ------
    InputError
        If it sees no brain.
    ProcessKilledError
        If it is killed by SIGKILL.
    RuntimeError
        If it fails.
    """
    out_file = os.path.abspath('deepbet.nii.gz')
    number = str(threads)
    command = [sys.executable, '-m', 'bidsreg.preparation.deepbet', path, out_file, '--threads', number]
    done = subprocess.run(
        command,
        env={**os.environ, 'OMP_NUM_THREADS': number, 'MKL_NUM_THREADS': number},
        capture_output=True,
        text=True,
        errors='replace',
        check=False,
    )
    if done.returncode < 0:  # there is no shell in between
        advice = f'{MEMORY_ADVICE}, or give a brain mask of your own'
        raise killed_error('Brain extraction', -done.returncode, advice)
    last = (done.stderr.strip().splitlines() or ['no message'])[-1]
    if done.returncode == NO_BRAIN:
        raise InputError(
            f'deepbet found no brain in {path} ({last}). '
            'Is it a T1w image of a head? If so, give a brain mask of your own.'
        )
    if done.returncode:
        raise RuntimeError(f'Brain extraction failed (return code {done.returncode}).\n{done.stderr}\n{last}')
    return np.asanyarray(load_image(out_file).dataobj) > 0


def nonzero_mask(image: nb.Nifti1Image) -> np.ndarray:
    """Return the largest non-zero region of an image, its holes filled: a bool array of the image's shape."""
    from scipy import ndimage

    labels, count = ndimage.label(np.asanyarray(image.dataobj) != 0)
    if count == 0:
        return np.zeros(image.shape, bool)
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(labels == largest)


def stripped_already(image: nb.Nifti1Image) -> tuple[bool, str]:
    """Decide whether only the brain is left in an image, and say why.

    Three things must hold: at least a tenth of the voxels are exactly zero and those leave hardly any tissue on the
    outermost voxels of the volume (a head has a neck, or noise in the air); what is not zero is one region; and that
    region is as large as a brain and not as a head (:data:`PLAUSIBLE_BRAIN_ML`).
    """
    tissue = np.asanyarray(image.dataobj) != 0
    if tissue.mean() > 0.9:
        return False, 'as the background is not zero'
    inner = tissue[1:-1, 1:-1, 1:-1]
    rim = (tissue.sum() - inner.sum()) / (tissue.size - inner.size)
    if rim > LARGEST_RIM:
        return False, f'as tissue reaches the border of the volume ({100 * rim:.0f} % of it)'
    region = nonzero_mask(image)
    if (region & tissue).sum() < 0.95 * tissue.sum():
        return False, 'as what is not zero lies in several places'
    volume = volume_ml(region, image.affine)
    low, high = PLAUSIBLE_BRAIN_ML
    if not low <= volume <= high:
        return False, f'as what is not zero has {volume:.0f} ml, which is no brain alone'
    return True, f'as the image is stripped already (zero around one region of {volume:.0f} ml)'


def check_mask(path: str, image: nb.Nifti1Image, *, of: str) -> np.ndarray:
    """Read a mask and check that it fits an image.

    Parameters
    ----------
    path
        The mask's file.
    image, of
        The image it belongs to, and that image's file name for the message.

    Returns
    -------
    numpy.ndarray
        bool, of the image's shape.

    Raises
    ------
    InputError
        If it cannot be read, is on another grid, has more than two values, or is empty.
    """
    try:
        mask = load_image(path)
        data = np.asanyarray(mask.dataobj)
    except Exception as error:
        raise InputError(f'Brain mask {path} cannot be read: {error}') from error
    if data.ndim > 3 and data.shape[3:] == (1,) * (data.ndim - 3):
        data = data.reshape(data.shape[:3])
        mask = nb.Nifti1Image(data, mask.affine)
    if data.ndim != 3:
        raise InputError(f'Brain mask {path} has {data.ndim} dimensions; a mask has 3.')
    require_same_grid(mask, image, what='Brain mask', path=path, of=of)
    values = np.unique(data)
    if not values.any():
        raise InputError(f'Brain mask {path} is empty: all its voxels are zero.')
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        shown = ', '.join(f'{value:g}' for value in values[:4])
        raise InputError(
            f'Brain mask {path} is not binary: it holds {len(values)} values ({shown}, ...); give zeros and ones.'
        )
    return data != 0
