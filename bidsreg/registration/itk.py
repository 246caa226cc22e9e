"""Files that ANTs, ITK and nitransforms read: composite .h5, affine .txt and .mat. ITK is LPS, we are RAS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import h5py
import nibabel as nib
import numpy as np

from bidsreg.registration import packing
from bidsreg.registration.atomic import write_atomic, write_text
from bidsreg.registration.grid import Grid
from bidsreg.registration.integrity import DamagedError, content_size
from bidsreg.registration.numerics.pool import in_order

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""RAS to LPS and back."""
_LPS = np.array([-1, -1, 1], np.float32)
LONGEST_MM = 1000.0
"""A displacement that is longer is none of a head."""
PLACES = 0.6
"""Vectors that grow by more mm with each mm from the middle, in RAS, are places: they grow by the size of the one head
by that of the other. By judgement: displacements do not grow so along two axes and shrink along the third."""
CHUNK = 1 << 18
"""Values of a field that are packed together, about: whole planes."""


def write_affine(path: str | Path, matrix: np.ndarray) -> None:
    """Write a RAS world-to-world matrix as an ITK text transform."""
    lps = FLIP @ matrix @ FLIP
    values = ' '.join(f'{x:.17g}' for x in (*lps[:3, :3].ravel(), *lps[:3, 3]))
    text = (
        '#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n'
        f'Parameters: {values}\nFixedParameters: 0 0 0\n'
    )
    write_text(Path(path), text)


