"""JSON without NaN, and labels out of a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bidsreg.bids.headers import check_header, load_sane
from bidsreg.errors import InputError
from bidsreg.registration.atomic import write_text


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; what is NaN becomes null."""
    write_text(path, json.dumps(_without_nan(value), indent=1) + '\n')


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a label image.

    Returns
    -------
    ndarray of int32, shape (X, Y, Z)

    Raises
    ------
    InputError
        If the file cannot be used, or holds values that are no whole numbers.
    """
    data = np.asanyarray(load_sane(path).dataobj)
    labels = np.round(data).astype(np.int32)
    if data.dtype.kind == 'f' and np.abs(data - labels).max() > 1e-3:
        raise InputError(f'{path}: label images hold whole numbers, this one has fractions; was it interpolated?')
    return labels


def require_grid(path: Path, of: Path, what: str) -> None:
    """Raise unless the image at `path` lies on the grid of the image at `of`, by their headers.

    Raises
    ------
    InputError
        If either cannot be used, or the shapes differ, or a corner lies elsewhere.
    """
    from nibabel import Nifti1Image

    from bidsreg.preparation.grids import require_same_grid

    headers = [check_header(file) for file in (path, of)]
    for header in headers:
        if header.errors:
            raise InputError(f'{header.path}: {"; ".join(header.errors)}')
    grids = [Nifti1Image(np.broadcast_to(np.uint8(0), header.shape), header.affine) for header in headers]
    require_same_grid(*grids, what=what, path=str(path), of=str(of))
