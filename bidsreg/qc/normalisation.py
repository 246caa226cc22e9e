"""Whether a person lies rightly in a template's space: the numbers of a normalisation, and its verdict.

The fixed image is the template, the moving one the person's reference scan. The measures are those of a pair; the
limits are not, for two people differ more than two scans of one head do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.qc import numbers
from bidsreg.qc.brain import dice, mask_evidence
from bidsreg.qc.facts import mask_volume, matrix_parts, read_result
from bidsreg.qc.symmetry import CoarseHead
from bidsreg.qc.thresholds import Threshold, read_thresholds
from bidsreg.qc.values import At, Facts
from bidsreg.qc.verdict import Check, Verdict, judge
from bidsreg.registration.itk import read_affine


@dataclass(frozen=True, kw_only=True)
class NormalisationFiles:
    """The files of one normalisation.

    Attributes
    ----------
    template, template_mask
        The template and its brain mask.
    scan, scan_mask
        The person's reference scan on its own grid, and its brain mask.
    affine, rigid
        Matrices from the template's world to the scan's (ITK .txt).
    warped, warped_mask
        The scan and its mask on the grid of the template.
    result
        ``result.json`` of ``bidsreg-pair``.
    scan_lesion
        Lesions of the scan that were left out, on its grid, where there are some.
    """

    template: str | Path
    template_mask: str | Path
    scan: str | Path
    scan_mask: str | Path
    affine: str | Path
    rigid: str | Path
    warped: str | Path
    warped_mask: str | Path
    result: str | Path
    scan_lesion: str | Path | None = None


def _stretch(facts: Facts, pick: Any) -> float | None:
    stretches = At('affine.stretches')(facts)
    return float(pick(stretches)) if stretches else None


def _edges_gained(facts: Facts) -> float | None:
    """Return by how much the local correlation of edges is higher than after the affine."""
    after, affine = At('edge_lncc.registered')(facts), At('edge_lncc.affine')(facts)
    return None if after is None or affine is None else after - affine


#: The checks of a normalisation by the names they have in the file of thresholds, the most telling ones first.
NORMALISATION_CHECKS: dict[str, Check] = {
    'space_in_view': Check(
        "Template's brain in the view of the scan",
        '',
        At('overlap.brain_in_view.affine'),
        "Only {value} of the template's brain lies in the field of view of the scan: part of the brain was not "
        'scanned, or it lies elsewhere.',
    ),
    'space_with_signal': Check(
        "Template's brain with signal in the scan",
        '',
        At('overlap.brain_with_signal'),
        'The scan shows something in only {value} of the brain in the space of the template: part of it is missing.',
    ),
    'space_mask_affine': Check(
        'Dice of the brain masks after the affine',
        '',
        At('overlap.mask_dice.affine'),
        'The brain masks of template and scan overlap by a Dice of only {value} after the affine: the brains are of '
        'another shape, or the affine does not fit.',
    ),
    'space_mask': Check(
        'Dice of the brain masks after the deformation',
        '',
        At('overlap.mask_dice.registered'),
        'The brain masks of template and scan overlap by a Dice of only {value} in the end.',
    ),
    'space_shift': Check(
        'Information lost by a shift',
        '',
        At('alternatives.shift_margin'),
        'Template and scan agree {how} with the scan {note} (margin {value}): they are not aligned.',
        At('alternatives.best_shift'),
    ),
    'space_turn': Check(
        'Information lost by a turn',
        '',
        At('alternatives.turn_margin'),
        'Template and scan agree {how} with the scan turned by {note} (margin {value}): they are not aligned.',
        At('alternatives.best_turn'),
    ),
    'space_edges': Check(
        'Local correlation of edges',
        '',
        At('edge_lncc.registered'),
        'The edges of template and scan agree by only {value} in the end: the template may be of another kind of '
        'brain, or the alignment has failed.',
    ),
    'space_edges_gained': Check(
        'Local correlation of edges, gained by the deformation',
        '',
        _edges_gained,
        'The deformation has made the edges of template and scan agree by {value} only: it has not found them.',
    ),
    'space_smallest': Check(
        'Smallest stretch of the affine',
        '',
        lambda facts: _stretch(facts, min),
        'Along one direction the scan has {value} of the size of the template: another kind of brain, or a wrong '
        'header.',
    ),
    'space_largest': Check(
        'Largest stretch of the affine',
        '',
        lambda facts: _stretch(facts, max),
        'Along one direction the scan has {value} of the size of the template: another kind of brain, or a wrong '
        'header.',
    ),
    'space_shape': Check(
        'Largest by smallest stretch of the affine',
        '',
        lambda facts: _stretch(facts, lambda values: max(values) / min(values)),
        'The affine stretches one direction {value} times as much as another: half a brain, another kind of brain, or '
        'a wrong header.',
    ),
    'space_halves': Check(
        'Brain mask that its mirror image covers',
        '',
        At('mask_evidence.both_halves'),
        'Only {value} of the brain mask is covered by its mirror image at the middle of the head: it lies to one side, '
        'or a part is missing.',
    ),
    'space_mask_edge': Check(
        'Surface of the brain mask on the edge of the scan',
        '',
        At('mask_evidence.on_grid_edge'),
        'On {value} of its surface the brain mask ends where the scan ends: part of the brain was not scanned.',
    ),
    'space_displacement': Check(
        'Displacement, 95th percentile',
        ' mm',
        At('result.displacement_mm.p95'),
        'The deformation moves the brain by {value} (95th percentile), much for two people.',
    ),
    'space_sdlogj': Check(
        'SD of log Jacobian',
        '',
        At('result.jacobian.sdlogj'),
        'The deformation changes volumes strongly (SD of the log Jacobian {value}): the brains may be of another kind.',
    ),
    'space_folds': Check(
        'Folded voxels',
        ' %',
        At('result.jacobian.folds_percent'),
        'The deformation folds at {value} of the voxels: it is not a diffeomorphism.',
    ),
    'space_inverse': Check(
        'Inverse consistency, 99th percentile',
        ' mm',
        At('result.inverse_consistency_mm.p99'),
        'Forth and back misses the starting point by {value} (99th percentile): do not rely on the inverse.',
    ),
}


def judge_normalisation(facts: Facts, thresholds: Mapping[str, Threshold] | None = None) -> Verdict:
    """Judge a normalisation by the numbers of its QC file.

    Parameters
    ----------
    facts
        Content of its QC file.
    thresholds
        As :func:`bidsreg.qc.verdict.read_thresholds` gives them for normalisations. Default: the package's own.

    Raises
    ------
    ValueError
        When there is no number to judge by.
    """
    limits = read_thresholds(family='normalisation') if thresholds is None else thresholds
    return judge(facts, limits, NORMALISATION_CHECKS)


def gather_normalisation(
    files: NormalisationFiles,
    notes: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, Threshold] | None = None,
) -> dict[str, Any]:
    """Measure a normalisation, merge what the solver says of itself and what is known before, and judge.

    Parameters
    ----------
    files
        The files to measure.
    notes
        What goes into the facts as it is; a note that is None is left out.
    thresholds
        As for :func:`judge_normalisation`.

    Returns
    -------
    dict
        ``verdict``, ``images`` (``template`` and ``scan``, :func:`bidsreg.qc.numbers.geometry`), ``overlap`` and
        ``alternatives`` (the functions of these names in :mod:`bidsreg.qc.numbers`; ``mask_dice`` also after the
        deformation, ``registered``), ``edge_lncc``, ``mask_evidence`` (that of the scan's mask in its own head),
        ``masks`` and ``lesions`` (ml), ``affine`` and ``rigid``, ``result``, and the notes.

    Raises
    ------
    ValueError
        When a brain mask is empty, or no head stands out in the scan.
    """
    template, template_mask, scan, scan_mask, warped, warped_mask = (
        numbers.in_memory(path)
        for path in (
            files.template,
            files.template_mask,
            files.scan,
            files.scan_mask,
            files.warped,
            files.warped_mask,
        )
    )
    matrix = read_affine(files.affine)
    overlap = numbers.overlap(template_mask, scan_mask, matrix, warped)
    overlap['mask_dice']['registered'] = dice(_inside(template_mask), _inside(warped_mask))
    head = CoarseHead(scan)
    evidence = mask_evidence(scan, scan_mask, scan, head, head.midplane())
    plane = CoarseHead(template).midplane()
    facts = {
        **(notes or {}),
        'images': {
            'template': numbers.geometry(load_image(files.template)),
            'scan': numbers.geometry(load_image(files.scan)),
        },
        'overlap': overlap,
        'alternatives': numbers.alternatives(template, template_mask, warped, scan, matrix, plane, one_head=False),
        'edge_lncc': numbers.edge_lncc(template, template_mask, scan, matrix, warped),
        # of one scan alone, its greys around the mask say nothing
        'mask_evidence': {key: evidence[key] for key in ('both_halves', 'width_share', 'on_grid_edge')},
        'masks': {'template_ml': mask_volume(files.template_mask), 'scan_ml': mask_volume(files.scan_mask)},
        'lesions': {'scan_ml': mask_volume(files.scan_lesion)} if files.scan_lesion else None,
        'affine': matrix_parts(files.affine, files.template_mask),
        'rigid': matrix_parts(files.rigid, files.template_mask),
        'result': read_result(files.result),
    }
    facts = {key: value for key, value in facts.items() if value is not None}
    return {'verdict': judge_normalisation(facts, thresholds).as_dict(), **facts}


def _inside(mask: nb.Nifti1Image) -> np.ndarray:
    return np.asanyarray(mask.dataobj) > 0
