"""Where the brain is: the user's mask, an image that is stripped already, or deepbet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from bidsreg.errors import InputError
from bidsreg.interfaces._ants import new_image
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, require_same_grid, stem

#: Volumes (ml) between which the non-zero part of a stripped image must lie. A head with neck has 3000 ml and more.
PLAUSIBLE_BRAIN_ML = (300.0, 2300.0)
#: The largest part of a volume's outermost voxels that may be non-zero in a stripped image.
LARGEST_RIM = 0.02


class _BrainMaskInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='T1w image, conformed')
    mode = traits.Enum(
        'auto', 'force', 'skip', usedefault=True, desc='auto: leave an image alone that is stripped already'
    )
    user_mask = File(exists=True, desc='a brain mask on the grid of the image; it is taken, whatever the mode')
    num_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='threads of the network')
    use_gpu = traits.Bool(False, usedefault=True, desc='run the network on the first GPU')


class _BrainMaskOutputSpec(StepOutputSpec):
    out_mask = File(desc='brain mask, uint8, on the grid of the image')
    method = traits.Str(desc='what was done, and why')
    volume_ml = traits.Float(desc='volume of the mask in ml')


class BrainMask(Step):
    """Find the brain in a T1w image.

    A user's own mask wins, after a check (same grid, two values, not empty). ``skip`` takes the non-zero voxels;
    ``force`` runs deepbet (Fisch et al. 2024) in a process of its own; ``auto`` does the one or the other by the rule
    of :func:`stripped_already`.

    Raises
    ------
    bidsreg.errors.InputError
        If the user's mask does not fit, or no brain was found.
    """

    input_spec = _BrainMaskInputSpec
    output_spec = _BrainMaskOutputSpec

    def _compute(self, runtime):
        image = nb.load(self.inputs.in_file)
        if isdefined(self.inputs.user_mask):
            mask = check_mask(self.inputs.user_mask, image, of=self.inputs.in_file)
            method = f'mask given by the user: {Path(self.inputs.user_mask).name}'
        else:
            stripped, why = stripped_already(image)
            if self.inputs.mode == 'skip' or (self.inputs.mode == 'auto' and stripped):
                mask = nonzero_mask(image)
                method = f'voxels that are not zero, {"as asked for" if self.inputs.mode == "skip" else why}'
            else:
                mask = self._run_deepbet(runtime)
                method = f'deepbet, {"as asked for" if self.inputs.mode == "force" else why}'
        if not mask.any():
            raise InputError(
                f'No brain was found in {self.inputs.in_file} ({method}). '
                'Is it a T1w image of a head? If so, give a brain mask of your own.'
            )
        self._results['method'] = method
        self._results['volume_ml'] = volume_ml(mask, image)
        self._results['out_mask'] = os.path.join(runtime.cwd, f'{stem(self.inputs.in_file)}_mask.nii.gz')
        new_image(mask.astype('uint8'), image).to_filename(self._results['out_mask'])

    def _run_deepbet(self, runtime) -> np.ndarray:
        out_file = os.path.join(runtime.cwd, 'deepbet.nii.gz')
        threads = str(self.inputs.num_threads)
        command = [sys.executable, '-m', 'bidsreg.interfaces._deepbet', self.inputs.in_file, out_file]
        command += ['--threads', threads] + (['--gpu'] if self.inputs.use_gpu else [])
        done = subprocess.run(
            command,
            env={**os.environ, 'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads},
            capture_output=True,
            text=True,
            errors='replace',
            check=False,
        )
        if done.returncode < 0:
            raise RuntimeError(
                f'Brain extraction was killed by signal {-done.returncode}; it needs about 2 GB of memory. '
                'Give more with --mem and fewer processes at once, or give a brain mask of your own.'
            )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ['no message'])[-1]
            if 'bounding box' in last or 'argmax' in last:  # deepbet's words for "nothing here looks like a brain"
                raise InputError(
                    f'deepbet found no brain in {self.inputs.in_file} ({last}). '
                    'Is it a T1w image of a head? If so, give a brain mask of your own.'
                )
            raise RuntimeError(f'Brain extraction failed (return code {done.returncode}).\n{done.stderr}\n{last}')
        return np.asanyarray(nb.load(out_file).dataobj) > 0


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
    volume = volume_ml(region, image)
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
        mask = nb.load(path)
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


def volume_ml(mask: np.ndarray, image: nb.Nifti1Image) -> float:
    """Return the volume of a mask on an image's grid, in ml."""
    return round(float(mask.sum() * abs(np.linalg.det(image.affine[:3, :3])) / 1000), 2)
