"""The panels of a benchmark: slices of the example pair, one row a method, with the contours of both images' labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bidsreg.bids.names import T2W_TO_T1W, Contrasts

#: Contours: labels of the fixed image, and those brought onto it.
FIXED_COLOUR, MOVED_COLOUR = '#E69F00', '#56B4E9'
#: What is shown around the labels.
MARGIN_MM = 8.0
#: Views, the axis across, and how far through the brain: beside its middle, and through its deep structures.
VIEWS = (('sagittal', 0, 0.62), ('coronal', 1, 0.5), ('axial', 2, 0.57))


def panel(
    example: Path, methods: Sequence[str], names: Mapping[int, str], contrasts: Contrasts = T2W_TO_T1W
) -> Figure | None:
    """Draw the example pair: a row a method, three slices each, contours of the labels of both images.

    Parameters
    ----------
    example : Path
        Folder with ``fixed_T1w.nii.gz``, ``METHOD_T2w.nii.gz`` (or of other contrasts) and, where there are labels,
        the same of ``dseg``.
    methods : sequence of str
        Names of the methods, in the order of the table.
    names : mapping
        Names of the labels, by value.
    contrasts : Contrasts
        Those of the pair.

    Returns
    -------
    Figure or None
        None when there are no images.
    """
    fixed = _canonical(example / f'fixed_{contrasts.fixed}.nii.gz')
    if fixed is None:
        return None
    labels = _canonical(example / 'fixed_dseg.nii.gz')
    rows = [('fixed', fixed, labels, None)]
    for name in methods:
        image = _canonical(example / f'{name}_{contrasts.moving}.nii.gz')
        if image is not None:
            rows.append((name, image, labels, _canonical(example / f'{name}_dseg.nii.gz')))
    spacing = nb.affines.voxel_sizes(fixed.affine)
    box = _box(fixed, labels)
    figure = Figure(figsize=(9.6, 0.5 + 3.0 * len(rows)), layout='constrained', facecolor='white')
    extent = [spacing[n] * (box[n].stop - box[n].start) for n in range(3)]
    ratios = (extent[1] / extent[2], extent[0] / extent[2], extent[0] / extent[1])
    grid = figure.subplots(len(rows), 3, squeeze=False, width_ratios=ratios)
    for line, (name, image, *segmentations) in zip(grid, rows, strict=True):
        for axes, (view, axis, part) in zip(line, VIEWS, strict=True):
            _slice(axes, image, segmentations, (axis, part), box, spacing, names)
            if name == 'fixed':
                axes.set_title(view)
        line[0].set_ylabel(f'fixed {contrasts.fixed}' if name == 'fixed' else name, fontsize=12)
    if labels is not None:
        figure.legend(
            handles=[
                Line2D([], [], color=FIXED_COLOUR, label='labels of the fixed image'),
                Line2D([], [], color=MOVED_COLOUR, label='labels of the moving image, brought onto it'),
            ],
            loc='outside lower center',
            ncols=2,
            frameon=False,
        )
    return figure


def _slice(
    axes: Axes,
    image: Any,
    segmentations: Sequence[Any],
    place: tuple[int, float],
    box: tuple[slice, ...],
    spacing: np.ndarray,
    names: Iterable[int],
) -> None:
    """Draw one slice across an axis, some part through the box, with the borders of both images' labels."""
    (axis, part), cut = place, list[Any](box)
    cut[axis] = round(box[axis].start + part * (box[axis].stop - 1 - box[axis].start))
    rest = [n for n in range(3) if n != axis]
    data = np.asanyarray(image.dataobj)
    low, high = np.percentile(data[tuple(box)], (1, 99.8))
    aspect = spacing[rest[1]] / spacing[rest[0]]
    axes.imshow(data[tuple(cut)].T, cmap='gray', vmin=low, vmax=high, origin='lower', aspect=aspect)
    for segmentation, colour in zip(segmentations, (FIXED_COLOUR, MOVED_COLOUR), strict=True):
        if segmentation is not None:
            _borders(axes, np.asanyarray(segmentation.dataobj)[tuple(cut)].T, colour, names)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _borders(axes: Axes, labels: np.ndarray, colour: str, names: Iterable[int]) -> None:
    for value in np.intersect1d(labels, list(names)):
        axes.contour(labels == value, [0.5], colors=colour, linewidths=0.55)


def _canonical(path: Path) -> Any:
    """Load an image with axes that run as near to right, anterior and superior as they can; None if there is none."""
    return nb.as_closest_canonical(nb.load(path)) if path.is_file() else None


def _box(fixed: Any, labels: Any) -> tuple[slice, ...]:
    """Choose what to show: nearly all labels (or what is not background) with a margin, but no stray voxels."""
    data = np.asanyarray((fixed if labels is None else labels).dataobj)
    where = np.nonzero(data > (np.percentile(data, 99) * 0.1 if labels is None else 0))
    ends = [np.percentile(axis, (0.1, 99.9)) for axis in where]
    margins = np.ceil(MARGIN_MM / nb.affines.voxel_sizes(fixed.affine))
    return tuple(
        slice(int(max(low - margin, 0)), int(min(high + margin + 1, size)))
        for (low, high), margin, size in zip(ends, margins, data.shape, strict=True)
    )
