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
from bidsreg.bids.sidecars import to_json
from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_atomic, write_text
from bidsreg.registration.grid import Grid
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.stacks import mind_distance, translate_volume
from bidsreg.translation.volumes import from_volume, read_scan, to_volume

#: How the name of an image ends.
ENDINGS = ('.nii', '.nii.gz')


def check_names(scan: Path, out: Path, mask: Path | None) -> None:
    """Raise :class:`InputError` where an image cannot be written so, or would take the place of what is read."""
    if not out.name.endswith(ENDINGS):
        raise InputError(f'-o {out}: the name of an image ends in {" or ".join(ENDINGS)}.')
    for path in (scan, mask):
        if path is not None and path.resolve() == out.resolve():
            raise InputError(f'-o {out} is what is read; give another name.')
    if out.is_dir():
        raise InputError(f'-o {out} is a folder.')


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
    write_atomic(out, lambda hidden: _with_header_of(scan, values).to_filename(hidden))
    write_text(sidecar(out), to_json(facts))
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
        'GeneratedBy': [{'Name': 'bidsreg-translate', 'Version': __version__}],
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
