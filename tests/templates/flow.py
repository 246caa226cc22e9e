"""Pretended folders of TemplateFlow, and templates of one's own: a small head with TemplateFlow's names."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from tests import data

SHAPE = (36, 44, 36)


def head(seed: int = 3) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Return a small T1w head with its skull, and its brain mask."""
    one = data.head(SHAPE, seed)
    return one.scan, one.mask


def write_template(folder: Path, name: str, cohort: int | None = None, resolutions=(1, 2)) -> Path:
    """Write T1w and brain mask under TemplateFlow's names, the second grid twice as wide; return the folder."""
    image, mask = head()
    place = folder / f'tpl-{name}' / (f'cohort-{cohort}' if cohort else '')
    place.mkdir(parents=True, exist_ok=True)
    start = f'tpl-{name}' + (f'_cohort-{cohort}' if cohort else '')
    for number in resolutions:
        step = slice(None, None, number)
        affine = image.affine @ np.diag([number, number, number, 1])
        for what, suffix in ((image, 'T1w'), (mask, 'desc-brain_mask')):
            data = np.asanyarray(what.dataobj)[step, step, step]
            nib.Nifti1Image(data, affine).to_filename(place / f'{start}_res-{number:02}_{suffix}.nii.gz')
    (folder / f'tpl-{name}' / 'template_description.json').write_text('{"Name": "pretended"}')
    return place
