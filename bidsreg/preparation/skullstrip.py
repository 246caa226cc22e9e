"""Brain masks: the user's own, the voxels of an image that is stripped already, or deepbet's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.environment import for_threads
from bidsreg.errors import InputError
from bidsreg.outcome import MEMORY_ADVICE, killed_error
from bidsreg.preparation.deepbet import NO_BRAIN
from bidsreg.preparation.masks import fit_mask
from bidsreg.stripped import nonzero_mask, stripped_brain


def brain_mask(
    path: str, *, contrast: str = 'T1w', mode: str = 'auto', user_mask: str | None = None, threads: int = 1
) -> tuple[np.ndarray, str]:
    """Find the brain in a scan of a head.

    Works in the current folder, where deepbet leaves its file. deepbet was made for T1w images; it finds the brain in
    other contrasts as well, shown as they are (docs/quality.md, "Without a T1w").

    Parameters
    ----------
    path
        The image, conformed.
    contrast
        Its suffix, for the words of errors.
    mode
        ``skip`` takes the non-zero voxels; ``force`` runs deepbet (Fisch et al. 2024) in a process of its own; ``auto``
        does the one or the other by the rule of :func:`bidsreg.stripped.stripped_brain`.
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
        data = np.asanyarray(image.dataobj)
        brain, why = stripped_brain(data, image.affine)
        if mode == 'skip' or (mode == 'auto' and brain is not None):
            mask = nonzero_mask(data) if brain is None else brain
            method = f'voxels that are not zero, {"as asked for" if mode == "skip" else why}'
        else:
            mask = run_deepbet(path, contrast=contrast, threads=threads)
            method = f'deepbet, {"as asked for" if mode == "force" else why}'
    if not mask.any():
        raise InputError(
            f'No brain was found in {path} ({method}). '
            f'Is it a {contrast} image of a head? If so, give a brain mask of your own.'
        )
    return mask, method


def run_deepbet(path: str, *, contrast: str = 'T1w', threads: int = 1) -> np.ndarray:
    """Run deepbet on an image in a process of its own, so that torch stays out of this one; bool, of its shape.

    `contrast` is the image's suffix, for the words of errors.

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
            f'Is it a {contrast} image of a head? If so, give a brain mask of your own.'
        )
    if done.returncode:
        raise RuntimeError(f'Brain extraction failed (return code {done.returncode}).\n{done.stderr}\n{last}')
    return np.asanyarray(load_image(out_file).dataobj) > 0
