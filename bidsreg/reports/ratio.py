"""The figure of the ratio of a T1w and a T2w: a map on slices with its colour bar."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsreg.reports import canvas, slicing
from bidsreg.reports.canvas import FOOT, WIDTH, Layout
from bidsreg.reports.slicing import Source

#: The colour bar ends at this percentile of the values, so that few bright voxels do not darken all others.
BRIGHTEST = 98
#: Left end, length, height and steps of the colour bar, picture units.
_LEFT, _LONG, _HIGH, _STEPS = 330, 740, 18, 64


def ratio_map(ratio: Source, out: str | os.PathLike, title: str = 'Ratio T1w / T2w') -> Path:
    """Draw a ratio in colours, from black (0, or none) to yellow (the 98th percentile and more).

    The colours are inferno, whose lightness only rises: the map can be read by colour-blind eyes and in a print without
    colours.

    Parameters
    ----------
    ratio : path or image
        The ratio, above zero where there is one.
    out : path
        SVG to write.
    title : str
        Said above the slices.

    Returns
    -------
    Path
        `out`, absolute.
    """
    import matplotlib as mpl

    ratio = slicing.load(ratio)
    there = slicing.values(ratio) > 0
    planes = slicing.choose_planes(nib.Nifti1Image(there.astype(np.uint8), ratio.affine))
    layout = Layout.of(planes)
    brightest = float(np.percentile(slicing.values(ratio)[there], BRIGHTEST)) if there.any() else 1.0
    colours = mpl.colormaps['inferno']

    def paint(cut: np.ndarray) -> np.ndarray:
        return np.where((cut > 0)[..., None], colours(np.clip(cut / brightest, 0, 1))[..., :3], 0.0)

    painted = slicing.mapped(paint, slicing.slices(ratio, planes))
    body = [
        canvas.raster(painted, layout),
        canvas.labels(planes, layout),
        canvas.heading(title),
        _bar(brightest, layout.bottom + FOOT + 8),
    ]
    return canvas.write_svg(out, layout.bottom + FOOT + 8 + _HIGH + 62, body, title)


def _bar(brightest: float, top: float) -> str:
    """Draw the colour bar with its ticks."""
    import matplotlib as mpl

    wide = _LONG / _STEPS
    parts = ['<g font-size="14" fill="#fff">']
    for k in range(_STEPS):
        colour = mpl.colors.to_hex(mpl.colormaps['inferno']((k + 0.5) / _STEPS))
        parts.append(
            f'<rect x="{_LEFT + k * wide:.1f}" y="{top:.1f}" width="{wide + 0.3:.1f}" height="{_HIGH}" '
            f'fill="{colour}" shape-rendering="crispEdges"/>'
        )
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, ends = _LEFT + _LONG * share, '≥ ' if share == 1 else ''
        parts.append(f'<path d="M{x:.1f} {top + _HIGH:.1f}v6" stroke="#fff"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{top + _HIGH + 21:.0f}" text-anchor="middle">{ends}{brightest * share:.3g}</text>'
        )
    said = 'T1w / T2w (no unit); black: no ratio'
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{top + _HIGH + 46:.0f}" text-anchor="middle">{said}</text></g>')
    return '\n'.join(parts)
