"""GIFTI files in every form that the format has: read alike, and written so that other readers read them alike."""

import base64
import itertools
import zlib
from xml.etree import ElementTree

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply.gifti import read_gifti

POINTS = np.array([[10.5, 5, 3], [-20, 8, 4], [0, -30, 9], [5, 5, 40], [1, 2, 3]], np.float32)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2], [0, 3, 4]], np.int32)
ENCODINGS = ('ASCII', 'Base64Binary', 'GZipBase64Binary', 'ExternalFileBinary')


def stored(values, intent, encoding, endian='Little', order='Row', beside=None, inside=''):
    """An array as a file has it, written without nibabel."""
    plain = values.astype(values.dtype.newbyteorder('>' if endian == 'Big' else '<'))
    raw = plain.tobytes('C' if order == 'Row' else 'F')
    lines = values if order == 'Row' else values.T
    text = {
        'ASCII': '\n'.join(' '.join(f'{value:g}' for value in line) for line in lines),
        'Base64Binary': base64.b64encode(raw).decode(),
        'GZipBase64Binary': base64.b64encode(zlib.compress(raw)).decode(),
        'ExternalFileBinary': '',
    }[encoding]
    if encoding == 'ExternalFileBinary':
        beside.write_bytes(b'...' + raw)
    kind = 'FLOAT32' if values.dtype.kind == 'f' else 'INT32'
    return (
        f'<DataArray Intent="NIFTI_INTENT_{intent}" DataType="NIFTI_TYPE_{kind}" Dimensionality="2"'
        f' ArrayIndexingOrder="{order}MajorOrder" Dim0="{values.shape[0]}" Dim1="{values.shape[1]}"'
        f' Encoding="{encoding}" Endian="{endian}Endian" ExternalFileName="{beside.name if beside else ""}"'
        f' ExternalFileOffset="{3 if beside else ""}">{inside}<Data>{text}</Data></DataArray>'
    )


def system(space, goal, matrix):
    numbers = ' '.join(f'{value:g}' for value in np.ravel(matrix))
    return (
        f'<CoordinateSystemTransformMatrix><DataSpace>NIFTI_XFORM_{space}</DataSpace><TransformedSpace>\n'
        f'NIFTI_XFORM_{goal}</TransformedSpace><MatrixData>{numbers}</MatrixData></CoordinateSystemTransformMatrix>'
    )


def written(path, *arrays):
    path.write_text(
        f'<?xml version="1.0"?><GIFTI Version="1.0" NumberOfDataArrays="{len(arrays)}">{"".join(arrays)}</GIFTI>'
    )
    return path


@pytest.mark.parametrize(
    ('encoding', 'endian', 'order'), itertools.product(ENCODINGS, ('Little', 'Big'), ('Row', 'Column'))
)
def test_however_arrays_are_stored_they_are_the_same_and_can_be_written(tmp_path, encoding, endian, order):
    beside = (tmp_path / 'points.dat', tmp_path / 'triangles.dat') if encoding.startswith('External') else (None, None)
    path = written(
        tmp_path / 'x.surf.gii',
        stored(POINTS, 'POINTSET', encoding, endian, order, beside[0]),
        stored(TRIANGLES, 'TRIANGLE', encoding, endian, order, beside[1]),
    )
    image = read_gifti(path)
    again = tmp_path / 'again.surf.gii'
    again.write_bytes(image.to_bytes(mode='compat'))
    for found in (image, nb.load(again)):
        np.testing.assert_array_equal(found.darrays[0].data, POINTS)
        np.testing.assert_array_equal(found.darrays[1].data, TRIANGLES)
    # nibabel writes rows, and reads its own labels as it wrote them: others do not
    for element in ElementTree.parse(again).getroot().iter('DataArray'):
        assert element.get('ArrayIndexingOrder') == 'RowMajorOrder'
        assert element.get('ExternalFileName') == ''


def test_of_several_coordinate_systems_the_one_to_the_scan_is_kept(tmp_path):
    matrix = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    to_scan, other = system('UNKNOWN', 'SCANNER_ANAT', matrix), system('UNKNOWN', 'TALAIRACH', np.eye(4))
    for systems, goal in ((to_scan + other, 1), (other + to_scan, 1), (other, 3), ('', 0)):
        array = stored(POINTS, 'POINTSET', 'ASCII', inside=systems)
        found = read_gifti(written(tmp_path / 'x.surf.gii', array)).darrays[0].coordsys
        assert nb.nifti1.xform_codes.code[found.xformspace] == goal
        np.testing.assert_array_equal(found.xform, matrix if goal == 1 else np.eye(4))


@pytest.mark.parametrize('numbers', [range(12), [np.nan] * 16])
def test_a_matrix_that_is_none_is_refused(tmp_path, numbers):
    array = stored(POINTS, 'POINTSET', 'ASCII', inside=system('UNKNOWN', 'SCANNER_ANAT', list(numbers)))
    with pytest.raises(ValueError, match='not 4 x 4 finite numbers'):
        read_gifti(written(tmp_path / 'x.surf.gii', array))
