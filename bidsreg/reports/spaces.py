"""The pictures of a normalisation: a registry that says how each is drawn from files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsreg.bids.names import figure_path
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.itk import read_affine, read_composite
from bidsreg.reports import drawings, field, slicing

#: Names of the two images in the pictures.
NAMES = ('template', 'scan')


@dataclass(frozen=True, kw_only=True)
class SpaceScene:
    """The files of one normalisation that pictures are drawn from.

    Attributes
    ----------
    template, template_mask
        The template and its brain mask.
    scan
        The person's reference scan on its own grid.
    affine
        Matrix from the template's world to the scan's (ITK .txt).
    warped
        The scan on the grid of the template.
    forward, jacobian
        ITK composite (.h5) that brings the scan onto the template, and the Jacobian determinant of its deformation.
    scan_lesion
        Lesions of the scan on its own grid, where there are some: they are outlined.
    """

    template: Path
    template_mask: Path
    scan: Path
    affine: Path
    warped: Path
    forward: Path
    jacobian: Path
    scan_lesion: Path | None = None


@dataclass(frozen=True)
class SpacePicture:
    """One kind of picture.

    Attributes
    ----------
    alt
        A description for those who cannot see it.
    draw
        Takes a :class:`SpaceScene` and the SVG to write.
    moves
        True when it does something under the pointer.
    """

    alt: str
    draw: Callable[[SpaceScene, Path], Path]
    moves: bool = False


def _affine(scene: SpaceScene, out: Path) -> Path:
    matrix = read_affine(scene.affine)
    return drawings.flicker(
        scene.template,
        scene.scan,
        scene.template_mask,
        out,
        'In the space of the template, after the affine alone',
        matrix,
        NAMES,
        (scene.scan_lesion, matrix) if scene.scan_lesion else None,
    )


def _result(scene: SpaceScene, out: Path) -> Path:
    return drawings.flicker(
        scene.template,
        scene.warped,
        scene.template_mask,
        out,
        'In the space of the template',
        names=NAMES,
        lesion=(_lesion_there(scene.scan_lesion, scene), None) if scene.scan_lesion else None,
    )


def _lesion_there(path: Path, scene: SpaceScene) -> nib.Nifti1Image:
    """Return the lesions of the scan on the grid of the template."""
    lesion, like = slicing.load(path), slicing.load(scene.template)
    affine, field, grid, _ = read_composite(scene.forward)
    # images are pulled through the one field; the other one is not used
    way = Deformation(affine, field, field, grid)
    source = Image(np.asarray(lesion.dataobj, np.float32), _grid(lesion))
    return nib.Nifti1Image(way.apply(source, _grid(like), order=0).data, like.affine)


def _grid(image: nib.spatialimages.SpatialImage) -> Grid:
    x, y, z = image.shape[:3]
    return Grid((x, y, z), image.affine)


#: The pictures by their names, which are also the ``desc`` of their files.
SPACE_PICTURES: Mapping[str, SpacePicture] = {
    'spaceaffine': SpacePicture(
        'Slices of the scan in the space of the template after the affine, with tissue borders of the template',
        _affine,
        moves=True,
    ),
    'space': SpacePicture(
        'Slices of the scan in the space of the template, with tissue borders of the template', _result, moves=True
    ),
    'spacegrid': SpacePicture(
        'A grid on the template as the deformation bends it',
        lambda scene, out: field.deformation_grid(scene.template, scene.template_mask, scene.forward, out),
    ),
    'spacejacobian': SpacePicture(
        'Jacobian determinant of the normalisation as a map on slices, and its histogram',
        lambda scene, out: field.jacobian_map(scene.template, scene.template_mask, scene.jacobian, out, names=NAMES),
    ),
}


def space_picture_path(entities: Mapping[str, str], output_dir: Path, name: str, suffix: str) -> Path:
    """Return where a picture of a normalisation is.

    Parameters
    ----------
    entities
        Of the reference scan and of the space (pybids' names).
    output_dir
        The output folder.
    name
        A key of :data:`SPACE_PICTURES`.
    suffix
        That of the reference scan.
    """
    return figure_path(entities, output_dir, name, suffix)
