"""The pictures of a pair: a registry that says what each needs, and how it is drawn from files.

The steps of a run draw them from their own files, a report that is built again from the derivatives; both through
:data:`PICTURES`, so that the page of a run and the page of later are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bidsreg.bids.names import T2W_TO_T1W, Contrasts, figure_path
from bidsreg.registration.itk import read_affine
from bidsreg.reports import drawings, field, ratio


class OnePair(Protocol):
    """What the names of pictures follow from."""

    @property
    def entities(self) -> Mapping[str, str]:
        """Those of the moving scan (pybids' names)."""

    @property
    def contrasts(self) -> Contrasts:
        """Those of the pair."""


@dataclass(frozen=True)
class Scene:
    """The files of one pair that pictures are drawn from; None for what there is not.

    Attributes
    ----------
    fixed, fixed_mask : Path or None
        Fixed scan and its brain mask.
    moving, moving_mask : Path or None
        Moving scan on its own grid, and its brain mask.
    fixed_lesion, moving_lesion : Path or None
        Lesions on the grids of the two scans.
    affine : Path or None
        Matrix from the fixed world to the moving world (ITK .txt).
    warped : Path or None
        The registered moving scan in the fixed world.
    forward : Path or None
        ITK composite (.h5) that brings moving data onto the fixed grid.
    jacobian : Path or None
        Jacobian determinant in the fixed world.
    ratio : Path or None
        Ratio of the T1w and the T2w on the grid of the T1w.
    result : Path or None
        ``result.json`` of ``bidsreg-pair``, or a QC file that holds it.
    contrasts : Contrasts
        Of the two scans, for what is said in the pictures.
    """

    fixed: Path | None = None
    fixed_mask: Path | None = None
    moving: Path | None = None
    moving_mask: Path | None = None
    fixed_lesion: Path | None = None
    moving_lesion: Path | None = None
    affine: Path | None = None
    warped: Path | None = None
    forward: Path | None = None
    jacobian: Path | None = None
    ratio: Path | None = None
    result: Path | None = None
    contrasts: Contrasts = T2W_TO_T1W

    def file(self, name: str) -> Path:
        """Return a file that a picture needs.

        Raises
        ------
        ValueError
            When it is not there.
        """
        path = getattr(self, name)
        if path is None:
            raise ValueError(f'the scene has no {name}')
        return path

    def read_result(self) -> dict[str, Any]:
        """Read what ``bidsreg-pair`` said of its work.

        Raises
        ------
        ValueError
            When the file is not there, or is no JSON.
        """
        content = json.loads(Path(self.file('result')).read_text(encoding='utf-8'))
        return content.get('result', content)


@dataclass(frozen=True)
class Picture:
    """One kind of picture: its name, its words and how it is drawn.

    Attributes
    ----------
    desc, suffix : str
        BIDS entities of its file; ``{fixed}`` and ``{moving}`` are places for the contrasts.
    alt : str
        A description for those who cannot see it, with the same places.
    needs : tuple of str
        Fields of :class:`Scene` without which it cannot be drawn.
    draw : callable
        Takes a :class:`Scene` and the SVG to write.
    moves : bool
        True when it does something under the pointer.
    uses : tuple of str
        Fields of the scene that it takes where they are there.
    tells_of : str
        The key of the QC file without which there is nothing to draw; empty for pictures that every pair has.
    """

    desc: str
    suffix: str
    alt: str
    needs: tuple[str, ...]
    draw: Callable[[Scene, Path], Path]
    moves: bool = False
    uses: tuple[str, ...] = ()
    tells_of: str = ''


def _flicker(scene: Scene, moving: str, out: Path, title: str, matrix: np.ndarray | None = None) -> Path:
    """Draw one of the images in the fixed world, or one that a matrix brings there, on the fixed scan."""
    names = scene.contrasts.fixed, scene.contrasts.moving
    return drawings.flicker(scene.file('fixed'), scene.file(moving), scene.fixed_mask, out, title, matrix, names)


def _mask(scene: Scene, role: str, out: Path) -> Path:
    """Draw the outline of the brain mask of one of the scans, and of its lesions."""
    title = f'Brain mask on the {getattr(scene.contrasts, role)}'
    lesion = getattr(scene, f'{role}_lesion')
    return drawings.mask_outline(scene.file(role), scene.file(f'{role}_mask'), out, title, lesion)


def _checker(scene: Scene, out: Path) -> Path:
    """Draw the fixed and the registered moving scan in turn."""
    names = scene.contrasts.fixed, scene.contrasts.moving
    title = scene.contrasts.fill('Checkerboard of the {fixed} and the registered {moving}')
    return drawings.checkerboard(scene.file('fixed'), scene.file('warped'), scene.fixed_mask, out, title, names)


def _jacobian(scene: Scene, out: Path) -> Path:
    """Draw the map of the Jacobian determinant."""
    names = scene.contrasts.fixed, scene.contrasts.moving
    return field.jacobian_map(scene.file('fixed'), scene.fixed_mask, scene.file('jacobian'), out, names=names)


def _result(scene: Scene, out: Path) -> Path:
    """Draw the registered moving scan on the fixed one."""
    kept = scene.read_result().get('decision', {}).get('kept') if scene.result else None
    title = 'The result: the linear alignment was kept' if kept == 'affine' else 'After the deformable registration'
    return _flicker(scene, 'warped', out, title)


def _affine(scene: Scene, out: Path) -> Path:
    """Draw the moving scan on the fixed one after the linear alignment alone."""
    return _flicker(scene, 'moving', out, 'After the linear alignment', read_affine(scene.file('affine')))


#: The pictures by their names, in the order in which they are made.
PICTURES: dict[str, Picture] = {
    'mask_fixed': Picture(
        'mask',
        '{fixed}',
        'Slices of the {fixed} with the outline of its brain mask, and of lesions where it has some',
        ('fixed', 'fixed_mask'),
        lambda scene, out: _mask(scene, 'fixed', out),
        uses=('fixed_lesion',),
    ),
    'mask_moving': Picture(
        'mask',
        '{moving}',
        'Slices of the {moving} with the outline of its brain mask, and of lesions where it has some',
        ('moving', 'moving_mask'),
        lambda scene, out: _mask(scene, 'moving', out),
        uses=('moving_lesion',),
    ),
    'before': Picture(
        'before',
        '{moving}',
        'Slices of the {moving} where the scanner placed it, with tissue borders of the {fixed}',
        ('fixed', 'moving'),
        lambda scene, out: _flicker(scene, 'moving', out, 'As the scanner placed them'),
        moves=True,
        uses=('fixed_mask',),
    ),
    'affine': Picture(
        'affine',
        '{moving}',
        'Slices of the {moving} after the linear alignment, with tissue borders of the {fixed}',
        ('fixed', 'moving', 'affine'),
        _affine,
        moves=True,
        uses=('fixed_mask',),
    ),
    'diffeo': Picture(
        'diffeo',
        '{moving}',
        'Slices of the registered {moving}, with tissue borders of the {fixed}',
        ('fixed', 'warped'),
        _result,
        moves=True,
        uses=('fixed_mask', 'result'),
    ),
    'checker': Picture(
        'checker',
        '{moving}',
        'Checkerboard of the {fixed} and the registered {moving}',
        ('fixed', 'fixed_mask', 'warped'),
        _checker,
    ),
    'grid': Picture(
        'grid',
        '{moving}',
        'A grid on the {fixed} as the deformation bends it',
        ('fixed', 'fixed_mask', 'forward'),
        lambda scene, out: field.deformation_grid(scene.file('fixed'), scene.fixed_mask, scene.file('forward'), out),
    ),
    'jacobian': Picture(
        'jacobian',
        '{moving}',
        'Jacobian determinant of the deformation as a map on slices, and its histogram',
        ('fixed', 'fixed_mask', 'jacobian'),
        _jacobian,
    ),
    'ratio': Picture(
        'ratio',
        '{moving}',
        'Ratio of the T1w and the T2w as a map on slices',
        ('ratio',),
        lambda scene, out: ratio.ratio_map(scene.file('ratio'), out),
        tells_of='ratio',
    ),
    'loss': Picture(
        'loss',
        '{moving}',
        'Loss and its similarity part against iterations, level by level',
        ('result',),
        lambda scene, out: drawings.loss_curve(scene.read_result(), out),
    ),
}


def picture_path(pair: OnePair, output_dir: Path, name: str) -> Path:
    """Return where a picture of a pair is: from the entities (pybids' names) of its moving scan, and the contrasts."""
    picture = PICTURES[name]
    return figure_path(pair.entities, output_dir, picture.desc, picture.suffix, contrasts=pair.contrasts)


def drawable(scene: Scene) -> list[str]:
    """Return the names of the pictures for which a scene has everything."""
    return [name for name, picture in PICTURES.items() if all(getattr(scene, field) for field in picture.needs)]
