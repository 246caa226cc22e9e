"""Surfaces: where their vertices are, by whose words, and where they come to."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply.base import Errand, Options, Route
from bidsreg.apply.chain import Leg
from bidsreg.apply.surfaces import Surface
from bidsreg.errors import InputError
from bidsreg.registration.itk import write_affine
from tests import data

from .conftest import write_image

MATRIX = data.truth(0).matrix
WORLD = np.array([[10, 5, 3], [-20, 8, 4], [0, -30, 9], [5, 5, 40]], np.float32)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
CENTRE = np.array([4.5, -17.25, 21.0])
#: Of a volume as FreeSurfer conforms them.
CONFORMED = np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]])


def geometry(centre=CENTRE, axes=CONFORMED):
    """FreeSurfer's metadata of a volume."""
    meta = {f'VolGeomC_{row}': f'{value:.6f}' for row, value in zip('RAS', centre, strict=True)}
    for column, axis in zip('XYZ', np.transpose(axes), strict=True):
        meta |= {f'VolGeom{column}_{row}': f'{value:.6f}' for row, value in zip('RAS', axis, strict=True)}
    return meta | {'VolGeomWidth': '256', 'VolGeomHeight': '256', 'VolGeomDepth': '256'}


def surface(vertices=WORLD, meta=None, space=0, goal=0, matrix=None):
    system = nb.gifti.GiftiCoordSystem(space, goal, np.eye(4) if matrix is None else matrix)
    meta = {'AnatomicalStructurePrimary': 'CortexLeft', **(meta or {})}
    points = nb.gifti.GiftiDataArray(
        vertices.astype(np.float32), 'NIFTI_INTENT_POINTSET', coordsys=system, meta=nb.gifti.GiftiMetaData(meta)
    )
    return nb.gifti.GiftiImage(darrays=[points, nb.gifti.GiftiDataArray(TRIANGLES, 'NIFTI_INTENT_TRIANGLE')])


@pytest.fixture
def carry(tmp_path):
    """Carry a surface through a matrix; returns what was written, and what is said of it."""

    def do(image, route=None, matrix=MATRIX, **options):
        write_affine(tmp_path / 'm.txt', matrix)
        source, out = tmp_path / 'x.surf.gii', tmp_path / 'out.surf.gii'
        if isinstance(image, bytes):
            source.write_bytes(image)
        else:
            nb.save(image, source)
        way = {'origin': 'T2w', 'target': 'T1w', **(route or {})}
        errand = Errand(source, out, Route((), (Leg(tmp_path / 'm.txt'),), **way))
        Surface().check(errand, Options(**options))
        outcome = Surface().carry(errand, Options(**options), out)
        return nb.load(out), outcome

    return do


def vertices(image):
    return image.get_arrays_from_intent('NIFTI_INTENT_POINTSET')[0].data


def test_vertices_go_where_the_matrix_takes_them_and_triangles_stay(carry):
    found, outcome = carry(surface(space=1))
    np.testing.assert_allclose(vertices(found), nb.affines.apply_affine(MATRIX, WORLD), atol=1e-4)
    np.testing.assert_array_equal(found.darrays[1].data, TRIANGLES)
    assert found.darrays[0].meta['AnatomicalStructurePrimary'] == 'CortexLeft'
    assert (found.darrays[0].coordsys.dataspace, found.darrays[0].coordsys.xformspace) == (1, 1)
    assert outcome.notes == ()


def test_a_mirrored_surface_shows_the_same_side_outward(carry):
    mirror = MATRIX @ np.diag([-1.0, 1, 1, 1])
    found, outcome = carry(surface(space=1), matrix=mirror)
    there, corners = vertices(found), found.darrays[1].data

    def outward(points, triangles):
        one, two, three = (points[triangles[:, k]] for k in range(3))
        return np.cross(two - one, three - one)

    # what a linear map makes of normals: those of a mirror point the other way
    expected = outward(WORLD, TRIANGLES) @ np.linalg.inv(mirror[:3, :3])
    np.testing.assert_allclose(outward(there, corners), expected, atol=1e-2)
    assert any('mirrors' in note for note in outcome.notes)


def in_tkr(axes=CONFORMED, centre=CENTRE):
    """The same vertices as FreeSurfer has them: a voxel is at one place of the world, and at another of its own."""
    voxels = (WORLD - centre) @ np.linalg.inv(axes).T
    return voxels @ CONFORMED.T


@pytest.mark.parametrize('turn', [(0, 0, 0), (10, -5, 20)])
def test_freesurfers_coordinates_are_brought_to_the_scanners_if_told_so(carry, turn):
    axes = data.rotation(*turn) @ CONFORMED
    image = surface(in_tkr(axes), geometry(axes=axes))
    found, outcome = carry(image, surface_space='tkr')
    np.testing.assert_allclose(vertices(found), nb.affines.apply_affine(MATRIX, WORLD), atol=1e-3)
    assert 'brought from FreeSurfer' in outcome.notes[0]
    # nobody is to add the centre again
    assert not [key for key in found.darrays[0].meta if key.startswith('VolGeom')]


def test_in_a_conformed_volume_that_is_a_shift_by_its_centre():
    np.testing.assert_allclose(in_tkr() + CENTRE, WORLD, atol=1e-5)


