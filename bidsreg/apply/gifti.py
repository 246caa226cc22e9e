"""GIFTI files as they come: what nibabel reads of them, and what it reads otherwise than the format has it."""

from __future__ import annotations

import typing
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nb
import numpy as np

#: Codes of NIfTI: what coordinates are relative to.
UNKNOWN, SCANNER, ALIGNED, TALAIRACH, MNI = range(5)
_ROWS, _COLUMNS = (nb.gifti.util.array_index_order_codes.code[f'{name}MajorOrder'] for name in ('Row', 'Column'))
_ASCII, _EXTERNAL, _PACKED = (
    nb.gifti.util.gifti_encoding_codes.code[name] for name in ('ASCII', 'External', 'GZipBase64Binary')
)


def read_gifti(path: Path) -> nb.gifti.GiftiImage:
    """Read a GIFTI file, however its arrays are stored, so that it can be written again.

    Of several coordinate systems of an array the one is kept that leads to the world of the scan, where there is one:
    nibabel keeps the last.

    Raises
    ------
    OSError, ValueError, and whatever a parser of XML makes of a broken file
        If it cannot be read.
    """
    image = nb.load(path)
    if not isinstance(image, nb.gifti.GiftiImage):
        raise ValueError('it is of another format')
    for array, element in zip(image.darrays, ElementTree.parse(path).getroot().iter('DataArray'), strict=True):
        if (array.encoding, array.ind_ord) == (_ASCII, _COLUMNS):
            # nibabel takes lines of text for rows
            numbers = (element.findtext('Data') or '').split()
            array.data = np.array(numbers, array.data.dtype).reshape(array.data.shape, order='F')
        systems = [_system(found) for found in element.iter('CoordinateSystemTransformMatrix')]
        if systems:
            array.coordsys = next((one for one in systems if one.xformspace in (SCANNER, ALIGNED)), systems[-1])
        _store_within(array)
    return image


def code_of(word: object) -> int:
    """Return the code of a space by its NIfTI name or code."""
    return int(typing.cast(int, nb.nifti1.xform_codes[word]))


def _system(element: ElementTree.Element) -> nb.gifti.GiftiCoordSystem:
    space, goal = (
        code_of((element.findtext(name) or 'NIFTI_XFORM_UNKNOWN').strip()) for name in ('DataSpace', 'TransformedSpace')
    )
    matrix = np.array((element.findtext('MatrixData') or '').split(), float)
    if matrix.size != 16 or not np.isfinite(matrix).all():
        raise ValueError('the matrix of a coordinate system is not 4 x 4 finite numbers')
    return nb.gifti.GiftiCoordSystem(space, goal, matrix.reshape(4, 4))


def _store_within(array: nb.gifti.GiftiDataArray) -> None:
    """Let an array be written into the file, row by row: nibabel writes no others, or under a wrong label."""
    array.ind_ord = _ROWS
    if array.encoding == _EXTERNAL:
        array.encoding, array.ext_fname, array.ext_offset = _PACKED, '', 0