def _centred(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return ITK's twelve parameters about a centre, in LPS, as a RAS 4x4 matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = parameters[:9].reshape(3, 3)
    matrix[:3, 3] = parameters[9:] + centre - matrix[:3, :3] @ centre
    return FLIP @ matrix @ FLIP


def read_affine(path: str | Path) -> np.ndarray:
    """Read a world-to-world matrix (mm, RAS+): an ITK .txt or .mat with one affine or rigid, or a plain 4x4 text file.

    Returns
    -------
    ndarray, shape (4, 4)
        Fixed world to moving world: what resamples the moving image onto the fixed grid.

    Raises
    ------
    ValueError
        If the file is none of these, or its matrix cannot be inverted.
    """
    path = Path(path)
    try:
        matrix = _read_mat(path) if path.suffix == '.mat' else _read_text(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f'{path}: not an ITK affine (.txt, .mat) nor a plain 4x4 matrix in text ({error})') from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise ValueError(f'{path}: the affine must be a finite, invertible 4x4 matrix, not\n{matrix}')
    if not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        raise ValueError(f'{path}: the last row of an affine is 0 0 0 1, not {matrix[3]}; is the matrix transposed?')
    return matrix


def _read_mat(path: Path) -> np.ndarray:
    # not before it is needed: it takes a tenth of a second
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except Exception as error:  # scipy has a class of its own for what is no such file
        raise ValueError(str(error)) from error
    names = [k for k in content if not k.startswith('__') and k != 'fixed']
    if len(names) != 1:
        raise ValueError(f'expected one transform, found {names}')
    return _matrix(names[0], content[names[0]].ravel().astype(float), content['fixed'].ravel().astype(float))


def _read_text(path: Path) -> np.ndarray:
    text = path.read_text()
    if not text.startswith('#Insight Transform File'):
        return np.loadtxt(path)
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(':')
        fields.setdefault(key.strip(), []).append(value.strip())
    if len(fields.get('Parameters', [])) != 1:
        raise ValueError(f'expected one transform, found {len(fields.get("Parameters", []))}')
    parameters, fixed = (np.array(fields[name][0].split(), dtype=float) for name in ('Parameters', 'FixedParameters'))
    return _matrix(fields['Transform'][0], parameters, fixed)


def _matrix(kind: str, parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return the matrix (RAS) of a transform of ITK's, such as ``AffineTransform_double_3_3``, from its parameters."""
    name = kind.split('Transform')[0]
    if name not in _MATRICES:
        known = ', '.join(('DisplacementField', *_MATRICES))
        raise ValueError(f'a transform of the kind {name} cannot be read; known are {known}')
    count, read = _MATRICES[name]
    if len(parameters) != count:
        raise ValueError(f'expected {count} parameters of {kind}, found {len(parameters)}')
    return read(parameters, fixed)


def _fixed_parameters(grid: Grid) -> np.ndarray:
    """Return the size, origin, spacing and direction of a displacement grid, in ITK's order and LPS."""
    if not grid.is_orthogonal():
        raise ValueError('ITK can store displacements only on grids with axes at right angles')
    lps = FLIP @ grid.affine
    return np.concatenate([grid.shape, lps[:3, 3], grid.spacing, (lps[:3, :3] / grid.spacing).ravel()])


def write_composite(
    path: str | Path,
    affine: np.ndarray,
    displacement: np.ndarray,
    grid: Grid,
    *,
    affine_first: bool = False,
    threads: int = 1,
) -> None:
    """Write an affine and a displacement field as one ITK composite transform.

    Parameters
    ----------
    path : str or Path
        The .h5 file; it appears whole or not at all.
    affine : ndarray, shape (4, 4)
        World to world, RAS mm.
    displacement : ndarray, shape (X, Y, Z, 3)
        World displacement in mm, RAS, on `grid`; zero outside it.
    grid : Grid
        Axes at right angles.
    affine_first : bool
        Points go through the affine first, then through the field (an inverse); else the field first.
    threads : int
        How many pack; the file does not depend on it.
    """
    matrix = FLIP @ affine @ FLIP
    parameters = np.concatenate([matrix[:3, :3].ravel(), matrix[:3, 3]]).astype(np.float32)

    def write_field(group: h5py.Group, name: str) -> None:
        _write_field(group, name, displacement, threads)

    def write_linear(group: h5py.Group, name: str) -> None:
        group.create_dataset(name, data=parameters)

    field = ('DisplacementField', _fixed_parameters(grid), write_field)
    linear = ('Affine', np.zeros(3), write_linear)
    text = h5py.string_dtype('ascii')

    def write(target: Path) -> None:
        with h5py.File(target, 'w') as file:
            for key, value in (('ITKVersion', '5.3.0'), ('HDFVersion', h5py.version.hdf5_version), ('OSName', 'Linux')):
                file.create_dataset(key, (1,), text, data=[value])
            file.create_dataset('OSVersion', (1,), text, data=['unknown'])
            group = file.create_group('TransformGroup')
            group.create_dataset('0/TransformType', (1,), text, data=['CompositeTransform_float_3_3'])
            # ITK applies the last transform of the list first
            for i, (kind, fixed, write_moving) in enumerate((field, linear) if affine_first else (linear, field), 1):
                group.create_dataset(f'{i}/TransformType', (1,), text, data=[f'{kind}Transform_float_3_3'])
                group.create_dataset(f'{i}/TransformFixedParameters', data=np.asarray(fixed, dtype=np.float64))
                write_moving(group, f'{i}/TransformParameters')

    write_atomic(Path(path), write)


def _write_field(group: h5py.Group, name: str, displacement: np.ndarray, threads: int) -> None:
    """Write a field as one row of LPS vectors, X running fastest; chunks of whole planes are packed in threads."""
    x, y, z = displacement.shape[:3]
    plane = x * y * 3
    step = min(max(CHUNK // plane, 1), z)

    def pack(start: int) -> bytes:
        # the last chunk is as long as the others: what lies behind the row is not read
        chunk = np.zeros((step, y, x, 3), np.float32)
        planes = displacement[:, :, start : start + step].transpose(2, 1, 0, 3)
        for component, sign in enumerate(_LPS):
            np.multiply(planes[..., component], sign, out=chunk[: len(planes), ..., component], casting='same_kind')
        return packing.shuffled(chunk)

    data = group.create_dataset(
        name,
        (plane * z,),
        np.float32,
        chunks=(plane * step,),
        compression='gzip',
        compression_opts=packing.LEVEL,
        shuffle=True,
    )
    starts = range(0, z, step)
    for start, packed in zip(starts, in_order(pack, starts, threads), strict=True):
        data.id.write_direct_chunk((start * plane,), packed)


def _checked_affine(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix that is finite and can be inverted, or raise a ValueError."""
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise ValueError('its affine is not finite, or cannot be inverted')
    return matrix


def _check_field(values: np.ndarray, grid: Grid) -> None:
    """Raise a ValueError if the values are no displacements on a grid."""
    if values.size != 3 * np.prod(grid.shape):
        raise ValueError(f'it has {values.size} values for a field of {" x ".join(map(str, grid.shape))} vectors')
    if not np.isfinite(values).all():
        raise ValueError('its field has values that are not finite')
    if (largest := float(np.abs(values).max(initial=0))) > LONGEST_MM:
        raise ValueError(f'its field has displacements of {largest:.3g} mm, more than heads are large')


def read_composite(path: str | Path) -> tuple[np.ndarray, np.ndarray, Grid, bool]:
    """Read what `write_composite` wrote.

    Returns
    -------
    affine, displacement, grid, affine_first
        As its arguments.

    Raises
    ------
    ValueError
        If the file is not a composite of one affine and one displacement field, or damaged: its packed field fails its
        checksum, has another size than its grid, or holds what is no displacement in mm.
    """
    order = _read_h5(path)
    matrices = [part for part in order if isinstance(part, np.ndarray)]
    fields = [part for part in order if isinstance(part, DisplacementField)]
    if len(matrices) != 1 or len(fields) != 1:
        kinds = [type(part).__name__ if isinstance(part, DisplacementField) else 'Affine' for part in order]
        raise ValueError(f'{path}: a composite of one affine and one displacement field is needed, found {kinds}')
    return matrices[0], fields[0].displacement, fields[0].grid, isinstance(order[0], np.ndarray)


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """A map x + u(x) of world points.

    Attributes
    ----------
    displacement : ndarray, shape (X, Y, Z, 3), float32
        u in mm, RAS, linear between the voxels of `grid` and zero beyond the centres of the outer ones.
    grid : Grid
        Where it lies.
    """

    displacement: np.ndarray
    grid: Grid


Part = np.ndarray | DisplacementField
"""What a transform is made of: a matrix (4, 4), world to world in mm, RAS+, or a displacement field."""


def read_transform(path: str | Path) -> list[Part]:
    """Read any transform of ITK's that is made of affines and displacement fields.

    Parameters
    ----------
    path : str or Path
        A composite .h5 of ours, of ANTs' or of fMRIPrep's; an affine as for `read_affine`; or a displacement field as
        ANTs writes it, .nii or .nii.gz of the shape (X, Y, Z, 1, 3).

    Returns
    -------
    list of Part
        In the order in which points go through them, from the world of the reference to that of the image.

    Raises
    ------
    ValueError
        If the file is none of these, is damaged, or holds another kind of transform.
    """
    path = Path(path)
    if path.name.endswith(('.h5', '.hdf5')):
        return _read_h5(path)
    if path.name.endswith(('.nii', '.nii.gz')):
        return [_read_warp(path)]
    return [read_affine(path)]


def _read_warp(path: Path) -> DisplacementField:
    try:
        content_size(path)
        image = nib.load(path)
        values = np.asarray(image.dataobj, np.float32)  # type: ignore[attr-defined]
    except (OSError, DamagedError, nib.filebasedimages.ImageFileError) as error:
        raise ValueError(f'{path}: cannot be read as a displacement field ({error})') from error
    if values.ndim != 5 or values.shape[3:] != (1, 3):
        raise ValueError(
            f'{path}: no transform: displacements have the shape (X, Y, Z, 1, 3), this image {values.shape}'
        )
    x, y, z = values.shape[:3]
    try:
        grid = Grid((x, y, z), image.affine)  # type: ignore[attr-defined]
        _check_field(values, grid)
        _check_author(values[:, :, :, 0], grid, cast(nib.Nifti1Header, image.header))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    return DisplacementField(np.ascontiguousarray(values[:, :, :, 0] * _LPS), grid)


def _check_author(vectors: np.ndarray, grid: Grid, header: nib.Nifti1Header) -> None:
    """Raise a ValueError if a warp of the shape that ANTs writes is one of NiftyReg or SPM.

    The vectors of both are in RAS; SPM's, and some of NiftyReg's, are places and no displacements.
    """
    if b'NREG' in bytes(header['intent_name']):
        raise ValueError(
            'is a transform of NiftyReg (NREG_TRANS), which ANTs cannot read either: apply it by reg_resample'
        )
    step = tuple(slice(None, None, max(n // 16, 1)) for n in grid.shape)
    points = grid.to_world(
        np.stack(np.meshgrid(*(np.arange(n)[s] for n, s in zip(grid.shape, step, strict=True)), indexing='ij'), -1)
    )
    here = (points - points.mean((0, 1, 2))).reshape(-1, 3)
    there = (vectors[step] * _LPS).reshape(-1, 3)
    slopes = (here * (there - there.mean(0))).sum(0) / np.maximum((here**2).sum(0), 1e-9)
    if (slopes * (-1, -1, 1) > PLACES).all():
        raise ValueError(
            'holds places in the other image, as deformations of SPM do, and no displacements as those of ANTs'
        )


def _read_h5(path: str | Path) -> list[Part]:
    try:
        with h5py.File(path) as file:
            group = file['TransformGroup']
            keys = sorted(group, key=int)
            # the first one is the composite itself where there is one
            parts = [_read_part(group[key]) for key in keys if not _kind(group[key]).startswith('Composite')]
    # a bit that has flipped in HDF5's own structures may raise any of them
    except (OSError, KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f'{path}: damaged, or not an ITK composite transform ({error})') from error
    if not parts:
        raise ValueError(f'{path}: holds no transform')
    # ITK applies the last transform of the list first
    return parts[::-1]


def _kind(group: h5py.Group) -> str:
    return group['TransformType'][0].decode().split('Transform')[0]


def _read_part(group: h5py.Group) -> Part:
    # ITK before 5.0 wrote the names so
    names = ('TransformFixedParameters', 'TranformFixedParameters'), ('TransformParameters', 'TranformParameters')
    fixed, moving = (group[new if new in group else old][()] for new, old in names)
    kind = _kind(group)
    if kind == 'DisplacementField':
        return _field_of(fixed, moving)
    return _checked_affine(_matrix(kind, moving.astype(float), fixed.astype(float)))


def _field_of(fixed: np.ndarray, moving: np.ndarray) -> DisplacementField:
    """Return the field of a file's parameters, of which the second are overwritten."""
    x, y, z = (int(n) for n in fixed[:3])
    lps = np.eye(4)
    lps[:3, :3] = fixed[9:].reshape(3, 3) * fixed[6:9]
    lps[:3, 3] = fixed[3:6]
    grid = Grid((x, y, z), FLIP @ lps)
    _check_field(moving, grid)
    vectors = moving.reshape(z, y, x, 3)
    # in place, and in the order of the file: half the time of a product that is turned over
    vectors[..., :2] *= -1
    return DisplacementField(np.ascontiguousarray(vectors.transpose(2, 1, 0, 3), np.float32), grid)


def _translation(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    return _centred(np.concatenate([np.eye(3).ravel(), parameters]), np.zeros(3))


def _euler(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return three angles (rad) about the axes of LPS and a shift: turns about Y, then X, then Z, or X, Y, Z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(parameters[:3]), np.cos(parameters[:3])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    # the fourth fixed parameter says whether the order is Z Y X
    turned = about_z @ about_y @ about_x if fixed.size > 3 and fixed[3] else about_z @ about_x @ about_y
    return _centred(np.concatenate([turned.ravel(), parameters[3:]]), fixed[:3])


def _versor(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return the matrix of a turn by the vector of a unit quaternion, a shift, and maybe a scale."""
    vector, scale = parameters[:3], parameters[6] if len(parameters) > 6 else 1.0
    real = np.sqrt(max(1 - vector @ vector, 0))
    across = np.cross(np.eye(3), vector)  # times a vector it is the cross product with it
    turned = np.eye(3) + 2 * real * across + 2 * across @ across
    return _centred(np.concatenate([scale * turned.ravel(), parameters[3:6]]), fixed[:3])


def _identity(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    return np.eye(4)


_MATRICES: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    'Affine': (12, _centred),
    'MatrixOffset': (12, _centred),  # MatrixOffsetTransformBase
    'Identity': (0, _identity),
    'Translation': (3, _translation),
    'Euler3D': (6, _euler),
    'VersorRigid3D': (6, _versor),
    'Similarity3D': (7, _versor),
}
"""Transforms that are matrices, by ITK's names: the number of their parameters, and what makes a matrix in RAS of these
and the fixed ones, which are in LPS."""
