"""The images of a pair, read by the rules that the app and bidsreg-apply have for headers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bidsreg.bids.headers import affine_of, type_errors
from bidsreg.bids.nifti import UnreadableError, check_whole, open_nifti
from bidsreg.errors import InputError

if TYPE_CHECKING:
    from bidsreg.registration import Image

LOGGER = logging.getLogger('bidsreg')


def read_image(path: Path) -> Image:
    """Read an image or a mask; what is mended of its header is logged.

    Raises
    ------
    InputError
        If the file cannot be read whole, holds colours or complex numbers, or does not say where its voxels lie.
    ValueError
        If it is not three-dimensional, has no volume, or holds NaN or infinite values.
    """
    import numpy as np

    from bidsreg.registration import Image

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
    return Image.of(np.asanyarray(opened.dataobj), affine, path)
