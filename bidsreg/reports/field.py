"""The figures of a deformation: its grid, and its Jacobian determinant as a map and a histogram."""

from __future__ import annotations

import math
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration.itk import read_composite
from bidsreg.reports import canvas, slicing
from bidsreg.reports.canvas import FOOT, GAP, ORANGE, VERMILLION, WIDTH, Layout
from bidsreg.reports.drawings import tissue_borders
from bidsreg.reports.slicing import PIXEL, Plane, Source

SPACING = 5.0
"""Between the lines of a deformation grid, mm."""
LIMITS = (1.02, 1.05, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 4.0, 8.0)
"""Ends of the colour bar of a Jacobian map: the first that leaves out at most one voxel in a hundred."""
BINS = 64
"""Bars of the histogram of a Jacobian map."""


# ------------------------------------------------------------------------------------------------- the grid
def deformation_grid(
    fixed: Source,
    mask: Source | None,
    forward: str | os.PathLike,
    out: str | os.PathLike,
    title: str = 'The deformation',
) -> Path:
    """Draw a grid as the deformation bends it, through the middle of the brain and through its largest displacement.

    Parameters
    ----------
    fixed : path or image
        The fixed scan.
    mask : path or image, optional
        Brain mask in its world. None or empty: the foreground of `fixed`.
    forward : path
        ITK composite (.h5) of an affine and a displacement field that brings moving data onto the fixed grid; only the
        field is drawn.
    out : path
        SVG to write.
    title : str
        Said above the slices.

    Returns
    -------
    Path
        `out`, absolute.

    Raises
    ------
    ValueError
        If `forward` is no such transform.
    """
    fixed = slicing.load(fixed)
    mask = slicing.brain(mask, fixed)
    _, displacement, grid, _ = read_composite(Path(forward))
    field = _Field(displacement, grid.affine)
    brain = nib.affines.apply_affine(mask.affine, np.argwhere(slicing.values(mask) > 0))
    lengths = np.linalg.norm(field.at(brain), axis=-1)
    middle, peak = brain.mean(0), brain[lengths.argmax()]
    planes = slicing.planes_through(mask, (middle, peak))
    layout = Layout.of(planes)
    dim = slicing.mapped(
        lambda cut: 0.65 * cut, slicing.greys(slicing.slices(fixed, planes), slicing.slices(mask, planes))
    )
    factor = field.enlargement(float(lengths.max()))
    rings = _rings(planes[1], peak, layout) if lengths.max() > 0.05 else []
    said = [
        f'lines {SPACING:g} mm apart',
        f'bending drawn {factor} times as large as it is' if factor > 1 else '',
        f'in the brain {lengths.mean():.1f} mm on average, {lengths.max():.1f} mm at most',
        'there the ring' if rings else '',
    ]
    body = [
        canvas.raster(dim, layout),
        canvas.line_art(_grid_lines(planes, field, factor, layout), ORANGE, 1.2),
        *rings,
        canvas.labels(planes, layout),
        canvas.heading(title),
        canvas.heading('; '.join(filter(None, said)), ORANGE, WIDTH - 10, 'end'),
    ]
    return canvas.write_svg(out, layout.bottom + FOOT, body, title)


def _rings(planes: list[Plane], point: np.ndarray, layout: Layout) -> list[str]:
    """Draw a ring around a world point on each slice of the second row."""
    places = (layout.corner(1, k) + plane.pixels(point) * layout.scale for k, plane in enumerate(planes))
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="16" fill="none" stroke="#fff" stroke-width="2"/>' for x, y in places]


