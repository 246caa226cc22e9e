"""The pictures of a pair: a registry that says what each needs, and how it is drawn from files.

The steps of a run draw them from their own files, a report that is built again from the derivatives; both through
:data:`PICTURES`, so that the page of a run and the page of later are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg.bids.names import figure_path
from bidsreg.registration.itk import read_affine
from bidsreg.reports import drawings, field


@dataclass(frozen=True)
class Scene:
    """The files of one pair that pictures are drawn from; None for what there is not.

    Attributes
    ----------
    fixed, fixed_mask : Path or None
        T1w and its brain mask.
    moving, moving_mask : Path or None
        T2w on its own grid, and its brain mask.
    affine : Path or None
        Matrix from the T1w's world to the T2w's (ITK .txt).
    warped : Path or None
        The registered T2w in the world of the T1w.
    forward : Path or None
        ITK composite (.h5) that brings T2w data onto the T1w.
    jacobian : Path or None
        Jacobian determinant in the world of the T1w.
    result : Path or None
        ``result.json`` of ``bidsreg-pair``, or a QC file that holds it.
    """

    fixed: Path | None = None
    fixed_mask: Path | None = None
    moving: Path | None = None
    moving_mask: Path | None = None
    affine: Path | None = None
    warped: Path | None = None
    forward: Path | None = None
    jacobian: Path | None = None
    result: Path | None = None

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
        BIDS entities of its file.
    alt : str
        A description for those who cannot see it.
    needs : tuple of str
        Fields of :class:`Scene` without which it cannot be drawn.
    draw : callable
        Takes a :class:`Scene` and the SVG to write.
    moves : bool
        True when it does something under the pointer.
    uses : tuple of str
        Fields of the scene that it takes where they are there.
    """

    desc: str
    suffix: str
    alt: str
    needs: tuple[str, ...]
    draw: Callable[[Scene, Path], Path]
    moves: bool = False
    uses: tuple[str, ...] = ()


def _result(scene: Scene, out: Path) -> Path:
    """Draw the registered T2w on the T1w."""
    kept = scene.read_result().get('decision', {}).get('kept') if scene.result else None
    title = 'The result: the affine was kept' if kept == 'affine' else 'After the deformable registration'
    return drawings.flicker(scene.file('fixed'), scene.file('warped'), scene.fixed_mask, out, title)


def _affine(scene: Scene, out: Path) -> Path:
    """Draw the T2w on the T1w after the affine alone."""
    matrix = read_affine(scene.file('affine'))
    return drawings.flicker(
        scene.file('fixed'), scene.file('moving'), scene.fixed_mask, out, 'After the affine alignment', matrix
    )


#: The pictures by their names, in the order in which they are made.
PICTURES: dict[str, Picture] = {
    'mask_t1w': Picture(
        'mask',
        'T1w',
        'Slices of the T1w with the outline of its brain mask',
        ('fixed', 'fixed_mask'),
        lambda scene, out: drawings.mask_outline(
            scene.file('fixed'), scene.file('fixed_mask'), out, 'Brain mask on the T1w'
        ),
    ),
    'mask_t2w': Picture(
        'mask',
        'T2w',
        'Slices of the T2w with the outline of its brain mask',
        ('moving', 'moving_mask'),
        lambda scene, out: drawings.mask_outline(
            scene.file('moving'), scene.file('moving_mask'), out, 'Brain mask on the T2w'
        ),
    ),
    'before': Picture(
        'before',
        'T2w',
        'Slices of the T2w where the scanner placed it, with tissue borders of the T1w',
        ('fixed', 'moving'),
        lambda scene, out: drawings.flicker(
            scene.file('fixed'), scene.file('moving'), scene.fixed_mask, out, 'As the scanner placed them'
        ),
        moves=True,
        uses=('fixed_mask',),
    ),
    'affine': Picture(
        'affine',
        'T2w',
        'Slices of the T2w after the affine alignment, with tissue borders of the T1w',
        ('fixed', 'moving', 'affine'),
        _affine,
        moves=True,
        uses=('fixed_mask',),
    ),
    'diffeo': Picture(
        'diffeo',
        'T2w',
        'Slices of the registered T2w, with tissue borders of the T1w',
        ('fixed', 'warped'),
        _result,
        moves=True,
        uses=('fixed_mask', 'result'),
    ),
    'checker': Picture(
        'checker',
        'T2w',
        'Checkerboard of the T1w and the registered T2w',
        ('fixed', 'fixed_mask', 'warped'),
        lambda scene, out: drawings.checkerboard(
            scene.file('fixed'),
            scene.file('warped'),
            scene.fixed_mask,
            out,
            'Checkerboard of the T1w and the registered T2w',
        ),
    ),
    'grid': Picture(
        'grid',
        'T2w',
        'A grid on the T1w as the deformation bends it',
        ('fixed', 'fixed_mask', 'forward'),
        lambda scene, out: field.deformation_grid(scene.file('fixed'), scene.fixed_mask, scene.file('forward'), out),
    ),
    'jacobian': Picture(
        'jacobian',
        'T2w',
        'Jacobian determinant of the deformation as a map on slices, and its histogram',
        ('fixed', 'fixed_mask', 'jacobian'),
        lambda scene, out: field.jacobian_map(scene.file('fixed'), scene.fixed_mask, scene.file('jacobian'), out),
    ),
    'loss': Picture(
        'loss',
        'T2w',
        'Loss and its similarity part against iterations, level by level',
        ('result',),
        lambda scene, out: drawings.loss_curve(scene.read_result(), out),
    ),
}


def picture_path(entities: Mapping[str, str], output_dir: Path, name: str) -> Path:
    """Return where a picture of a pair is: from the entities (pybids' names) of its T2w."""
    picture = PICTURES[name]
    return figure_path(entities, output_dir, picture.desc, picture.suffix)


def drawable(scene: Scene) -> list[str]:
    """Return the names of the pictures for which a scene has everything."""
    return [name for name, picture in PICTURES.items() if all(getattr(scene, field) for field in picture.needs)]
