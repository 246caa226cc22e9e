"""All numbers about one method on one pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg.benchmark import metrics
from bidsreg.benchmark.cases import read_points
from bidsreg.benchmark.files import read_labels
from bidsreg.benchmark.methods import program_seconds
from bidsreg.registration import itk
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample

#: What the program says of itself that a cell keeps.
KEPT = ('peak_memory_mb', 'peak_gpu_memory_mb', 'device', 'threads', 'stopped', 'iterations', 'versions')


def grid_of(path: str | Path) -> Grid:
    """Return the grid of an image, from its header."""
    image = nb.load(path)
    return Grid(image.shape[:3], image.affine)


def read_deformation(affine: Path | None, forward: Path | None, inverse: Path | None, fixed: Grid) -> Deformation:
    """Read what a method found; without a field, the affine alone (or the identity) on the fixed grid."""
    if forward is not None and inverse is not None:
        return Deformation.load(forward, inverse)
    return Deformation.from_affine(np.eye(4) if affine is None else itk.read_affine(affine), fixed)


def field_measures(found: Deformation, mask: Image) -> dict[str, float]:
    """Measure the field: how it folds and stretches, and how well its inverse fits (see :mod:`.metrics`).

    Parameters
    ----------
    found : Deformation
        Fixed to moving.
    mask : Image
        Brain mask in the fixed world.
    """
    inside = resample(mask, found.grid, order=0) > 0
    return {
        **metrics.jacobian_measures(found.forward, found.grid, inside),
        'inverse_consistency_mm': metrics.inverse_consistency(found, inside),
    }


def label_measures(
    fixed: Image, moving: Image, found: Deformation, labels: Mapping[int, str]
) -> tuple[dict[str, Any], Image]:
    """Measure the overlap and distance of labels, the moving ones brought onto the fixed grid.

    A label that one of the images lacks is NaN; one that the deformation has squeezed out has a Dice coefficient of 0
    and no distance.

    Parameters
    ----------
    fixed, moving : Image
        Label images on their own grids.
    found : Deformation
        Fixed to moving.
    labels : mapping
        Names of those that count, by value.

    Returns
    -------
    measures, moved
        ``dice_mean``, ``hd95_mean`` and ``labels`` (``{value: {'dice', 'hd95'}}``); the moving labels on the fixed
        grid.
    """
    moved = found.apply(moving, fixed.grid, order=0)
    overlap = metrics.dice(fixed.data, moved.data, labels)
    distance = metrics.hd95(fixed.data, moved.data, labels, fixed.grid.spacing)
    in_both = np.intersect1d(np.unique(fixed.data), np.unique(moving.data))
    for label in in_both:
        if label in overlap and np.isnan(overlap[label]):
            overlap[label] = 0.0
    return {
        'dice_mean': _mean(overlap.values()),
        'hd95_mean': _mean(distance.values()),
        'labels': {str(label): {'dice': overlap[label], 'hd95': distance[label]} for label in labels},
    }, moved


def _mean(values) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else metrics.NAN


def evaluate(
    found: Deformation,
    mask: Image,
    *,
    fixed_labels: Image | None,
    moving_labels: Image | None,
    labels: Mapping[int, str],
    points: Path | None,
) -> tuple[dict[str, Any], Image | None]:
    """Measure everything that is known about a pair.

    Returns
    -------
    measures, moved
        Keys of :data:`~bidsreg.benchmark.measures.MEASURES`, and ``labels``; the moving labels on the fixed grid, if
        there are labels.
    """
    out: dict[str, Any] = field_measures(found, mask)
    moved = None
    if fixed_labels is not None and moving_labels is not None:
        measures, moved = label_measures(fixed_labels, moving_labels, found, labels)
        out |= measures
    if points is not None:
        errors = metrics.target_errors(read_points(points), found)
        out |= {'tre_mean': errors['mean'], 'tre_p95': errors['p95']}
    return out, moved


def read_own_facts(result: Path, method: str) -> dict[str, Any]:
    """Read what the program of a method says of itself in its result.json."""
    facts = json.loads(Path(result).read_text(encoding='utf-8'))
    kept = {key: facts[key] for key in KEPT if facts.get(key) is not None}
    return {**kept, 'seconds': program_seconds(method, facts['seconds'])}


def labels_on(path: str | Path | None, image: str | Path) -> Image | None:
    """Read labels onto the grid of their image, whose header was made sane."""
    return None if path is None else Image(read_labels(path), grid_of(image))
