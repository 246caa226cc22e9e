"""One method on one pair: read what it found, have it judged, and write the numbers (a cell of the table) as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg.benchmark.files import PathLike, read_labels, read_points, write_json
from bidsreg.benchmark.judge import evaluate
from bidsreg.benchmark.methods import program_seconds
from bidsreg.registration import itk
from bidsreg.registration.atomic import write_atomic
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image

#: What a cell keeps of what the program's result.json says.
KEPT = ('peak_memory_mb', 'peak_gpu_memory_mb', 'device', 'threads', 'events', 'iterations', 'versions')


def judge_cell(
    *,
    cell: PathLike,
    method: str,
    fixed: PathLike,
    fixed_mask: PathLike,
    moving: PathLike,
    affine: PathLike | None = None,
    forward: PathLike | None = None,
    inverse: PathLike | None = None,
    result: PathLike | None = None,
    method_seconds: float | None = None,
    method_cpu_seconds: float | None = None,
    fixed_labels: PathLike | None = None,
    moving_labels: PathLike | None = None,
    labels: Mapping[str, str] | None = None,
    points: PathLike | None = None,
    facts: Mapping[str, Any] | None = None,
    translation: Mapping[str, float] | None = None,
    example: PathLike | None = None,
) -> None:
    """Judge what a method found for a pair, and write all numbers about it.

    Parameters
    ----------
    cell : path
        JSON file to write.
    method : str
        The method's name.
    fixed, fixed_mask, moving : path
        The images as every method got them, and the brain mask of the fixed one.
    affine : path, optional
        The prealignment; the identity without it.
    forward, inverse : path, optional
        Composite transforms of the method; without them the affine alone is judged.
    result : path, optional
        The method's result.json.
    method_seconds, method_cpu_seconds : float, optional
        Seconds of the method's whole process, by the clock and of the CPUs.
    fixed_labels, moving_labels : path, optional
        Label images on the grids of the images.
    labels : mapping, optional
        Names of the labels that count, by value (as text).
    points : path, optional
        Table of places that are the same.
    facts : mapping, optional
        What else goes into the cell.
    translation : mapping, optional
        What :class:`bidsreg.benchmark.translating.Translate` tells, where the moving image was translated: its time is
        part of the method's.
    example : path, optional
        Where to leave the image of the panel; labels go beside it.
    """
    grid = grid_of(fixed)
    found = read_deformation(affine, forward, inverse, grid)
    measures, moved = evaluate(
        found,
        Image.load(Path(fixed_mask)),
        fixed_labels=labels_on(fixed_labels, fixed),
        moving_labels=labels_on(moving_labels, moving),
        labels={int(value): name for value, name in (labels or {}).items()},
        points=None if points is None else read_points(points),
    )
    if example is not None:
        write_example(example, found.apply(Image.load(Path(moving)), grid), moved)
    own: dict[str, Any] = {}
    if result is not None:
        own = read_own_facts(result, method)
        own |= {'seconds_total': method_seconds, 'cpu_seconds': method_cpu_seconds}
    if translation is not None:
        own |= with_translation(own, translation)
    write_json(Path(cell), {**(facts or {}), 'status': 'done', **measures, **own})


def with_translation(own: Mapping[str, Any], translation: Mapping[str, float]) -> dict[str, Any]:
    """Return what is known of a translation, and the seconds of a method with those of its translation."""
    added = {'seconds': 'translation_seconds', 'cpu_seconds': 'translation_cpu_seconds'}
    return dict(translation) | {key: own[key] + translation[part] for key, part in added.items() if own.get(key)}


def write_example(path: PathLike, warped: Image, labels: Image | None) -> None:
    """Leave the warped image of the panel and, beside it as ``dseg``, labels brought along where there are some."""
    path = Path(path)
    for image, name in ((warped, path.name), (labels, f'{path.name.rpartition("_")[0]}_dseg.nii.gz')):
        if image is not None:
            write_atomic(path.with_name(name), image.save)


def grid_of(path: PathLike) -> Grid:
    """Return the grid of an image, from its header."""
    image: Any = nb.load(path)
    return Grid(image.shape[:3], image.affine)


def read_deformation(
    affine: PathLike | None, forward: PathLike | None, inverse: PathLike | None, fixed: Grid
) -> Deformation:
    """Read what a method found; without a field, the affine alone (or the identity) on the fixed grid."""
    if forward is not None and inverse is not None:
        return Deformation.load(Path(forward), Path(inverse))
    return Deformation.from_affine(np.eye(4) if affine is None else itk.read_affine(Path(affine)), fixed)


def read_own_facts(result: PathLike, method: str) -> dict[str, Any]:
    """Read what the program of a method says of itself in its result.json."""
    facts = json.loads(Path(result).read_text(encoding='utf-8'))
    kept = {key: facts[key] for key in KEPT if facts.get(key) is not None}
    return {**kept, 'seconds': program_seconds(method, facts['seconds'])}


def labels_on(path: PathLike | None, image: PathLike) -> Image | None:
    """Read labels onto the grid of their image, whose header was made sane; None where there are none."""
    return None if path is None else Image(read_labels(path), grid_of(image))
