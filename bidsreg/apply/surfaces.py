"""Surfaces in GIFTI: their vertices are carried, their triangles stay, and show the same side outward.

FreeSurfer's surfaces are in coordinates of its own (``tkr``: the centre of its volume is the origin) unless they were
converted to the scanner's. Newer versions say which in the coordinate system of the file. Older ones say nothing: they
write the same metadata (``VolGeomC_*``, the centre in the scanner's world) for both, and who reads the one for the
other is off by that centre, most often some mm to some cm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.apply.base import Carried, Errand, FileKind, Options
from bidsreg.apply.chain import Chain, Link
from bidsreg.apply.gifti import ALIGNED, MNI, SCANNER, TALAIRACH, UNKNOWN, code_of, read_gifti
from bidsreg.apply.points import carried
from bidsreg.errors import InputError
from bidsreg.registration.grid import apply_affine

#: Of spaces that are no scan's own, by their codes: how their names begin.
TEMPLATES = {TALAIRACH: ('Talairach', 'MNI'), MNI: ('MNI',)}
#: mm: a centre closer to the origin is there.
LEAST_MM = 1e-3
_GEOMETRY = 'VolGeom'


@dataclass(frozen=True, eq=False)
class _Vertices:
    """The array of vertices, and what brings it into the world of the scan, with a sentence about that."""

    array: nb.gifti.GiftiDataArray
    to_world: np.ndarray
    note: str = ''


def _as_it_is(path: Path, array: nb.gifti.GiftiDataArray) -> _Vertices:
    return _Vertices(array, np.eye(4))


def _from_tkr(path: Path, array: nb.gifti.GiftiDataArray) -> _Vertices:
    matrix = _scanner_from_tkr(path, array.meta)
    shift = ', '.join(f'{value:.2f}' for value in matrix[:3, 3])
    return _Vertices(array, matrix, f"brought from FreeSurfer's coordinates to the scanner's (by {shift} mm)")


def _as_told(path: Path, array: nb.gifti.GiftiDataArray) -> _Vertices:
    """Ask the coordinate system of the file, and where that is silent FreeSurfer's metadata."""
    system = array.coordsys
    space, goal = (code_of(getattr(system, name, UNKNOWN)) for name in ('dataspace', 'xformspace'))
    if space in (SCANNER, ALIGNED, TALAIRACH, MNI):
        return _as_it_is(path, array)
    if goal in (SCANNER, ALIGNED):
        return _Vertices(
            array, np.asarray(system.xform, float), 'brought to the coordinates of the scanner by its coordinate system'
        )
    centre = _centre(array.meta)
    if centre is None:
        return _Vertices(array, np.eye(4), 'does not say in which coordinates it is; taken for those of the scanner')
    if np.abs(centre).max() < LEAST_MM:
        return _as_it_is(path, array)
    where = ', '.join(f'{value:.2f}' for value in centre)
    raise InputError(
        f"{path}: FreeSurfer wrote it, and it does not say whether in its own coordinates or in the scanner's, which "
        f'are ({where}) mm apart. Say --surface-space tkr if mris_convert made it without --to-scanner, else '
        '--surface-space scanner.'
    )


SURFACE_SPACES: dict[str, Callable[[Path, nb.gifti.GiftiDataArray], _Vertices]] = {
    'auto': _as_told,
    'scanner': _as_it_is,
    'tkr': _from_tkr,
}
"""Where coordinates are, by the names that ``--surface-space`` takes."""


def _centre(meta: Mapping[str, str]) -> np.ndarray | None:
    try:
        return np.array([float(meta[f'{_GEOMETRY}C_{axis}']) for axis in 'RAS'])
    except (KeyError, ValueError):
        return None


def _scanner_from_tkr(path: Path, meta: Mapping[str, str]) -> np.ndarray:
    """Return the matrix from FreeSurfer's coordinates to the scanner's, from the volume that its metadata describe."""
    centre = _centre(meta)
    if centre is None:
        raise InputError(f'{path}: --surface-space tkr needs {_GEOMETRY}C_R, _A and _S among its metadata.')
    axes = np.eye(4)
    try:
        axes[:3, :3] = [[float(meta[f'{_GEOMETRY}{axis}_{row}']) for axis in 'XYZ'] for row in 'RAS']
    except (KeyError, ValueError):
        # those of every volume that FreeSurfer has conformed
        axes[:3, :3] = [[-1, 0, 0], [0, 0, 1], [0, -1, 0]]
    tkr = np.eye(4)
    tkr[:3, :3] = [[-1, 0, 0], [0, 0, 1], [0, -1, 0]]
    # both place the middle voxel: the one at the origin, the other at the centre
    matrix = axes @ np.linalg.inv(tkr)
    matrix[:3, 3] = centre
    return matrix