class _Field:
    """A displacement field (mm, world) that is zero outside its grid."""

    def __init__(self, displacement: np.ndarray, affine: np.ndarray) -> None:
        self.displacement = displacement
        self.to_voxel = np.linalg.inv(affine)
        self.spacing = nib.affines.voxel_sizes(affine)

    def enlargement(self, longest: float) -> int:
        """Return how many times larger the field can be drawn: to at most one square, without folds that it has not."""
        if longest < 0.05:
            return 1
        slopes = [np.abs(np.gradient(self.displacement, step, axis=k)).max() for k, step in enumerate(self.spacing)]
        return max((n for n in (2, 3, 5) if n * longest <= SPACING and n * max(slopes) < 0.8), default=1)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the displacements (..., 3) at world points (..., 3), linear."""
        voxels = np.moveaxis(nib.affines.apply_affine(self.to_voxel, points), -1, 0)
        parts = [ndi.map_coordinates(self.displacement[..., k], voxels, order=1) for k in range(3)]
        return np.stack(parts, axis=-1)


def _grid_lines(planes: list[list[Plane]], field: _Field, factor: float, layout: Layout) -> list[str]:
    """Return the lines of the grid as paths; a line ends where it leaves its slice."""
    step, paths = round(SPACING / PIXEL), []
    for place, row in enumerate(planes):
        for column, plane in enumerate(row):
            moved = plane.pixels(plane.points + factor * field.at(plane.points))
            size = np.array(moved.shape[1::-1]) - 1
            inside = np.all((moved >= 0) & (moved <= size), axis=-1)
            start = layout.corner(place, column)
            for line, kept in (
                *zip(moved[step // 2 :: step], inside[step // 2 :: step], strict=True),
                *zip(moved[:, step // 2 :: step].swapaxes(0, 1), inside[:, step // 2 :: step].T, strict=True),
            ):
                shown = np.flatnonzero(kept)[::2]
                if shown.size > 1:
                    paths.append(canvas.path_data(start + line[shown] * layout.scale))
    return paths


# ------------------------------------------------------------------------------------------------- the Jacobian
def jacobian_map(
    fixed: Source,
    mask: Source | None,
    jacobian: Source,
    out: str | os.PathLike,
    title: str = 'Jacobian determinant',
    names: tuple[str, str] = ('T1w', 'T2w'),
) -> Path:
    """Draw the Jacobian determinant in colours, and below it its histogram over a symmetric logarithmic colour bar.

    The colours are cividis: from dark blue over grey to yellow, with a lightness that only rises, so the map can be
    read by colour-blind eyes and in a print without colours. Folded voxels (0 or less) are vermillion and are counted.

    Parameters
    ----------
    fixed : path or image
        The fixed scan, shown around the brain.
    mask : path or image, optional
        Brain mask in its world. None or empty: the foreground of `fixed`.
    jacobian : path or image
        Jacobian determinant in the same world.
    out : path
        SVG to write.
    title : str
        Said above the slices.
    names : tuple of 2 str
        Names of the fixed and of the moving scan.

    Returns
    -------
    Path
        `out`, absolute.
    """
    import matplotlib as mpl

    fixed, jacobian = slicing.load(fixed), slicing.load(jacobian)
    mask = slicing.brain(mask, fixed)
    planes = slicing.choose_planes(mask)
    layout = Layout.of(planes)
    first, inside = slicing.slices(fixed, planes), slicing.slices(mask, planes)
    determinants = _in_mask(jacobian, mask)
    limit = _limit(determinants)
    colours = mpl.colormaps['cividis']

    def paint(grey: np.ndarray, part: np.ndarray, cut: np.ndarray) -> np.ndarray:
        shown = colours(_place(cut, limit))[..., :3]
        shown[cut <= 0] = mpl.colors.to_rgb(VERMILLION)
        return np.where((part > 0.5)[..., None], shown, 0.6 * grey[..., None])

    painted = slicing.mapped(paint, slicing.greys(first, inside), inside, slicing.slices(jacobian, planes))
    folds = int((determinants <= 0).sum())
    said = f'{folds} folded voxels' + (' (vermillion)' if folds else '')
    body = [
        canvas.raster(painted, layout),
        tissue_borders(first, inside, layout, '#fff'),
        canvas.labels(planes, layout),
        canvas.heading(title),
        canvas.heading(f'in the brain: {said}; lines: tissue borders of the {names[0]}', '#fff', WIDTH - 10, 'end'),
        _histogram(determinants, limit, layout.bottom + FOOT + 8, names[1]),
    ]
    return canvas.write_svg(out, layout.bottom + FOOT + 8 + _HIGH + 92, body, title)


def _in_mask(image: nib.spatialimages.SpatialImage, mask: nib.spatialimages.SpatialImage) -> np.ndarray:
    """Return the values of an image inside a mask that may lie on another grid."""
    inside, data = slicing.values(mask) > 0, slicing.values(image)
    if mask.shape != image.shape or not np.array_equal(mask.affine, image.affine):
        to_mask = np.linalg.inv(mask.affine) @ image.affine
        there = ndi.affine_transform(
            inside.astype(np.float32), to_mask[:3, :3], to_mask[:3, 3], output_shape=image.shape, order=1
        )
        inside = there > 0.5
    found = data[inside]
    return found if found.size else data.ravel()


def _limit(determinants: np.ndarray) -> float:
    """Return the end of the colour bar; its other end is its inverse."""
    logs = np.abs(np.log(np.maximum(determinants, 1e-6)))
    needed = math.exp(float(np.percentile(logs, 99)))
    return next((limit for limit in LIMITS if limit >= 0.9999 * needed), LIMITS[-1])


def _place(determinants: np.ndarray, limit: float) -> np.ndarray:
    """Return the place on the colour bar, 0 to 1 with 1/2 where the volume is kept; its ends take what is beyond."""
    return np.clip(0.5 + 0.5 * np.log(np.maximum(determinants, 1e-6)) / math.log(limit), 0, 1)


_HIGH, _LEFT, _LONG = 130, 330, 740  # of the histogram, picture units


def _histogram(determinants: np.ndarray, limit: float, top: float, moving: str) -> str:
    """Draw the histogram in per cent of the brain, the colour bar as its axis, its ticks and what they are."""
    import matplotlib as mpl

    colours = mpl.colormaps['cividis']
    share = 100 * np.histogram(_place(determinants, limit), BINS, (0, 1))[0] / determinants.size
    highest = max(float(share.max()), 1e-9)
    wide, floor = _LONG / BINS, top + _HIGH
    parts = ['<g font-size="14" fill="#fff">']
    for k, percent in enumerate(share):
        x, colour = _LEFT + k * wide, mpl.colors.to_hex(colours((k + 0.5) / BINS))
        high = percent / highest * _HIGH
        parts.append(
            f'<rect x="{x:.1f}" y="{floor - high:.1f}" width="{wide - 1:.1f}" height="{high:.1f}" fill="#bbb"/>'
        )
        parts.append(
            f'<rect x="{x:.1f}" y="{floor + 4:.1f}" width="{wide + 0.3:.1f}" height="18" fill="{colour}" '
            'shape-rendering="crispEdges"/>'
        )
    parts.append(f'<path d="M{_LEFT - 6} {top:.1f}v{_HIGH}m0 0h{_LONG + 12}" stroke="#fff" fill="none"/>')
    for value, y in ((highest, top), (0.0, floor)):
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 5:.0f}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{_LEFT - 60}" y="{top + _HIGH / 2:.0f}" text-anchor="end">% of the brain, per bar</text>')
    for k in range(-2, 3):
        x, value = _LEFT + _LONG * (0.5 + k / 4), limit ** (k / 2)
        ends = {-2: '≤ ', 2: '≥ '}.get(k, '')
        parts.append(f'<path d="M{x:.1f} {floor + 22:.1f}v6" stroke="#fff"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 43:.0f}" text-anchor="middle">{ends}{value:.3g}</text>')
    said = f'Below 1: smaller in the {moving}; above 1: larger'
    said = f'Jacobian determinant (ratio of volumes, no unit; logarithmic). {said}'
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{floor + 68 + GAP:.0f}" text-anchor="middle">{said}</text></g>')
    return '\n'.join(parts)