def test_where_freesurfer_does_not_say_which_it_is_asked(carry):
    for image in (surface(meta=geometry()), surface(meta=geometry(), goal=3)):
        with pytest.raises(InputError, match=r'\(4\.50, -17\.25, 21\.00\) mm apart. Say --surface-space tkr'):
            carry(image)
    found, _ = carry(surface(meta=geometry()), surface_space='scanner')
    np.testing.assert_allclose(vertices(found), nb.affines.apply_affine(MATRIX, WORLD), atol=1e-4)


def test_newer_files_of_freesurfer_say_it(carry):
    """From its own space to the scanner's by the matrix; or in the scanner's, with the way to its own."""
    to_scanner = np.eye(4)
    to_scanner[:3, 3] = CENTRE
    found, outcome = carry(surface(in_tkr(), geometry(), 0, 1, to_scanner))
    np.testing.assert_allclose(vertices(found), nb.affines.apply_affine(MATRIX, WORLD), atol=1e-3)
    assert 'by its coordinate system' in outcome.notes[0]
    found, outcome = carry(surface(WORLD, geometry(), 1, 0, np.linalg.inv(to_scanner)))
    np.testing.assert_allclose(vertices(found), nb.affines.apply_affine(MATRIX, WORLD), atol=1e-4)
    assert outcome.notes == ()


def test_a_centre_that_was_set_to_zero_is_no_shift(carry):
    """As fMRIPrep writes them."""
    found, _ = carry(surface(meta=geometry(np.zeros(3))))
    np.testing.assert_allclose(vertices(found), nb.affines.apply_affine(MATRIX, WORLD), atol=1e-4)


def test_what_says_nothing_is_taken_for_the_scanners_and_that_is_said(carry):
    _, outcome = carry(surface())
    assert outcome.notes == ('does not say in which coordinates it is; taken for those of the scanner',)


@pytest.mark.parametrize(('space', 'word'), [(3, 'TALAIRACH'), (4, 'MNI')])
def test_a_surface_in_another_space_is_refused(carry, space, word):
    with pytest.raises(InputError, match=f'is in the space .*{word}.* by its own words, not in T2w'):
        carry(surface(space=space))
    carry(surface(space=space), surface_space='scanner')
    found, _ = carry(surface(space=space), {'origin': 'MNI152NLin2009cAsym', 'target': 'T1w'})
    assert found.darrays[0].coordsys.dataspace == 1


def test_on_a_template_the_result_says_so(carry):
    found, _ = carry(surface(space=1), {'target': 'MNI152NLin2009cAsym'})
    assert found.darrays[0].coordsys.dataspace == 4


def test_a_surface_beside_the_scan_is_refused(carry, tmp_path):
    view = write_image(tmp_path / 'scan.nii.gz', np.zeros((40, 40, 40)), data.grid((40, 40, 40), voxel=3.0))
    carry(surface(space=1), {'view': view})
    with pytest.raises(InputError, match='4 of 4 vertices lie outside of'):
        carry(surface(WORLD + 200, space=1), {'view': view})


def test_files_without_vertices_are_refused(carry):
    values = nb.gifti.GiftiDataArray(np.zeros(4, np.float32), 'NIFTI_INTENT_SHAPE')
    with pytest.raises(InputError, match='Values on vertices go where their surface goes'):
        carry(nb.gifti.GiftiImage(darrays=[values]))


def test_bad_files_are_refused(carry):
    for content in (b'', b'no XML', b'<GIFTI></GIFTI>'):
        with pytest.raises(InputError, match=r'x\.surf\.gii'):
            carry(content)
    broken = WORLD.copy()
    broken[0, 0] = np.nan
    with pytest.raises(InputError, match='finite'):
        carry(surface(broken, space=1))
    with pytest.raises(InputError, match='--surface-space tkr needs VolGeomC_R'):
        carry(surface(), surface_space='tkr')
    with pytest.raises(InputError, match='--interpolation is for images'):
        carry(surface(space=1), interpolation='linear')


def test_types_that_gifti_does_not_have_become_those_that_it_has(carry):
    """Doubles and long integers, as some programs write them."""
    image = surface()
    points, triangles = image.darrays
    points.data, points.datatype = WORLD.astype(np.float64), nb.nifti1.data_type_codes.code[np.float64]
    triangles.data, triangles.datatype = TRIANGLES.astype(np.int64), nb.nifti1.data_type_codes.code[np.int64]
    found, _ = carry(image.to_bytes(mode='force'))
    np.testing.assert_array_equal(found.darrays[0].data, carry(surface())[0].darrays[0].data)
    np.testing.assert_array_equal(found.darrays[1].data, TRIANGLES)
    assert [array.data.dtype for array in found.darrays] == [np.float32, np.int32]


def test_normals_are_left_out(carry):
    """They would show where the surface was."""
    image = surface(space=1)
    image.add_gifti_data_array(nb.gifti.GiftiDataArray(WORLD, 'NIFTI_INTENT_VECTOR'))
    image.add_gifti_data_array(nb.gifti.GiftiDataArray(WORLD[:, 0].copy(), 'NIFTI_INTENT_SHAPE'))
    found, outcome = carry(image)
    intents = [nb.nifti1.intent_codes.niistring[array.intent] for array in found.darrays]
    assert intents == ['NIFTI_INTENT_POINTSET', 'NIFTI_INTENT_TRIANGLE', 'NIFTI_INTENT_SHAPE']
    assert outcome.notes == ('its vectors, such as normals, were of the old places; left out',)
