"""Brain masks of the user: read, and brought onto the grid of their image."""

from __future__ import annotations

import os
import typing
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import check_header, head_of
from bidsreg.bids.images import volume_ml, voxel_order
from bidsreg.bids.nifti import UnreadableError, check_whole, open_nifti, whole_numbers
from bidsreg.errors import InputError
from bidsreg.preparation.grids import describe_grid, require_same_grid

#: FreeSurfer's files that are masks though they hold more than two values, by how their names begin.
FREESURFER = ('brainmask', 'aparc+aseg', 'aseg')
#: Those of them that leave out what lies between the folds.
WITH_GAPS = ('aparc+aseg', 'aseg')
#: mm by which gaps are closed in them, about the width of a sulcus: by judgement, with no such file in view.
GAP_MM = 4.0
#: A mask may have this much of its volume out of the view of its image. By judgement, on the simulated heads of the
#: tests.
LARGEST_LOSS = 0.1
#: At least this much of what is in view must lie on the head. By judgement, on the same heads.
LEAST_ON_HEAD = 0.8


def read_mask(path: str | os.PathLike) -> nb.Nifti1Image:
    """Read a mask as zeros and ones (uint8), 3-D.

    FreeSurfer's ``brainmask``, ``aseg`` and ``aparc+aseg``, told by their names, are masks where they are not zero.

    Raises
    ------
    InputError
        If it cannot be read, has four dimensions or more than two values, or is empty.
    """
    data, affine = read_voxels(path, 'Brain mask')
    values = np.unique(data)
    if not values.any():
        raise InputError(f'Brain mask {path} is empty: all its voxels are zero.')
    name = Path(path).name.partition('.')[0]
    if name not in FREESURFER and (len(values) > 2 or (len(values) == 2 and values[0] != 0)):
        shown = ', '.join(f'{value:g}' for value in values[:4])
        raise InputError(
            f'Brain mask {path} is not binary: it holds {len(values)} values ({shown}, ...); give zeros and ones.'
        )
    mask = data > 0 if name in FREESURFER else data != 0
    if name in WITH_GAPS:
        mask = _closed(mask, nb.affines.voxel_sizes(affine))
    return nb.Nifti1Image(mask.astype(np.uint8), affine)


