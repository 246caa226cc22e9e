"""Brain masks: the user's own, the voxels of an image that is stripped already, or deepbet's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image, volume_ml
from bidsreg.environment import for_threads
from bidsreg.errors import InputError
from bidsreg.outcome import MEMORY_ADVICE, killed_error
from bidsreg.preparation.deepbet import NO_BRAIN
from bidsreg.preparation.masks import fit_mask

#: Volumes (ml) between which the non-zero part of a stripped image must lie: wide bounds on a brain, to tell it from a
#: whole head and from a fragment.
PLAUSIBLE_BRAIN_ML = (300.0, 2300.0)
#: What is smaller than this part of the bright voxels is about zero: undershoot and ringing of interpolation, noise.
#: By judgement: above what those leave around the simulated heads of the tests; no stripped scan was in view.
ABOUT_ZERO = 0.03
#: The background of a stripped image is in the median smaller than this part of the bright voxels; a scan's air is not.
#: By judgement, between the simulated heads of the tests, stripped and not.
QUIET = 0.005
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
        A mask of the image; it wins over the mode, after :func:`bidsreg.preparation.masks.fit_mask`.
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
        mask, done = fit_mask(user_mask, image, of=path)
        method = f'mask given by the user: {Path(user_mask).name}' + (f', {done}' if done else '')
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
    command = [sys.executable, '-m', 'bidsreg.preparation.deepbet', path, out_file, '--threads', str(threads)]
    done = subprocess.run(
        command,
        env=for_threads(threads),
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
    """Return the largest region of an image that is not about zero, its holes filled: bool, of the image's shape.

    What noise and interpolation leave around a brain that has been cut out counts as zero (:data:`ABOUT_ZERO`).
    """
    from scipy import ndimage

    data = np.asanyarray(image.dataobj)
    labels, count = ndimage.label(data > ABOUT_ZERO * _brightness(data))
    if count == 0:
        return np.zeros(image.shape, bool)
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(labels == largest)


def _brightness(data: np.ndarray) -> float:
    """Return the size of what is bright in an image: of its non-zero voxels' values the 98th percentile."""
    size = np.abs(data[data != 0])
    return float(np.percentile(size, 98)) if size.size else 0.0


def stripped_already(image: nb.Nifti1Image) -> tuple[bool, str]:
    """Decide whether only the brain is left in an image, and say why.

    Three things must hold: at least a tenth of the voxels are about zero and quieter than the air of a scan, and leave
    hardly any tissue on the outermost voxels of the volume (a head has a neck); what is not zero is one region; and
    that region is as large as a brain and not as a head (:data:`PLAUSIBLE_BRAIN_ML`).
    """
    data = np.asanyarray(image.dataobj)
    bright = _brightness(data)
    tissue = data > ABOUT_ZERO * bright
    if tissue.mean() > 0.9 or np.median(np.abs(data[~tissue])) > QUIET * bright:
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
