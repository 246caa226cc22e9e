"""Files of a benchmark: JSON without NaN, label images, and tables of points."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import check_header, load_sane
from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_text
from bidsreg.tables import read_table

#: Images are float32 in what follows, which has no whole numbers beyond this one.
LARGEST_LABEL = 2**24

PathLike = str | os.PathLike[str]


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; what is NaN or infinite becomes null."""
    write_text(path, json.dumps(_without_nan(value), indent=1) + '\n')


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def read_labels(path: PathLike) -> np.ndarray:
    """Read a label image.

    Returns
    -------
    ndarray of int32, shape (X, Y, Z)

    Raises
    ------
    InputError
        If the file cannot be used, or holds values that are no whole numbers, or beyond :data:`LARGEST_LABEL`.
    """
    data = np.asanyarray(load_sane(path).dataobj)
    if max(-float(data.min()), float(data.max())) > LARGEST_LABEL:
        raise InputError(f'{path}: labels beyond {LARGEST_LABEL} cannot be told apart here: give them smaller numbers.')
    labels = np.round(data).astype(np.int32)
    if data.dtype.kind == 'f' and np.abs(data - labels).max() > 1e-3:
        raise InputError(f'{path}: label images hold whole numbers, this one has fractions; was it interpolated?')
    return labels


def read_points(path: PathLike) -> np.ndarray:
    """Read a table of places that are the same in both images.

    Returns
    -------
    ndarray, shape (N, 6)
        World mm (RAS+) in the fixed image and in the moving one.

    Raises
    ------
    InputError
        If it is no table of at least one row of six finite numbers under a header.
    """
    try:
        table = read_table(Path(path))
        points = table.to_numpy(float)
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read as a table of points: {error}') from error
    if points.shape[1] != 6 or not len(points) or not np.isfinite(points).all():
        raise InputError(
            f'{path}: a header and rows of six finite numbers are needed, x y z in the fixed and in the moving world.'
        )
    if all(map(_is_number, table)):
        raise InputError(
            f'{path}: its first line is a point, and no header: write x y z x2 y2 z2 or the like above it.'
        )
    return points


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def require_grid(path: Path, of: Path, what: str) -> None:
    """Raise unless the image at `path` lies on the grid of the image at `of`, by their headers.

    Raises
    ------
    InputError
        If either cannot be used, or the shapes differ, or a corner lies elsewhere.
    """
    from bidsreg.preparation.grids import require_same_grid

    headers = [check_header(file) for file in (path, of)]
    for header in headers:
        if header.errors:
            raise InputError(f'{header.path}: {"; ".join(header.errors)}')
    grids = [nb.Nifti1Image(np.broadcast_to(np.uint8(0), header.shape), header.affine) for header in headers]
    require_same_grid(grids[0], grids[1], what=what, path=str(path), of=str(of))