def read_voxels(path: str | os.PathLike, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the voxels of a mask, 3-D, and its affine; `what` it is goes into messages.

    Values that a scale has moved off whole numbers are whole again.

    Raises
    ------
    InputError
        If it cannot be read whole, or has four dimensions.
    """
    report = check_header(path)
    if report.errors:
        raise InputError(f'{what} {path} {"; ".join(report.errors)}.')
    try:
        opened = open_nifti(path)
        check_whole(path, opened)
        data = np.asanyarray(opened.dataobj).reshape(report.shape)
        whole = whole_numbers(data, opened.header)
    except UnreadableError as error:
        raise InputError(f'{what} {path} {error}.') from error
    except Exception as error:
        raise InputError(f'{what} {path} cannot be read: {error}') from error
    # a header without errors has an affine
    return data if whole is None else whole, typing.cast(np.ndarray, report.affine)


def _closed(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Close the gaps of a mask (:data:`GAP_MM`) and fill what is enclosed."""
    from scipy import ndimage

    reach = np.maximum(np.round(GAP_MM / spacing), 1).astype(int)
    axes = np.meshgrid(*(np.arange(-n, n + 1) / n for n in reach), indexing='ij')
    ball = sum(axis**2 for axis in axes) <= 1 + 1e-6
    padded = np.pad(mask, [(n, n) for n in reach])
    closed = ndimage.binary_closing(padded, ball)[tuple(slice(n, -n) for n in reach)]
    return ndimage.binary_fill_holes(closed | mask)


def check_mask(path: str, image: nb.Nifti1Image, *, of: str) -> np.ndarray:
    """Read a mask that must lie on the grid of its image; bool, of the image's shape.

    Raises
    ------
    InputError
        As :func:`read_mask`, and where the grids differ.
    """
    mask = read_mask(path)
    require_same_grid(mask, image, what='Brain mask', path=path, of=of)
    return np.asanyarray(mask.dataobj) > 0


def fit_mask(path: str, image: nb.Nifti1Image, *, of: str) -> tuple[np.ndarray, str]:
    """Read a mask and bring it onto the grid of its image.

    A mask whose voxels are in another order is turned about without loss; one on another grid is resampled (nearest
    voxel), where it lies in the view of the image and on the head; no part of it is lost for being small.

    Parameters
    ----------
    path
        The mask's file.
    image, of
        The image that it belongs to, conformed, and that image's file name for the message.

    Returns
    -------
    mask, words
        bool, of the image's shape; and what was done to it, empty when nothing was.

    Raises
    ------
    InputError
        As :func:`read_mask`; and if the mask does not cover the head: the message names both grids.
    """
    return on_grid_of(read_mask(path), image, what='Brain mask', path=path, of=of)


def on_grid_of(mask: nb.Nifti1Image, image: nb.Nifti1Image, *, what: str, path: str, of: str) -> tuple[np.ndarray, str]:
    """Bring a mask of any kind onto the grid of its image, as :func:`fit_mask` does with one of the brain.

    Parameters
    ----------
    mask, image
        The mask, not empty, and the image.
    what, path, of
        What the mask is of, its file, and that of the image, for messages.
    """
    order = voxel_order(mask.affine, mask.shape, image.affine, image.shape)
    if order is not None:
        data = nb.orientations.apply_orientation(np.asanyarray(mask.dataobj), order)
        same = np.array_equal(order, [[0, 1], [1, 1], [2, 1]])
        return data > 0, '' if same else 'its voxels put into the order of the image'
    at, seen = _voxels_there(mask, image)
    _require_cover(at[seen], seen, mask, image, what, path, of)
    data = _resampled(mask, image)
    _keep_small_parts(data, at, seen, mask)
    return data, f'resampled from {describe_grid(mask)}'


def _resampled(mask: nb.Nifti1Image, image: nb.Nifti1Image) -> np.ndarray:
    """Take the nearest voxel of a mask for each of an image; nothing beyond its grid."""
    from scipy import ndimage

    to_mask = np.linalg.inv(mask.affine) @ image.affine
    data = np.asanyarray(mask.dataobj)
    found = ndimage.affine_transform(data, to_mask[:3, :3], to_mask[:3, 3], image.shape[:3], order=0) > 0
    return np.asarray(found)


def _voxels_there(mask: nb.Nifti1Image, image: nb.Nifti1Image) -> tuple[np.ndarray, np.ndarray]:
    """Return in which voxel of an image each voxel of a mask lies, (N, 3), and which of them are in its view, (N,)."""
    points = nb.affines.apply_affine(
        np.linalg.inv(image.affine) @ mask.affine, np.argwhere(np.asanyarray(mask.dataobj) > 0)
    )
    at = np.rint(points).astype(int)
    return at, ((at >= 0) & (at < image.shape[:3])).all(1)


def _keep_small_parts(data: np.ndarray, at: np.ndarray, seen: np.ndarray, mask: nb.Nifti1Image) -> None:
    """Mark the voxels in which those parts of a mask lie that fall between the centres of all voxels, in place."""
    from scipy import ndimage

    inside = np.asanyarray(mask.dataobj) > 0
    labels, count = ndimage.label(inside)
    part = labels[inside]  # in the order of argwhere
    met = np.zeros(count + 1, bool)
    met[part[seen][data[tuple(at[seen].T)]]] = True
    data[tuple(at[seen & ~met[part]].T)] = True


def _require_cover(
    at: np.ndarray, seen: np.ndarray, mask: nb.Nifti1Image, image: nb.Nifti1Image, what: str, path: str, of: str
) -> None:
    """Raise unless a mask lies in the view of an image (`seen`) and there on the head.

    It is counted in voxels of the mask: those of the image may be larger than a lesion is.
    """
    head = head_of(np.asanyarray(image.dataobj), nb.affines.voxel_sizes(image.affine))
    on_head = head[tuple(at.T)].mean() if len(at) else 0.0
    share = seen.mean() if len(seen) else 0.0
    kept = share >= 1 - LARGEST_LOSS
    if kept and on_head >= LEAST_ON_HEAD:
        return
    why = f'only {100 * on_head:.0f} % of it lies on the head'
    if not kept:
        volume = volume_ml(np.asanyarray(mask.dataobj) > 0, mask.affine)
        why = f'{share * volume:.3g} of its {volume:.3g} ml lie in the image'
    raise InputError(
        f'{what} {path} does not fit {os.path.basename(of)}: {why}. The grid of the mask is {describe_grid(mask)}, '
        f'that of the image {describe_grid(image)}. Give a mask that lies with the image.'
    )
