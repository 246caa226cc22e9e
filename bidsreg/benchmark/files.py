"""Files that are there whole or not at all, and labels out of a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bidsreg.bids.headers import check_header, load_sane
from bidsreg.errors import InputError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path` (with the same extension), then give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{os.getpid()}.{path.name}')
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding='utf-8'))


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

    from bidsreg.interfaces.base import require_same_grid

    headers = [check_header(file) for file in (path, of)]
    for header in headers:
        if header.errors:
            raise InputError(f'{header.path}: {"; ".join(header.errors)}')
    grids = [Nifti1Image(np.broadcast_to(np.uint8(0), header.shape), header.affine) for header in headers]
    require_same_grid(*grids, what=what, path=str(path), of=str(of))