class Surface(FileKind):
    """A mesh of triangles."""

    name = 'surface'
    endings = ('.surf.gii', '.gii')

    def ending_of(self, source: Path) -> str:
        """Return how the name of the result ends."""
        return '.surf.gii'

    def _read(self, errand: Errand, options: Options) -> tuple[nb.gifti.GiftiImage, _Vertices]:
        path = errand.source
        try:
            image = read_gifti(path)
        except FileNotFoundError:
            raise InputError(f'{path}: is not there.') from None
        except Exception as error:  # whatever a parser of XML makes of a broken file
            raise InputError(f'{path}: cannot be read as GIFTI ({error}).') from error
        arrays = image.get_arrays_from_intent('NIFTI_INTENT_POINTSET')
        if len(arrays) != 1:
            raise InputError(
                f'{path}: has {len(arrays)} sets of vertices, not one. Values on vertices go where their surface goes: '
                'carry the surface.'
            )
        array = arrays[0]
        if array.data.ndim != 2 or array.data.shape[1] != 3 or not np.isfinite(array.data).all():
            raise InputError(f'{path}: its vertices are not three finite numbers each.')
        vertices = SURFACE_SPACES[options.surface_space](path, array)
        space, origin = code_of(getattr(array.coordsys, 'dataspace', UNKNOWN)), errand.route.origin
        if options.surface_space == 'auto' and space in TEMPLATES and not origin.startswith(TEMPLATES[space]):
            raise InputError(
                f'{path}: is in the space {nb.nifti1.xform_codes.niistring[space]} by its own words, not in '
                f'{origin or "that of a scan"}. If that is wrong say --surface-space scanner.'
            )
        return image, vertices

    def check(self, errand: Errand, options: Options) -> None:
        """Read it: surfaces are small."""
        if options.interpolation is not None:
            raise InputError(f'{errand.source}: --interpolation is for images, not for surfaces.')
        if not errand.out.name.endswith('.gii'):
            raise InputError(f'{errand.out}: the name of a surface ends in .surf.gii.')
        self._read(errand, options)

    def carry(self, errand: Errand, options: Options, hidden: Path) -> Carried:
        """Write the surface with every vertex where it belongs, in the coordinates of the scanner."""
        image, vertices = self._read(errand, options)
        array = vertices.array
        world = apply_affine(vertices.to_world, np.asarray(array.data, float))
        there, outcome = carried(world, [], errand, options.threads, 'vertices')
        array.data, array.datatype = there.astype(np.float32), nb.nifti1.data_type_codes.code[np.float32]
        space = MNI if errand.route.target.startswith('MNI') else SCANNER
        array.coordsys = nb.gifti.GiftiCoordSystem(space, space, np.eye(4))
        mirrored = Chain((Link(vertices.to_world), *Chain.read(errand.route.points).links)).mirrors
        turned = _turn_triangles(image) if mirrored else ''
        directions = _leave_out_directions(image)
        # they were of the old volume, and other readers would add its centre
        for key in [key for key in array.meta if key.startswith(_GEOMETRY)]:
            del array.meta[key]
        # types that GIFTI does not have, as some write them, become those that it has
        hidden.write_bytes(image.to_bytes(mode='compat'))
        return Carried(outcome.facts, tuple(filter(None, (vertices.note, turned, directions, *outcome.notes))))


def _turn_triangles(image: nb.gifti.GiftiImage) -> str:
    """Let the corners of triangles go round the other way, and return the sentence that says so."""
    for triangles in image.get_arrays_from_intent('NIFTI_INTENT_TRIANGLE'):
        triangles.data = np.ascontiguousarray(triangles.data[:, [0, 2, 1]])
    return 'the transform mirrors it; its triangles are turned, so that the same side shows outward'


def _leave_out_directions(image: nb.gifti.GiftiImage) -> str:
    """Take out what has a direction at each vertex, such as normals, and return the sentence that says so."""
    directions = image.get_arrays_from_intent('NIFTI_INTENT_VECTOR')
    for array in directions:
        image.remove_gifti_data_array(next(k for k, one in enumerate(image.darrays) if one is array))
    return 'its vectors, such as normals, were of the old places; left out' if directions else ''
