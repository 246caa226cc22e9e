"""The facts of a QC file: everything that is known about one registration, gathered from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image, mask_centre, volume_ml
from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.qc import brain, numbers
from bidsreg.qc.brain import depth_contrast, mask_evidence, mask_tissues, tissue_contrast
from bidsreg.qc.decomposition import decompose, linear_part
from bidsreg.qc.symmetry import CoarseHead
from bidsreg.qc.verdict import Threshold, judge
from bidsreg.registration.itk import read_affine

#: Notes that the steps before the measuring may pass on: texts, lists of texts, which matrix was kept, seconds by step.
NOTES = (
    'mask_method',
    'second_mask_method',
    'moving_mask_method',
    'fixed_lesion_method',
    'moving_lesion_method',
    'prealign_start',
    'linear',
    'fixed_findings',
    'moving_findings',
    'fixed_skull_stripped',
    'moving_skull_stripped',
    'seconds',
)


@dataclass(frozen=True, kw_only=True)
class RegistrationFiles:
    """The files of one registration.

    Attributes
    ----------
    result
        ``result.json`` of ``bidsreg-pair``.
    affine
        Matrix from the fixed world to the moving world (ITK .txt), the linear one that was kept.
    fixed, moving
        The two scans, each on its own grid.
    fixed_mask, moving_mask
        Brain masks on these grids.
    forward
        The transform that is written, fixed to moving (.h5).
    warped
        The registered moving scan on the fixed grid.
    rigid
        The rigid matrix before the affine.
    second_mask
        The brain mask of the fixed scan that is found where the user gave one.
    fixed_lesion, moving_lesion
        Lesions, on the grids of the two scans.
    """

    result: str | Path
    affine: str | Path
    fixed: str | Path
    moving: str | Path
    fixed_mask: str | Path
    moving_mask: str | Path
    forward: str | Path
    warped: str | Path
    rigid: str | Path | None = None
    second_mask: str | Path | None = None
    fixed_lesion: str | Path | None = None
    moving_lesion: str | Path | None = None


def gather_facts(
    files: RegistrationFiles,
    notes: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, Threshold] | None = None,
    contrasts: Contrasts = T2W_TO_T1W,
) -> dict[str, Any]:
    """Measure a registration, merge what the solver says of itself and what the steps before it found, and judge.

    Parameters
    ----------
    files
        The files to measure.
    notes
        Those of :data:`NOTES` that are known; a note that is None is left out.
    thresholds
        As for :func:`bidsreg.qc.verdict.judge`.
    contrasts
        Those of the pair; in small letters they are in the keys of what is known of one scan (``t1w_findings``).

    Returns
    -------
    dict
        ``verdict`` (:func:`bidsreg.qc.verdict.judge`), ``images`` (:func:`bidsreg.qc.numbers.geometry` of each),
        ``overlap``, ``alternatives``, ``contrast`` and ``edge_lncc`` (the functions of these names in
        :mod:`bidsreg.qc.numbers`), ``mask_evidence`` (with what ``mask_tissues`` gives), ``depth_contrast`` and
        ``tissue_contrast`` (those in :mod:`bidsreg.qc.brain`),
        ``masks`` (volumes in ml), ``lesions`` (the same, of each scan that has some), ``affine`` and ``rigid``
        (:func:`matrix_parts`), ``result`` (the content of result.json, without the paths of its inputs), the notes
        (``seconds`` as ``seconds_per_step``), and for other contrasts than T1w and T2w ``contrasts``.

    Raises
    ------
    ValueError
        When a brain mask is empty, no head stands out in the fixed scan, or the transform is damaged.
    """
    fixed_mask, moving_mask = numbers.in_memory(files.fixed_mask), numbers.in_memory(files.moving_mask)
    linear = linear_part(files.forward, fixed_mask)  # first: a field is large, and not needed beside the images
    fixed, moving, warped = (numbers.in_memory(path) for path in (files.fixed, files.moving, files.warped))
    second_mask = None if files.second_mask is None else numbers.in_memory(files.second_mask)
    matrix, notes = read_affine(files.affine), notes or {}
    one, other = contrasts.fixed.lower(), contrasts.moving.lower()
    head = CoarseHead(fixed)
    plane = head.midplane()
    facts = {
        'contrasts': asdict(contrasts) if contrasts.told else None,
        'images': {one: numbers.geometry(load_image(files.fixed)), other: numbers.geometry(load_image(files.moving))},
        'overlap': numbers.overlap(fixed_mask, moving_mask, matrix, warped),
        'alternatives': numbers.alternatives(fixed, fixed_mask, warped, moving, linear, plane),
        'contrast': numbers.contrast(fixed, fixed_mask, warped),
        **_beside_t1w(fixed, fixed_mask, warped, contrasts),
        'mask_evidence': {
            **mask_evidence(fixed, fixed_mask, warped, head, plane, second_mask),
            **_mask_tissues(fixed, fixed_mask, warped, moving, matrix, contrasts),
        },
        'edge_lncc': numbers.edge_lncc(fixed, fixed_mask, moving, matrix, warped),
        'mask_method': notes.get('mask_method'),
        'second_mask_method': notes.get('second_mask_method'),
        'moving_mask_method': notes.get('moving_mask_method'),
        'masks': {f'{one}_ml': mask_volume(files.fixed_mask), f'{other}_ml': mask_volume(files.moving_mask)},
        'lesions': _lesion_volumes(files),
        'fixed_lesion_method': notes.get('fixed_lesion_method'),
        'moving_lesion_method': notes.get('moving_lesion_method'),
        'prealign_start': notes.get('prealign_start'),
        'linear': notes.get('linear'),
        'affine': matrix_parts(files.affine, files.fixed_mask),
        'rigid': None if files.rigid is None else matrix_parts(files.rigid, files.fixed_mask),
        f'{one}_findings': notes.get('fixed_findings'),
        f'{other}_findings': notes.get('moving_findings'),
        f'{one}_skull_stripped': notes.get('fixed_skull_stripped'),
        f'{other}_skull_stripped': notes.get('moving_skull_stripped'),
        'seconds_per_step': notes.get('seconds'),
        'result': read_result(files.result),
    }
    facts = {key: value for key, value in facts.items() if value is not None}
    return {'verdict': judge(facts, thresholds).as_dict(), **facts}


def _beside_t1w(
    fixed: nb.Nifti1Image, mask: nb.Nifti1Image, warped: nb.Nifti1Image, contrasts: Contrasts
) -> dict[str, float | None]:
    """Compare the T1w with the other scan, whichever is fixed; nothing where neither is a T1w."""
    if 'T1w' not in (contrasts.fixed, contrasts.moving):
        return {}
    one, other = (fixed, warped) if contrasts.fixed == 'T1w' else (warped, fixed)
    return {
        'depth_contrast': depth_contrast(one, mask, other),
        'tissue_contrast': tissue_contrast(one, mask, other),
    }


def _mask_tissues(
    fixed: nb.Nifti1Image,
    mask: nb.Nifti1Image,
    warped: nb.Nifti1Image,
    moving: nb.Nifti1Image,
    matrix: np.ndarray,
    contrasts: Contrasts,
) -> dict[str, float | None]:
    """Measure what :func:`bidsreg.qc.brain.mask_tissues` does, where one of the two is a T2w; else nothing."""
    if 'T2w' not in (contrasts.fixed, contrasts.moving):
        return {}
    return mask_tissues(fixed, mask, warped, moving, matrix, t2w_is_fixed=contrasts.fixed == 'T2w')


def _lesion_volumes(files: RegistrationFiles) -> dict[str, float] | None:
    """Return the volume in ml of the lesions of each scan that has some; None where neither has."""
    found = {'fixed': files.fixed_lesion, 'moving': files.moving_lesion}
    return {end: mask_volume(path) for end, path in found.items() if path is not None} or None


def mask_volume(path: str | Path) -> float:
    """Return the volume of a mask's file in ml."""
    mask = load_image(path)
    return volume_ml(np.asanyarray(mask.dataobj) > 0, mask.affine)


def compare_masks(mask: str | Path, second: str | Path) -> dict[str, float]:
    """Return what :func:`bidsreg.qc.brain.compare_masks` does, of files."""
    return brain.compare_masks(load_image(mask), load_image(second))


def matrix_parts(path: str | Path, mask: str | Path) -> dict[str, Any]:
    """Take a matrix apart (:func:`bidsreg.qc.decomposition.decompose`); its translation is that of a mask's centre."""
    return decompose(read_affine(path), mask_centre(load_image(mask)))


def read_result(path: str | Path) -> dict[str, Any]:
    """Read ``result.json`` without the paths of its inputs: files of a working folder mean nothing to later readers."""
    result = json.loads(Path(path).read_text(encoding='utf-8'))
    result.pop('inputs', None)
    return result
