"""The images of a pair, read by the rules that the app and bidsreg-apply have for headers."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bidsreg.bids.headers import affine_of, type_errors
from bidsreg.bids.nifti import NiftiFile, UnreadableError, check_whole, open_nifti, whole_numbers
from bidsreg.errors import InputError

if TYPE_CHECKING:
    from bidsreg.registration import Image

LOGGER = logging.getLogger('bidsreg')


def read_image(path: Path) -> Image:
    """Read an image; what is mended of its header is logged.

    Raises
    ------
    InputError
        If the file cannot be read whole, holds colours or complex numbers, or does not say where its voxels lie.
    ValueError
        If it is not three-dimensional, has no volume, or holds NaN or infinite values.
    """
    return _read(path)[0]


def read_mask(path: Path) -> Image:
    """Read a mask, which holds whole numbers; those that a scale has moved a little are whole again.

    Raises
    ------
    InputError, ValueError
        As :func:`read_image`, and if it has values between whole numbers.
    """
    image, opened = _read(path)
    whole = whole_numbers(image.data, opened.header)
    if whole is None:
        raise InputError(
            f'{path}: has values between whole numbers, as maps of probabilities have: say by a threshold first where '
            'it ends'
        )
    return dataclasses.replace(image, data=whole)


def _read(path: Path) -> tuple[Image, NiftiFile]:
    import numpy as np

    from bidsreg.registration import Image

    if not path.exists() and not path.is_symlink():
        raise InputError(f'{path}: there is no such file')
    try:
        opened = open_nifti(path)
        errors = type_errors(opened.header.get_data_dtype())
        if errors:
            raise UnreadableError('; '.join(errors))
        affine = affine_of(opened, path)
        check_whole(path, opened)
    except UnreadableError as error:
        raise InputError(f'{path}: {error}') from error
    for finding in opened.findings:
        LOGGER.warning('%s: %s', path, finding)
    return Image.of(np.asanyarray(opened.dataobj), affine, path), opened
