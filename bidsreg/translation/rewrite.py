"""A scan is rewritten in another contrast: on its own grid, with its own header, and a sidecar that says how."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg import __version__
from bidsreg.bids.names import sidecar
from bidsreg.bids.nifti import open_nifti
from bidsreg.bids.sidecars import read_json, to_json
from bidsreg.errors import InputError
from bidsreg.execution.checks import check_writable, is_full
from bidsreg.registration.atomic import write_atomic, write_text
from bidsreg.registration.grid import Grid
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.stacks import mind_distance, translate_volume
from bidsreg.translation.volumes import from_volume, read_scan, to_volume

#: How the name of an image ends.
ENDINGS = ('.nii', '.nii.gz')
PROGRAM = 'bidsreg-translate'


def check_names(scan: Path, out: Path, mask: Path | None) -> None:
    """Raise :class:`InputError` where an image cannot be written so, or would take the place of others' work.

    An earlier translation is replaced, whatever else is there is not, nor what lies beside as its sidecar.
    """
    if not out.name.endswith(ENDINGS):
        raise InputError(f'-o {out}: the name of an image ends in {" or ".join(ENDINGS)}.')
    for path in (scan, mask):
        if path is not None and path.resolve() == out.resolve():
            raise InputError(f'-o {out} is what is read; give another name.')
    if out.is_dir():
        raise InputError(f'-o {out} is a folder.')
    beside = sidecar(out)
    others = [path for path in (out, beside) if path.exists() and not _is_ours(beside)]
    if others:
        raise InputError(f'{others[0]} is there already, and bidsreg-translate did not write it: give another name.')
    check_writable({'output': out.parent})


def _is_ours(beside: Path) -> bool:
    """Tell whether a sidecar says that its image is a translation."""
    made = (read_json(beside) or {}).get('GeneratedBy')
    return isinstance(made, list) and any(isinstance(one, dict) and one.get('Name') == PROGRAM for one in made)


def rewrite_scan(
    model: TranslationModel,
    scan: Path,
    out: Path,
    mask: Path | None = None,
    *,
    bias_correction: str | None = None,
    device: str = 'cpu',
    threads: int = 1,
) -> dict[str, Any]:
    """Translate a scan and write it with its sidecar.

    Parameters
    ----------
    model : TranslationModel
        What to translate with.
    scan, mask : Path
        The scan, and a brain mask of it; without one as for :func:`bidsreg.translation.volumes.read_scan`.
    out : Path
        The image to write: float32 in [0, 1], zero outside of the brain.
    bias_correction : str, optional
        ``n4`` or ``none``; by default what the model was trained with.
    device : str
        A torch device.
    threads : int
        Of deepbet's network.

    Returns
    -------
    dict
        What the sidecar says.

    Raises
    ------
    InputError
        If a file cannot be used, or it is not known where the brain is.
    """
    check_names(scan, out, mask)
    correction = bias_correction or model.bias_correction
    image, inside = read_scan(scan, mask, contrast=model.source, bias_correction=correction, threads=threads)
    volume = to_volume(image, inside, model.spacing, str(scan))
    translated = translate_volume(model, volume, device)
    values = from_volume(translated, volume, image.grid, inside)
    facts = _facts(model, scan, mask, correction, mind_distance(volume, translated), image.grid)

    def fill(hidden: Path) -> None:
        _with_header_of(scan, values).to_filename(hidden)
        # before the image has its name: one without a sidecar would be taken for somebody else's
        write_text(sidecar(out), to_json(facts))

    try:
        write_atomic(out, fill)
    except OSError as error:
        why = 'the disk is full' if is_full(out.parent) else error.strerror or str(error)
        raise InputError(f'{out} cannot be written: {why}.') from error
    return facts


def _with_header_of(scan: Path, values: np.ndarray) -> nb.Nifti1Image:
    """Return values as an image with the place, the codes and the units of a scan."""
    # the header of a file in metres or microns stays what it is: it is the scan's own
    header = open_nifti(scan).header.copy()
    image = nb.Nifti1Image(values, None, header)
    image.header.set_data_dtype(np.float32)
    image.header.set_slope_inter(1, 0)
    for name in ('cal_min', 'cal_max'):
        image.header[name] = 0
    return image


def _facts(
    model: TranslationModel, scan: Path, mask: Path | None, correction: str, distance: float, grid: Grid
) -> dict[str, Any]:
    finest = float(min(grid.spacing))
    coarse = f'; details finer than {model.spacing:g} mm are lost' if finest < model.spacing else ''
    return {
        'Description': f'{model.source} translated into {model.target} by {model.recipe.name}: no measurement{coarse}',
        'Sources': [path.absolute().as_uri() for path in (scan, mask) if path is not None],
        'SkullStripped': True,
        'Units': 'arbitrary',
        'GeneratedBy': [{'Name': PROGRAM, 'Version': __version__}],
        'Model': {
            'Digest': f'sha256:{model.digest}',
            'Method': model.recipe.name,
            'Source': model.source,
            'Target': model.target,
            'SpacingMm': model.spacing,
            'Recipe': dataclasses.asdict(model.recipe),
        },
        'BiasCorrection': correction,
        'MindDistance': distance,
    }
